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
    session_id uuid     -- of the person; NULL without a session
);

-- The caller of the running door; an error outside of a door. The rights of the role are
-- read again at each call.
CREATE FUNCTION walwarden_internal.caller() RETURNS walwarden_internal.caller
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_caller';

COMMENT ON TYPE walwarden_internal.caller IS 'The caller of a door. Internal.';

-- Whether a server role has the rights of a grant of one of these kinds.
CREATE FUNCTION walwarden_internal.is_granted(role name, kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM walwarden_internal.role_grant AS g
                    WHERE g.kind = ANY ($2) AND g.role = $1 AND g.revoked_at IS NULL
                      AND walwarden_internal.server_role_holds(g.role, g.role_oid, g.system_identifier))
$$;

-- Whether a grant of one of these kinds names a role. For what such a role must not be,
-- which does not depend on whether the grant is honoured.
CREATE FUNCTION walwarden_internal.is_named(role name, kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM walwarden_internal.role_grant AS g
                    WHERE g.kind = ANY ($2) AND g.role = $1 AND g.revoked_at IS NULL)
$$;

-- Whether a role acts for many people: authenticators and REST roles do. Such a role cannot
-- be the role of a member.
CREATE FUNCTION walwarden_internal.speaks_for_many(role name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden_internal.is_named($1, '{authenticator,rest}')
$$;

-- The caller's active memberships. A verified subject identifies the person, whatever role
-- the connection uses. Otherwise the current role does, unless it acts for many people.
-- There is one branch for each case, so that each can use its index.
CREATE FUNCTION walwarden_internal.memberships(c walwarden_internal.caller) RETURNS SETOF walwarden_internal.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.*
      FROM walwarden_internal.member AS m
     WHERE m.subject = c.subject
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
    UNION ALL
    SELECT m.*
      FROM walwarden_internal.member AS m
     WHERE c.subject IS NULL AND m.db_role = c.role
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
       AND NOT c.superuser AND NOT walwarden_internal.speaks_for_many(c.role)
       AND walwarden_internal.server_role_holds(m.db_role, m.db_role_oid, m.system_identifier)
$$;

-- The caller's active membership in an org, or NULL.
CREATE FUNCTION walwarden_internal.caller_member(c walwarden_internal.caller, org_id uuid) RETURNS walwarden_internal.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m FROM walwarden_internal.memberships(c) AS m WHERE m.org_id = $2
$$;

-- The capabilities of a caller in an organisation; org_id NULL: outside of any organisation.
CREATE FUNCTION walwarden_internal.capabilities(c walwarden_internal.caller, org_id uuid) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[CASE WHEN c.superuser THEN 'superuser' END,
                              CASE WHEN c.operator THEN 'operator' END,
                              CASE WHEN c.monitor THEN 'monitor' END], NULL)
           || coalesce((SELECT r.capabilities
                          FROM walwarden_internal.role AS r
                         WHERE r.name = (walwarden_internal.caller_member(c, org_id)).role), '{}')
$$;

CREATE FUNCTION walwarden_internal.may(c walwarden_internal.caller, org_id uuid, action text, target text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT p.any_of && walwarden_internal.capabilities(c, org_id)
                       FROM walwarden_internal.permission AS p
                      WHERE p.action = $3 AND p.target = $4), false)
$$;

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

CREATE FUNCTION walwarden_internal.require(c walwarden_internal.caller, org_id uuid, action text, target text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    needed text[];
BEGIN
    IF walwarden_internal.may(c, org_id, action, target) THEN
        RETURN;
    END IF;
    SELECT p.any_of INTO needed FROM walwarden_internal.permission AS p WHERE p.action = $3 AND p.target = $4;
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

-- Whether an index of two uuid columns, owner and id, has an entry: whether something is of
-- an owner, without reading it if it is not.
CREATE FUNCTION walwarden_internal.index_has(index text, owner uuid, id uuid) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_index_has';

-- The organisation with a slug among those of which the caller is an active member, or NULL.
-- Reads the same rows whatever the slug is.
CREATE FUNCTION walwarden_internal.member_org(c walwarden_internal.caller, slug text) RETURNS walwarden_internal.org
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH mine AS MATERIALIZED (
        SELECT o FROM walwarden_internal.memberships(c) AS m JOIN walwarden_internal.org AS o ON o.id = m.org_id)
    SELECT mine.o FROM mine WHERE (mine.o).slug = $2
$$;

-- The organisation with a slug. A caller who is not an operator gets the same error for an
-- unknown organisation as for one in which they have no rights, and the call reads the same
-- rows: the server's statistics would tell the difference. So the right comes first, and
-- nothing is looked up by a name that the caller has no right to.
CREATE FUNCTION walwarden_internal.permitted_org(c walwarden_internal.caller, slug text, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden_internal.org;
BEGIN
    IF c.operator THEN
        SELECT * INTO o FROM walwarden_internal.org WHERE org.slug = permitted_org.slug;
    ELSE
        o := walwarden_internal.member_org(c, slug);
    END IF;
    PERFORM walwarden_internal.require(c, o.id, action, target);
    IF o.id IS NULL THEN
        PERFORM walwarden_internal.refuse('42704', format('organisation %s does not exist', walwarden_internal.shown(slug)),
            'To see the organisations, run SELECT slug FROM walwarden.list_orgs(). Slugs are lower-case.');
    END IF;
    RETURN o;
END
$$;

-- Closing an organisation is final. Whatever changes one calls this after it has acquired
-- the lock of the organisation, or appended to its chain: close_org() holds both until it
-- commits.
CREATE FUNCTION walwarden_internal.require_open(org_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden_internal.org;
BEGIN
    SELECT * INTO o FROM walwarden_internal.org AS f WHERE f.id = org_id;
    IF o.closed_at IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('55000', format('organisation %s is closed', walwarden_internal.shown(o.slug)),
            'Closing is final. You can still list, verify and export what it has, and erase its members.');
    END IF;
END
$$;

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

-- Locks an organisation and returns it. Changes in one organisation run one after the other,
-- so anything that is counted, compared or permitted under this lock still holds at commit.
-- It is always acquired before the locks of tokens and of the chain. The permission was
-- checked before, so that a stranger cannot make others wait. It is checked again here,
-- because the caller may have lost it while waiting. In a closed organisation only members
-- can be erased.
CREATE FUNCTION walwarden_internal.lock_org(org_id uuid, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden_internal.org;
BEGIN
    PERFORM walwarden_internal.acquire_org_lock(org_id);
    SELECT * INTO o FROM walwarden_internal.org AS l WHERE l.id = org_id;
    PERFORM walwarden_internal.require(walwarden_internal.caller(), org_id, action, target);
    IF action NOT IN ('member.erase', 'org.close') THEN
        PERFORM walwarden_internal.require_open(org_id);
    END IF;
    RETURN o;
END
$$;

CREATE FUNCTION walwarden_internal.lock_org(c walwarden_internal.caller, slug text, action text, target text) RETURNS walwarden_internal.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.lock_org((walwarden_internal.permitted_org(c, slug, action, target)).id, action, target);
END
$$;

-- Validates an array of scopes: each known and named once, no NULL, no wildcard.
CREATE FUNCTION walwarden_internal.check_scopes(scopes text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad text;
    place bigint;
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

    SELECT u.n INTO place FROM unnest(scopes) WITH ORDINALITY AS u(name, n) WHERE u.name IS NULL ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        PERFORM walwarden_internal.refuse('22023', format('scope %s of the array is NULL', place),
            'Name every scope.');
    END IF;

    SELECT u.name INTO bad
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE NOT EXISTS (SELECT FROM walwarden_internal.scope AS s WHERE s.name = u.name)
     ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown scope %s', walwarden_internal.shown(bad)),
            CASE WHEN strpos(bad, '*') > 0
                        THEN 'Name every scope. There are no wildcards.'
                        ELSE 'Use scopes of the catalogue: '
                             || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden_internal.scope AS s) || '.' END);
    END IF;

    SELECT u.name INTO bad FROM unnest(scopes) AS u(name) GROUP BY u.name HAVING count(*) > 1 ORDER BY u.name LIMIT 1;
    IF FOUND THEN
        PERFORM walwarden_internal.refuse('22023', format('duplicate scope %s', walwarden_internal.shown(bad)),
            'Name every scope once.');
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
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM walwarden_internal.role AS r WHERE r.name = is_capable.role AND r.capabilities @> ARRAY[is_capable.capability]);
    END;

-- The scopes that a role carries now, including overrides.
CREATE FUNCTION walwarden_internal.role_scopes(role text) RETURNS text[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_role_scopes';
