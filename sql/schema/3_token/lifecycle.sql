-- The lifecycle of tokens: disable, enable, update, renew, revoke, expire, remove.

CREATE FUNCTION walwarden_internal.state(t walwarden_internal.token) RETURNS text
    LANGUAGE sql STABLE
    RETURN (walwarden_internal.token_status(t)).state;

-- Records an expiry in one entry. The first function that finds the token expired and not
-- recorded yet does this.
CREATE FUNCTION walwarden_internal.record_expiry(was walwarden_internal.token) RETURNS walwarden_internal.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := was;
BEGIN
    IF was.expired_at IS NOT NULL OR walwarden_internal.state(was) IS DISTINCT FROM 'expired' THEN
        RETURN was;
    END IF;
    t.expired_at := was.expires_at;
    RETURN walwarden_internal.store_token(walwarden_internal.actor('system'),
        walwarden_internal.transition('expire', CASE WHEN was.disabled_at IS NULL THEN 'active' ELSE 'disabled' END), was, t);
END
$$;

-- Tokens that have ended and are neither revoked nor removed, and when they ended: disabled,
-- expired, or owner disabled, whichever came first. overdue: the retention is over by the
-- clock; removable: and the clock can be relied on (round.sql). Query it by id, owner or organisation;
-- maintenance first finds candidates by index.
CREATE VIEW walwarden_internal.ended_token AS
    SELECT e.id, e.org_id, e.owner_id, e.expires_at <= clock_timestamp() AND e.expired_at IS NULL AS unrecorded,
           walwarden_internal.later(e.ended_at, walwarden_internal.seconds(o.retention)) <= clock_timestamp() AS overdue,
           walwarden_internal.later(e.ended_at, walwarden_internal.seconds(o.retention)) <= (SELECT walwarden_internal.removal_limit()) AS removable,
           CASE e.ended_at WHEN e.disabled_at THEN 'disabled' WHEN e.expires_at THEN 'expired' ELSE 'owner disabled' END AS reason
      FROM (SELECT t.*, least(t.disabled_at, CASE WHEN t.expired_at IS NOT NULL OR t.expires_at <= clock_timestamp() THEN t.expires_at END, m.disabled_at) AS ended_at
              FROM walwarden_internal.token AS t
              LEFT JOIN walwarden_internal.member AS m ON m.id = t.owner_id
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL) AS e
      JOIN walwarden_internal.org AS o ON o.id = e.org_id
     WHERE e.ended_at IS NOT NULL;
COMMENT ON VIEW walwarden_internal.ended_token IS 'Tokens that have ended and are neither revoked nor removed, and when they ended. Maintenance records and removes them.';

-- Records the expiries of tokens of one organisation and removes removable tokens, or fails as a
-- whole. Returns whether anything changed. The caller holds the locks on the organisation and
-- the rows.
CREATE FUNCTION walwarden_internal.record_ends(ids uuid[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- a plan for each array would take longer than the look-ups
AS $$
DECLARE
    actor CONSTANT jsonb := walwarden_internal.actor('system');
    e record;
    was walwarden_internal.token;
    t walwarden_internal.token;
    kinds text[] := '{}';
    payloads text[] := '{}';
    ended walwarden_internal.token[] := '{}';
BEGIN
    FOR e IN SELECT f AS t, ARRAY(SELECT c FROM walwarden_internal.credential AS c WHERE c.token_id = f.id) AS had,
                    n.unrecorded, n.removable, n.reason
               FROM walwarden_internal.ended_token AS n JOIN walwarden_internal.token AS f ON f.id = n.id
              WHERE n.id = ANY (ids) AND (n.removable OR n.unrecorded)
              ORDER BY n.id LOOP
        t := e.t;
        IF e.unrecorded THEN
            was := t;
            t.expired_at := t.expires_at;
            kinds := kinds || walwarden_internal.transition('expire', CASE WHEN was.disabled_at IS NULL THEN 'active' ELSE 'disabled' END);
            payloads := payloads || walwarden_internal.token_change(actor, was, e.had, t, e.had, NULL);
        END IF;
        IF e.removable THEN
            was := t;
            t.removed_at := clock_timestamp();
            kinds := kinds || walwarden_internal.transition('remove', walwarden_internal.state(was));
            payloads := payloads || walwarden_internal.token_change(actor, was, e.had, t, '{}', e.reason);
        END IF;
        t.audit_seq := cardinality(kinds);
        ended := ended || t;
    END LOOP;
    IF cardinality(kinds) = 0 THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.store_ended(t.org_id, kinds, payloads, ended);
    RETURN true;
END
$$;

-- The same for a person who changes a member. The caller holds the lock on the organisation.
CREATE FUNCTION walwarden_internal.expire_tokens(ids uuid[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    -- lock all rows before the first entry, because the lock of the chain always comes last
    PERFORM FROM walwarden_internal.token AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR NO KEY UPDATE;
    RETURN walwarden_internal.record_ends(ids);
END
$$;

CREATE FUNCTION walwarden_internal.tokens_of(owner_id uuid) RETURNS uuid[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT t.id FROM walwarden_internal.token AS t
                  WHERE t.owner_id = $1 AND t.revoked_at IS NULL AND t.removed_at IS NULL);
END
$$;

-- Whether a token is the caller's own, another member's (private), or shared. A token that
-- the caller may not see, or that does not exist, counts as another member's.
CREATE FUNCTION walwarden_internal.token_target(c walwarden_internal.caller, t walwarden_internal.token) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN t.owner_id = (walwarden_internal.caller_member(c, t.org_id)).id THEN 'own'
                WHEN t.id IS NOT NULL AND t.owner_id IS NULL AND walwarden_internal.may(c, t.org_id, 'token.list', 'all') THEN 'shared'
                ELSE 'private' END;

CREATE FUNCTION walwarden_internal.refuse_unknown_token(token_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.refuse('42704', format('token %s does not exist', token_id),
        'To see the tokens, run SELECT token_id, name FROM walwarden.token_list.');
END
$$;

-- Whether a caller who is not an operator sees a token. Reads no row of any other token.
CREATE FUNCTION walwarden_internal.sees_token(c walwarden_internal.caller, token_id uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member;
    sees boolean := false;
BEGIN
    FOR m IN SELECT f.* FROM walwarden_internal.memberships(c) AS f LOOP
        IF walwarden_internal.may(c, m.org_id, 'token.list', 'all') THEN
            sees := walwarden_internal.index_has('token_of_org', m.org_id, token_id);
        ELSE
            sees := walwarden_internal.index_has('token_by_owner', m.id, token_id);
        END IF;
        EXIT WHEN sees;
    END LOOP;
    RETURN sees;
END
$$;

-- The token with an id, or NULL if the caller does not see it or it does not exist.
CREATE FUNCTION walwarden_internal.visible_token(c walwarden_internal.caller, token_id uuid) RETURNS walwarden_internal.token
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token;
BEGIN
    IF token_id IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'token_id is missing',
            'To see your tokens, run SELECT token_id, name FROM walwarden.token_list.');
    END IF;
    IF c.operator OR walwarden_internal.sees_token(c, token_id) THEN
        SELECT * INTO t FROM walwarden_internal.token AS f WHERE f.id = token_id AND f.removed_at IS NULL;
    END IF;
    RETURN t;
END
$$;

-- Checks that the caller may do action on a token, locks the token, records its expiry if it
-- has expired, and returns it. This function waits, so its callers must call caller() after
-- it. A caller who is not an operator gets the same error for an unknown token as for a
-- foreign one, and the call reads the same rows.
CREATE FUNCTION walwarden_internal.token_for_change(token_id uuid, action text) RETURNS walwarden_internal.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    t walwarden_internal.token := walwarden_internal.visible_token(c, token_id);
    target text;
BEGIN
    IF t.id IS NOT NULL OR NOT c.operator THEN
        target := walwarden_internal.token_target(c, t);
        PERFORM walwarden_internal.require(c, t.org_id, action, target), walwarden_internal.lock_org(t.org_id, action, target);
        SELECT * INTO t FROM walwarden_internal.token AS f WHERE f.id = token_id AND f.removed_at IS NULL FOR NO KEY UPDATE;
    END IF;
    IF t.id IS NULL THEN
        PERFORM walwarden_internal.refuse_unknown_token(token_id);
    END IF;
    RETURN walwarden_internal.record_expiry(t);
END
$$;

-- A token can be enabled or changed only if the plan includes tokens. Returns its
-- organisation; NULL for a revoked token, which is rejected anyway.
CREATE FUNCTION walwarden_internal.org_for_change_of(t walwarden_internal.token) RETURNS walwarden_internal.org
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden_internal.org;
BEGIN
    IF t.revoked_at IS NULL THEN
        SELECT * INTO o FROM walwarden_internal.org WHERE org.id = t.org_id;
        PERFORM walwarden_internal.check_plan_has_tokens(o);
    END IF;
    RETURN o;
END
$$;

-- Returns false if the token is already disabled. The caller holds the lock on the row.
CREATE FUNCTION walwarden_internal.disable(actor jsonb, was walwarden_internal.token, by_owner boolean, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := was;
    event text := walwarden_internal.transition('disable', walwarden_internal.state(was));
BEGIN
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.disabled_at := clock_timestamp();
    t.disabled_by := walwarden_internal.actor_name(actor);
    t.disabled_by_owner := by_owner;
    t.disabled_reason := reason;
    PERFORM walwarden_internal.store_token(actor, event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.disable_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.token := walwarden_internal.token_for_change(token_id, 'token.disable');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
BEGIN
    reason := walwarden_internal.check_reason(reason);
    RETURN walwarden_internal.disable(walwarden_internal.actor('caller', c, was.org_id), was,
                                      walwarden_internal.token_target(c, was) = 'own', reason);
END
$$;

CREATE FUNCTION walwarden_internal.enable_token(token_id uuid, expiry timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.token := walwarden_internal.token_for_change(token_id, 'token.enable');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    t walwarden_internal.token := was;
    state text := walwarden_internal.state(was);
    event text := walwarden_internal.transition('enable', state);
    o walwarden_internal.org;
BEGIN
    IF walwarden_internal.token_target(c, was) = 'private' AND event IS NOT NULL
       AND (was.disabled_by_owner IS DISTINCT FROM false OR state = 'expired' OR expiry IS NOT NULL) THEN
        PERFORM walwarden_internal.refuse('42501', 'only its owner may enable a private token that the owner disabled or that expired, or change its expiry',
            'Ask the owner. Operators, owners and admins may only enable a token that one of them disabled, without changing its expiry.');
    END IF;
    IF EXISTS (SELECT FROM walwarden_internal.ended_token AS e WHERE e.id = was.id AND e.overdue) THEN
        PERFORM walwarden_internal.refuse('42704', format('token %s is about to be removed', token_id),
            'Issue a new token. This token ended longer ago than the retention of its organisation.');
    END IF;
    o := walwarden_internal.org_for_change_of(was);
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden_internal.check_expiry(expiry);
    ELSIF state = 'expired' THEN
        PERFORM walwarden_internal.refuse('22023', 'an expired token needs a new expiry',
            'Give expires_at, for example now() + interval ''90 days'', or ''infinity'' for no expiry.');
    END IF;
    IF event IS NULL THEN
        -- it is active already; changing its expiry is for another function
        IF t.expires_at IS DISTINCT FROM was.expires_at THEN
            PERFORM walwarden_internal.refuse('55000', 'the token is not disabled',
                'Change its expiry with walwarden.update_token().');
        END IF;
        RETURN false;
    END IF;
    t.disabled_at := NULL;
    t.disabled_by := NULL;
    t.disabled_by_owner := NULL;
    t.disabled_reason := NULL;
    t.expired_at := NULL;
    t.lifetime_from := clock_timestamp();
    PERFORM walwarden_internal.check_lifetime(o, t, t.lifetime_from, 'Give expires_at, at most %s from now. Only its owner can do so for a private token.');
    PERFORM walwarden_internal.store_token(walwarden_internal.actor('caller', c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.update_token(
        token_id uuid, new_name text, new_scopes text[], expiry timestamptz, new_labels jsonb, new_networks cidr[], new_rate_limit integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.token := walwarden_internal.token_for_change(token_id, 'token.update');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    t walwarden_internal.token := was;
    event text;
    m walwarden_internal.member;
    o walwarden_internal.org;
BEGIN
    o := walwarden_internal.org_for_change_of(was);
    event := walwarden_internal.transition('update', walwarden_internal.state(was));
    IF new_name IS NOT NULL THEN
        t.name := walwarden_internal.check_text('token name', new_name, 100);
    END IF;
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden_internal.check_expiry(expiry);
        -- What lengthens a life counts from its beginning, or updates could go on for ever.
        -- What shortens it counts from now, so that an older token can be brought within a
        -- new maximum.
        IF t.expires_at < coalesce(was.expires_at, 'infinity') THEN
            PERFORM walwarden_internal.check_lifetime(o, t, clock_timestamp(), 'Give an expiry at most %s from now.');
        ELSIF t.expires_at IS DISTINCT FROM was.expires_at THEN
            PERFORM walwarden_internal.check_lifetime(o, t, coalesce(was.lifetime_from, was.created_at),
                'Give an expiry at most %s after the token was issued, or last renewed or enabled. Renew the token to let its lifetime begin again.');
        END IF;
    END IF;
    IF new_scopes IS NOT NULL THEN
        IF was.kind = 'legacy' OR (new_scopes <> '{}' AND (was.kind = 'node' OR was.role IS NOT NULL)) THEN
            PERFORM walwarden_internal.refuse('55000', CASE WHEN was.kind = 'legacy' THEN 'the permissions of a legacy token cannot be changed'
                               WHEN was.kind = 'node' THEN 'a node token cannot have scopes'
                               ELSE format('the permissions of the token come from the role %s', was.role) END,
                CASE WHEN was.kind = 'legacy' THEN 'Revoke it and issue a token with its own scopes. A legacy token has the permissions of its owner''s role.'
                            ELSE 'Issue another token with its own scopes.' END);
        END IF;
        t.scopes := walwarden_internal.check_scopes(new_scopes);
        IF was.owner_id IS NOT NULL THEN
            SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.id = was.owner_id;
            PERFORM walwarden_internal.check_within_role(new_scopes, m, 'the owner');
        ELSIF NOT c.operator THEN
            PERFORM walwarden_internal.check_within_role(new_scopes, walwarden_internal.caller_member(c, was.org_id), 'the issuer');
        END IF;
    END IF;
    IF new_labels IS NOT NULL THEN
        t.labels := walwarden_internal.check_labels(new_labels);
    END IF;
    IF new_networks IS NOT NULL THEN
        t.networks := walwarden_internal.check_networks(new_networks);
    END IF;
    IF new_rate_limit = 0 THEN
        t.rate_limit := NULL;
    ELSIF new_rate_limit IS NOT NULL THEN
        t.rate_limit := walwarden_internal.check_rate_limit(new_rate_limit);
    END IF;
    IF t IS NOT DISTINCT FROM was THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.check_token_size(t);
    PERFORM walwarden_internal.store_token(walwarden_internal.actor('caller', c, t.org_id), event, was, t);
    RETURN true;
END
$$;

-- Gives a token a new bearer credential. The previous one stays valid until it ends. A legacy
-- credential ends at once: see end_legacy_credential().
CREATE FUNCTION walwarden_internal.renew_token(
        wanted_id uuid, overlap interval,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := walwarden_internal.token_for_change(wanted_id, 'token.renew');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    o walwarden_internal.org;
    was walwarden_internal.token;
    event text;
    actor jsonb := walwarden_internal.actor('caller', c, t.org_id);
    old walwarden_internal.credential;
    new walwarden_internal.credential;
    minted record;
    m walwarden_internal.member;
    seconds numeric := walwarden_internal.exact_seconds(overlap);
BEGIN
    IF seconds IS NULL OR seconds NOT BETWEEN 0 AND 7 * 86400 THEN
        PERFORM walwarden_internal.refuse('22023', 'overlap is not between 0 and 7 days',
            'Give the time for which the previous plaintext still works, for example ''1 hour''.');
    END IF;
    o := walwarden_internal.org_for_change_of(t);
    event := walwarden_internal.transition('renew', walwarden_internal.state(t));
    -- the expiry stays, and must be within the maximum from now
    PERFORM walwarden_internal.check_lifetime(o, t, clock_timestamp(), 'First give the token an expiry at most %s from now, with walwarden.update_token().');
    -- like issuing, this returns a plaintext
    IF t.owner_id IS NULL AND NOT c.operator THEN
        PERFORM walwarden_internal.check_within_role(CASE WHEN t.role IS NULL THEN t.scopes ELSE walwarden_internal.role_scopes(t.role) END,
                                             walwarden_internal.caller_member(c, t.org_id), 'the issuer');
    END IF;
    t := walwarden_internal.end_legacy_credential(actor, t, 'value renewed');

    minted := walwarden_internal.mint();
    token := minted.token;
    new.fingerprint := minted.fingerprint;
    new.token_id := t.id;
    new.kind := 'bearer';
    new.created_at := clock_timestamp();
    SELECT * INTO old FROM walwarden_internal.credential AS f WHERE f.token_id = t.id AND f.valid_until IS NULL;
    -- without an overlap it has ended, whatever the clock says later
    old.valid_until := CASE WHEN seconds = 0 THEN '-infinity' ELSE walwarden_internal.later(new.created_at, seconds) END;
    was := t;
    t.lifetime_from := new.created_at;
    new.slot := coalesce(1 - old.slot, 0);
    t := walwarden_internal.store_token(actor, event, was, t, CASE WHEN old.fingerprint IS NULL THEN ARRAY[new] ELSE ARRAY[old, new] END);
    -- an operator whose role is said to be the owner's
    IF t.owner_id IS DISTINCT FROM walwarden_internal.acting_member_id(c, t.org_id) AND t.owner_id IS NOT NULL THEN
        SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.id = t.owner_id;
        PERFORM walwarden_internal.append_revealed(actor, t, m);
    END IF;

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

CREATE FUNCTION walwarden_internal.end_overlap(token_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := walwarden_internal.token_for_change(token_id, 'token.end_overlap');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    event text;
    credentials walwarden_internal.credential[] := walwarden_internal.credentials(t.id);
    now timestamptz := clock_timestamp();
    changed boolean := false;
BEGIN
    PERFORM walwarden_internal.org_for_change_of(t);
    event := walwarden_internal.transition('end_overlap', walwarden_internal.state(t));
    FOR i IN 1 .. cardinality(credentials) LOOP
        IF event IS NOT NULL AND credentials[i].valid_until > now THEN
            credentials[i].valid_until := '-infinity';      -- whatever the clock says later
            changed := true;
        END IF;
    END LOOP;
    IF changed THEN
        PERFORM walwarden_internal.store_token(walwarden_internal.actor('caller', c, t.org_id), event, t, t, credentials);
    END IF;
    RETURN changed;
END
$$;

-- Returns false if the token is already revoked. The caller holds the lock on the row.
-- action: revoke, or leak for a token whose plaintext was disclosed.
CREATE FUNCTION walwarden_internal.revoke(actor jsonb, was walwarden_internal.token, reason text, action text DEFAULT 'revoke') RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := was;
    event text := walwarden_internal.transition(action, walwarden_internal.state(was));
BEGIN
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.revoked_at := clock_timestamp();
    t.revoked_by := walwarden_internal.actor_name(actor);
    t.revoked_reason := reason;
    PERFORM walwarden_internal.store_token(actor, event, was, t);
    RETURN true;
END
$$;

-- Revokes every token of an organisation and returns how many it revoked. The caller must
-- hold the lock of the organisation.
CREATE FUNCTION walwarden_internal.end_tokens(actor jsonb, org_id uuid, reason text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token;
    ended integer := 0;
BEGIN
    PERFORM FROM walwarden_internal.token AS f
      WHERE f.org_id = end_tokens.org_id AND f.revoked_at IS NULL AND f.removed_at IS NULL
      ORDER BY f.id
        FOR NO KEY UPDATE;
    FOR t IN SELECT f.* FROM walwarden_internal.token AS f
              WHERE f.org_id = end_tokens.org_id AND f.revoked_at IS NULL AND f.removed_at IS NULL
              ORDER BY f.id LOOP
        PERFORM walwarden_internal.revoke(actor, walwarden_internal.record_expiry(t), reason);
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;

CREATE FUNCTION walwarden_internal.revoke_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token := walwarden_internal.token_for_change(token_id, 'token.revoke');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
BEGIN
    reason := walwarden_internal.check_reason(reason);
    RETURN walwarden_internal.revoke(walwarden_internal.actor('caller', c, t.org_id), t, reason);
END
$$;

CREATE FUNCTION walwarden.disable_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.disable_token(uuid, text) IS
'Disables a token until it is enabled again, for every transaction that starts after this one commits. It is removed if it stays disabled for longer than the organisation''s retention. reason: NULL or 1 to 500 characters. Members can disable their own private tokens; operators, owners and admins can disable all tokens. Returns false, and records nothing, if the token is already disabled. Errors: 42501 if the caller lacks permission or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist, 22023 if a value is invalid, 55000 if the organisation is closed, or the token is revoked or expired. Example: SELECT walwarden.disable_token(token_id, ''on leave'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'' AND state = ''active'';';

CREATE FUNCTION walwarden.enable_token(token_id uuid, expires_at timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.enable_token(uuid, timestamptz) IS
'Enables a disabled or expired token again. expires_at: a new expiry; infinity for no expiry; NULL keeps an expiry in the future. Owners can enable their private tokens. Operators, owners and admins can enable shared tokens, and private tokens that one of them disabled. Returns false, and records nothing, if the token is neither disabled nor expired. Errors: 42501 if the caller lacks permission or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist or is about to be removed, 22023 if the expiry is in the past, missing for an expired token, or exceeds the maximum lifetime, 55000 if the organisation is closed, or the token is revoked, the plan does not include API tokens, or a new expiry is given for a token that is not disabled. Example: SELECT walwarden.enable_token(token_id, now() + interval ''90 days'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'' AND state IN (''disabled'', ''expired'');';

CREATE FUNCTION walwarden.update_token(
        token_id uuid, name text DEFAULT NULL, scopes text[] DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
        labels jsonb DEFAULT NULL, networks cidr[] DEFAULT NULL, rate_limit integer DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.update_token(uuid, text, text[], timestamptz, jsonb, cidr[], integer) IS
'Changes the name, the scopes, the expiry, the labels, the networks or the rate limit of a token. NULL keeps a value; infinity removes the expiry, {} the labels or the networks, 0 the rate limit. The values are those of issue_token(); labels and networks replace all of those before. The plaintext stays valid. Only its owner can change a private token; operators, owners and admins can change shared tokens. Returns false, and records nothing, if nothing changes. Errors: 42501 if the caller lacks permission, the scopes exceed the role of the owner or issuer or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist, 22023 if a value is invalid or a new expiry exceeds the maximum lifetime, 55000 if the organisation is closed, or the token is revoked or expired, the plan does not include API tokens, scopes are given for a token that cannot have its own (legacy, node, from a role), or rate_limit is given without preload. Example: SELECT walwarden.update_token(token_id, scopes => ARRAY[''databases:read'']) FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'' AND state = ''active'';';

CREATE FUNCTION walwarden.renew_token(
        token_id uuid, overlap interval DEFAULT '0',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.renew_token(uuid, interval) IS
'Gives a token a new plaintext and returns it, this one time. Id, name, scopes and expiry do not change; a maximum lifetime counts again from now. overlap: how long the previous plaintext still works, 0 to 7 days, without months; listings show when it ends and whether it is still used, and end_overlap() ends it early. At most two plaintexts work at a time; another renewal ends the older one. For a legacy token, renewal ends the legacy credential for good. Only its owner can renew a private token; operators, owners and admins can renew shared tokens. Errors: 0A000 for SELECT (renew_token(...)).*, which would call it once for each column, 42501 if the caller lacks permission or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist, 22023 if overlap is invalid or the expiry exceeds the maximum lifetime, 55000 if the organisation is closed, or the token is not active. Example: SELECT r.token FROM walwarden.list_tokens(''acme'') AS t, walwarden.renew_token(t.token_id, ''1 hour'') AS r WHERE t.name = ''ci'' AND t.state = ''active'';';

CREATE FUNCTION walwarden.end_overlap(token_id uuid) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.end_overlap(uuid) IS
'Ends the overlap of a renewed token early: the previous plaintext stops working for every transaction that starts after this one commits, and the newest goes on. Only its owner can do so for a private token; operators, owners and admins can for shared tokens. Returns false, and records nothing, if no previous plaintext works or the token is revoked. Errors: 42501 if the caller lacks permission or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist, 22023 if token_id is NULL, 55000 if the organisation is closed, or the plan does not include API tokens. Example: SELECT walwarden.end_overlap(token_id) FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'' AND overlap_until IS NOT NULL;';

CREATE FUNCTION walwarden.revoke_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_token(uuid, text) IS
'Revokes a token for good, for every transaction that starts after this one commits. reason: NULL or 1 to 500 characters. Members can revoke their own private tokens; operators, owners and admins can revoke all tokens. Returns false, and records nothing, if the token is already revoked. Errors: 42501 if the caller lacks permission or, unless the caller is an operator, the token does not exist, 42704 if the token does not exist, 22023 if a value is invalid, 55000 if the organisation is closed. Example: SELECT walwarden.revoke_token(token_id, ''laptop lost'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

-- The organisations with expiries to record or tokens to remove. Each branch uses its index.
CREATE FUNCTION walwarden_internal.orgs_with_ended_tokens() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT n.org_id
      FROM (SELECT t.id FROM walwarden_internal.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NOT NULL
            UNION
            SELECT t.id FROM walwarden_internal.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.expires_at IS NOT NULL AND t.expires_at <= statement_timestamp()
            UNION
            SELECT t.id FROM walwarden_internal.member AS m JOIN walwarden_internal.token AS t ON t.owner_id = m.id
             WHERE m.removed_at IS NULL AND m.disabled_at IS NOT NULL
               AND t.removed_at IS NULL AND t.revoked_at IS NULL) AS candidate
     CROSS JOIN LATERAL (SELECT e.* FROM walwarden_internal.ended_token AS e WHERE e.id = candidate.id OFFSET 0) AS n     -- by key, one by one
     WHERE n.removable OR n.unrecorded
     ORDER BY n.org_id      -- in which order their locks are acquired
$$;

-- record_ends() for maintenance: if it fails, one by one, so that a token that cannot be removed
-- does not hold up the others. Returns those with which it fails; a WARNING names each of the
-- first. An error that concerns the transaction or the server is raised again: the next token
-- would have it too.
CREATE FUNCTION walwarden_internal.try_record_ends(ids uuid[], named boolean DEFAULT true) RETURNS uuid[]
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names CONSTANT integer := 10;
    id uuid;
    failed uuid[] := '{}';
BEGIN
    PERFORM walwarden_internal.record_ends(ids);
    RETURN failed;
EXCEPTION
    WHEN lock_not_available OR transaction_rollback OR read_only_sql_transaction OR
         insufficient_resources OR operator_intervention OR system_error THEN
        RAISE;
    WHEN OTHERS THEN
        IF cardinality(ids) = 1 THEN
            IF named THEN
                RAISE WARNING 'walwarden: maintenance failed on token %: %', ids[1], SQLERRM USING ERRCODE = SQLSTATE;
            END IF;
            RETURN ids;
        END IF;
        FOREACH id IN ARRAY ids LOOP
            failed := failed || walwarden_internal.try_record_ends(ARRAY[id], cardinality(failed) < names);
        END LOOP;
        IF cardinality(failed) > names THEN
            RAISE WARNING 'walwarden: maintenance failed on % more tokens', cardinality(failed) - names;
        END IF;
        RETURN failed;
END
$$;

-- Records or removes the ended tokens of an organisation, at most so many, and none of those in
-- failed, to which it adds those with which it fails. ended: how many it did. more: call it again.
CREATE FUNCTION walwarden_internal.expire_tokens_of(org_id uuid, most integer, INOUT failed uuid[], OUT ended integer, OUT more boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[];
    stuck uuid[];
BEGIN
    PERFORM walwarden_internal.acquire_org_lock(org_id);
    ids := ARRAY(SELECT n.id FROM walwarden_internal.ended_token AS n
                  WHERE n.org_id = expire_tokens_of.org_id AND (n.removable OR n.unrecorded)
                    AND n.id NOT IN (SELECT f.id FROM unnest(failed) AS f(id))
                  LIMIT most);
    -- lock all rows before the first entry, because the lock of the chain always comes last
    ids := ARRAY(SELECT f.id FROM walwarden_internal.token AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR NO KEY UPDATE);
    stuck := walwarden_internal.try_record_ends(ids);
    failed := failed || stuck;
    ended := cardinality(ids) - cardinality(stuck);
    more := cardinality(ids) = most;
END
$$;

-- The tokens whose expiry is to be announced now.
CREATE VIEW walwarden_internal.expiring_token AS
    SELECT t.org_id, t.id, t.expires_at
      FROM walwarden_internal.org AS o
      JOIN walwarden_internal.token AS t ON t.org_id = o.id
     WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NULL
       AND t.expires_at IS NOT NULL AND t.notice_for IS DISTINCT FROM t.expires_at
       -- the index serves only what is stable
       AND t.expires_at > statement_timestamp() AND t.expires_at > clock_timestamp()
       AND t.expires_at <= walwarden_internal.later(statement_timestamp(), walwarden_internal.seconds(o.notice));
COMMENT ON VIEW walwarden_internal.expiring_token IS 'The tokens whose expiry is near and has not been announced.';

-- A notice of 7 days, the default, is found by time. An organisation with a longer one is asked
-- by itself: by time, one with a notice of years would have the tokens of all others read. With a
-- shorter one, any number of tokens can be near that are not due. If so many are near, every
-- organisation is asked, which costs less than to read them all.
CREATE FUNCTION walwarden_internal.orgs_with_expiring_tokens() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH unannounced AS NOT MATERIALIZED (
        SELECT t.org_id, t.expires_at FROM walwarden_internal.token AS t
         WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NULL
           AND t.expires_at IS NOT NULL AND t.notice_for IS DISTINCT FROM t.expires_at
           AND t.expires_at > statement_timestamp()
    ), near AS MATERIALIZED (
        SELECT u.org_id FROM unannounced AS u
         WHERE u.expires_at <= walwarden_internal.later(statement_timestamp(), 604800)
         ORDER BY u.expires_at LIMIT 2000
    )
    SELECT candidate.org_id
      FROM (SELECT n.org_id FROM near AS n
            UNION
            SELECT o.id FROM walwarden_internal.org AS o WHERE walwarden_internal.seconds(o.notice) > 604800
            UNION
            SELECT o.id FROM walwarden_internal.org AS o WHERE (SELECT count(*) FROM near) = 2000) AS candidate
     -- as in expiring_token, by the first of each: the planner could look for any among all of them
     WHERE (SELECT u.expires_at FROM unannounced AS u
             WHERE u.org_id = candidate.org_id AND u.expires_at > clock_timestamp()
             ORDER BY u.expires_at LIMIT 1)
        <= (SELECT walwarden_internal.later(statement_timestamp(), walwarden_internal.seconds(o.notice))
              FROM walwarden_internal.org AS o WHERE o.id = candidate.org_id)
     ORDER BY candidate.org_id      -- in which order their locks are acquired
$$;

-- Appends an entry for each token of an organisation that will expire within its notice, once
-- for each expiry. A disabled token gets it if it is enabled again. Handles at most so many
-- tokens, and returns for how many it appended an entry.
CREATE FUNCTION walwarden_internal.announce_expiries_of(org_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[];
    was walwarden_internal.token;
    t walwarden_internal.token;
    state text;
    announced integer := 0;
BEGIN
    PERFORM walwarden_internal.acquire_org_lock(org_id);
    ids := ARRAY(SELECT f.id FROM walwarden_internal.expiring_token AS f
                  WHERE f.org_id = announce_expiries_of.org_id
                  ORDER BY f.expires_at LIMIT most);
    -- lock all rows before the first entry, because the lock of the chain always comes last
    PERFORM FROM walwarden_internal.token AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR NO KEY UPDATE;
    FOR was IN SELECT f.* FROM walwarden_internal.token AS f WHERE f.id = ANY (ids) ORDER BY f.id LOOP
        state := walwarden_internal.state(was);
        CONTINUE WHEN state = 'expired';    -- meanwhile
        t := was;
        t.notice_for := was.expires_at;
        PERFORM walwarden_internal.store_token(walwarden_internal.actor('system'), walwarden_internal.transition('notice', state), was, t);
        announced := announced + 1;
    END LOOP;
    RETURN announced;
END
$$;
