\echo '| action | from | to | audit entry | who |'
\echo '|---|---|---|---|---|'
WITH may AS (
    SELECT p.action, p.target,
           (SELECT string_agg(x.who, ', ' ORDER BY x.n)
              FROM (SELECT 'operator', 0 WHERE 'operator' = ANY (p.any_of)
                    UNION ALL
                    SELECT r.name, array_position('{owner,admin,analyst,member,api_developer,read_only,deploy}', r.name)
                      FROM walwarden_internal.role AS r WHERE r.capabilities && p.any_of) AS x(who, n)) AS who
      FROM walwarden_internal.permission AS p
), who AS (
    SELECT split_part(m.action, '.', 2) AS action,
           string_agg(CASE m.target WHEN 'any' THEN '' ELSE m.target || ': ' END || coalesce(m.who, 'nobody'), '; '
                      ORDER BY array_position('{own,private,shared,any}', m.target)) AS who
      FROM may AS m
     WHERE (m.action ~ '^token[.]' OR m.action = 'legacy.import') AND m.target IN ('own', 'private', 'shared', 'any')
     GROUP BY m.action
)
SELECT format('| %s | %s | %s | %s | %s |', t.action,
              string_agg(t.from_state, ', ' ORDER BY array_position('{none,active,inactive,disabled,expired,revoked}', t.from_state)),
              CASE WHEN bool_and(t.to_state = t.from_state) THEN 'unchanged' ELSE min(t.to_state) END,
              coalesce('`' || t.event || '`', 'none'), coalesce(w.who, CASE t.action WHEN 'leak' THEN 'anyone who has the plaintext' ELSE 'system' END))
  FROM walwarden_internal.token_transition AS t
  LEFT JOIN who AS w ON w.action = t.action
 GROUP BY t.action, t.event, w.who
 ORDER BY array_position('{issue,import,update,renew,end_overlap,disable,enable,revoke,leak,notice,expire,remove}', t.action), t.event NULLS LAST;
