\echo '| job | from | to | by | audit entry |'
\echo '|---|---|---|---|---|'
WITH listed AS (
    SELECT machine, to_state, moved_by, event, string_agg('`' || from_state || '`', ', ' ORDER BY from_state) AS from_states
      FROM walwarden_internal.job_transition
     GROUP BY machine, to_state, moved_by, event
)
SELECT format('| %s | %s | `%s` | %s | `%s` |', string_agg(machine, ', ' ORDER BY machine DESC), coalesce(from_states, ''), to_state, moved_by, event)
  FROM listed
 GROUP BY from_states, to_state, moved_by, event
 ORDER BY string_agg(machine, ', ' ORDER BY machine DESC) COLLATE "C", event, moved_by;
