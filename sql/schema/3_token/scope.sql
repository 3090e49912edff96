-- Custom scopes, and overrides of the scopes of roles; both are recorded in the system chain.
-- Everybody may list the catalogues: they name no organisation.

CREATE FUNCTION walwarden_internal.create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    s walwarden_internal.scope;
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'scope.create', 'any');
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$' THEN
        PERFORM walwarden_internal.refuse('22023', format('invalid scope name %s', walwarden_internal.shown(name)),
            'Write thing:right. Each part has 1 to 31 lower-case letters, digits, hyphens and underscores, and begins with a letter.');
    END IF;
    PERFORM walwarden_internal.check_text('label', label, 100);
    PERFORM walwarden_internal.check_text('description', description, 500);

    -- one at a time, so that the limit and the name are checked against committed scopes
    c := walwarden_internal.lock_system('scope.create');
    IF EXISTS (SELECT FROM walwarden_internal.scope AS f WHERE f.name = name) THEN
        PERFORM walwarden_internal.refuse('23505', format('scope %s already exists', walwarden_internal.shown(name)),
            'Choose another name. Scopes are never changed or removed.');
    ELSIF (SELECT count(*) FROM walwarden_internal.scope) >= 200 THEN
        PERFORM walwarden_internal.refuse('53400', 'there are already 200 scopes',
            'Express fine-grained rights in your own tables. Scopes are coarse and apply to a whole organisation.');
    END IF;

    s.name := name;
    s.label := label;
    s.description := description;
    s.builtin := false;
    s.audit_seq := walwarden_internal.append(walwarden_internal.system_org(), 'scope.created',
        walwarden_internal.change(walwarden_internal.actor('caller', c, NULL), 'scope', name, NULL, walwarden_internal.scope_image(s)));
    INSERT INTO walwarden_internal.scope SELECT s.*;
    RETURN true;
END
$$;

-- Stores the override of a role, with its entry. scopes NULL: the built-in set. Returns
-- whether anything changed. The caller of this function has called lock_system().
CREATE FUNCTION walwarden_internal.store_role_scopes(c walwarden_internal.caller, role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was walwarden_internal.role_override;
    r walwarden_internal.role_override;
BEGIN
    SELECT * INTO was FROM walwarden_internal.role_override AS f WHERE f.role = role;
    IF was.scopes IS NOT DISTINCT FROM scopes THEN
        RETURN false;
    END IF;
    r.role := role;
    r.scopes := scopes;
    r.audit_seq := walwarden_internal.append(walwarden_internal.system_org(), 'role.scopes_changed',
        walwarden_internal.change(walwarden_internal.actor('caller', c, NULL), 'role', role,
                          CASE WHEN was.role IS NOT NULL THEN walwarden_internal.role_override_image(was) END,
                          walwarden_internal.role_override_image(r)));
    INSERT INTO walwarden_internal.role_override SELECT r.*
        ON CONFLICT ON CONSTRAINT role_override_pkey DO UPDATE SET scopes = EXCLUDED.scopes, audit_seq = EXCLUDED.audit_seq;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'role.configure', 'any');
    PERFORM walwarden_internal.check_role(role);
    IF scopes IS NOT NULL THEN
        scopes := walwarden_internal.check_scopes(scopes);
    END IF;
    c := walwarden_internal.lock_system('role.configure');
    RETURN walwarden_internal.store_role_scopes(c, role, scopes);
END
$$;

-- The scopes of a role without an override. Of owner and admin: every scope that exists.
CREATE FUNCTION walwarden_internal.builtin_scopes(r walwarden_internal.role) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF r.scopes IS NOT NULL THEN
        RETURN r.scopes;
    END IF;
    RETURN ARRAY(SELECT s.name FROM walwarden_internal.scope AS s ORDER BY s.name);
END
$$;

-- Adds scopes to those that a role carries, or removes them. A role that then carries its
-- built-in set has no override any more, so that owner and admin carry later scopes again.
CREATE FUNCTION walwarden_internal.change_role_scopes(role text, scopes text[], adding boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    carried text[];
    wanted text[];
    builtin text[];
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'role.configure', 'any');
    PERFORM walwarden_internal.check_role(role);
    IF coalesce(cardinality(scopes), 0) = 0 THEN
        PERFORM walwarden_internal.refuse('22023', 'scopes are missing',
            'Give an array of one or more scope names. To empty a role, or to restore its built-in set, use set_role_scopes().');
    END IF;
    scopes := walwarden_internal.check_scopes(scopes);

    c := walwarden_internal.lock_system('role.configure');
    carried := walwarden_internal.role_scopes(role);
    IF adding AND scopes <@ carried OR NOT adding AND NOT scopes && carried THEN
        RETURN false;
    END IF;
    wanted := CASE WHEN adding THEN carried || ARRAY(SELECT u.name FROM unnest(scopes) WITH ORDINALITY AS u(name, n) WHERE u.name <> ALL (carried) ORDER BY u.n)
                   ELSE ARRAY(SELECT u.name FROM unnest(carried) WITH ORDINALITY AS u(name, n) WHERE u.name <> ALL (scopes) ORDER BY u.n) END;
    SELECT walwarden_internal.builtin_scopes(r) INTO builtin FROM walwarden_internal.role AS r WHERE r.name = change_role_scopes.role;
    RETURN walwarden_internal.store_role_scopes(c, role, CASE WHEN NOT (wanted @> builtin AND wanted <@ builtin) THEN wanted END);
END
$$;

CREATE FUNCTION walwarden_internal.add_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.change_role_scopes(role, scopes, true);
END
$$;

CREATE FUNCTION walwarden_internal.remove_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.change_role_scopes(role, scopes, false);
END
$$;

CREATE FUNCTION walwarden_internal.list_roles()
    RETURNS TABLE (name text, scopes text[], builtin_scopes text[], overridden boolean, capabilities text[], description text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT r.name, walwarden_internal.role_scopes(r.name), walwarden_internal.builtin_scopes(r), f.scopes IS NOT NULL, r.capabilities, r.description
          FROM walwarden_internal.role AS r
          LEFT JOIN walwarden_internal.role_override AS f ON f.role = r.name
         ORDER BY r.name;
END
$$;

CREATE FUNCTION walwarden_internal.list_scopes()
    RETURNS TABLE (name text, label text, description text, builtin boolean)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT s.name, s.label, s.description, s.builtin FROM walwarden_internal.scope AS s ORDER BY s.name;
END
$$;

CREATE FUNCTION walwarden_internal.list_plans()
    RETURNS TABLE (name text, api_tokens boolean)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT p.name, p.api_tokens FROM walwarden_internal.plan AS p ORDER BY p.name;
END
$$;

CREATE FUNCTION walwarden.create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_scope(text, text, text) IS
'Adds a custom scope to the closed catalogue. The roles owner and admin carry it at once; add_role_scopes() can give it to other roles. name: thing:right. label: 1 to 100 characters. description: 1 to 500 characters. At most 200 scopes can exist, and none can be changed or removed. For operators. Returns true. Errors: 42501 if the caller is not an operator, 22023 if a value is invalid, 23505 if the name is already taken, 53400 if there are already 200 scopes. Example: SELECT walwarden.create_scope(''invoices:read'', ''Read invoices'', ''List and read invoices.'');';

CREATE FUNCTION walwarden.set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_role_scopes(text, text[]) IS
'Overrides the scopes that a role carries, in every organisation, from commit on. NULL restores the built-in set. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the role does not exist, 22023 if the scopes are invalid. Example: SELECT walwarden.set_role_scopes(''analyst'', ARRAY[''databases:read'']);';

CREATE FUNCTION walwarden.add_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.add_role_scopes(text, text[]) IS
'Adds scopes to those that a role carries, in every organisation, from commit on. The role keeps its other scopes. Scopes that it already carries are ignored. If the role then carries exactly its built-in set, it is no longer overridden. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the role does not exist, 22023 if there are no scopes or they are invalid. Example: SELECT walwarden.add_role_scopes(''api_developer'', ARRAY[''evidence:read'']);';

CREATE FUNCTION walwarden.remove_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.remove_role_scopes(text, text[]) IS
'Removes scopes from those that a role carries, in every organisation, from commit on. The role keeps its other scopes. Scopes that it does not carry are ignored. If the role then carries exactly its built-in set, it is no longer overridden. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the role does not exist, 22023 if there are no scopes or they are invalid. Example: SELECT walwarden.remove_role_scopes(''member'', ARRAY[''evidence:export'']);';

CREATE FUNCTION walwarden.list_roles()
    RETURNS TABLE (name text, scopes text[], builtin_scopes text[], overridden boolean, capabilities text[], description text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_roles() IS
'Lists the roles of members by name. scopes: what the role carries now. builtin_scopes: what it carries without an override; for owner and admin, every scope that exists. overridden: whether an operator has replaced the built-in scopes. capabilities: what members with the role may do, apart from scopes. For everybody. Errors: none. Example: SELECT name, scopes FROM walwarden.list_roles() WHERE overridden;';

CREATE FUNCTION walwarden.list_scopes()
    RETURNS TABLE (name text, label text, description text, builtin boolean)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_scopes() IS
'Lists the scopes of the catalogue by name. builtin: false for a scope that create_scope() added. For everybody. Errors: none. Example: SELECT name, label FROM walwarden.list_scopes();';

CREATE FUNCTION walwarden.list_plans()
    RETURNS TABLE (name text, api_tokens boolean)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_plans() IS
'Lists the plans of organisations by name. api_tokens: whether organisations on the plan can use API tokens. For everybody. Errors: none. Example: SELECT name FROM walwarden.list_plans() WHERE api_tokens;';
