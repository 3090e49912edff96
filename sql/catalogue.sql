-- Golden: every object of the extension with its owner's decision about it.
-- A change of this output is a change of what somebody may do: review it so.
\set ECHO none
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION walwarden CASCADE;
\set QUIET off
\set ECHO queries

-- schemas: everything stands in these two
SELECT nspname, pg_get_userbyid(nspowner) = current_user AS mine,
       array_to_string(array_remove(ARRAY(SELECT a::text FROM unnest(nspacl) AS a ORDER BY (a::text COLLATE "C")), NULL), ' ')
           ~ ('=U/' || current_user) AS public_usage
  FROM pg_namespace WHERE nspname LIKE 'walwarden%' ORDER BY nspname COLLATE "C";

SELECT count(*) AS objects_elsewhere
  FROM pg_depend AS d
  JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'walwarden'
  LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
 WHERE d.deptype = 'e' AND d.classid <> 'pg_namespace'::regclass
   AND coalesce(p.pronamespace, c.relnamespace, t.typnamespace)::regnamespace::text NOT IN ('walwarden', 'walwarden_internal', 'walwarden_rest');

-- functions that PUBLIC may execute
SELECT p.oid::regprocedure AS function, l.lanname AS lang, p.provolatile AS vol, p.proparallel AS par,
       p.proisstrict AS strict, p.prosecdef AS definer, p.proconfig AS settings
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace)
   AND has_function_privilege('public', p.oid, 'execute')
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- functions that only the owner may execute
SELECT p.oid::regprocedure AS function, l.lanname AS lang, p.provolatile AS vol, p.proparallel AS par,
       p.proisstrict AS strict, p.prosecdef AS definer, p.proconfig AS settings
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace)
   AND NOT has_function_privilege('public', p.oid, 'execute')
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- functions that run SQL and pin no search_path: bodies that are parsed at
-- installation (BEGIN ATOMIC) need none, C runs no SQL
SELECT p.oid::regprocedure AS unpinned
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace)
   AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
   AND (p.proconfig IS NULL OR NOT 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig))
 ORDER BY 1;

-- tables and views, and what anyone but the owner may do with them
SELECT c.oid::regclass AS relation, c.relkind AS kind, c.reloptions AS options,
       concat_ws(' ', CASE WHEN has_table_privilege('public', c.oid, 'select') THEN 'SELECT' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'insert') THEN 'INSERT' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'update') THEN 'UPDATE' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'delete') THEN 'DELETE' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'truncate') THEN 'TRUNCATE' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'references') THEN 'REFERENCES' END,
                      CASE WHEN has_table_privilege('public', c.oid, 'trigger') THEN 'TRIGGER' END) AS public
  FROM pg_class AS c
 WHERE c.relnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace) AND c.relkind IN ('r', 'v', 'S', 'm')
 ORDER BY c.oid::regclass::text COLLATE "C";

-- grants to anyone but the owner and PUBLIC
SELECT count(*) AS named_grants
  FROM (SELECT proacl AS acl, proowner AS owner FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'walwarden%'
        UNION ALL
        SELECT relacl, relowner FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'walwarden%') AS o,
       aclexplode(o.acl) AS a
 WHERE a.grantee NOT IN (0, o.owner);

-- columns
SELECT a.attrelid::regclass AS relation, a.attnum AS n, a.attname, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS nn, CASE WHEN a.attcollation = 950 THEN 'C' END AS coll
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid::regclass::text COLLATE "C", a.attnum;

-- constraints and indexes
SELECT k.conrelid::regclass AS relation, k.conname, pg_get_constraintdef(k.oid) AS definition
  FROM pg_constraint AS k
 WHERE k.connamespace = 'walwarden_internal'::regnamespace AND k.contype IN ('c', 'f', 'p', 'u')
 ORDER BY k.conrelid::regclass::text COLLATE "C", k.conname COLLATE "C";

-- what verification compares: the same on every server
SELECT s.relation, s.kind, s.name, s.definition
  FROM walwarden_internal.table_structure AS s
 WHERE s.kind NOT IN ('object', 'column') OR s.kind = 'column' AND s.definition ~ 'DEFAULT'
 ORDER BY s.relation, s.kind, s.name;
SELECT * FROM walwarden_internal.alterations() AS altered;

-- triggers of this extension: all ENABLE ALWAYS
SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgenabled AS enabled, t.tgfoid::regproc AS function
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND NOT t.tgisinternal
 ORDER BY t.tgrelid::regclass::text COLLATE "C", t.tgname COLLATE "C";

-- what a dump keeps
SELECT unnest(extconfig)::regclass AS dumped, unnest(extcondition) AS condition
  FROM pg_extension WHERE extname = 'walwarden';

-- settings
SELECT walwarden.has_scope('load the library') AS loaded;
SELECT name, setting, unit, context, boot_val FROM pg_settings WHERE name LIKE 'walwarden.%' ORDER BY name COLLATE "C";

-- every public object has a comment; that of a function has its errors, by SQLSTATE, and an example
SELECT p.oid::regprocedure AS without_errors_and_example
  FROM pg_proc AS p
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_rest'::regnamespace)
   AND coalesce(obj_description(p.oid, 'pg_proc'), '') !~ '^[^ ].* Errors: (none|[0-9A-Z]{5})\M.* Example: .'
 ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS without_comment
  FROM pg_class AS c
 WHERE c.relnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace) AND c.relkind IN ('r', 'v')
   AND obj_description(c.oid, 'pg_class') IS NULL
 ORDER BY c.relname COLLATE "C";
-- and every number, interval, JSON and string of bytes says what it counts or holds
SELECT a.attrelid::regclass AS relation, a.attname AS without_comment
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
 WHERE (c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r' OR c.relnamespace = 'walwarden'::regnamespace) AND a.attnum > 0
   AND a.atttypid IN ('integer'::regtype, 'bigint'::regtype, 'interval'::regtype, 'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
   AND col_description(c.oid, a.attnum) IS NULL
 ORDER BY c.relname COLLATE "C", a.attnum;

-- the data of the catalogues
SELECT name, capabilities, scopes FROM walwarden_internal.role ORDER BY name;
SELECT action, target, any_of FROM walwarden_internal.permission ORDER BY action, target;
SELECT name, builtin FROM walwarden_internal.scope ORDER BY name;
SELECT name, api_tokens FROM walwarden_internal.plan ORDER BY name;
SELECT method, path, operation, required_scope, success_status, stage, tag FROM walwarden_internal.rest_operation ORDER BY path, method;
SELECT reason, status FROM walwarden_internal.rest_reason ORDER BY status, reason;
