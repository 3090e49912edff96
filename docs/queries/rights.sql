-- The table that test/pgtap/rights.sql tries cell by cell.
\ir ../../test/pgtap/rights.psql
SELECT '| | ' || string_agg(replace(k, '_', ' '), ' | ' ORDER BY n) || E' |\n|---|' || repeat('---|', count(*)::integer)
  FROM json_object_keys((SELECT row_to_json(r) FROM rights AS r LIMIT 1)) WITH ORDINALITY AS f(k, n)
 WHERE k <> 'action';
SELECT '| ' || action || ' | ' ||
       (SELECT string_agg(CASE j.value WHEN 'n/a' THEN '' ELSE j.value END, ' | ' ORDER BY n)
          FROM json_each_text(row_to_json(r)) WITH ORDINALITY AS j(key, value, n) WHERE j.key <> 'action') || ' |'
  FROM rights AS r;
