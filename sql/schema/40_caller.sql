-- Who is calling, and what they may do. Every public function that manages
-- something is a door: a SECURITY INVOKER C function (src/door.c) that notes the
-- caller, becomes the extension's owner and calls the inner function of the
-- same name and arguments with an underscore before it. Inner functions ask
-- _caller() and _require(); nobody but the owner can execute them.

CREATE TYPE walwarden.caller AS (
    door      text,     -- name of the public function that was called
    role      name,     -- current user at the call
    superuser boolean,
    operator  boolean,  -- superusers are operators too
    subject   text      -- verified by a trusted authenticator, else NULL
);

-- The caller of the door that is running; an error outside of one. What the role
-- is, is read anew at each call.
CREATE FUNCTION walwarden._caller() RETURNS walwarden.caller
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_caller';

-- Text from a caller, fit for a message: short, printable, and with nothing
-- that has the shape of a token.
CREATE FUNCTION walwarden._shown(value text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('"' || CASE WHEN length(safe) > 60 THEN left(safe, 60) || '...' ELSE safe END || '"', 'NULL')
      FROM (SELECT regexp_replace(regexp_replace(left(value, 200), E'[\u0001-\u001F\u007F-\u009F]', '?', 'g'),
                                  'wal_[0-9A-Fa-f]{16,}', 'wal_...', 'g')) AS s(safe)
$$;

-- Whether a role of the server was given one of these kinds, and has it still.
CREATE FUNCTION walwarden._is_granted(role name, kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM walwarden.role_grant AS g
                    WHERE g.kind = ANY ($2) AND g.role = $1 AND g.revoked_at IS NULL)
$$;

-- Roles through which many people come: authenticators and REST roles. None of
-- them is a member's role.
CREATE FUNCTION walwarden._speaks_for_many(role name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._is_granted($1, '{authenticator,rest}')
$$;

-- The caller's active memberships. A verified subject is the person, whatever
-- role the connection uses; otherwise the current role is, unless it speaks for
-- many people. A branch for each, so that each finds its index.
CREATE FUNCTION walwarden._memberships(c walwarden.caller) RETURNS SETOF walwarden.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.*
      FROM walwarden.member AS m
     WHERE m.subject = c.subject
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
    UNION ALL
    SELECT m.*
      FROM walwarden.member AS m
     WHERE c.subject IS NULL AND m.db_role = c.role
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
       AND NOT c.superuser AND NOT walwarden._speaks_for_many(c.role)
$$;

-- The caller's active membership in an org, or NULL.
CREATE FUNCTION walwarden._caller_member(c walwarden.caller, org_id uuid) RETURNS walwarden.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m FROM walwarden._memberships(c) AS m WHERE m.org_id = $2
$$;

-- How a change is signed in listings: the person's subject, else the role.
CREATE FUNCTION walwarden._caller_name(c walwarden.caller, org_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(c.subject, (walwarden._caller_member(c, org_id)).subject, c.role::text)
$$;

-- What a caller is and may be in an org; org_id NULL: outside of every org.
CREATE FUNCTION walwarden._capabilities(c walwarden.caller, org_id uuid) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[CASE WHEN c.superuser THEN 'superuser' END,
                              CASE WHEN c.operator THEN 'operator' END], NULL)
           || coalesce((SELECT r.capabilities
                          FROM walwarden.role AS r
                         WHERE r.name = (walwarden._caller_member(c, org_id)).role), '{}')
$$;

CREATE FUNCTION walwarden._may(c walwarden.caller, org_id uuid, action text, target text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT p.any_of && walwarden._capabilities(c, org_id)
                       FROM walwarden.permission AS p
                      WHERE p.action = $3 AND p.target = $4), false)
$$;

CREATE FUNCTION walwarden._require(c walwarden.caller, org_id uuid, action text, target text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    needed text[];
BEGIN
    IF walwarden._may(c, org_id, action, target) THEN
        RETURN;
    END IF;
    SELECT p.any_of INTO needed FROM walwarden.permission AS p WHERE p.action = $3 AND p.target = $4;
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied for %s', c.door),
        -- without the target: it would tell an unknown token from a foreign one
        DETAIL = CASE WHEN needed = '{}' THEN format('%s is for the owner of a private token alone.', action)
                      ELSE format('%s needs one of: %s.', action, array_to_string(needed, ', ')) END,
        HINT = CASE
            WHEN action = 'token.issue' AND target = 'private' THEN 'A private token is issued by its owner; an operator can do it for them.'
            WHEN needed = '{superuser}' THEN 'Ask a superuser of the server.'
            WHEN needed = '{operator}' THEN 'Ask an operator: a superuser, or a role given walwarden.grant_operator().'
            WHEN needed IN ('{own_tokens}', '{}') THEN 'Only the owner of a private token may do this, with a role that has private tokens.'
            WHEN needed = '{operator,manage_owners}' THEN 'Ask an owner of the organisation, or an operator.'
            WHEN action = 'audit.append' THEN 'Ask an owner or admin of the organisation, or an operator; for a token''s identity, use a role given walwarden.grant_rest().'
            ELSE 'Ask an owner or admin of the organisation, or an operator.' END;
END
$$;

-- The org of a slug. Whoever is no operator gets the same refusal for an
-- unknown org as for one that they have no right in.
CREATE FUNCTION walwarden._org(c walwarden.caller, slug text, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    SELECT * INTO o FROM walwarden.org WHERE org.slug = _org.slug;
    PERFORM walwarden._require(c, o.id, action, target);
    IF o.id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('organisation %s does not exist', walwarden._shown(slug)),
            HINT = 'SELECT slug FROM walwarden.list_orgs() shows the organisations; slugs are lower-case.';
    END IF;
    RETURN o;
END
$$;

-- Waits for the lock of an org, no longer than walwarden.audit_lock_timeout, and
-- holds it to the end of the transaction. 55P03 names the processes in the way.
CREATE FUNCTION walwarden._take_org_lock(org_id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_take_org_lock';

-- The org, locked. What changes something of one org goes one after the other:
-- what is counted, compared or allowed under this lock still holds at commit.
-- Taken before the locks of tokens and of the chain, always in this order. The
-- right was asked for before, so that a stranger makes nobody wait, and is asked
-- for again here, of whoever the caller is now: it may have been lost meanwhile.
CREATE FUNCTION walwarden._hold_org(org_id uuid, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    PERFORM walwarden._take_org_lock(org_id);
    SELECT * INTO o FROM walwarden.org AS l WHERE l.id = org_id;
    PERFORM walwarden._require(walwarden._caller(), org_id, action, target);
    RETURN o;
END
$$;

CREATE FUNCTION walwarden._lock_org(c walwarden.caller, slug text, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._hold_org((walwarden._org(c, slug, action, target)).id, action, target);
END
$$;

-- Limits on text that callers give: 1 to max characters, not only spaces, no
-- control characters, nothing that contains a token.
CREATE FUNCTION walwarden._check_text(what text, value text, max integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is missing', what),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF btrim(value) = '' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is empty', what),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF length(value) > max THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is too long', what),
            DETAIL = format('It has %s characters.', length(value)),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF value ~ E'[\u0001-\u001F\u007F-\u009F]' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s contains a control character', what),
            HINT = 'Use printable characters only: no newline, tab or escape.';
    ELSIF value ~ 'wal_[0-9a-f]{64}' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s contains a token', what),
            HINT = 'A token is a secret and is never stored; treat this one as disclosed and revoke it.';
    END IF;
END
$$;

-- A closed set of scopes: known, named once, no NULL, no wildcard.
CREATE FUNCTION walwarden._check_scopes(scopes text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad text;
    place bigint;
BEGIN
    IF scopes IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'scopes are missing',
            HINT = 'Give an array of scope names; ''{}'' is a token without scopes.';
    ELSIF array_ndims(scopes) > 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'scopes are not a one-dimensional array',
            HINT = 'Write ARRAY[''databases:read'', ''backups:trigger''].';
    ELSIF cardinality(scopes) > 200 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('too many scopes: %s', cardinality(scopes)),
            HINT = 'Give at most 200 scopes, each once.';
    END IF;

    SELECT u.n INTO place FROM unnest(scopes) WITH ORDINALITY AS u(name, n) WHERE u.name IS NULL ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('scope %s of the array is NULL', place),
            HINT = 'Name every scope.';
    END IF;

    SELECT u.name INTO bad
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE NOT EXISTS (SELECT FROM walwarden.scope AS s WHERE s.name = u.name)
     ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown scope %s', walwarden._shown(bad)),
            HINT = CASE WHEN strpos(bad, '*') > 0
                        THEN 'There are no wildcards: name every scope.'
                        ELSE 'The catalogue is closed; its scopes are: '
                             || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden.scope AS s) || '.' END;
    END IF;

    SELECT u.name INTO bad FROM unnest(scopes) AS u(name) GROUP BY u.name HAVING count(*) > 1 ORDER BY u.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('duplicate scope %s', walwarden._shown(bad)),
            HINT = 'Name every scope once.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._check_role(role text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = _check_role.role) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('role %s does not exist', walwarden._shown(role)),
            HINT = 'The roles are: ' || (SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM walwarden.role AS r) || '.';
    END IF;
END
$$;

-- The scopes that a role carries now, overrides counted in.
CREATE FUNCTION walwarden._role_scopes(role text) RETURNS text[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_role_scopes';

-- Who did it, for the entry.
CREATE FUNCTION walwarden._actor(c walwarden.caller, org_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'kind', CASE WHEN c.operator THEN 'operator' ELSE 'member' END,
        'role', c.role,
        'subject', coalesce(c.subject, (walwarden._caller_member(c, org_id)).subject))
$$;

-- The payload of an entry that describes a row: what it was and what it is.
CREATE FUNCTION walwarden._change(actor jsonb, type text, id text, before jsonb, after jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'actor', actor,
        'object', jsonb_build_object('type', type, 'id', id),
        'before', before,
        'after', after)
$$;
