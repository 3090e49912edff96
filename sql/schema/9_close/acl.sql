-- Revokes everything from everyone but the owner. The grants of each wing follow, one file
-- per wing: PUBLIC gets the doors, which check their caller, and the identity functions. An
-- object that is not listed there stays closed.

REVOKE ALL ON SCHEMA walwarden, walwarden_internal, walwarden_rest FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA walwarden, walwarden_internal FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden, walwarden_internal, walwarden_rest FROM PUBLIC;

-- Default privileges of the installing role may have granted rights to other roles.
DO $$
DECLARE
    opened record;
BEGIN
    FOR opened IN
        SELECT 'SCHEMA' AS kind, format('%I', n.nspname) AS object, n.nspacl AS acl, n.nspowner AS owner
          FROM pg_namespace AS n
         WHERE n.nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest')
        UNION ALL
        SELECT 'TABLE', format('%I.%I', n.nspname, r.relname), r.relacl, r.relowner
          FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest') AND r.relkind IN ('r', 'v')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proacl, p.proowner
          FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest')
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text, t.typacl, t.typowner
          FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest') AND (t.typrelid <> 0 OR t.typtype = 'd')
    LOOP
        EXECUTE (SELECT coalesce(string_agg(format('REVOKE ALL ON %s %s FROM %s;', opened.kind, opened.object, a.grantee::regrole), ' '), 'SELECT')
                   FROM aclexplode(opened.acl) AS a
                  WHERE a.grantee NOT IN (0, opened.owner));
    END LOOP;
END
$$;

-- If others could have a column of a view's row type, the view could not grow in an
-- update.
REVOKE ALL ON TYPE walwarden.token_list, walwarden.stat_auth, walwarden.stat_tokens, walwarden.stat_chains, walwarden.stat_alarms, walwarden.stat_jobs, walwarden.stat_progress, walwarden.stat_grants FROM PUBLIC;
-- Nor do functions of others return what goes to a browser as it is.
REVOKE ALL ON TYPE walwarden_rest."*/*" FROM PUBLIC;

-- pg_dump does not dump the rights of row types, and warns about their initial ones.
DELETE FROM pg_init_privs AS i
 USING pg_type AS t
  JOIN pg_class AS r ON r.oid = t.typrelid AND r.relkind <> 'c'
 WHERE i.classoid = 'pg_type'::regclass AND i.objoid = t.oid
   AND t.typnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace);
