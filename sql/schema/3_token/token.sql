-- Issuing and storing tokens. lifecycle.sql has the other actions on them.

-- The text of a new token, from 32 random bytes, and its fingerprint. The plaintext goes only
-- to the caller of issue_token(); it is never a parameter of a query.
CREATE FUNCTION walwarden_internal.mint(OUT token text, OUT fingerprint bytea)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_mint';

-- The state and effective scopes that authenticate() would find; scopes are NULL for a legacy
-- token, whose permissions are not shown.
CREATE FUNCTION walwarden_internal.token_status(t walwarden_internal.token, OUT state text, OUT effective_scopes text[])
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_token_status';

CREATE FUNCTION walwarden_internal.check_expiry(INOUT expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF expires_at = 'infinity' THEN
        expires_at := NULL;
    ELSIF expires_at <= clock_timestamp() THEN
        PERFORM walwarden_internal.refuse('22023', 'expiry is not in the future',
            'Give a later time, for example now() + interval ''90 days'', or ''infinity'' for no expiry.');
    ELSIF expires_at >= '10000-01-01 00:00:00+00' THEN
        PERFORM walwarden_internal.refuse('22023', 'expiry is after the year 9999',
            'Give ''infinity'' for no expiry.');
    END IF;
END
$$;

-- Refuses an expiry beyond the maximum lifetime. counted_from: when the token is issued,
-- renewed or enabled. hint: what to do, with %s for the maximum. Lifetimes bind kind api
-- only: a maximum would stop nodes without a word, and legacy credentials come without an
-- expiry.
CREATE FUNCTION walwarden_internal.check_lifetime(o walwarden_internal.org, t walwarden_internal.token, counted_from timestamptz, hint text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most numeric;
BEGIN
    IF t.kind <> 'api' THEN
        RETURN;
    END IF;
    most := walwarden_internal.max_lifetime(o);
    IF most IS NULL OR t.expires_at <= walwarden_internal.later(counted_from, most) THEN
        RETURN;
    END IF;
    PERFORM walwarden_internal.refuse('22023',
        CASE WHEN t.expires_at IS NULL THEN 'a token without an expiry exceeds the maximum lifetime'
             ELSE 'expiry exceeds the maximum lifetime' END,
        format(hint, walwarden_internal.shown_span(most)),
        format('The maximum is %s, by %s.', walwarden_internal.shown_span(most),
               CASE WHEN most = walwarden_internal.seconds(o.max_lifetime) THEN 'the policy of the organisation' ELSE 'walwarden.max_token_lifetime' END));
END
$$;

-- An entry holds a token twice, before and after the change, and has at most 64 KiB. Refuses a
-- token about which a later entry might not fit, with the longest name and reasons: whatever
-- is issued can be revoked.
CREATE FUNCTION walwarden_internal.check_token_size(t walwarden_internal.token) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    size integer := octet_length(jsonb_build_object('scopes', t.scopes, 'labels', t.labels, 'networks', t.networks)::text);
BEGIN
    IF size > 25600 THEN
        PERFORM walwarden_internal.refuse('22023', 'the scopes, labels and networks are too long together',
            'Give fewer labels or networks, or shorter labels. Each entry of the audit chain about the token holds them twice.',
            format('They have %s bytes as JSON; at most 25600 are allowed.', size));
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.check_reason(INOUT reason text)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF reason IS NOT NULL THEN
        reason := walwarden_internal.check_text('reason', reason, 500);
    END IF;
END
$$;

-- Whether a plan includes API tokens; false if it does not exist.
CREATE FUNCTION walwarden_internal.plan_has_tokens(plan text) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_plan_has_tokens';

-- On a plan without API tokens, tokens can only be listed, disabled and revoked.
CREATE FUNCTION walwarden_internal.check_plan_has_tokens(o walwarden_internal.org) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden_internal.plan_has_tokens(o.plan) THEN
        PERFORM walwarden_internal.refuse('55000', format('the plan %s does not include API tokens', walwarden_internal.shown(o.plan)),
            'Ask an operator to change the plan to team with walwarden.set_plan().');
    END IF;
END
$$;

-- How many tokens of the organisation may be live, without counting them; and that so many
-- were counted. Both while the organisation is locked.
CREATE FUNCTION walwarden_internal.live_tokens_at_most(org_id uuid) RETURNS bigint
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_live_tokens_at_most';
CREATE FUNCTION walwarden_internal.remember_live_tokens(org_id uuid, n bigint) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_remember_live_tokens';

-- Called while the organisation is locked, so that the count still holds at commit.
CREATE FUNCTION walwarden_internal.check_token_limit(o walwarden_internal.org) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most integer := walwarden_internal.setting('max_tokens_per_org');
    live bigint := walwarden_internal.live_tokens_at_most(o.id);
BEGIN
    IF live < most THEN
        RETURN;
    END IF;
    SELECT count(*) INTO live
      FROM (SELECT FROM walwarden_internal.token AS t
             WHERE t.org_id = o.id AND t.removed_at IS NULL AND t.revoked_at IS NULL
             LIMIT most) AS counted;
    IF live >= most THEN
        PERFORM walwarden_internal.refuse('53400', format('organisation %s already has %s tokens', walwarden_internal.shown(o.slug), most),
            'Revoke tokens that are no longer used, or increase walwarden.max_tokens_per_org.');
    END IF;
    PERFORM walwarden_internal.remember_live_tokens(o.id, live);
END
$$;

-- A token must not have scopes beyond the role of the member who is responsible for it.
CREATE FUNCTION walwarden_internal.check_within_role(scopes text[], m walwarden_internal.member, who text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    beyond text;
BEGIN
    SELECT string_agg(u.name, ', ' ORDER BY u.n) INTO beyond
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE u.name <> ALL (walwarden_internal.role_scopes(m.role));
    IF beyond IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('42501', format('the scopes exceed the role of %s', who),
            'Omit these scopes, or ask an owner or admin to change the role.',
            format('The role %s does not carry: %s.', m.role, beyond));
    END IF;
END
$$;

-- The active member with this subject, to be the owner of a token.
CREATE FUNCTION walwarden_internal.owner(o walwarden_internal.org, owner text) RETURNS walwarden_internal.member
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member;
BEGIN
    SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.org_id = o.id AND f.subject = owner AND f.removed_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.refuse('42704', format('%s has no member %s', walwarden_internal.shown(o.slug), walwarden_internal.shown(owner)),
            'Add the owner first with walwarden.add_member().');
    ELSIF m.disabled_at IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('55000', format('member %s is disabled', walwarden_internal.shown(owner)),
            'Enable the member first with walwarden.enable_member().');
    END IF;
    RETURN m;
END
$$;

-- The credential with the columns copied from its token; t NULL: the token does not exist.
CREATE FUNCTION walwarden_internal.with_token_status(c walwarden_internal.credential, t walwarden_internal.token) RETURNS walwarden_internal.credential
    LANGUAGE sql IMMUTABLE
    RETURN ROW(c.fingerprint, c.token_id, c.kind, c.created_at, c.valid_until, c.audit_seq,
               t.org_id, t.kind, t.scopes, t.role, t.owner_id, t.expires_at,
               t.stopped, t.networks, t.rate_limit, c.slot)::walwarden_internal.credential;

-- Whether each credential of a token has its status, and is in the entry that it names. That of the token
-- is not read: if the token agrees with it, which the caller finds out, then it has all of them. False
-- also if that is not sure; unmatched_credential() decides.
CREATE FUNCTION walwarden_internal.credentials_match(t walwarden_internal.token, credentials walwarden_internal.credential[]) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_credentials_match';

-- Copies the columns of the token, whatever the statement wrote there.
CREATE FUNCTION walwarden_internal.copy_token_status() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_copy_token_status';

-- Fires the trigger of credential again, also for a token that is restored after its
-- credential.
CREATE FUNCTION walwarden_internal.refresh_token_status() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_refresh_token_status';

-- The kind of the entry for an action on a token in a state; NULL if the action changes
-- nothing. Fails if token_transition has no such row.
CREATE FUNCTION walwarden_internal.transition(action text, state text) RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_transition';

-- The payload of the entry of a change, as change() makes it, but in text. was: NULL for a new
-- token; had, has: its credentials before and after; reason: NULL for none.
CREATE FUNCTION walwarden_internal.token_change(
        actor jsonb, was walwarden_internal.token, had walwarden_internal.credential[],
        t walwarden_internal.token, has walwarden_internal.credential[], reason text) RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_token_change';

-- Only store_token() and store_ended() write tokens and credentials. This one appends the entry
-- and stores the row t in place of was. credentials: all credentials of the token from now on;
-- NULL keeps them. Returns the row as stored. The caller holds the locks on the organisation and
-- the row.
CREATE FUNCTION walwarden_internal.store_token(
        actor jsonb, event text, was walwarden_internal.token, t walwarden_internal.token,
        credentials walwarden_internal.credential[] DEFAULT NULL, reason text DEFAULT NULL) RETURNS walwarden_internal.token
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_store_token';

-- What store_token() does, for many tokens of an organisation that end: one statement for each
-- table. kinds, payloads: their entries, in order. ended: their rows, with the place of their
-- last entry as audit_seq. Of a token that ends, expired_at and removed_at change; what is
-- removed has no credentials. The caller holds the locks on the organisation and the rows.
CREATE FUNCTION walwarden_internal.store_ended(org_id uuid, kinds text[], payloads text[], ended walwarden_internal.token[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- a plan for each array would take longer than the look-ups
AS $$
#variable_conflict use_variable
DECLARE
    seqs bigint[] := walwarden_internal.append_bodies(org_id, kinds, payloads);
    stored integer;
BEGIN
    -- first, or the trigger of token would bring them up to date
    DELETE FROM walwarden_internal.credential AS f
     USING unnest(ended) AS n
     WHERE f.token_id = n.id AND n.removed_at IS NOT NULL;
    UPDATE walwarden_internal.token AS f
       SET expired_at = n.expired_at, removed_at = n.removed_at, audit_seq = seqs[n.audit_seq]
      FROM unnest(ended) AS n
     WHERE f.id = n.id;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored < cardinality(ended) THEN
        -- as in row_write.c
        PERFORM walwarden_internal.refuse('55000', 'a trigger keeps a row of walwarden_internal.token from being written',
            'Find out who created it, and drop it.');
    END IF;
    PERFORM walwarden_internal.release_limiter(n.id)
       FROM unnest(ended) AS n
      WHERE n.rate_limit IS NOT NULL AND n.removed_at IS NOT NULL;
END
$$;

-- The entry for a plaintext that was returned to somebody other than the owner.
CREATE FUNCTION walwarden_internal.append_revealed(actor jsonb, t walwarden_internal.token, m walwarden_internal.member) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.append(t.org_id, 'token.revealed_for_owner', jsonb_build_object(
        'actor', actor,
        'token', jsonb_build_object('id', t.id, 'name', t.name, 'scopes', t.scopes),
        'owner', jsonb_build_object('memberId', m.id, 'person', m.person)));
END
$$;

CREATE FUNCTION walwarden_internal.issue_token(
        org text, wanted_name text, wanted_scopes text[], expiry timestamptz, owner text, from_role text, wanted_kind text,
        wanted_labels jsonb, wanted_networks cidr[], rate_limit integer,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    target text := CASE WHEN owner IS NULL THEN 'shared'
                        WHEN owner = (walwarden_internal.caller_member(c, (walwarden_internal.member_org(c, org)).id)).subject THEN 'own'
                        ELSE 'private' END;
    o walwarden_internal.org := walwarden_internal.lock_org(c, org, 'token.issue', target);
    m walwarden_internal.member;
    t walwarden_internal.token;
    cred walwarden_internal.credential;
    carried text[];
    actor jsonb;
    minted record;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    IF from_role IS NOT NULL THEN
        PERFORM walwarden_internal.require(c, o.id, 'token.issue', 'role');
    END IF;
    IF wanted_kind = 'node' THEN
        PERFORM walwarden_internal.require(c, o.id, 'token.issue', 'node');
    END IF;

    t.name := walwarden_internal.check_text('token name', wanted_name, 100);
    t.scopes := walwarden_internal.check_scopes(wanted_scopes);
    t.created_at := clock_timestamp();
    -- not instead of 'infinity', which asks for no expiry
    IF expiry IS NULL AND wanted_kind = 'api' THEN
        expiry := walwarden_internal.later(t.created_at, walwarden_internal.seconds(o.default_lifetime));
    END IF;
    t.expires_at := walwarden_internal.check_expiry(expiry);
    IF wanted_kind IS NULL OR wanted_kind NOT IN ('api', 'node') THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown token kind %s', walwarden_internal.shown(wanted_kind)),
            'Use kind api or node.');
    ELSIF wanted_kind = 'node' AND (cardinality(wanted_scopes) > 0 OR from_role IS NOT NULL) THEN
        PERFORM walwarden_internal.refuse('22023', 'a node token cannot have scopes or a role',
            'Omit scopes and role. A node token only gives access to the runner protocol.');
    ELSIF wanted_kind = 'node' AND owner IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'a node token cannot have an owner',
            'Omit owner. A node token is shared: it goes on when people leave.');
    END IF;
    IF from_role IS NOT NULL THEN
        PERFORM walwarden_internal.check_role(from_role);
        IF cardinality(wanted_scopes) > 0 THEN
            PERFORM walwarden_internal.refuse('22023', 'a token cannot have both scopes and a role',
                'Omit scopes to take the permissions from the role, or omit role.');
        END IF;
    END IF;
    t.labels := walwarden_internal.check_labels(wanted_labels);
    t.networks := walwarden_internal.check_networks(wanted_networks);
    t.rate_limit := walwarden_internal.check_rate_limit(rate_limit);
    t.kind := wanted_kind;
    PERFORM walwarden_internal.check_token_size(t),
            walwarden_internal.check_plan_has_tokens(o),
            walwarden_internal.check_lifetime(o, t, t.created_at, 'Give expires_at, at most %s from now.');

    carried := CASE WHEN from_role IS NULL THEN wanted_scopes ELSE walwarden_internal.role_scopes(from_role) END;
    IF owner IS NOT NULL THEN
        m := walwarden_internal.owner(o, owner);
        IF NOT walwarden_internal.is_capable(m.role, 'own_tokens') THEN
            PERFORM walwarden_internal.refuse('42501', format('members with the role %s cannot have private tokens', m.role),
                'Issue a shared token, or change the member''s role.');
        END IF;
        IF walwarden_internal.is_capable(from_role, 'register_nodes') AND NOT walwarden_internal.is_capable(m.role, 'own_nodes') THEN
            PERFORM walwarden_internal.refuse('42501', format('members with the role %s cannot have nodes', m.role),
                'Omit owner: a shared token with this role goes on when people leave.');
        END IF;
        PERFORM walwarden_internal.check_within_role(carried, m, 'the owner');
    ELSIF NOT c.operator THEN
        PERFORM walwarden_internal.check_within_role(carried, walwarden_internal.caller_member(c, o.id), 'the issuer');
    END IF;
    PERFORM walwarden_internal.check_token_limit(o);

    actor := walwarden_internal.actor('caller', c, o.id);
    minted := walwarden_internal.mint();
    token := minted.token;
    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.key_name := t.name;
    t.role := from_role;
    t.owner_id := m.id;
    t.created_by := walwarden_internal.actor_name(actor);
    cred.fingerprint := minted.fingerprint;
    cred.token_id := t.id;
    cred.kind := 'bearer';
    cred.created_at := t.created_at;
    cred.slot := 0;

    t := walwarden_internal.store_token(actor, walwarden_internal.transition('issue', 'none'), NULL, t, ARRAY[cred]);
    IF m.id IS NOT NULL AND m.id IS DISTINCT FROM walwarden_internal.acting_member_id(c, o.id) THEN
        PERFORM walwarden_internal.append_revealed(actor, t, m);
    END IF;

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

CREATE FUNCTION walwarden.issue_token(
        org text, name text, scopes text[] DEFAULT '{}', expires_at timestamptz DEFAULT NULL,
        owner text DEFAULT NULL, role text DEFAULT NULL, kind text DEFAULT 'api',
        labels jsonb DEFAULT '{}', networks cidr[] DEFAULT '{}', rate_limit integer DEFAULT NULL,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.issue_token(text, text, text[], timestamptz, text, text, text, jsonb, cidr[], integer) IS
'Issues a token and returns its plaintext, wal_ and 64 hex digits. This is the only time that the plaintext is returned; only its SHA-256 fingerprint is stored. name: 1 to 100 characters. scopes: at most 200 names from the catalogue, each once. expires_at: before the year 10000; NULL for the default lifetime of the organisation, if it has one; infinity for no expiry: the token then works until it is revoked. A token of kind api with neither scopes nor a role opens nothing. owner: the subject of the owner of a private token; NULL for a shared token. role: a role from which to take the permissions, instead of scopes. kind: api or node. A node token has no owner. labels: at most 16 strings of 1 to 200 characters, by names of lower-case letters, digits, underscores, dots and hyphens. networks: at most 32 networks from which the token is accepted; {} for every address. The scopes, labels and networks have at most 25600 bytes together, as JSON. rate_limit: 1 to 1000000 uses per minute; NULL for no limit; needs preload. Operators, owners and admins can issue shared, role and node tokens. A private token can be issued by its owner, or by an operator. In the second case, the chain records that somebody other than the owner saw the plaintext (token.revealed_for_owner). Errors: 0A000 for SELECT (issue_token(...)).*, which would call it once for each column, 42501 if the caller lacks permission or the scopes exceed the role of the owner or issuer, 42704 if the organisation, the owner or the role does not exist, 22023 if a value is invalid or the expiry exceeds the maximum lifetime, 55000 if the organisation is closed, or the plan does not include API tokens, the owner is disabled, or rate_limit is given without preload, 53400 if there are too many tokens. Example: SELECT * FROM walwarden.issue_token(''acme'', ''ci'', ARRAY[''databases:read''], now() + interval ''90 days'');';
