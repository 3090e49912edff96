-- The caller and their rights. Every public function that manages something is a door
-- (src/token/door.c), which records the caller and calls, as the extension's owner, the
-- inner function with the same name and arguments in walwarden_internal. Inner functions
-- call caller() and require(). Only the owner can execute them.

CREATE TYPE walwarden_internal.caller AS (
    door      text,     -- name of the public function that was called, for messages
    role      name,     -- current user at the call
    login     name,     -- session user, for the record; it decides nothing
    superuser boolean,
    operator  boolean,  -- superusers are operators too
    monitor   boolean,  -- a monitor that is not an operator
    subject   text,     -- verified by a trusted authenticator or a session, or NULL
    person    boolean,  -- a request of REST v1 has verified them, by a session or a JWT
    session_id uuid,    -- of the person; NULL without a session
    by_sso    boolean   -- single sign-on, which is not for every member, verified the person
);

-- The caller of the running door; an error outside of a door. The rights of the role are
-- read again at each call.
CREATE FUNCTION walwarden_internal.caller() RETURNS walwarden_internal.caller
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_caller';

COMMENT ON TYPE walwarden_internal.caller IS 'The caller of a door. Internal.';

-- Whether a server role has the rights of a grant of one of these kinds.
CREATE FUNCTION walwarden_internal.is_granted(role name, kinds text[]) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_is_granted';

-- Whether a grant of one of these kinds names a role. For what such a role must not be,
-- which does not depend on whether the grant is honoured.
CREATE FUNCTION walwarden_internal.is_named(role name, kinds text[]) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_is_named';

-- Whether a role acts for many people: authenticators and REST roles do. Such a role cannot
-- be the role of a member.
CREATE FUNCTION walwarden_internal.speaks_for_many(role name) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_speaks_for_many';

-- The caller's active memberships. src/token/permission.c has this and what follows from it.
CREATE FUNCTION walwarden_internal.memberships(c walwarden_internal.caller) RETURNS SETOF walwarden_internal.member
    LANGUAGE C STABLE STRICT ROWS 3 AS 'MODULE_PATHNAME', 'walwarden_memberships';

-- The caller's active membership in an org, or NULL.
CREATE FUNCTION walwarden_internal.caller_member(c walwarden_internal.caller, org_id uuid) RETURNS walwarden_internal.member
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_caller_member';

-- The capabilities of a caller in an organisation; org_id NULL: outside of any organisation.
CREATE FUNCTION walwarden_internal.capabilities(c walwarden_internal.caller, org_id uuid) RETURNS text[]
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_capabilities';

CREATE FUNCTION walwarden_internal.may(c walwarden_internal.caller, org_id uuid, action text, target text) RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_may';

-- The hint for a caller whose role, or whose authenticator, is named somewhere but not
-- honoured; otherwise NULL.
CREATE FUNCTION walwarden_internal.confirm_hint(c walwarden_internal.caller) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := coalesce(
        walwarden_internal.server_role_problem(c.role),
        (SELECT walwarden_internal.server_role_problem(u.role, u.named_oid, u.named_in)
           FROM walwarden_internal.server_role_use AS u
          WHERE u.role = c.login AND u.kind = 'authenticator'));
BEGIN
    RETURN upper(left(problem, 1)) || substr(problem, 2)
           || '. Ask a superuser to check the role, and then to call walwarden.confirm_server_role().';
END
$$;

-- Refuses an action to the caller of the running door, who has no right to it, and says who has it.
CREATE FUNCTION walwarden_internal.refuse_action(org_id uuid, action text, target text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    needed text[];
BEGIN
    SELECT p.any_of INTO needed FROM walwarden_internal.permission AS p WHERE p.action = $2 AND p.target = $3;
    PERFORM walwarden_internal.refuse('42501', format('permission denied for %s', c.door),
        CASE
            WHEN action = 'token.issue' AND target = 'shared' AND walwarden_internal.may(c, org_id, action, 'own')
                THEN 'To issue a private token, pass your own subject as owner. Only owners, admins and operators issue shared tokens.'
            WHEN walwarden_internal.confirm_hint(c) IS NOT NULL THEN walwarden_internal.confirm_hint(c)
            WHEN action = 'token.issue' AND target = 'private' THEN 'Let the owner issue the private token, or ask an operator to do it for them.'
            WHEN needed = '{superuser}' THEN 'Ask a superuser of the server.'
            WHEN needed = '{operator}' THEN 'Ask an operator: a superuser, or a role authorised with walwarden.grant_operator().'
            WHEN needed = '{operator,monitor}' THEN 'Ask an operator, or use a role authorised with walwarden.grant_monitor() or a member of pg_monitor.'
            WHEN needed IN ('{own_tokens}', '{}') THEN 'Only the owner of a private token may do this, if their role allows private tokens.'
            WHEN needed = '{operator,manage_owners}' THEN 'Ask an owner of the organisation, or an operator.'
            WHEN action = 'audit.append' THEN 'Ask an owner or admin of the organisation, or an operator. For the identity of a token, use a role authorised with walwarden.grant_rest().'
            ELSE 'Ask an owner or admin of the organisation, or an operator.' END,
        -- without the target, which would tell an unknown token from a foreign one
        CASE WHEN needed = '{}' THEN format('The action %s is only for the owner of a private token.', action)
                      ELSE format('The action %s needs the capability %s.', action, array_to_string(needed, ' or ')) END);
END
$$;

-- Fails unless the caller has the right to an action in an organisation.
CREATE FUNCTION walwarden_internal.require(c walwarden_internal.caller, org_id uuid, action text, target text) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_require';

-- Whether an index of two uuid columns, owner and id, has an entry: whether something is of
-- an owner, without reading it if it is not.
CREATE FUNCTION walwarden_internal.index_has(index text, owner uuid, id uuid) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_index_has';

-- The organisation with a slug among those of which the caller is an active member, or NULL.
-- Reads the same rows whatever the slug is.
CREATE FUNCTION walwarden_internal.member_org(c walwarden_internal.caller, slug text) RETURNS walwarden_internal.org
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_member_org';

-- The organisation with a slug, in which the caller has the right to an action. Others get the
-- same error for an unknown organisation as for one in which they have no rights.
CREATE FUNCTION walwarden_internal.permitted_org(c walwarden_internal.caller, slug text, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_permitted_org';

-- Refuses a change of an organisation that is closed. Whatever changes one calls this after it
-- has acquired the lock of the organisation, or appended to its chain.
CREATE FUNCTION walwarden_internal.require_open(org_id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_require_open';

-- Locks what belongs to no organisation, scopes, roles and grants, until the transaction ends.
-- The permission was checked before, so that a stranger cannot make others wait. It is checked
-- again here, because the caller may have lost it while waiting.
CREATE FUNCTION walwarden_internal.lock_system(action text) RETURNS walwarden_internal.caller
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller;
BEGIN
    PERFORM walwarden_internal.acquire_org_lock(walwarden_internal.system_org());
    c := walwarden_internal.caller();
    PERFORM walwarden_internal.require(c, NULL, action, 'any');
    RETURN c;
END
$$;

-- Locks an organisation and returns it, and checks again that the running door's caller has the
-- right to an action, and that it is open.
CREATE FUNCTION walwarden_internal.lock_org(org_id uuid, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_lock_org';

CREATE FUNCTION walwarden_internal.lock_org(c walwarden_internal.caller, slug text, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.lock_org((walwarden_internal.permitted_org(c, slug, action, target)).id, action, target);
END
$$;

-- The first of these names that is no scope, or NULL.
CREATE FUNCTION walwarden_internal.unknown_scope(names text[]) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_unknown_scope';

-- Validates an array of scopes: each known and named once, no NULL, no wildcard. Returns it with
-- bounds that begin at 1.
CREATE FUNCTION walwarden_internal.check_scopes(INOUT scopes text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad text;
BEGIN
    IF scopes IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'scopes are missing',
            'Give an array of scope names, or ''{}'' for a token without scopes.');
    ELSIF array_ndims(scopes) > 1 THEN
        PERFORM walwarden_internal.refuse('22023', 'scopes are not a one-dimensional array',
            'Write ARRAY[''databases:read'', ''backups:trigger''].');
    ELSIF cardinality(scopes) > 200 THEN
        PERFORM walwarden_internal.refuse('22023', format('too many scopes: %s', cardinality(scopes)),
            'Give at most 200 scopes, each once.');
    END IF;

    scopes := scopes[:];
    IF array_position(scopes, NULL) IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('scope %s of the array is NULL', array_position(scopes, NULL)),
            'Name every scope.');
    END IF;

    bad := walwarden_internal.unknown_scope(scopes);
    IF bad IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown scope %s', walwarden_internal.shown(bad)),
            CASE WHEN strpos(bad, '*') > 0
                        THEN 'Name every scope. There are no wildcards.'
                        ELSE 'Use scopes of the catalogue: '
                             || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden_internal.scope AS s) || '.' END);
    END IF;

    IF cardinality(scopes) > 1 THEN
        SELECT u.name INTO bad FROM unnest(scopes) AS u(name) GROUP BY u.name HAVING count(*) > 1 ORDER BY u.name LIMIT 1;
        IF FOUND THEN
            PERFORM walwarden_internal.refuse('22023', format('duplicate scope %s', walwarden_internal.shown(bad)),
                'Name every scope once.');
        END IF;
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.check_role(role text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden_internal.role AS r WHERE r.name = check_role.role) THEN
        PERFORM walwarden_internal.refuse('42704', format('organisation role %s does not exist', walwarden_internal.shown(role)),
            'Use one of these roles: ' || (SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM walwarden_internal.role AS r) || '.');
    END IF;
END
$$;

-- Whether a role has a capability.
CREATE FUNCTION walwarden_internal.is_capable(role text, capability text) RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_is_capable';

-- The scopes that a role carries now, including overrides.
CREATE FUNCTION walwarden_internal.role_scopes(role text) RETURNS text[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_role_scopes';
