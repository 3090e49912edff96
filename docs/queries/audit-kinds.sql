\echo '| kind | chain | what it records |'
\echo '|---|---|---|'
SELECT format('| `%s` | %s | %s |', kind, CASE chain WHEN 'org' THEN 'of the organisation' ELSE chain END, meaning)
  FROM walwarden_internal.audit_kind
 ORDER BY chain, kind;
