-- Tokens: issue and list. What becomes of them is in the next part.

-- 32 bytes of pg_strong_random as token text, and its fingerprint. The
-- plaintext goes from here to the caller of issue_token and nowhere else: it is
-- never a parameter of a query.
CREATE FUNCTION walwarden._mint(OUT token text, OUT fingerprint bytea)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_mint';

-- State and effective scopes as authenticate() decides them; NULL scopes for a
-- legacy token, whose permissions are not shown.
CREATE FUNCTION walwarden._token_standing(token_id uuid, OUT state text, OUT reason text, OUT effective_scopes text[])
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_token_standing';

-- What shared memory knows of a token's last use; NULL without preload.
CREATE FUNCTION walwarden._noted_use(token_id uuid) RETURNS timestamptz
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_noted_use';

CREATE FUNCTION walwarden._check_expiry(INOUT expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF expires_at = 'infinity' THEN
        expires_at := NULL;
    ELSIF expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'expiry is not in the future',
            HINT = 'Give a later time, for example now() + interval ''90 days'', or ''infinity'' for no expiry.';
    ELSIF expires_at >= '10000-01-01 00:00:00+00' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'expiry is after the year 9999',
            HINT = 'Give ''infinity'' for no expiry.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._check_reason(reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF reason IS NOT NULL THEN
        PERFORM walwarden._check_text('reason', reason, 500);
    END IF;
END
$$;

-- Tokens on a plan without them can be listed, disabled and revoked, no more.
CREATE FUNCTION walwarden._check_plan_has_tokens(o walwarden.org) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT (SELECT p.api_tokens FROM walwarden.plan AS p WHERE p.name = o.plan) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the plan %s has no API tokens', walwarden._shown(o.plan)),
            HINT = 'API tokens come with the plan team: ask an operator for walwarden.set_plan().';
    END IF;
END
$$;

-- Called under the lock of the org row, so that the count holds at commit.
CREATE FUNCTION walwarden._check_token_limit(o walwarden.org) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most integer := current_setting('walwarden.max_tokens_per_org');
BEGIN
    IF (SELECT count(*)
          FROM (SELECT FROM walwarden.token AS t
                 WHERE t.org_id = o.id AND t.removed_at IS NULL AND t.revoked_at IS NULL
                 LIMIT most) AS live) >= most THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = format('organisation %s has %s tokens already', walwarden._shown(o.slug), most),
            HINT = 'Revoke tokens that are no longer used, or raise walwarden.max_tokens_per_org.';
    END IF;
END
$$;

-- No token may be wider than the role of whoever answers for it.
CREATE FUNCTION walwarden._check_within_role(scopes text[], m walwarden.member, who text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    beyond text;
BEGIN
    SELECT string_agg(u.name, ', ' ORDER BY u.n) INTO beyond
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE u.name <> ALL (walwarden._role_scopes(m.role));
    IF beyond IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('scopes wider than those of %s', who),
            DETAIL = format('The role %s does not carry: %s.', m.role, beyond),
            HINT = 'Leave these scopes out, or have an owner or admin change the role.';
    END IF;
END
$$;

-- The active member who is to answer for a token.
CREATE FUNCTION walwarden._owner(o walwarden.org, owner text) RETURNS walwarden.member
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden.member;
BEGIN
    SELECT * INTO m FROM walwarden.member AS f WHERE f.org_id = o.id AND f.subject = owner AND f.removed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('%s has no member %s', walwarden._shown(o.slug), walwarden._shown(owner)),
            HINT = 'Add the owner first with walwarden.add_member().';
    ELSIF m.disabled_at IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('member %s is disabled', walwarden._shown(owner)),
            HINT = 'Enable the member first with walwarden.enable_member().';
    END IF;
    RETURN m;
END
$$;

-- A credential with what decides about its token as that is now; t NULL: there is none.
CREATE FUNCTION walwarden._with_standing(c walwarden.credential, t walwarden.token) RETURNS walwarden.credential
    LANGUAGE sql IMMUTABLE
    RETURN ROW(c.fingerprint, c.token_id, c.kind, c.created_at, c.valid_until, c.audit_seq,
               t.org_id, t.kind, t.scopes, t.role, t.owner_id, t.expires_at,
               CASE WHEN t.removed_at IS NOT NULL THEN 'removed'
                    WHEN t.revoked_at IS NOT NULL THEN 'revoked'
                    WHEN t.disabled_at IS NOT NULL THEN 'disabled' END)::walwarden.credential;

-- A change of the token that is under way is waited for, and a snapshot that does not see
-- the latest is refused. What is left: under REPEATABLE READ a token can be changed that got a
-- credential after the snapshot. Our functions hold the organisation's lock; of whatever
-- else writes these tables, verification finds it.
CREATE FUNCTION walwarden._copy_standing() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token;
BEGIN
    SELECT * INTO t FROM walwarden.token AS f WHERE f.id = NEW.token_id FOR SHARE;
    RETURN walwarden._with_standing(NEW, t);
END
$$;

-- Has the trigger of credential do its work again; also for a token that is restored
-- after its credential.
CREATE FUNCTION walwarden._refresh_standing() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE walwarden.credential AS c
       SET token_id = c.token_id
     WHERE c.token_id = coalesce(NEW.id, OLD.id) AND walwarden._with_standing(c, NEW) IS DISTINCT FROM c;
    RETURN NULL;
END
$$;

-- The audit entry that an action leaves on a token in a state; NULL where there
-- is nothing to do. What is no row of token_transition is refused.
CREATE FUNCTION walwarden._transition(action text, state text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
BEGIN
    SELECT t.event INTO event FROM walwarden.token_transition AS t WHERE t.action = $1 AND t.from_state = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot %s a token that is %s', action, state),
            HINT = CASE state
                WHEN 'revoked' THEN 'Revoked is final: issue a new token.'
                WHEN 'expired' THEN 'Give it a new expiry first, with walwarden.enable_token(), or issue a new token.'
                WHEN 'disabled' THEN 'Enable it first with walwarden.enable_token().'
                ELSE 'It is stopped by its owner''s disabling or its organisation''s plan.' END;
    END IF;
    RETURN event;
END
$$;

-- Stores the row t of a token, was before, with its entry. credentials: the values
-- that open it from now on; NULL leaves them as they are. The one
-- place that writes tokens and credentials. Returns the row as stored. The caller
-- holds the lock of the org, and of the row.
CREATE FUNCTION walwarden._store_token(
        actor jsonb, event text, was walwarden.token, t walwarden.token,
        credentials walwarden.credential[] DEFAULT NULL, reason text DEFAULT NULL) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    had walwarden.credential[] := walwarden._credentials(t.id);
    has walwarden.credential[] := coalesce(credentials, had);
BEGIN
    t.audit_seq := walwarden._append(t.org_id, event,
        walwarden._change(actor, 'token', t.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._token_state(was, had) END, walwarden._token_state(t, has))
        || CASE WHEN reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', reason) END);
    IF was.id IS NULL THEN
        INSERT INTO walwarden.token SELECT t.*;
        INSERT INTO walwarden.token_usage (token_id) VALUES (t.id);
    ELSE
        UPDATE walwarden.token AS f
           SET name = t.name, scopes = t.scopes, expires_at = t.expires_at, expired_at = t.expired_at,
               disabled_at = t.disabled_at, disabled_by = t.disabled_by,
               disabled_by_owner = t.disabled_by_owner, disabled_reason = t.disabled_reason,
               revoked_at = t.revoked_at, revoked_by = t.revoked_by, revoked_reason = t.revoked_reason,
               removed_at = t.removed_at, audit_seq = t.audit_seq
         WHERE f.id = t.id;
    END IF;
    IF credentials IS NOT NULL THEN
        DELETE FROM walwarden.credential AS f
         WHERE f.token_id = t.id AND f.fingerprint <> ALL (SELECT n.fingerprint FROM unnest(has) AS n);
        UPDATE walwarden.credential AS f
           SET valid_until = n.valid_until
          FROM unnest(has) AS n
         WHERE f.fingerprint = n.fingerprint AND f.token_id = t.id AND f.valid_until IS DISTINCT FROM n.valid_until;
        INSERT INTO walwarden.credential (fingerprint, token_id, kind, created_at, valid_until, audit_seq)
        SELECT n.fingerprint, t.id, n.kind, n.created_at, n.valid_until, t.audit_seq
          FROM unnest(has) AS n
         WHERE n.fingerprint <> ALL (SELECT f.fingerprint FROM unnest(had) AS f);
    END IF;
    RETURN t;
END
$$;

-- The entry of a plaintext that somebody else than its owner was shown.
CREATE FUNCTION walwarden._note_revealed(c walwarden.caller, t walwarden.token, m walwarden.member) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._append(t.org_id, 'token.revealed_for_owner', jsonb_build_object(
        'actor', walwarden._actor(c, t.org_id),
        'token', jsonb_build_object('id', t.id, 'name', t.name, 'scopes', t.scopes),
        'owner', jsonb_build_object('id', m.id, 'subject', m.subject)));
END
$$;

CREATE FUNCTION walwarden._issue_token(
        org text, wanted_name text, wanted_scopes text[], expiry timestamptz, owner text, from_role text, wanted_kind text,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    target text := CASE WHEN owner IS NULL THEN 'shared'
                        WHEN owner = (walwarden._caller_member(c, (SELECT f.id FROM walwarden.org AS f WHERE f.slug = org))).subject THEN 'own'
                        ELSE 'private' END;
    o walwarden.org := walwarden._lock_org(c, org, 'token.issue', target);
    m walwarden.member;
    t walwarden.token;
    cred walwarden.credential;
    carried text[];
BEGIN
    c := walwarden._caller();       -- after the wait
    IF from_role IS NOT NULL THEN
        PERFORM walwarden._require(c, o.id, 'token.issue', 'role');
    END IF;
    IF wanted_kind = 'node' THEN
        PERFORM walwarden._require(c, o.id, 'token.issue', 'node');
    END IF;

    PERFORM walwarden._check_text('token name', wanted_name, 100);
    PERFORM walwarden._check_scopes(wanted_scopes);
    expiry := walwarden._check_expiry(expiry);
    IF wanted_kind IS NULL OR wanted_kind NOT IN ('api', 'node') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown token kind %s', walwarden._shown(wanted_kind)),
            HINT = 'Issue kind api or node.';
    ELSIF wanted_kind = 'node' AND (cardinality(wanted_scopes) > 0 OR from_role IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a node token has no scopes and no role',
            HINT = 'Leave scopes and role out: a node token opens the runner protocol only.';
    END IF;
    IF from_role IS NOT NULL THEN
        PERFORM walwarden._check_role(from_role);
        IF cardinality(wanted_scopes) > 0 THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = 'scopes and role exclude each other',
                HINT = 'Leave scopes out to take the permissions from the role, or leave the role out.';
        END IF;
    END IF;
    PERFORM walwarden._check_plan_has_tokens(o);

    carried := CASE WHEN from_role IS NULL THEN wanted_scopes ELSE walwarden._role_scopes(from_role) END;
    IF owner IS NOT NULL THEN
        m := walwarden._owner(o, owner);
        IF NOT EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = m.role AND r.capabilities @> '{own_tokens}') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'insufficient_privilege',
                MESSAGE = format('members with the role %s have no private tokens', m.role),
                HINT = 'Issue a shared token, or change the member''s role.';
        END IF;
        PERFORM walwarden._check_within_role(carried, m, 'the owner');
    ELSIF NOT c.operator THEN
        PERFORM walwarden._check_within_role(carried, walwarden._caller_member(c, o.id), 'the issuer');
    END IF;
    PERFORM walwarden._check_token_limit(o);

    SELECT minted.token, minted.fingerprint INTO token, cred.fingerprint FROM walwarden._mint() AS minted;
    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.name := wanted_name;
    t.kind := wanted_kind;
    t.scopes := wanted_scopes[:];   -- from 1, whatever its bounds were
    t.role := from_role;
    t.owner_id := m.id;
    t.created_at := clock_timestamp();
    t.created_by := walwarden._caller_name(c, o.id);
    t.expires_at := expiry;
    cred.token_id := t.id;
    cred.kind := 'bearer';
    cred.created_at := t.created_at;

    t := walwarden._store_token(walwarden._actor(c, o.id), walwarden._transition('issue', 'none'), NULL, t, ARRAY[cred]);
    IF target = 'private' THEN
        PERFORM walwarden._note_revealed(c, t, m);
    END IF;

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

-- What listings show of a token.
CREATE TYPE walwarden.listed_token AS (
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
    overlap_until      timestamptz
);

-- The same of every token, each resolved as authenticate() would.
CREATE VIEW walwarden._token_overview AS
    SELECT t.id AS token_id,
           t.name,
           (SELECT left(encode(cr.fingerprint, 'hex'), 12)
              FROM walwarden.credential AS cr
             WHERE cr.token_id = t.id AND cr.kind = 'bearer'
             ORDER BY cr.valid_until DESC NULLS FIRST, cr.created_at DESC LIMIT 1) AS fingerprint_handle,
           t.kind,
           CASE WHEN t.owner_id IS NULL THEN 'shared' ELSE 'private' END AS visibility,
           m.subject AS owner,
           t.role,
           t.scopes,
           standing.effective_scopes,
           standing.state,
           t.created_at,
           t.created_by,
           t.expires_at,
           greatest(u.last_used_at, walwarden._noted_use(t.id)) AS last_used_at,
           t.disabled_at,
           t.disabled_reason,
           t.revoked_at,
           t.revoked_by,
           (SELECT max(cr.valid_until)
              FROM walwarden.credential AS cr
             WHERE cr.token_id = t.id AND cr.valid_until > clock_timestamp()) AS overlap_until
      FROM walwarden.token AS t
      LEFT JOIN walwarden.member AS m ON m.id = t.owner_id
      LEFT JOIN walwarden.token_usage AS u ON u.token_id = t.id
     CROSS JOIN LATERAL walwarden._token_standing(t.id) AS standing
     WHERE t.removed_at IS NULL;

CREATE FUNCTION walwarden._list_tokens(org text, after uuid, max_rows integer)
    RETURNS SETOF walwarden.listed_token
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._org(c, org, 'token.list', 'own');
    every boolean := walwarden._may(c, o.id, 'token.list', 'all');
    me uuid := (walwarden._caller_member(c, o.id)).id;
    last walwarden.token;
    page uuid[];
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR max_rows > 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'max_rows is not between 1 and 1000',
            HINT = 'List in pages: give the last token_id of one page as after of the next.';
    END IF;
    IF after IS NOT NULL THEN
        SELECT * INTO last FROM walwarden.token AS t WHERE t.id = after AND t.org_id = o.id AND (every OR t.owner_id = me);
        IF NOT FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('after is no token of %s', walwarden._shown(o.slug)),
                HINT = 'Give the last token_id of the page before, or NULL for the first page.';
        END IF;
    END IF;
    -- first the page, by index, and only then what is costly to know of a token
    IF every THEN
        page := ARRAY(SELECT t.id FROM walwarden.token AS t
                       WHERE t.org_id = o.id AND t.removed_at IS NULL
                         AND (t.created_at, t.id) < (coalesce(last.created_at, 'infinity'), coalesce(last.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows);
    ELSE
        page := ARRAY(SELECT t.id FROM walwarden.token AS t
                       WHERE t.owner_id = me AND t.removed_at IS NULL
                         AND (t.created_at, t.id) < (coalesce(last.created_at, 'infinity'), coalesce(last.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows);
    END IF;
    RETURN QUERY
        SELECT v.*
          FROM walwarden._token_overview AS v
         WHERE v.token_id = ANY (page)
         ORDER BY v.created_at DESC, v.token_id DESC;
END
$$;

CREATE FUNCTION walwarden._visible_tokens()
    RETURNS SETOF walwarden.listed_token
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    ids uuid[];
BEGIN
    IF walwarden._may(c, NULL, 'token.list', 'all') THEN
        RETURN QUERY
            SELECT v.*
              FROM walwarden._token_overview AS v
             ORDER BY v.created_at DESC, v.token_id DESC;
    ELSE
        ids := ARRAY(
            WITH mine AS MATERIALIZED (
                SELECT m.id, m.org_id, walwarden._may(c, m.org_id, 'token.list', 'all') AS every
                  FROM walwarden._memberships(c) AS m
                 WHERE walwarden._may(c, m.org_id, 'token.list', 'own'))
            SELECT t.id FROM mine AS i JOIN walwarden.token AS t ON t.org_id = i.org_id WHERE i.every
            UNION ALL
            SELECT t.id FROM mine AS i JOIN walwarden.token AS t ON t.owner_id = i.id WHERE NOT i.every);
        RETURN QUERY
            SELECT v.*
              FROM walwarden._token_overview AS v
             WHERE v.token_id = ANY (ids)
             ORDER BY v.created_at DESC, v.token_id DESC;
    END IF;
END
$$;

CREATE FUNCTION walwarden.issue_token(
        org text, name text, scopes text[] DEFAULT '{}', expires_at timestamptz DEFAULT NULL,
        owner text DEFAULT NULL, role text DEFAULT NULL, kind text DEFAULT 'api',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.issue_token(text, text, text[], timestamptz, text, text, text) IS
'Issues a token and returns its plaintext, wal_ and 64 hex digits, once: only its SHA-256 fingerprint is stored. name: 1 to 100 characters. scopes: at most 200 names of the catalogue, each once. expires_at: before the year 10000, NULL or infinity for none. owner: NULL for a shared token, else the subject whose private token it is. role: take the permissions from this role instead of scopes. kind: api or node. Shared, role and node tokens for operators, owners and admins; a private one for its owner, and for operators, audited as revealed. Errors: 42501 no right or scopes wider than the owner''s, 42704 unknown organisation, owner or role, 22023 bad value, 55000 wrong plan or disabled owner, 53400 too many tokens. Example: SELECT * FROM walwarden.issue_token(''acme'', ''ci'', ARRAY[''databases:read''], now() + interval ''90 days'');';

CREATE FUNCTION walwarden.list_tokens(org text, after uuid DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS SETOF walwarden.listed_token
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_tokens(text, uuid, integer) IS
'Lists the tokens of an organisation, newest first, revoked ones too; a page of max_rows (1 to 1000) after the token_id that ended the page before. All tokens for operators, owners and admins; their own for other members. Errors: 42501 no member, 42704 unknown organisation, 22023 bad page. Example: SELECT name, state, last_used_at FROM walwarden.list_tokens(''acme'');';

CREATE FUNCTION walwarden.visible_tokens()
    RETURNS SETOF walwarden.listed_token
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.visible_tokens() IS
'The door behind the view token_list: every token that the caller may see, of all organisations. Errors: none. Example: SELECT name FROM walwarden.token_list;';

CREATE VIEW walwarden.token_list WITH (security_barrier) AS
    SELECT * FROM walwarden.visible_tokens();
