-- Listing the grants to server roles, and whether each still holds.

-- The value of a setting that a role has in this database by ALTER ROLE; NULL if none.
CREATE FUNCTION walwarden_internal.role_setting(role name, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(c.entry, length($2) + 2)
      FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c(entry)
     WHERE s.setrole = (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = $1) AND starts_with(c.entry, $2 || '=')
       AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
     ORDER BY s.setdatabase DESC LIMIT 1
$$;

-- The settings of a grant that its role does not have here, one reason a row.
CREATE FUNCTION walwarden_internal.missing_settings(g walwarden_internal.role_grant) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT format('setting %s of role %s is not %s in this database', s.name, walwarden_internal.shown(n.role), s.value)
      FROM walwarden_internal.settings_role(g) AS n(role), walwarden_internal.login_settings() AS s
     WHERE n.role IS NOT NULL AND g.revoked_at IS NULL AND s.known
       AND walwarden_internal.server_role_holds(n.role, CASE g.kind WHEN 'rest' THEN g.login_oid ELSE g.role_oid END, g.system_identifier)
       AND walwarden_internal.role_setting(n.role, s.name) IS DISTINCT FROM s.value;
END
$$;

-- Why a grant does not hold, one reason a row. A further check is a further branch.
CREATE FUNCTION walwarden_internal.grant_problems(g walwarden_internal.role_grant) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH named AS (     -- the roles that the grant names
        SELECT n.role, r.oid, r.rolsuper, walwarden_internal.server_role_problem(n.role, n.named_oid, g.system_identifier) AS problem
          FROM (VALUES (g.role, g.role_oid), (g.login, g.login_oid)) AS n(role, named_oid)
          LEFT JOIN pg_roles AS r ON r.rolname = n.role
         WHERE n.role IS NOT NULL
    )
    SELECT n.problem
      FROM named AS n
     WHERE n.problem IS NOT NULL
    UNION ALL
    -- a superuser is not honoured as an authenticator, and has more rights than the others need
    SELECT format('role %s is a superuser', walwarden_internal.shown(n.role))
      FROM named AS n
     WHERE n.rolsuper AND g.kind IN ('authenticator', 'rest', 'runner')
    UNION ALL
    SELECT format('role %s lacks a privilege that grant_rest() gives', walwarden_internal.shown(n.role))
      FROM named AS n
     WHERE g.kind = 'rest' AND n.role = g.role AND n.problem IS NULL
       AND (NOT has_schema_privilege(n.oid, 'walwarden_rest', 'USAGE')
            OR EXISTS (SELECT FROM pg_proc AS p
                        WHERE p.pronamespace = 'walwarden_rest'::regnamespace AND NOT has_function_privilege(n.oid, p.oid, 'EXECUTE')))
    UNION ALL
    SELECT * FROM walwarden_internal.missing_settings(g)
    UNION ALL
    -- a privilege that does nothing else
    SELECT format('role %s can be dropped while it is an operator', walwarden_internal.shown(n.role))
      FROM named AS n
     WHERE g.kind = 'operator' AND n.problem IS NULL
       AND NOT EXISTS (SELECT FROM pg_proc AS p, aclexplode(p.proacl) AS a
                        WHERE p.oid = 'walwarden_internal.stat_auth_door()'::regprocedure AND a.grantee = n.oid);
END
$$;

-- Whether a JWT must have more than a subject to identify a member.
CREATE FUNCTION walwarden_internal.claims_are_checked() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_claims_are_checked';

CREATE FUNCTION walwarden_internal.present_grants()
    RETURNS TABLE (kind text, role name, login name, granted_at timestamptz, agrees boolean, problem text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT g.kind, g.role, g.login, g.granted_at, p.problem IS NULL,
           coalesce(p.problem, CASE WHEN g.kind = 'authenticator' AND NOT walwarden_internal.claims_are_checked() THEN 'claims unchecked' END)
      FROM walwarden_internal.role_grant AS g
     CROSS JOIN LATERAL (SELECT string_agg(f.problem, '; ' ORDER BY f.problem)
                           FROM walwarden_internal.grant_problems(g) AS f(problem)) AS p(problem)
     WHERE g.revoked_at IS NULL
     ORDER BY g.kind, g.role
$$;

CREATE FUNCTION walwarden_internal.list_grants()
    RETURNS TABLE (kind text, role name, login name, granted_at timestamptz, agrees boolean, problem text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'server_role.list', 'any');
    RETURN QUERY SELECT * FROM walwarden_internal.present_grants();
END
$$;

CREATE FUNCTION walwarden.list_grants()
    RETURNS TABLE (kind text, role name, login name, granted_at timestamptz, agrees boolean, problem text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_grants() IS
'Lists the server roles that are authorised now. kind: operator, authenticator, rest, runner or monitor. login: the login role, for kind rest. agrees: whether the grant still holds. problem: why not; or claims unchecked, for an authenticator while neither walwarden.jwt_issuer nor walwarden.jwt_audience is set. If the role was renamed or dropped and another one has its name, check that one and call confirm_server_role(), or revoke the grant. If a setting of the login or a privilege is missing, call the grant function again. If the role does not exist in this server, create it, or revoke the grant. Superusers and members of pg_monitor have their rights without a grant and are not listed. For operators. Errors: 42501 if the caller is not an operator. Example: SELECT kind, role, problem FROM walwarden.list_grants() WHERE NOT agrees;';

CREATE FUNCTION walwarden_internal.stat_grants()
    RETURNS TABLE (kind text, role name, login name, granted_at timestamptz, agrees boolean, problem text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY SELECT * FROM walwarden_internal.present_grants();
END
$$;

CREATE FUNCTION walwarden_internal.stat_grants_door()
    RETURNS TABLE (kind text, role name, login name, granted_at timestamptz, agrees boolean, problem text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_grants_door() IS
'The door behind the view stat_grants. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT kind, role, problem FROM walwarden.stat_grants WHERE NOT agrees;';

CREATE VIEW walwarden.stat_grants AS
    SELECT * FROM walwarden_internal.stat_grants_door();
COMMENT ON VIEW walwarden.stat_grants IS 'The rows of list_grants(). For operators and monitors; other readers fail with 42501. Example: SELECT kind, role, problem FROM walwarden.stat_grants WHERE NOT agrees;';
COMMENT ON COLUMN walwarden.stat_grants.kind IS 'operator, authenticator, rest, runner or monitor';
COMMENT ON COLUMN walwarden.stat_grants.login IS 'the login role, for kind rest; otherwise NULL';
COMMENT ON COLUMN walwarden.stat_grants.agrees IS 'whether the grant still holds';
COMMENT ON COLUMN walwarden.stat_grants.problem IS 'why the grant does not hold, or claims unchecked; otherwise NULL';
