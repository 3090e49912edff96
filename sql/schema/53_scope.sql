-- Custom scopes and overrides of what roles carry, both in the system chain.

CREATE FUNCTION walwarden._create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    s walwarden.scope;
BEGIN
    PERFORM walwarden._require(c, NULL, 'scope.create', 'any');
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad scope name %s', walwarden._shown(name)),
            HINT = 'Write thing:right, each 1 to 31 lower-case letters, digits, hyphens or underscores, first a letter.';
    END IF;
    PERFORM walwarden._check_text('label', label, 100);
    PERFORM walwarden._check_text('description', description, 500);

    -- one at a time: the limit and the name are decided on what is committed
    LOCK TABLE walwarden.scope IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM walwarden.scope AS f WHERE f.name = name) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = format('scope %s already exists', walwarden._shown(name)),
            HINT = 'Scopes are never changed or removed; choose another name.';
    ELSIF (SELECT count(*) FROM walwarden.scope) >= 200 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = 'there are 200 scopes already',
            HINT = 'Scopes are coarse and organisation-wide; express finer rights in your own tables.';
    END IF;

    s.name := name;
    s.label := label;
    s.description := description;
    s.builtin := false;
    s.audit_seq := walwarden._append(walwarden._system_org(), 'scope.created',
        walwarden._change(walwarden._actor(c, NULL), 'scope', name, NULL, walwarden._scope_state(s)));
    INSERT INTO walwarden.scope SELECT s.*;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.role_override;
    r walwarden.role_override;
BEGIN
    PERFORM walwarden._require(c, NULL, 'role.configure', 'any');
    PERFORM walwarden._check_role(role);
    IF scopes IS NOT NULL THEN
        PERFORM walwarden._check_scopes(scopes);
    END IF;

    scopes := scopes[:];    -- from 1, whatever its bounds were
    LOCK TABLE walwarden.role_override IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO was FROM walwarden.role_override AS f WHERE f.role = role;
    IF was.scopes IS NOT DISTINCT FROM scopes THEN
        RETURN false;
    END IF;
    r.role := role;
    r.scopes := scopes;
    r.audit_seq := walwarden._append(walwarden._system_org(), 'role.scopes_changed',
        walwarden._change(walwarden._actor(c, NULL), 'role', role,
                          CASE WHEN was.role IS NOT NULL THEN walwarden._role_override_state(was) END,
                          walwarden._role_override_state(r)));
    INSERT INTO walwarden.role_override SELECT r.*
        ON CONFLICT ON CONSTRAINT role_override_pkey DO UPDATE SET scopes = EXCLUDED.scopes, audit_seq = EXCLUDED.audit_seq;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_scope(text, text, text) IS
'Adds a scope of your own to the closed catalogue; owner and admin carry it, other roles once set_role_scopes gives it to them. name: thing:right. label: 1 to 100, description: 1 to 500 characters. At most 200 scopes in all; none is ever changed or removed. For operators. Returns true. Errors: 42501 no operator, 22023 bad value, 23505 name taken, 53400 too many. Example: SELECT walwarden.create_scope(''invoices:read'', ''Read invoices'', ''List and read invoices.'');';

CREATE FUNCTION walwarden.set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_role_scopes(text, text[]) IS
'Overrides the scopes that a role carries, in every organisation, from commit on; NULL goes back to the built-in set. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown role, 22023 bad scopes. Example: SELECT walwarden.set_role_scopes(''analyst'', ARRAY[''databases:read'']);';
