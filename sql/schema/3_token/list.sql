-- Listings of tokens.

-- A token in a listing.
CREATE TYPE walwarden_internal.token_overview AS (
    token_id           uuid,
    name               text,
    fingerprint_handle text,
    kind               text,
    visibility         text,
    owner              text,
    role               text,
    scopes             text[],
    effective_scopes   text[],
    state              text,
    created_at         timestamptz,
    created_by         text,
    expires_at         timestamptz,
    last_used_at       timestamptz,
    disabled_at        timestamptz,
    disabled_reason    text,
    revoked_at         timestamptz,
    revoked_by         text,
    revoked_reason     text,
    overlap_until      timestamptz,
    labels             jsonb,
    networks           cidr[],
    rate_limit         integer,
    last_used_from     inet,
    uses               bigint,
    refusals           bigint,
    last_refused_at    timestamptz,
    last_refused_reason text,
    previous_handle    text,
    previous_last_used_at timestamptz
);
COMMENT ON TYPE walwarden_internal.token_overview IS 'A row of list_tokens(). The view token_list has comments on its columns.';

-- The name of a member, by its id or what is in a column *_by; NULL for a server role.
CREATE FUNCTION walwarden_internal.member_name(id text) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_member_name';

-- A token as listings show it, with the status that authenticate() would find; no row for one
-- that was removed. In FROM, the planner puts this in the place of the call. What costs
-- something is in f, which OFFSET 0 keeps in one piece: it is computed once a row.
CREATE FUNCTION walwarden_internal.overview(t walwarden_internal.token) RETURNS SETOF walwarden_internal.token_overview
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT t.id,
           t.name,
           left(encode((f.live[1]).fingerprint, 'hex'), 12),
           t.kind,
           CASE WHEN t.owner_id IS NULL THEN 'shared' ELSE 'private' END,
           walwarden_internal.member_name(t.owner_id::text),
           t.role,
           t.scopes,
           (f.status).effective_scopes,
           (f.status).state,
           t.created_at,
           coalesce(walwarden_internal.member_name(t.created_by), t.created_by),
           t.expires_at,
           (f.usage).last_used_at,
           t.disabled_at,
           t.disabled_reason,
           t.revoked_at,
           coalesce(walwarden_internal.member_name(t.revoked_by), t.revoked_by),
           t.revoked_reason,
           CASE WHEN (p.previous).valid_until IS NOT NULL THEN least((p.previous).valid_until, t.expires_at) END,
           coalesce(t.labels, '{}'),
           coalesce(t.networks, '{}'),
           t.rate_limit,
           (f.usage).last_used_from,
           (f.usage).uses,
           (f.usage).refusals,
           (f.usage).last_refused_at,
           (f.usage).last_refused_reason,
           left(encode((p.previous).fingerprint, 'hex'), 12),
           -- an earlier time is of the value that had the slot before
           CASE WHEN p.used_at >= (p.previous).created_at THEN p.used_at END
      FROM (SELECT walwarden_internal.token_status(t),
                   walwarden_internal.current_usage(t.id, (SELECT u FROM walwarden_internal.token_usage AS u WHERE u.token_id = t.id)),
                   -- the newest value, and the one in its overlap
                   ARRAY(SELECT cr FROM walwarden_internal.credential AS cr
                          WHERE cr.token_id = t.id AND cr.kind = 'bearer' AND (cr.valid_until IS NULL OR cr.valid_until > clock_timestamp())
                          ORDER BY cr.valid_until DESC NULLS FIRST LIMIT 2)
            OFFSET 0) AS f(status, usage, live)
     CROSS JOIN LATERAL (
            SELECT CASE WHEN (f.status).state NOT IN ('expired', 'revoked') THEN f.live[2] END,
                   CASE (f.live[2]).slot WHEN 0 THEN (f.usage).slot0_used_at WHEN 1 THEN (f.usage).slot1_used_at END) AS p(previous, used_at)
     WHERE t.removed_at IS NULL;
    END;

CREATE VIEW walwarden_internal.token_with_org AS
    SELECT o.slug COLLATE "default" AS org, v.*
      FROM walwarden_internal.token AS t
      JOIN walwarden_internal.org AS o ON o.id = t.org_id
     CROSS JOIN LATERAL walwarden_internal.overview(t) AS v;
COMMENT ON VIEW walwarden_internal.token_with_org IS 'All tokens as get_token(), find_tokens() and token_list show them.';

-- Whether listings show the token to the caller; no, if it does not exist.
CREATE FUNCTION walwarden_internal.may_see(c walwarden_internal.caller, t walwarden_internal.token) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.may(c, t.org_id, 'token.list', 'all')
           OR (t.owner_id = (walwarden_internal.caller_member(c, t.org_id)).id AND walwarden_internal.may(c, t.org_id, 'token.list', 'own')) IS TRUE;
END
$$;

-- A list of unknown length goes into a tuplestore, row by row: first come the tokens by index, in
-- order, then the costly columns of each. OFFSET 0 keeps the planner from computing these
-- for every token of the database.
CREATE FUNCTION walwarden_internal.list_tokens(org text, after uuid, max_rows integer)
    RETURNS SETOF walwarden_internal.token_overview
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org := walwarden_internal.permitted_org(c, org, 'token.list', 'own');
    every boolean := walwarden_internal.may(c, o.id, 'token.list', 'all');
    me uuid := (walwarden_internal.caller_member(c, o.id)).id;
    last walwarden_internal.token;
BEGIN
    IF max_rows < 1 THEN
        PERFORM walwarden_internal.refuse('22023', 'max_rows is less than 1',
            'Give the size of a page, or NULL for all tokens.');
    END IF;
    IF after IS NOT NULL THEN
        IF (CASE WHEN every THEN walwarden_internal.index_has('token_of_org', o.id, after) ELSE walwarden_internal.index_has('token_by_owner', me, after) END) THEN
            SELECT * INTO last FROM walwarden_internal.token AS t WHERE t.id = after AND t.org_id = o.id;
        END IF;
        IF last.id IS NULL THEN
            PERFORM walwarden_internal.refuse('22023', format('after is not a token of %s', walwarden_internal.shown(o.slug)),
                'Give the last token_id of the previous page, or NULL for the first page.');
        END IF;
    END IF;
    last.created_at := coalesce(last.created_at, 'infinity');
    last.id := coalesce(last.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    IF every THEN
        RETURN QUERY
            SELECT v.*
              FROM (SELECT t.* FROM walwarden_internal.token AS t
                     WHERE t.org_id = o.id AND t.removed_at IS NULL AND (t.created_at, t.id) < (last.created_at, last.id)
                     ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows) AS page
             CROSS JOIN LATERAL (SELECT f.* FROM walwarden_internal.overview(page::walwarden_internal.token) AS f OFFSET 0) AS v
             ORDER BY page.created_at DESC, page.id DESC;
    ELSE
        RETURN QUERY
            SELECT v.*
              FROM (SELECT t.* FROM walwarden_internal.token AS t
                     WHERE t.owner_id = me AND t.removed_at IS NULL AND (t.created_at, t.id) < (last.created_at, last.id)
                     ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows) AS page
             CROSS JOIN LATERAL (SELECT f.* FROM walwarden_internal.overview(page::walwarden_internal.token) AS f OFFSET 0) AS v
             ORDER BY page.created_at DESC, page.id DESC;
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.get_token(token_id uuid)
    RETURNS SETOF walwarden_internal.token_with_org
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    t walwarden_internal.token := walwarden_internal.visible_token(c, token_id);
BEGIN
    IF NOT walwarden_internal.may_see(c, t) THEN
        PERFORM walwarden_internal.require(c, t.org_id, 'token.list', 'all');
    END IF;
    IF t.id IS NULL THEN
        PERFORM walwarden_internal.refuse_unknown_token(token_id);
    END IF;
    RETURN QUERY SELECT o.slug, v.* FROM walwarden_internal.org AS o CROSS JOIN LATERAL walwarden_internal.overview(t) AS v WHERE o.id = t.org_id;
END
$$;

CREATE FUNCTION walwarden_internal.find_tokens(handle text)
    RETURNS SETOF walwarden_internal.token_with_org
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
BEGIN
    IF handle IS NULL OR handle !~ '^[0-9A-Fa-f]{12,64}$' THEN
        PERFORM walwarden_internal.refuse('22023', 'handle is not 12 to 64 hex digits',
            'Give the beginning of the SHA-256 of a token, for example encode(digest($1, ''sha256''), ''hex''), or a handle from a listing.');
    END IF;
    IF NOT c.operator AND NOT EXISTS (SELECT FROM walwarden_internal.memberships(c)) THEN
        RETURN;     -- before anything is looked up
    END IF;
    RETURN QUERY
        SELECT o.slug, v.*
          FROM (SELECT DISTINCT cr.token_id
                  FROM walwarden_internal.credential AS cr
                 WHERE cr.fingerprint BETWEEN decode(rpad(handle, 64, '0'), 'hex') AND decode(rpad(handle, 64, 'f'), 'hex')) AS found
          JOIN walwarden_internal.token AS t ON t.id = found.token_id AND walwarden_internal.may_see(c, t)
          JOIN walwarden_internal.org AS o ON o.id = t.org_id
         CROSS JOIN LATERAL (SELECT f.* FROM walwarden_internal.overview(t) AS f OFFSET 0) AS v
         ORDER BY t.created_at DESC, t.id DESC;
END
$$;

CREATE FUNCTION walwarden_internal.token_list()
    RETURNS SETOF walwarden_internal.token_with_org
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
BEGIN
    IF walwarden_internal.may(c, NULL, 'token.list', 'all') THEN
        RETURN QUERY
            SELECT v.*
              FROM walwarden_internal.token_with_org AS v
             ORDER BY v.created_at DESC, v.token_id DESC;
    ELSE
        RETURN QUERY
            WITH mine AS MATERIALIZED (
                SELECT m.id, m.org_id, walwarden_internal.may(c, m.org_id, 'token.list', 'all') AS every
                  FROM walwarden_internal.memberships(c) AS m
                 WHERE walwarden_internal.may(c, m.org_id, 'token.list', 'own')),
            seen AS (
                SELECT t.* FROM mine AS i JOIN walwarden_internal.token AS t ON t.org_id = i.org_id WHERE i.every
                UNION ALL
                SELECT t.* FROM mine AS i JOIN walwarden_internal.token AS t ON t.owner_id = i.id WHERE NOT i.every)
            SELECT o.slug, v.*
              FROM seen
              JOIN walwarden_internal.org AS o ON o.id = seen.org_id
             CROSS JOIN LATERAL (SELECT f.* FROM walwarden_internal.overview(seen::walwarden_internal.token) AS f OFFSET 0) AS v
             ORDER BY seen.created_at DESC, seen.id DESC;
    END IF;
END
$$;

CREATE FUNCTION walwarden.list_tokens(org text, after uuid DEFAULT NULL, max_rows integer DEFAULT NULL)
    RETURNS TABLE (
        token_id uuid, name text, fingerprint_handle text, kind text, visibility text, owner text, role text,
        scopes text[], effective_scopes text[], state text, created_at timestamptz, created_by text,
        expires_at timestamptz, last_used_at timestamptz, disabled_at timestamptz, disabled_reason text,
        revoked_at timestamptz, revoked_by text, revoked_reason text, overlap_until timestamptz,
        labels jsonb, networks cidr[], rate_limit integer, last_used_from inet, uses bigint, refusals bigint,
        last_refused_at timestamptz, last_refused_reason text, previous_handle text, previous_last_used_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_tokens(text, uuid, integer) IS
'Lists the tokens of an organisation, newest first, including revoked ones. Returns all of them, or a page of max_rows tokens; after: the last token_id of the previous page. A condition on a page misses the tokens of the other pages. Operators, owners and admins see all tokens, other members see their own. Errors: 42501 if the caller is not a member, 42704 if the organisation does not exist, 22023 if after or max_rows is invalid. Example: SELECT name, state, last_used_at FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.get_token(token_id uuid)
    RETURNS TABLE (
        org text, token_id uuid, name text, fingerprint_handle text, kind text, visibility text, owner text, role text,
        scopes text[], effective_scopes text[], state text, created_at timestamptz, created_by text,
        expires_at timestamptz, last_used_at timestamptz, disabled_at timestamptz, disabled_reason text,
        revoked_at timestamptz, revoked_by text, revoked_reason text, overlap_until timestamptz,
        labels jsonb, networks cidr[], rate_limit integer, last_used_from inet, uses bigint, refusals bigint,
        last_refused_at timestamptz, last_refused_reason text, previous_handle text, previous_last_used_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.get_token(uuid) IS
'Returns one token, of any organisation. Operators, owners and admins see all tokens of the organisation, other members see their own. Errors: 42501 if the caller may not see the token or, unless the caller is an operator, it does not exist, 42704 if it does not exist, 22023 if token_id is NULL. Example: SELECT g.org, g.name, g.state FROM walwarden.list_tokens(''acme'') AS l, walwarden.get_token(l.token_id) AS g;';

CREATE FUNCTION walwarden.find_tokens(handle text)
    RETURNS TABLE (
        org text, token_id uuid, name text, fingerprint_handle text, kind text, visibility text, owner text, role text,
        scopes text[], effective_scopes text[], state text, created_at timestamptz, created_by text,
        expires_at timestamptz, last_used_at timestamptz, disabled_at timestamptz, disabled_reason text,
        revoked_at timestamptz, revoked_by text, revoked_reason text, overlap_until timestamptz,
        labels jsonb, networks cidr[], rate_limit integer, last_used_from inet, uses bigint, refusals bigint,
        last_refused_at timestamptz, last_refused_reason text, previous_handle text, previous_last_used_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.find_tokens(text) IS
'Finds the tokens whose fingerprint begins with handle, in every organisation, newest first. handle: 12 to 64 hex digits. The fingerprint is the SHA-256 of a plaintext, also of a previous one and, for a legacy credential, of lower(uuid) || '':'' || secret. Returns no row for a token that the caller may not see. Errors: 22023 if handle is invalid. Example: SELECT org, token_id, name, state FROM walwarden.find_tokens(''718c24a5918d'');';

CREATE FUNCTION walwarden_internal.token_list_door()
    RETURNS SETOF walwarden_internal.token_with_org
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.token_list_door() IS
'The door behind the view token_list: all tokens that the caller may see, in all organisations. Errors: none. Example: SELECT name FROM walwarden.token_list;';

CREATE VIEW walwarden.token_list WITH (security_barrier) AS
    SELECT f.org, f.token_id, f.name, f.fingerprint_handle, f.kind, f.visibility, f.owner, f.role, f.scopes, f.effective_scopes,
           f.state, f.created_at, f.created_by, f.expires_at, f.last_used_at, f.disabled_at, f.disabled_reason,
           f.revoked_at, f.revoked_by, f.revoked_reason, f.overlap_until, f.labels, f.networks, f.rate_limit, f.last_used_from,
           f.uses, f.refusals, f.last_refused_at, f.last_refused_reason, f.previous_handle, f.previous_last_used_at
      FROM walwarden_internal.token_list_door() AS f;
COMMENT ON VIEW walwarden.token_list IS 'All tokens that the caller may see, in all organisations, newest first. Example: SELECT name, state FROM walwarden.token_list;';
COMMENT ON COLUMN walwarden.token_list.org IS 'the slug of its organisation';
COMMENT ON COLUMN walwarden.token_list.fingerprint_handle IS 'the first 12 hex digits of the SHA-256 of the newest plaintext';
COMMENT ON COLUMN walwarden.token_list.kind IS 'api, node or legacy (an imported credential)';
COMMENT ON COLUMN walwarden.token_list.visibility IS 'private or shared';
COMMENT ON COLUMN walwarden.token_list.owner IS 'the subject of a person (erased for an erased member); NULL for a shared token';
COMMENT ON COLUMN walwarden.token_list.role IS 'as issued; NULL without a role';
COMMENT ON COLUMN walwarden.token_list.scopes IS 'as issued; {} for a token with a role, NULL for kind legacy';
COMMENT ON COLUMN walwarden.token_list.effective_scopes IS 'the scopes that the token holds now; {} unless it is active, NULL for kind legacy';
COMMENT ON COLUMN walwarden.token_list.state IS 'active, inactive, disabled, expired or revoked';
COMMENT ON COLUMN walwarden.token_list.created_by IS 'the subject of a person (erased for an erased member), or a server role';
COMMENT ON COLUMN walwarden.token_list.last_used_at IS 'NULL if no use was recorded; without preload, reads are not recorded, and others to a minute; uses on a standby count if walwarden.primary_conninfo is set there';
COMMENT ON COLUMN walwarden.token_list.revoked_by IS 'the subject of a person (erased for an erased member), or a server role';
COMMENT ON COLUMN walwarden.token_list.overlap_until IS 'when the previous plaintext stops working; NULL if it does not work any more';
COMMENT ON COLUMN walwarden.token_list.previous_handle IS 'fingerprint_handle of the previous plaintext, while it still works';
COMMENT ON COLUMN walwarden.token_list.previous_last_used_at IS 'when the previous plaintext was last used, while it still works; NULL if no use was recorded';
COMMENT ON COLUMN walwarden.token_list.labels IS 'strings by name; {} if none';
COMMENT ON COLUMN walwarden.token_list.networks IS 'the networks from which the token is accepted; {} for every address';
COMMENT ON COLUMN walwarden.token_list.rate_limit IS 'uses per minute; NULL if not limited';
COMMENT ON COLUMN walwarden.token_list.last_used_from IS 'the address of the client at last_used_at; NULL if unknown, for example over a Unix socket, and without preload';
COMMENT ON COLUMN walwarden.token_list.uses IS 'how often the token was accepted; NULL without preload';
COMMENT ON COLUMN walwarden.token_list.refusals IS 'how often a plaintext of the token was refused; NULL without preload';
COMMENT ON COLUMN walwarden.token_list.last_refused_at IS 'NULL if never, and without preload';
COMMENT ON COLUMN walwarden.token_list.last_refused_reason IS 'why, as in stat_auth; NULL if never, and without preload';
