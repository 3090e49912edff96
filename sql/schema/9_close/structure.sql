-- The structure of the tables and the objects of the extension as installed, and what
-- differs from it now. The structure decides which rows can be read and written, so both
-- verifiers report differences.

-- The columns, constraints and indexes as installed, and the objects of the extension.
-- 9_close/guard.sql fills the table. relation: of an object, its catalogue. definition: as
-- present_structure() describes it.
CREATE TABLE walwarden_internal.table_structure (
    relation   name NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY (relation, kind, name)
);
COMMENT ON TABLE walwarden_internal.table_structure IS 'The columns, constraints and indexes of the tables, and the objects of the extension, as installed. Built in, immutable.';

INSERT INTO walwarden_internal.guard
SELECT g.* FROM walwarden_internal.catalogue_guards('table_structure') AS g;

-- An expression without spaces, which another major version may print differently. Constants
-- in quotes stay as they are. The caller pins the settings that print them.
CREATE FUNCTION walwarden_internal.terms(expression pg_node_tree, relation oid) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT regexp_replace(pg_get_expr(expression, relation), '(''(?:[^'']|'''')*'')|[[:space:]]+', E'\\1', 'g');
    END;

-- A collation or operator class with its schema: another schema can have one of the same name.
CREATE FUNCTION walwarden_internal.qualified(class oid, object oid) RETURNS text
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE class
               WHEN 'pg_collation'::regclass THEN (SELECT format('%I.%I', n.nspname, c.collname)
                   FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace WHERE c.oid = object)
               WHEN 'pg_opclass'::regclass THEN (SELECT format('%I.%I', n.nspname, o.opcname)
                   FROM pg_opclass AS o JOIN pg_namespace AS n ON n.oid = o.opcnamespace WHERE o.oid = object)
           END
$$;

-- The name of an object in a message.
CREATE FUNCTION walwarden_internal.object_identity(class oid, object oid) RETURNS text
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.type || ' ' || i.identity FROM pg_identify_object(class, object, 0) AS i
$$;

-- The present objects of the extension. definition: the attributes of a function, and the
-- options of a view. The types of tables and arrays come and go with these, and servers
-- differ in whether the extension contains them. catalogue_installed() contains the
-- digest of this list.
CREATE FUNCTION walwarden_internal.present_objects() RETURNS SETOF walwarden_internal.table_structure
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off
AS $$
BEGIN
    RETURN QUERY
    SELECT c.relname, 'object', o.name,
           concat_ws(' ', p.prokind, l.lanname, p.provolatile, p.proparallel, CASE WHEN p.proisstrict THEN 'STRICT' END,
                     CASE WHEN p.proleakproof THEN 'LEAKPROOF' END, CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
                     CASE WHEN p.proretset THEN 'SETOF' END, p.prorettype::regtype, nullif(p.prosupport::oid, 0)::regproc,
                     -- stored as quote_all_identifiers was at installation
                     (SELECT string_agg(replace(s.setting, 'search_path="pg_catalog", "pg_temp"', 'search_path=pg_catalog, pg_temp'), '; ' ORDER BY s.n)
                        FROM unnest(p.proconfig) WITH ORDINALITY AS s(setting, n)),
                     CASE WHEN r.relkind <> 'r' THEN concat_ws(' ', r.relkind, array_to_string(r.reloptions, ' ')) END)
      FROM pg_extension AS e
      JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
      JOIN pg_class AS c ON c.oid = d.classid
     CROSS JOIN LATERAL (SELECT walwarden_internal.object_identity(d.classid, d.objid)) AS o(name)
      LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
      LEFT JOIN pg_language AS l ON l.oid = p.prolang
      LEFT JOIN pg_class AS r ON d.classid = 'pg_class'::regclass AND r.oid = d.objid
     WHERE e.extname = 'walwarden'
       AND r.relkind IS DISTINCT FROM 'c'
       AND NOT (d.classid = 'pg_type'::regclass
                AND EXISTS (SELECT FROM pg_type AS t
                              LEFT JOIN pg_class AS f ON f.oid = t.typrelid
                              LEFT JOIN pg_type AS e ON e.oid = t.typelem
                             WHERE t.oid = d.objid AND (f.relkind <> 'c' OR e.typarray = t.oid)))
       AND o.name <> 'function walwarden_internal.catalogue_installed()';
END
$$;

-- The present columns, constraints and indexes of the tables, described by names:
-- a restore changes OIDs. NOT NULL is a property of the column here, also on servers where
-- it is a constraint. And the present objects.
CREATE FUNCTION walwarden_internal.present_structure() RETURNS SETOF walwarden_internal.table_structure
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC'                -- these four print constants and names
    SET DateStyle = 'ISO, YMD'
    SET IntervalStyle = 'postgres'
    SET quote_all_identifiers = off
AS $$
BEGIN
    RETURN QUERY
    WITH relation AS (
        SELECT r.oid, r.relname AS name
          FROM pg_class AS r
         WHERE r.relnamespace = 'walwarden_internal'::regnamespace AND r.relkind IN ('r', 'c')
    )
    SELECT o.* FROM walwarden_internal.present_objects() AS o
    UNION ALL
    SELECT r.name, 'column', a.attname::text,
           concat_ws(' ', a.attnum, n.nspname || '.' || t.typname, nullif(a.atttypmod, -1), walwarden_internal.qualified('pg_collation'::regclass, nullif(a.attcollation, 0)),
                     CASE WHEN a.attnotnull THEN 'NOT NULL' END, nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                     'DEFAULT ' || walwarden_internal.terms(d.adbin, d.adrelid))
      FROM relation AS r
      JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type AS t ON t.oid = a.atttypid
      JOIN pg_namespace AS n ON n.oid = t.typnamespace
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT r.name, 'constraint', k.conname::text,
           concat_ws(' ', k.contype,
                     (SELECT format('(%s)', string_agg(a.attname, ', ' ORDER BY c.n))
                        FROM unnest(k.conkey) WITH ORDINALITY AS c(attnum, n)
                        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = c.attnum),
                     walwarden_internal.terms(k.conbin, k.conrelid),
                     -- a foreign key: the other table, the operators, the actions, and the number of its triggers' functions
                     CASE WHEN k.contype = 'f' THEN
                         concat_ws(' ', n.nspname || '.' || o.relname,
                                   (SELECT format('(%s)', string_agg(a.attname, ', ' ORDER BY c.n))
                                      FROM unnest(k.confkey) WITH ORDINALITY AS c(attnum, n)
                                      JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = c.attnum),
                                   (SELECT string_agg(DISTINCT p::regoperator::text, ', ') FROM unnest(k.conpfeqop || k.conppeqop || k.conffeqop) AS o(p)),
                                   k.confmatchtype, k.confupdtype, k.confdeltype,
                                   (SELECT count(DISTINCT g.tgfoid) FROM pg_trigger AS g WHERE g.tgconstraint = k.oid)) END,
                     CASE WHEN k.condeferrable THEN 'DEFERRABLE' END,
                     CASE WHEN k.condeferred THEN 'INITIALLY DEFERRED' END,
                     CASE WHEN NOT k.convalidated THEN 'NOT VALID' END)
      FROM relation AS r
      JOIN pg_constraint AS k ON k.conrelid = r.oid AND k.contype <> 'n'
      LEFT JOIN pg_class AS o ON o.oid = k.confrelid
      LEFT JOIN pg_namespace AS n ON n.oid = o.relnamespace
    UNION ALL
    SELECT r.name, 'index', x.relname::text,
           concat_ws(' ', CASE WHEN i.indisunique THEN 'UNIQUE' END, CASE WHEN i.indnullsnotdistinct THEN 'NULLS NOT DISTINCT' END,
                     m.amname,
                     (SELECT format('(%s)', string_agg(concat_ws(' ', coalesce(a.attname, 'expression'),
                                                                 walwarden_internal.qualified('pg_opclass'::regclass, i.indclass[c.n - 1]),
                                                                 walwarden_internal.qualified('pg_collation'::regclass, nullif(i.indcollation[c.n - 1], 0))),
                                                       ', ' ORDER BY c.n))
                        FROM unnest(i.indkey) WITH ORDINALITY AS c(attnum, n)
                        LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = c.attnum
                       WHERE c.n <= i.indnkeyatts),
                     walwarden_internal.terms(i.indexprs, i.indrelid),
                     'WHERE ' || walwarden_internal.terms(i.indpred, i.indrelid),
                     CASE WHEN NOT i.indimmediate THEN 'DEFERRABLE' END,
                     -- the server records no dependency on built-in objects
                     CASE WHEN EXISTS (SELECT FROM pg_depend AS d
                                        WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                          AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_collation'::regclass))
                          THEN 'CUSTOM' END,
                     CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'INVALID' END)
      FROM relation AS r
      JOIN pg_index AS i ON i.indrelid = r.oid
      JOIN pg_class AS x ON x.oid = i.indexrelid
      JOIN pg_am AS m ON m.oid = x.relam;
END
$$;

-- Whether a trigger is one of the four of a foreign key, as the server makes them. The
-- server believes the row: an edit of any of these columns would turn the key off.
CREATE FUNCTION walwarden_internal.enforces(g pg_trigger, k pg_constraint) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(g.tgisinternal AND g.tgenabled IN ('O', 'A') AND k.contype = 'f'
                    AND g.tgdeferrable = k.condeferrable AND g.tginitdeferred = k.condeferred
                    AND g.tgnargs = 0 AND g.tgattr::text = '' AND num_nonnulls(g.tgqual, g.tgoldtable, g.tgnewtable) = 0
                    AND p.pronamespace = 'pg_catalog'::regnamespace AND l.lanname = 'internal' AND p.prosrc = p.proname
                    AND (p.proname::text, g.tgtype::integer, g.tgrelid, g.tgconstrrelid) IN (
                        ('RI_FKey_check_ins', 1 + 4, k.conrelid, k.confrelid),
                        ('RI_FKey_check_upd', 1 + 16, k.conrelid, k.confrelid),
                        (format('RI_FKey_%s_del', a.names ->> k.confdeltype::text), 1 + 8, k.confrelid, k.conrelid),
                        (format('RI_FKey_%s_upd', a.names ->> k.confupdtype::text), 1 + 16, k.confrelid, k.conrelid)), false)
      FROM pg_proc AS p
      JOIN pg_language AS l ON l.oid = p.prolang,
           (VALUES ('{"a": "noaction", "r": "restrict", "c": "cascade", "n": "setnull", "d": "setdefault"}'::jsonb)) AS a(names)
     WHERE p.oid = g.tgfoid
$$;

-- All differences between the objects around the tables and the installation, one reason
-- per row.
-- The administrator may choose storage, statistics and settings of tables, and add indexes
-- that only speed up queries. The bodies of functions and views are not compared, only
-- their attributes.
CREATE FUNCTION walwarden_internal.alterations() RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- triggers are compared as text
    SET work_mem = '4MB'                -- enough for all of it without temporary files
    SET jit = off                       -- compiling would take longer than running
AS $$
BEGIN
    RETURN QUERY
    WITH extension AS (
        SELECT e.oid, e.extowner AS owner FROM pg_extension AS e WHERE e.extname = 'walwarden'
    ), schema AS MATERIALIZED (
        SELECT n.oid, n.nspname AS name, n.nspowner AS owner, n.nspacl AS acl
          FROM pg_namespace AS n
         WHERE n.nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest')
    ), relation AS MATERIALIZED (
        SELECT r.oid, format('%I.%I', s.name, r.relname) AS name, s.name AS schema, r.relname, r.relkind, r.relpersistence,
               r.relrowsecurity, r.relforcerowsecurity, r.relhastriggers, r.relhasindex, r.relchecks, r.relowner AS owner, r.relacl AS acl
          FROM pg_class AS r JOIN schema AS s ON s.oid = r.relnamespace
         WHERE r.relkind NOT IN ('i', 'I', 'c')
    ), routine AS MATERIALIZED (
        SELECT p.oid, p.proowner AS owner, p.proacl AS acl, p.prosecdef, p.proconfig, p.prosqlbody, l.lanname AS language
          FROM pg_proc AS p JOIN schema AS s ON s.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
    ), object AS MATERIALIZED (     -- objects with an owner and privileges
        SELECT 'pg_namespace'::regclass AS class, s.oid, s.owner, s.acl FROM schema AS s
        UNION ALL
        SELECT 'pg_class'::regclass, r.oid, r.owner, r.acl FROM relation AS r
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid, p.owner, p.acl FROM routine AS p
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, t.typowner, t.typacl FROM pg_type AS t JOIN schema AS s ON s.oid = t.typnamespace
    ), inside AS (      -- everything that has a schema; tables and arrays bring their types along
        SELECT a.class, a.oid
          FROM (SELECT 'pg_class'::regclass AS class, r.oid, s.oid AS schema FROM relation AS r, schema AS s WHERE s.name = r.schema
                UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc AS p
                UNION ALL SELECT 'pg_type'::regclass, t.oid, t.typnamespace FROM pg_type AS t
                           WHERE NOT EXISTS (SELECT FROM pg_class AS r WHERE r.oid = t.typrelid AND r.relkind <> 'c')
                             AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.oid = t.typelem AND e.typarray = t.oid)
                UNION ALL SELECT 'pg_operator'::regclass, o.oid, o.oprnamespace FROM pg_operator AS o
                UNION ALL SELECT 'pg_opclass'::regclass, c.oid, c.opcnamespace FROM pg_opclass AS c
                UNION ALL SELECT 'pg_opfamily'::regclass, f.oid, f.opfnamespace FROM pg_opfamily AS f
                UNION ALL SELECT 'pg_collation'::regclass, c.oid, c.collnamespace FROM pg_collation AS c
                UNION ALL SELECT 'pg_conversion'::regclass, c.oid, c.connamespace FROM pg_conversion AS c
                UNION ALL SELECT 'pg_statistic_ext'::regclass, x.oid, x.stxnamespace FROM pg_statistic_ext AS x
                UNION ALL SELECT 'pg_ts_config'::regclass, c.oid, c.cfgnamespace FROM pg_ts_config AS c
                UNION ALL SELECT 'pg_ts_dict'::regclass, d.oid, d.dictnamespace FROM pg_ts_dict AS d
                UNION ALL SELECT 'pg_ts_parser'::regclass, p.oid, p.prsnamespace FROM pg_ts_parser AS p
                UNION ALL SELECT 'pg_ts_template'::regclass, t.oid, t.tmplnamespace FROM pg_ts_template AS t
                UNION ALL SELECT 'pg_extension'::regclass, e.oid, e.extnamespace FROM pg_extension AS e) AS a
         WHERE a.schema IN (SELECT s.oid FROM schema AS s)
    )
    -- triggers
    SELECT format('trigger %s on walwarden_internal.%s is missing, altered or not ENABLE ALWAYS', p.trigger, p.relation)
      FROM walwarden_internal.protecting_trigger AS p
     WHERE NOT EXISTS (SELECT FROM relation AS r JOIN pg_trigger AS g ON g.tgrelid = r.oid
                        WHERE r.schema = 'walwarden_internal' AND r.relname = p.relation AND g.tgname = p.trigger
                          AND g.tgenabled = 'A' AND pg_get_triggerdef(g.oid) = p.definition)
    UNION ALL
    SELECT CASE WHEN k.contype = 'f' THEN format('trigger of constraint %s on %s is disabled or altered', k.conname, r.name)
                ELSE format('trigger %s was added to %s', g.tgname, r.name) END
      FROM relation AS r
      JOIN pg_trigger AS g ON g.tgrelid = r.oid
      LEFT JOIN pg_constraint AS k ON k.oid = g.tgconstraint
     WHERE NOT EXISTS (SELECT FROM walwarden_internal.guard AS w
                        WHERE r.schema = 'walwarden_internal' AND w.relation = r.relname AND w.trigger = g.tgname)
       AND NOT walwarden_internal.enforces(g, k)
    UNION ALL
    -- objects, columns, constraints and indexes; REINDEX CONCURRENTLY adds an index with the same definition
    SELECT CASE WHEN s.kind = 'object' AND i.name IS NULL THEN format('%s was added to the extension', s.name)
                WHEN i.kind = 'object' THEN format('%s is missing from the extension, or altered', i.name)
                WHEN i.name IS NULL THEN format('%s %s was added to walwarden_internal.%s', s.kind, s.name, s.relation)
                ELSE format('%s %s of walwarden_internal.%s is missing, altered or %s', i.kind, i.name, i.relation,
                            CASE i.kind WHEN 'constraint' THEN 'not validated' WHEN 'index' THEN 'invalid' ELSE 'moved' END) END
      FROM walwarden_internal.present_structure() AS s
      FULL JOIN walwarden_internal.table_structure AS i ON i.relation = s.relation AND i.kind = s.kind AND i.name = s.name
     WHERE i.definition IS DISTINCT FROM s.definition
       AND (i.name IS NOT NULL OR s.kind <> 'index'
            OR s.definition ~ '^UNIQUE | CUSTOM'
               AND NOT EXISTS (SELECT FROM walwarden_internal.table_structure AS k
                                WHERE k.relation = s.relation AND k.kind = s.kind AND k.definition = regexp_replace(s.definition, ' INVALID$', '')))
    UNION ALL
    SELECT 'the built-in catalogues are not as they were installed'
     WHERE walwarden_internal.catalogue_digest() <> walwarden_internal.catalogue_installed()
    UNION ALL
    -- other objects that decide which rows are read and written
    SELECT format('rule %s was added to %s', w.rulename, r.name)
      FROM relation AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid
     WHERE r.relkind <> 'v' OR w.rulename <> '_RETURN'
    UNION ALL
    SELECT format('policy %s was added to %s', p.polname, r.name)
      FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    UNION ALL
    SELECT format('row security is %s on %s', CASE WHEN r.relforcerowsecurity THEN 'forced' ELSE 'enabled' END, r.name)
      FROM relation AS r
     WHERE r.relrowsecurity OR r.relforcerowsecurity
    UNION ALL
    SELECT format('%s inherits from %s', h.inhrelid::regclass, h.inhparent::regclass)
      FROM relation AS r JOIN pg_inherits AS h ON r.oid IN (h.inhrelid, h.inhparent)
    UNION ALL
    -- it could keep rows from being deleted
    SELECT format('foreign key %s of %s refers to %s', k.conname, k.conrelid::regclass, r.name)
      FROM relation AS r JOIN pg_constraint AS k ON k.confrelid = r.oid
     WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT o.oid FROM relation AS o)
    UNION ALL
    SELECT format('table %s is unlogged', r.name) FROM relation AS r WHERE r.relkind = 'r' AND r.relpersistence <> 'p'
    UNION ALL
    SELECT format('pg_class hides triggers, indexes or constraints of %s', r.name)
      FROM relation AS r
     WHERE r.relkind = 'r'
       AND (NOT r.relhastriggers AND EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = r.oid)
            OR NOT r.relhasindex AND EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = r.oid)
            OR r.relchecks <> (SELECT count(*) FROM pg_constraint AS k WHERE k.conrelid = r.oid AND k.contype = 'c'))
    UNION ALL
    -- objects and their owners
    SELECT 'the owner of the extension is not a superuser'
      FROM extension AS e JOIN pg_roles AS a ON a.oid = e.owner
     WHERE NOT a.rolsuper
    UNION ALL
    SELECT format('%s was added', walwarden_internal.object_identity(o.class, o.oid))
      FROM inside AS o
     WHERE (o.class, o.oid) NOT IN (SELECT d.classid, d.objid
                                      FROM pg_depend AS d
                                     WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT e.oid FROM extension AS e) AND d.deptype = 'e')
    UNION ALL
    SELECT format('%s does not belong to the owner of the extension', walwarden_internal.object_identity(o.class, o.oid))
      FROM extension AS e JOIN object AS o ON o.owner <> e.owner
    UNION ALL
    SELECT format('function %s is SECURITY DEFINER', p.oid::regprocedure) FROM routine AS p WHERE p.prosecdef
    UNION ALL
    SELECT format('function %s does not pin its search_path', p.oid::regprocedure)
      FROM routine AS p
     WHERE p.language IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
       -- stored as quote_all_identifiers was at installation; quotes around both are one schema
       AND ((SELECT string_agg(c.setting, ' ') FROM unnest(p.proconfig) AS c(setting) WHERE starts_with(lower(c.setting), 'search_path='))
            IN ('search_path=pg_catalog, pg_temp', 'search_path="pg_catalog", "pg_temp"')) IS NOT TRUE
    UNION ALL
    -- a copy of the database does not have the settings that keep tokens out of its log
    SELECT m.reason FROM walwarden_internal.role_grant AS g, walwarden_internal.missing_settings(g) AS m(reason)
    UNION ALL
    -- a role that was dropped: pg_dump writes its OID, and the dump does not restore
    SELECT format('privileges on %s name role %s, which does not exist', walwarden_internal.object_identity(o.class, o.oid), w.role)
      FROM object AS o
     CROSS JOIN LATERAL (SELECT o.acl UNION ALL SELECT i.initprivs FROM pg_init_privs AS i WHERE i.classoid = o.class AND i.objoid = o.oid) AS r(acl)
     CROSS JOIN LATERAL aclexplode(r.acl) AS x
     CROSS JOIN LATERAL (VALUES (x.grantor), (x.grantee)) AS w(role)
     WHERE w.role <> 0 AND NOT EXISTS (SELECT FROM pg_roles AS a WHERE a.oid = w.role);
END
$$;

-- The one that verification reports: the first in alphabetical order.
CREATE FUNCTION walwarden_internal.first_alteration() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(a.reason COLLATE "C") FROM walwarden_internal.alterations() AS a(reason)
$$;
