-- Grants to server roles: operator, trusted authenticator, REST role, runner, monitor. Five
-- pairs of doors use one table and one function. server_role.sql decides whether a stored
-- name is honoured.

-- Checks the caller and the roles, and stores a grant or its end, with the entry. Returns
-- whether anything changed. A superuser may be an operator or a monitor. An authenticator and
-- a REST role act for many people.
CREATE FUNCTION walwarden_internal.set_role_grant(event text, kind text, role name, login name, granted boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.role_grant;
    g walwarden_internal.role_grant;
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'server_role.grant', 'any');
    IF granted THEN
        PERFORM walwarden_internal.check_server_role(role, kind IN ('operator', 'monitor'));
        IF kind = 'rest' THEN
            PERFORM walwarden_internal.check_server_role(login, false);
        END IF;
        IF kind IN ('authenticator', 'rest') THEN
            PERFORM walwarden_internal.check_no_member(role);
        END IF;
    ELSIF role IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'server role is missing', 'Name a server role.');
    END IF;

    -- one at a time, because there may be no row to lock yet
    c := walwarden_internal.lock_system('server_role.grant');
    SELECT * INTO was FROM walwarden_internal.role_grant AS r WHERE r.kind = kind AND r.role = role;
    IF NOT granted AND was.kind IS NULL THEN    -- a role that had the grant may be gone
        PERFORM walwarden_internal.check_server_role(role, true);
    END IF;
    IF granted AND was.kind IS NOT NULL AND was.revoked_at IS NULL THEN
        PERFORM walwarden_internal.require_confirmed(role, was.role_oid, was.system_identifier);
        IF was.login = login THEN
            PERFORM walwarden_internal.require_confirmed(login, was.login_oid, was.system_identifier);
        END IF;
    END IF;
    IF granted = (was.kind IS NOT NULL AND was.revoked_at IS NULL)
       AND (NOT granted OR was.login IS NOT DISTINCT FROM login) THEN
        RETURN false;
    END IF;

    g := was;
    IF granted THEN
        g.kind := kind;
        g.role := role;
        g.login := login;
        g.role_oid := walwarden_internal.server_role_oid(role);
        g.login_oid := walwarden_internal.server_role_oid(login);
        g.system_identifier := walwarden_internal.system_identifier();
        g.granted_at := clock_timestamp();
        g.revoked_at := NULL;
    ELSE
        g.revoked_at := clock_timestamp();
    END IF;
    g.audit_seq := walwarden_internal.append(walwarden_internal.system_org(), event,
        walwarden_internal.change(walwarden_internal.actor('caller', c, NULL), 'grant', kind || ':' || role,
                          CASE WHEN was.kind IS NOT NULL THEN walwarden_internal.role_grant_image(was) END,
                          walwarden_internal.role_grant_image(g)));
    IF was.kind IS NULL THEN
        INSERT INTO walwarden_internal.role_grant SELECT g.*;
    ELSE
        UPDATE walwarden_internal.role_grant AS r
           SET login = g.login, granted_at = g.granted_at, revoked_at = g.revoked_at, audit_seq = g.audit_seq,
               role_oid = g.role_oid, login_oid = g.login_oid, system_identifier = g.system_identifier
         WHERE r.kind = kind AND r.role = role;
    END IF;
    RETURN true;
END
$$;

-- Validates a server role that is to get a grant.
CREATE FUNCTION walwarden_internal.check_server_role(role name, allow_superuser boolean) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'server role is missing',
            'Name a server role.');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
        PERFORM walwarden_internal.refuse('42704', format('server role %s does not exist', walwarden_internal.shown(role)),
            format('Check the name, or create the role first: CREATE ROLE %I.', btrim(walwarden_internal.shown(role), '"')));
    END IF;
    IF NOT allow_superuser AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role AND r.rolsuper) THEN
        PERFORM walwarden_internal.refuse('22023', format('server role %s is a superuser', walwarden_internal.shown(role)),
            'Use a separate role that has only the rights it needs.');
    END IF;
END
$$;

-- A role that acts for many people must not be the role of a member.
CREATE FUNCTION walwarden_internal.check_no_member(role name) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.member AS m WHERE m.db_role = check_no_member.role AND m.removed_at IS NULL) THEN
        PERFORM walwarden_internal.refuse('55000', format('server role %s belongs to a member', walwarden_internal.shown(role)),
            'Use a separate role. Authenticators and REST roles act for many people.');
    END IF;
END
$$;

-- The doors decide what an operator may do. The privilege only keeps the role from being
-- dropped while it is an operator. It is one on an inner function: from PostgreSQL 18 on,
-- GRANT waits for locks on its object, which any role can hold on a public one. A repeated
-- call restores a privilege that was revoked manually.
CREATE FUNCTION walwarden_internal.grant_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed boolean;
BEGIN
    changed := walwarden_internal.set_role_grant('operator.granted', 'operator', role, NULL, true);
    EXECUTE format('GRANT EXECUTE ON FUNCTION walwarden_internal.stat_auth_door() TO %I', role);
    RETURN changed;
END
$$;

-- Takes the privilege from every role that is no operator, also from one that was renamed.
CREATE FUNCTION walwarden_internal.take_operator_privileges() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    role name;
BEGIN
    FOR role IN
        SELECT r.rolname
          FROM pg_proc AS p, aclexplode(p.proacl) AS a
          JOIN pg_roles AS r ON r.oid = a.grantee
         WHERE p.oid = 'walwarden_internal.stat_auth_door()'::regprocedure AND a.grantee <> p.proowner
           AND NOT EXISTS (SELECT FROM walwarden_internal.role_grant AS g
                            WHERE g.kind = 'operator' AND g.revoked_at IS NULL AND g.role = r.rolname
                              AND walwarden_internal.server_role_holds(g.role, g.role_oid, g.system_identifier))
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION walwarden_internal.stat_auth_door() FROM %I', role);
    END LOOP;
END
$$;

CREATE FUNCTION walwarden_internal.revoke_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden_internal.set_role_grant('operator.revoked', 'operator', role, NULL, false) THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.take_operator_privileges();
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.trust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.set_role_grant('authenticator.trusted', 'authenticator', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden_internal.untrust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.set_role_grant('authenticator.untrusted', 'authenticator', role, NULL, false);
END
$$;

-- The settings that grant_rest() makes on the login, and grant_runner() on the role, in this
-- database alone. They keep parameters, including tokens, out of the server's log. known:
-- whether this server has the setting; pgaudit defines its own if it is loaded.
CREATE FUNCTION walwarden_internal.login_settings() RETURNS TABLE (name text, value text, known boolean)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name, s.value, current_setting(s.name, true) <> ''
      FROM (VALUES ('log_parameter_max_length', '0'),
                   ('log_parameter_max_length_on_error', '0'),
                   ('pgaudit.log_parameter', 'off'),
                   ('idle_in_transaction_session_timeout', '10s')) AS s(name, value)
$$;

-- The role on which a grant makes the settings; NULL if it makes none. A node logs in as its
-- role.
CREATE FUNCTION walwarden_internal.settings_role(g walwarden_internal.role_grant) RETURNS name
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE g.kind WHEN 'rest' THEN g.login WHEN 'runner' THEN g.role END
$$;

-- Makes the settings of a grant, also those that were changed manually. Returns whether one
-- was missing.
CREATE FUNCTION walwarden_internal.set_login(kind text, role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    g walwarden_internal.role_grant;
    missing boolean;
    setting record;
BEGIN
    SELECT * INTO g FROM walwarden_internal.role_grant AS r WHERE r.kind = kind AND r.role = role;
    missing := EXISTS (SELECT FROM walwarden_internal.missing_settings(g));
    FOR setting IN SELECT s.name, s.value FROM walwarden_internal.login_settings() AS s WHERE s.known LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I = %L', walwarden_internal.settings_role(g), current_database(), setting.name, setting.value);
    END LOOP;
    RETURN missing;
END
$$;

-- Resets the settings, if no other grant needs them.
CREATE FUNCTION walwarden_internal.release_login(login name) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    setting record;
BEGIN
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = login)
       AND NOT EXISTS (SELECT FROM walwarden_internal.role_grant AS g
                        WHERE walwarden_internal.settings_role(g) = login AND g.revoked_at IS NULL) THEN
        FOR setting IN SELECT s.name FROM walwarden_internal.login_settings() AS s LOOP
            EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET %I', login, current_database(), setting.name);
        END LOOP;
    END IF;
END
$$;

-- role gets only the entry points in schema walwarden_rest. The settings are made on login,
-- because SET ROLE does not apply the settings of a role.
CREATE FUNCTION walwarden_internal.grant_rest(role name, login name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before name;
    changed boolean;
    repaired boolean;
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'server_role.grant', 'any');     -- before a row is read
    SELECT g.login INTO before
      FROM walwarden_internal.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = grant_rest.role AND g.revoked_at IS NULL;
    changed := walwarden_internal.set_role_grant('rest.granted', 'rest', role, login, true);
    EXECUTE format('GRANT USAGE ON SCHEMA walwarden_rest TO %I', role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA walwarden_rest TO %I', role);
    repaired := walwarden_internal.set_login('rest', role);
    IF before <> login THEN
        PERFORM walwarden_internal.release_login(before);
    END IF;
    RETURN changed OR repaired;
END
$$;

CREATE FUNCTION walwarden_internal.revoke_rest(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given walwarden_internal.role_grant;
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'server_role.grant', 'any');     -- before a row is read
    SELECT * INTO given
      FROM walwarden_internal.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = revoke_rest.role AND g.revoked_at IS NULL;
    IF NOT walwarden_internal.set_role_grant('rest.revoked', 'rest', role, given.login, false) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = revoke_rest.role) THEN
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden_rest FROM %I', role);
        EXECUTE format('REVOKE ALL ON SCHEMA walwarden_rest FROM %I', role);
    END IF;
    PERFORM walwarden_internal.release_login(given.login);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.grant_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed boolean;
    repaired boolean;
BEGIN
    changed := walwarden_internal.set_role_grant('runner.granted', 'runner', role, NULL, true);
    repaired := walwarden_internal.set_login('runner', role);
    RETURN changed OR repaired;
END
$$;

CREATE FUNCTION walwarden_internal.revoke_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden_internal.set_role_grant('runner.revoked', 'runner', role, NULL, false) THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.release_login(role);
    RETURN true;
END
$$;

-- A row and no GRANT: a dump contains grants, and does not restore where the role is missing.
CREATE FUNCTION walwarden_internal.grant_monitor(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.set_role_grant('monitor.granted', 'monitor', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden_internal.revoke_monitor(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.set_role_grant('monitor.revoked', 'monitor', role, NULL, false);
END
$$;

CREATE FUNCTION walwarden_internal.confirm_server_role(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    here text := walwarden_internal.system_identifier();
    found_oid oid;
    grants text[];
    members uuid[];
    g walwarden_internal.role_grant;
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'server_role.confirm', 'any');
    PERFORM walwarden_internal.check_server_role(role, true);
    c := walwarden_internal.lock_system('server_role.confirm');
    found_oid := walwarden_internal.server_role_oid(role);
    SELECT array_agg(DISTINCT u.kind || ':' || u.granted_to) FILTER (WHERE u.member_id IS NULL), array_agg(u.member_id ORDER BY u.member_id) FILTER (WHERE u.member_id IS NOT NULL)
      INTO grants, members
      FROM walwarden_internal.server_role_use AS u
     WHERE u.role = role AND NOT walwarden_internal.server_role_holds(u.role, u.named_oid, u.named_in);

    -- two entries, because the name of a member's role is personal
    IF grants IS NOT NULL THEN
        PERFORM walwarden_internal.append(walwarden_internal.system_org(), 'server_role.confirmed',
            jsonb_build_object('actor', walwarden_internal.actor('caller', c), 'role', role, 'grants', grants));
        UPDATE walwarden_internal.role_grant AS r
           SET role_oid = CASE r.role WHEN role THEN found_oid ELSE r.role_oid END,
               login_oid = CASE r.login WHEN role THEN found_oid ELSE r.login_oid END
         WHERE r.kind || ':' || r.role = ANY (grants);
        -- privileges and settings belong to the OID: a repeated grant restores them
        FOR g IN SELECT * FROM walwarden_internal.role_grant AS r
                  WHERE r.kind || ':' || r.role = ANY (grants)
                    AND walwarden_internal.server_role_problem(r.role, r.role_oid, r.system_identifier) IS NULL
                    AND walwarden_internal.server_role_problem(r.login, r.login_oid, r.system_identifier) IS NULL LOOP
            CASE g.kind
                WHEN 'operator' THEN PERFORM walwarden_internal.grant_operator(g.role);
                WHEN 'rest' THEN PERFORM walwarden_internal.grant_rest(g.role, g.login);
                WHEN 'runner' THEN PERFORM walwarden_internal.grant_runner(g.role);
                ELSE NULL;
            END CASE;
        END LOOP;
        PERFORM walwarden_internal.take_operator_privileges();
    END IF;
    IF members IS NOT NULL THEN
        UPDATE walwarden_internal.member AS m SET db_role_oid = found_oid, system_identifier = here WHERE m.id = ANY (members);
        PERFORM walwarden_internal.append(walwarden_internal.system_org(), 'server_role.confirmed',
            jsonb_build_object('actor', walwarden_internal.actor('caller', c), 'members', members));
    END IF;
    RETURN grants IS NOT NULL OR members IS NOT NULL;
END
$$;

CREATE FUNCTION walwarden.grant_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_operator(name) IS
'Makes a server role an operator, who may act on every organisation. Members of the role become operators only by SET ROLE. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role does not exist, 22023 if the role is NULL, 55000 if the name was already authorised for another role: see confirm_server_role(). Example: SELECT walwarden.grant_operator(''ops'');';

CREATE FUNCTION walwarden.revoke_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_operator(name) IS
'Reverses grant_operator(). Call it before you drop the role; DROP ROLE fails while the role is an operator. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role neither exists nor had this right, 22023 if the role is NULL. Example: SELECT walwarden.revoke_operator(''ops'');';

CREATE FUNCTION walwarden.trust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.trust_authenticator(name) IS
'Trusts a login role whose sessions verify JWTs, such as PostgREST''s authenticator. In its sessions, a claim of request.jwt.claims identifies the calling member: the one that walwarden.subject_claim names, sub by default. Once walwarden.jwt_issuer or walwarden.jwt_audience is set, the claims must also have exp, and iss and aud as the two settings say. Anyone who can run their own SQL in such a session can claim to be any member. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role does not exist, 22023 if the role is a superuser or NULL, 55000 if the role belongs to a member, or if the name was already authorised for another role: see confirm_server_role(). Example: SELECT walwarden.trust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.untrust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.untrust_authenticator(name) IS
'Reverses trust_authenticator(). For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role neither exists nor had this right, 22023 if the role is NULL. Example: SELECT walwarden.untrust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.grant_rest(role name, login name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_rest(name, name) IS
'Authorises role, PostgREST''s anonymous role, to execute the entry points in schema walwarden_rest. On login, PostgREST''s login role, sets log_parameter_max_length = 0, log_parameter_max_length_on_error = 0, idle_in_transaction_session_timeout = 10s and, if pgaudit is loaded, pgaudit.log_parameter = off, in this database alone. A dump and CREATE DATABASE ... TEMPLATE do not copy these settings; list_grants() and verification report that they are missing, and a repeated call makes them again. revoke_rest() resets these settings, even if you made them before. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if a role does not exist, 22023 if a role is a superuser or NULL, 55000 if role belongs to a member, or if the name was already authorised for another role: see confirm_server_role(). Example: SELECT walwarden.grant_rest(''web_anon'', ''authenticator'');';

CREATE FUNCTION walwarden.revoke_rest(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_rest(name) IS
'Reverses grant_rest(), and resets the settings of its login role. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role neither exists nor had this right, 22023 if the role is NULL. Example: SELECT walwarden.revoke_rest(''web_anon'');';

CREATE FUNCTION walwarden.grant_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_runner(name) IS
'Authorises a server role to use the runner protocol, with a node token. Nodes log in as this role. In this database it gets the settings that grant_rest() makes on a login: they keep parameters, such as tokens, out of the server''s log, and end a transaction that is idle for 10 seconds. A repeated call restores them. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role does not exist, 22023 if the role is a superuser or NULL, 55000 if the name was already authorised for another role: see confirm_server_role(). Example: SELECT walwarden.grant_runner(''runner'');';

CREATE FUNCTION walwarden.revoke_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_runner(name) IS
'Reverses grant_runner(), and resets the settings of the role. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role neither exists nor had this right, 22023 if the role is NULL. Example: SELECT walwarden.revoke_runner(''runner'');';

CREATE FUNCTION walwarden.grant_monitor(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_monitor(name) IS
'Makes a server role a monitor, who may read the views whose names begin with stat_, and nothing else of walwarden. Members of the role become monitors only by SET ROLE. Operators and members of pg_monitor may read the views without it. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role does not exist, 22023 if the role is NULL. Example: SELECT walwarden.grant_monitor(''exporter'');';

CREATE FUNCTION walwarden.revoke_monitor(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_monitor(name) IS
'Reverses grant_monitor(). For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role neither exists nor had this right, 22023 if the role is NULL. Example: SELECT walwarden.revoke_monitor(''exporter'');';

CREATE FUNCTION walwarden.confirm_server_role(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.confirm_server_role(name) IS
'Confirms that a server role is to have the rights that are stored under its name. walwarden stores roles by name. If such a role is renamed, or dropped and created again, its name has none of these rights in this cluster until it is confirmed: as an operator, authenticator, REST role, its login, or runner, and as the database role of members in every organisation. Confirming also restores the privileges and settings of grant_operator(), grant_rest() and grant_runner(). The system chain records which grants and members it concerned. For superusers. Returns whether anything changed. Errors: 42501 if the caller is not a superuser, 42704 if the role does not exist, 22023 if the role is NULL. Example: SELECT walwarden.confirm_server_role(''ops'');';
