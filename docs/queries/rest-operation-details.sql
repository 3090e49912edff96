-- What each operation takes and returns, with an example in which ids are shell variables.
-- A browser alone has a use for single sign-on.
SELECT format(E'### %s\n\n`%s %s` \u2013 %s. %s\n\n%sResponse: %s.\n',
              o.operation, o.method, CASE o.caller WHEN 'sso' THEN '' ELSE '/api/v1' END || o.path, o.summary, walwarden_internal.description('operation', o.operation),
              CASE WHEN o.request = 'Nothing' THEN E'Body: none.\n\n'
                   WHEN o.request IS NOT NULL THEN format(E'Body: [%s](#%s).\n\n', o.request, lower(o.request))
                   ELSE coalesce((SELECT E'Filters:\n\n' || string_agg(format(E'- `%s`: %s\n', f.name, f.description), '' ORDER BY f.name) || E'\n'
                                    FROM walwarden_internal.rest_filter AS f WHERE f.operation = o.operation), '') END,
              concat_ws(', ', o.success_status,
                  CASE WHEN o.list_field IS NOT NULL THEN format('`{"%s": [...], "pageInfo": {...}}`, items: [%s](#%s)', o.list_field, o.response, lower(o.response))
                       WHEN o.response = 'OpenApi' THEN 'an OpenAPI 3.1 document'
                       WHEN o.response IS NOT NULL THEN format('[%s](#%s)', o.response, lower(o.response))
                       ELSE 'no body' END,
                  '`Location: /api/v1' || CASE WHEN o.in_org THEN '/orgs/{org}' ELSE '' END || o.location || '`'))
       || CASE o.caller WHEN 'sso' THEN '' ELSE format(E'\n```sh\ncurl %s"$URL%s"%s%s\n```\n',
              CASE o.method WHEN 'GET' THEN '' ELSE format('-X %s ', o.method) END,
              regexp_replace(o.path, '[{](\w+)[}]', '$\1', 'g'),
              CASE o.caller WHEN 'anyone' THEN '' WHEN 'person' THEN ' -b "__Host-walwarden=$SESSION"' ELSE ' -H "Authorization: Bearer $TOKEN"' END,
              CASE WHEN o.request IS NULL THEN ''
                   WHEN o.request = 'Nothing' AND NOT o.takes_key THEN ''
                   WHEN o.request = 'Nothing' THEN ' -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)"'
                   ELSE E' \\\n    ' || CASE WHEN o.takes_key THEN '-H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" ' ELSE '' END || '-H "Content-Type: application/json" -d '''
                        || regexp_replace(regexp_replace(replace(jsonb_pretty(walwarden_internal.schema_example(walwarden_internal.schema(o.request))::jsonb), '"<64 hex digits>"', '"''$CODE''"'),
                                                         '"(\w+Id)": "[^"]{36}"', '"\1": "''$\1''"', 'g'),
                                          '"(\w+Id)s": \[\s*"[^"]{36}"\s*\]', '"\1s": ["''$\1''"]', 'g') || '''' END) END
  FROM walwarden_internal.rest_operation AS o
 ORDER BY array_position('{anyone,sso,person}', o.caller) DESC NULLS FIRST, o.stage, o.path, array_position('{GET,POST,PATCH,DELETE}', o.method);
