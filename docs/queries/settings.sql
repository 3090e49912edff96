-- Settings of the library, which defines them when it is loaded.
LOAD 'walwarden';
SELECT format(E'### %s\n\n| default | unit | values | context |\n|---|---|---|---|\n| %s | %s | %s | %s |\n\n%s\n',
              name, coalesce('`' || nullif(boot_val, '') || '`', 'empty'), unit,
              coalesce(min_val || ' to ' || max_val, CASE vartype WHEN 'bool' THEN 'on, off' ELSE vartype END), CASE name WHEN 'walwarden.max_limited_tokens' THEN 'postmaster' ELSE context END, -- not preloaded here
              concat_ws(' ', short_desc, extra_desc))
  FROM pg_settings
 WHERE name LIKE 'walwarden.%'
 ORDER BY name COLLATE "C";
