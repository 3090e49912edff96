-- What roles of the server may be: operator, trusted authenticator, REST role,
-- runner. Four pairs of doors over one table and one pair of functions.

CREATE FUNCTION walwarden._set_role_grant(
        c walwarden.caller, kind text, role name, login name, granted boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was walwarden.role_grant;
    g walwarden.role_grant;
    event text;
BEGIN
    -- one at a time: there may be no row to lock yet
    LOCK TABLE walwarden.role_grant IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO was FROM walwarden.role_grant AS r WHERE r.kind = kind AND r.role = role;
    IF granted = (was.kind IS NOT NULL AND was.revoked_at IS NULL)
       AND (NOT granted OR was.login IS NOT DISTINCT FROM login) THEN
        RETURN false;
    END IF;

    g := was;
    IF granted THEN
        g.kind := kind;
        g.role := role;
        g.login := login;
        g.granted_at := clock_timestamp();
        g.revoked_at := NULL;
    ELSE
        g.revoked_at := clock_timestamp();
    END IF;
    event := CASE WHEN kind = 'authenticator'
                  THEN CASE WHEN granted THEN 'authenticator.trusted' ELSE 'authenticator.untrusted' END
                  ELSE kind || CASE WHEN granted THEN '.granted' ELSE '.revoked' END END;

    g.audit_seq := walwarden._append(walwarden._system_org(), event,
        walwarden._change(walwarden._actor(c, NULL), 'grant', kind || ':' || role,
                          CASE WHEN was.kind IS NOT NULL THEN walwarden._role_grant_state(was) END,
                          walwarden._role_grant_state(g)));
    IF was.kind IS NULL THEN
        INSERT INTO walwarden.role_grant SELECT g.*;
    ELSE
        UPDATE walwarden.role_grant AS r
           SET login = g.login, granted_at = g.granted_at, revoked_at = g.revoked_at, audit_seq = g.audit_seq
         WHERE r.kind = kind AND r.role = role;
    END IF;
    RETURN true;
END
$$;

-- A role of the server that may be given something.
CREATE FUNCTION walwarden._check_server_role(role name, allow_superuser boolean) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'role is missing',
            HINT = 'Name a role of the server.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('role %s does not exist in this server', walwarden._shown(role)),
            HINT = 'Create it first: CREATE ROLE name.';
    END IF;
    IF NOT allow_superuser AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role AND r.rolsuper) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('role %s is a superuser', walwarden._shown(role)),
            HINT = 'Use a role of its own, without rights beyond what it needs.';
    END IF;
END
$$;

-- A role through which many people come is nobody's own.
CREATE FUNCTION walwarden._check_no_member(role name) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.member AS m WHERE m.db_role = _check_no_member.role AND m.removed_at IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('role %s is the database role of a member', walwarden._shown(role)),
            HINT = 'Authenticators and REST roles speak for many people: give each a role of its own.';
    END IF;
END
$$;

-- What an operator may do is decided by the doors; a view of statistics, which some
-- tools read unasked, is shown to operators alone. Given again, it grants again
-- what was revoked by hand.
CREATE FUNCTION walwarden._grant_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    changed boolean;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, true);
    changed := walwarden._set_role_grant(c, 'operator', role, NULL, true);
    EXECUTE format('GRANT SELECT ON walwarden.stat_auth TO %I', role);
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._revoke_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    IF NOT walwarden._set_role_grant(c, 'operator', role, NULL, false) THEN
        RETURN false;
    END IF;
    -- not from the view's owner, as whom this runs
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = _revoke_operator.role AND r.rolname <> current_user) THEN
        EXECUTE format('REVOKE ALL ON walwarden.stat_auth FROM %I', role);
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._trust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    PERFORM walwarden._check_no_member(role);
    RETURN walwarden._set_role_grant(c, 'authenticator', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden._untrust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    RETURN walwarden._set_role_grant(c, 'authenticator', role, NULL, false);
END
$$;

-- Takes the settings of grant_rest from a login that serves no REST role any more.
CREATE FUNCTION walwarden._release_login(login name) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = login)
       AND NOT EXISTS (SELECT FROM walwarden.role_grant AS g
                        WHERE g.kind = 'rest' AND g.login = login AND g.revoked_at IS NULL) THEN
        EXECUTE format('ALTER ROLE %I RESET log_parameter_max_length', login);
        EXECUTE format('ALTER ROLE %I RESET log_parameter_max_length_on_error', login);
        EXECUTE format('ALTER ROLE %I RESET idle_in_transaction_session_timeout', login);
    END IF;
END
$$;

-- role gets the entry points of schema walwarden_rest and nothing else. The
-- settings stand on login because SET ROLE applies no role's settings: they
-- keep request parameters, tokens among them, out of the server's log. Given
-- again, it sets again what was changed by hand.
CREATE FUNCTION walwarden._grant_rest(role name, login name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    before name;
    changed boolean;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    PERFORM walwarden._check_server_role(login, false);
    PERFORM walwarden._check_no_member(role);
    SELECT g.login INTO before
      FROM walwarden.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = _grant_rest.role AND g.revoked_at IS NULL;
    changed := walwarden._set_role_grant(c, 'rest', role, login, true);
    EXECUTE format('GRANT USAGE ON SCHEMA walwarden_rest TO %I', role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA walwarden_rest TO %I', role);
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length = 0', login);
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0', login);
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''10s''', login);
    IF before <> login THEN
        PERFORM walwarden._release_login(before);
    END IF;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._revoke_rest(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    given walwarden.role_grant;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    SELECT * INTO given
      FROM walwarden.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = _revoke_rest.role AND g.revoked_at IS NULL;
    IF NOT walwarden._set_role_grant(c, 'rest', role, given.login, false) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = _revoke_rest.role) THEN
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden_rest FROM %I', role);
        EXECUTE format('REVOKE ALL ON SCHEMA walwarden_rest FROM %I', role);
    END IF;
    PERFORM walwarden._release_login(given.login);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._grant_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    RETURN walwarden._set_role_grant(c, 'runner', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden._revoke_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    RETURN walwarden._set_role_grant(c, 'runner', role, NULL, false);
END
$$;

CREATE FUNCTION walwarden.grant_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_operator(name) IS
'Makes a role of the server an operator, who acts on every organisation, and grants it SELECT on the view stat_auth. For superusers. The role itself acts, not its members: they SET ROLE. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 NULL. Example: SELECT walwarden.grant_operator(''ops'');';

CREATE FUNCTION walwarden.revoke_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_operator(name) IS
'Takes back grant_operator; to be done before the role is dropped, which its SELECT on stat_auth reminds of. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_operator(''ops'');';

CREATE FUNCTION walwarden.trust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.trust_authenticator(name) IS
'Declares a login role whose sessions verify JWTs (PostgREST''s authenticator): the claim sub of request.jwt.claims then names the calling member. Whoever runs SQL of their own in such a session can claim to be anyone. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL, 55000 the role is a member''s. Example: SELECT walwarden.trust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.untrust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.untrust_authenticator(name) IS
'Takes back trust_authenticator. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.untrust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.grant_rest(role name, login name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_rest(name, name) IS
'Gives role, PostgREST''s anonymous role, the entry points of schema walwarden_rest, and sets on login, PostgREST''s login role, log_parameter_max_length = 0, log_parameter_max_length_on_error = 0 and idle_in_transaction_session_timeout = 10s; revoke_rest removes these settings, also where you had set them. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL, 55000 the role is a member''s. Example: SELECT walwarden.grant_rest(''web_anon'', ''authenticator'');';

CREATE FUNCTION walwarden.revoke_rest(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_rest(name) IS
'Takes back grant_rest and resets the settings of its login role. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_rest(''web_anon'');';

CREATE FUNCTION walwarden.grant_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_runner(name) IS
'Lets a role of the server speak the runner protocol, with a node token. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL. Example: SELECT walwarden.grant_runner(''runner'');';

CREATE FUNCTION walwarden.revoke_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_runner(name) IS
'Takes back grant_runner. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_runner(''runner'');';
