\echo '| job | states in which it is done |'
\echo '|---|---|'
WITH listed AS (
    SELECT machine, string_agg('`' || state || '`', ', ' ORDER BY state) AS states
      FROM walwarden_internal.job_state
     WHERE done
     GROUP BY machine
)
SELECT format('| %s | %s |', string_agg(machine, ', ' ORDER BY machine DESC), states)
  FROM listed
 GROUP BY states
 ORDER BY 1;
