-- What becomes of a token: disable, enable, update, renew, revoke, expire, remove.
-- Which action leads from which state to which is data (token_transition), and so
-- is who may do it (permission); here is how each is done.

-- For what nobody did but time.
CREATE FUNCTION walwarden._system_actor() RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('kind', 'system', 'role', NULL, 'subject', NULL)
$$;

CREATE FUNCTION walwarden._state(t walwarden.token) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (walwarden._token_standing(t.id)).state
$$;

-- An expiry is one entry: here, by whatever comes first to a token that has
-- passed it unrecorded.
CREATE FUNCTION walwarden._record_expiry(was walwarden.token) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := was;
BEGIN
    IF was.expired_at IS NOT NULL OR walwarden._state(was) IS DISTINCT FROM 'expired' THEN
        RETURN was;
    END IF;
    t.expired_at := was.expires_at;
    RETURN walwarden._store_token(walwarden._system_actor(),
        walwarden._transition('expire', CASE WHEN was.disabled_at IS NULL THEN 'active' ELSE 'disabled' END), was, t);
END
$$;

-- Tokens that ended and are neither revoked nor removed, and since when: disabled,
-- expired, or stopped by their owner's disabling, whichever came first. To be
-- asked by id, owner or org; maintenance finds whom to ask about by index.
CREATE VIEW walwarden._ended_token AS
    SELECT e.id, e.org_id, e.owner_id, e.expires_at <= clock_timestamp() AND e.expired_at IS NULL AS unrecorded,
           e.ended_at + o.retention <= clock_timestamp() AS overdue,
           CASE e.ended_at WHEN e.disabled_at THEN 'disabled' WHEN e.expires_at THEN 'expired' ELSE 'owner disabled' END AS reason
      FROM (SELECT t.*, least(t.disabled_at, CASE WHEN t.expires_at <= clock_timestamp() THEN t.expires_at END, m.disabled_at) AS ended_at
              FROM walwarden.token AS t
              LEFT JOIN walwarden.member AS m ON m.id = t.owner_id
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL) AS e
      JOIN walwarden.org AS o ON o.id = e.org_id
     WHERE e.ended_at IS NOT NULL;

-- Ends a token whose retention is over: its values are erased, its row is marked.
CREATE FUNCTION walwarden._remove_token(was walwarden.token, reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token;
BEGIN
    was := walwarden._record_expiry(was);
    t := was;
    t.removed_at := clock_timestamp();
    PERFORM walwarden._store_token(walwarden._system_actor(), walwarden._transition('remove', walwarden._state(was)),
                                   was, t, '{}', reason);
END
$$;

-- Carries out what time decided about tokens of one org: puts expiries on record and
-- removes what is overdue. Returns whether there was anything. The caller holds the
-- lock of the org.
CREATE FUNCTION walwarden._end_tokens(ids uuid[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e record;
    changed boolean := false;
BEGIN
    -- all rows before the first entry: the lock of the chain comes last, always
    PERFORM FROM walwarden.token AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR NO KEY UPDATE;
    FOR e IN SELECT t, n.overdue, n.reason
               FROM walwarden._ended_token AS n JOIN walwarden.token AS t ON t.id = n.id
              WHERE n.id = ANY (ids) AND (n.overdue OR n.unrecorded)
              ORDER BY n.id LOOP
        IF e.overdue THEN
            PERFORM walwarden._remove_token(e.t, e.reason);
        ELSE
            PERFORM walwarden._record_expiry(e.t);
        END IF;
        changed := true;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._tokens_of(owner_id uuid) RETURNS uuid[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(SELECT t.id FROM walwarden.token AS t
                  WHERE t.owner_id = $1 AND t.revoked_at IS NULL AND t.removed_at IS NULL)
$$;

-- What a token is to the caller: one's own, another member's, or shared. One that
-- they may not see is to them as another member's, like one that does not exist.
CREATE FUNCTION walwarden._token_target(c walwarden.caller, t walwarden.token) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN t.owner_id = (walwarden._caller_member(c, t.org_id)).id THEN 'own'
                WHEN t.id IS NOT NULL AND t.owner_id IS NULL AND walwarden._may(c, t.org_id, 'token.list', 'all') THEN 'shared'
                ELSE 'private' END
$$;

-- The token, locked, for a caller who may do action on it, with its expiry on
-- record. It waits: whoever calls it asks for the caller after it. Whoever is no operator gets the same refusal for an unknown token as
-- for a foreign one.
CREATE FUNCTION walwarden._token_for_change(token_id uuid, action text) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    t walwarden.token;
    target text;
BEGIN
    IF token_id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'token_id is missing',
            HINT = 'SELECT token_id, name FROM walwarden.token_list shows your tokens.';
    END IF;
    SELECT * INTO t FROM walwarden.token AS f WHERE f.id = token_id AND f.removed_at IS NULL;
    IF t.id IS NOT NULL OR NOT c.operator THEN
        target := walwarden._token_target(c, t);
        PERFORM walwarden._require(c, t.org_id, action, target);
        PERFORM walwarden._hold_org(t.org_id, action, target);
        SELECT * INTO t FROM walwarden.token AS f WHERE f.id = token_id AND f.removed_at IS NULL FOR NO KEY UPDATE;
    END IF;
    IF t.id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('token %s does not exist', token_id),
            HINT = 'SELECT token_id, name FROM walwarden.token_list shows the tokens.';
    END IF;
    RETURN walwarden._record_expiry(t);
END
$$;

-- A token can only be made to work where the plan has tokens; a revoked one never is.
CREATE FUNCTION walwarden._check_plan_of(t walwarden.token) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    IF t.revoked_at IS NULL THEN
        SELECT * INTO o FROM walwarden.org WHERE org.id = t.org_id;
        PERFORM walwarden._check_plan_has_tokens(o);
    END IF;
END
$$;

CREATE FUNCTION walwarden._disable_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.disable');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    event text;
BEGIN
    PERFORM walwarden._check_reason(reason);
    event := walwarden._transition('disable', walwarden._state(was));
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.disabled_at := clock_timestamp();
    t.disabled_by := walwarden._caller_name(c, t.org_id);
    t.disabled_by_owner := walwarden._token_target(c, was) = 'own';
    t.disabled_reason := reason;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._enable_token(token_id uuid, expiry timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.enable');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    state text := walwarden._state(was);
    event text := walwarden._transition('enable', state);
BEGIN
    IF walwarden._token_target(c, was) = 'private' AND event IS NOT NULL
       AND (was.disabled_by_owner IS DISTINCT FROM false OR state = 'expired' OR expiry IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'a private token that its owner disabled or that expired is enabled, and its expiry changed, by its owner',
            HINT = 'Operators, owners and admins enable what one of them disabled, with the expiry that it has.';
    END IF;
    IF EXISTS (SELECT FROM walwarden._ended_token AS e WHERE e.id = was.id AND e.overdue) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('token %s is to be removed', token_id),
            HINT = 'It ended longer ago than the retention of its organisation: issue a new token.';
    END IF;
    PERFORM walwarden._check_plan_of(was);
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden._check_expiry(expiry);
    ELSIF state = 'expired' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'an expired token needs a new expiry',
            HINT = 'Give expires_at, for example now() + interval ''90 days'', or ''infinity'' for none.';
    END IF;
    IF event IS NULL THEN
        -- it works already; only its expiry could differ, and that is another function's
        IF t.expires_at IS DISTINCT FROM was.expires_at THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'the token is not disabled',
                HINT = 'Change its expiry with walwarden.update_token().';
        END IF;
        RETURN false;
    END IF;
    t.disabled_at := NULL;
    t.disabled_by := NULL;
    t.disabled_by_owner := NULL;
    t.disabled_reason := NULL;
    t.expired_at := NULL;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._update_token(token_id uuid, new_name text, new_scopes text[], expiry timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.update');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    event text;
    m walwarden.member;
BEGIN
    PERFORM walwarden._check_plan_of(was);
    event := walwarden._transition('update', walwarden._state(was));
    IF new_name IS NOT NULL THEN
        PERFORM walwarden._check_text('token name', new_name, 100);
        t.name := new_name;
    END IF;
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden._check_expiry(expiry);
    END IF;
    IF new_scopes IS NOT NULL THEN
        IF was.kind = 'legacy' OR (new_scopes <> '{}' AND (was.kind = 'node' OR was.role IS NOT NULL)) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = CASE WHEN was.kind = 'legacy' THEN 'the permissions of a backward-compatible token cannot be changed'
                               WHEN was.kind = 'node' THEN 'a node token has no scopes'
                               ELSE format('the permissions of the token come from the role %s', was.role) END,
                HINT = CASE WHEN was.kind = 'legacy' THEN 'They are those of its owner''s role. Revoke it and issue another token with scopes of its own.'
                            ELSE 'Issue another token with scopes of its own.' END;
        END IF;
        PERFORM walwarden._check_scopes(new_scopes);
        IF was.owner_id IS NOT NULL THEN
            SELECT * INTO m FROM walwarden.member AS f WHERE f.id = was.owner_id;
            PERFORM walwarden._check_within_role(new_scopes, m, 'the owner');
        ELSIF NOT c.operator THEN
            PERFORM walwarden._check_within_role(new_scopes, walwarden._caller_member(c, was.org_id), 'the issuer');
        END IF;
        t.scopes := new_scopes[:];  -- from 1, whatever its bounds were
    END IF;
    IF t IS NOT DISTINCT FROM was THEN
        RETURN false;
    END IF;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

-- The value that a token is opened with from now on, beside the one before until
-- that ends. A pair ends at once: see _end_pair().
CREATE FUNCTION walwarden._renew_token(
        wanted_id uuid, overlap interval,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := walwarden._token_for_change(wanted_id, 'token.renew');
    c walwarden.caller := walwarden._caller();      -- after the wait
    event text;
    old walwarden.credential;
    new walwarden.credential;
    seconds numeric := extract(epoch FROM overlap);
BEGIN
    -- in seconds: a month or a year compares as so many days, and adds as others
    IF overlap IS NULL OR seconds NOT BETWEEN 0 AND 7 * 86400
       OR extract(year FROM overlap) <> 0 OR extract(month FROM overlap) <> 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'overlap is not between 0 and 7 days',
            HINT = 'It is for how long the value before goes on working, for example ''1 hour''.';
    END IF;
    PERFORM walwarden._check_plan_of(t);
    event := walwarden._transition('renew', walwarden._state(t));
    -- it hands out a plaintext, as issuing does
    IF t.owner_id IS NULL AND NOT c.operator THEN
        PERFORM walwarden._check_within_role(CASE WHEN t.role IS NULL THEN t.scopes ELSE walwarden._role_scopes(t.role) END,
                                             walwarden._caller_member(c, t.org_id), 'the issuer');
    END IF;
    t := walwarden._end_pair(walwarden._actor(c, t.org_id), t, 'value renewed');

    SELECT minted.token, minted.fingerprint INTO token, new.fingerprint FROM walwarden._mint() AS minted;
    new.token_id := t.id;
    new.kind := 'bearer';
    new.created_at := clock_timestamp();
    SELECT * INTO old FROM walwarden.credential AS f WHERE f.token_id = t.id AND f.valid_until IS NULL;
    old.valid_until := new.created_at + make_interval(secs => seconds::double precision);
    t := walwarden._store_token(walwarden._actor(c, t.org_id), event, t, t, ARRAY[old, new]);

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

-- False when it was revoked before. The caller holds the lock of the row.
CREATE FUNCTION walwarden._revoke(c walwarden.caller, was walwarden.token, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := was;
    event text := walwarden._transition('revoke', walwarden._state(was));
BEGIN
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.revoked_at := clock_timestamp();
    t.revoked_by := walwarden._caller_name(c, t.org_id);
    t.revoked_reason := reason;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._revoke_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := walwarden._token_for_change(token_id, 'token.revoke');
    c walwarden.caller := walwarden._caller();      -- after the wait
BEGIN
    PERFORM walwarden._check_reason(reason);
    RETURN walwarden._revoke(c, t, reason);
END
$$;

-- What changes of a member ends or stops tokens: here, and not with the other
-- functions of members.

CREATE FUNCTION walwarden._remove_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    t walwarden.token;
BEGIN
    PERFORM walwarden._check_last_manager(was);
    PERFORM walwarden._end_tokens(walwarden._tokens_of(m.id));
    FOR t IN SELECT f.* FROM walwarden.token AS f WHERE f.id = ANY (walwarden._tokens_of(m.id)) ORDER BY f.id LOOP
        PERFORM walwarden._revoke(c, t, 'owner removed');
    END LOOP;
    m.removed_at := clock_timestamp();
    RETURN walwarden._update_member(c, 'member.removed', was, m);
END
$$;

-- What was overdue before is removed first, and does not come back.
CREATE FUNCTION walwarden._enable_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    ended boolean;
BEGIN
    ended := walwarden._end_tokens(walwarden._tokens_of(m.id));
    m.disabled_at := NULL;
    RETURN walwarden._update_member(c, 'member.enabled', was, m) OR ended;
END
$$;

-- Who signs in by SSO has no pair of a UUID and a secret any more.
CREATE FUNCTION walwarden._set_member_sso(org text, subject text, enabled boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    t walwarden.token;
BEGIN
    IF enabled IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'enabled is missing',
            HINT = 'Give true or false.';
    END IF;
    IF enabled THEN
        PERFORM FROM walwarden.token AS f WHERE f.owner_id = m.id AND f.kind = 'legacy' ORDER BY f.id FOR NO KEY UPDATE;
        FOR t IN SELECT f.* FROM walwarden.token AS f
                  WHERE f.owner_id = m.id AND f.kind = 'legacy' AND f.removed_at IS NULL
                  ORDER BY f.id LOOP
            PERFORM walwarden._end_pair(walwarden._actor(c, m.org_id), walwarden._record_expiry(t), 'SSO enabled');
        END LOOP;
    END IF;
    m.sso := enabled;
    RETURN walwarden._update_member(c, 'member.sso_changed', was, m);
END
$$;

CREATE FUNCTION walwarden.disable_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.disable_token(uuid, text) IS
'Stops a token, all its values with it, until it is enabled again, for every transaction that starts after this one commits; it is removed when it has been disabled for longer than the organisation''s retention. reason: NULL or 1 to 500 characters. Own private tokens for any member; all tokens for operators, owners and admins. Returns false, and records nothing, when it was disabled before. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad value, 55000 revoked or expired. Example: SELECT walwarden.disable_token(token_id, ''on leave'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.enable_token(token_id uuid, expires_at timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.enable_token(uuid, timestamptz) IS
'Makes a disabled or expired token work again. expires_at: a new expiry, infinity for none; NULL keeps one that lies ahead. A private token for its owner; for operators, owners and admins where one of these disabled it; shared ones for operators, owners and admins. Returns false, and records nothing, when it was neither disabled nor expired. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token or one that is to be removed, 22023 expiry in the past or missing for an expired token, 55000 revoked, wrong plan, or a new expiry for a token that is not disabled. Example: SELECT walwarden.enable_token(token_id, now() + interval ''90 days'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.update_token(
        token_id uuid, name text DEFAULT NULL, scopes text[] DEFAULT NULL, expires_at timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.update_token(uuid, text, text[], timestamptz) IS
'Changes the name, the scopes or the expiry of a token; NULL leaves a thing as it is, infinity takes an expiry away. The value that opens it stays. A private token for its owner alone; shared ones for operators, owners and admins. Returns false, and records nothing, when nothing differs. Errors: 42501 no right, scopes wider than the owner''s or, but for operators, no such token, 42704 unknown token, 22023 bad value, 55000 revoked or expired, wrong plan, or scopes of a token whose permissions are not its own (legacy, node, from a role). Example: SELECT walwarden.update_token(token_id, scopes => ARRAY[''databases:read'']) FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.renew_token(
        token_id uuid, overlap interval DEFAULT '0',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.renew_token(uuid, interval) IS
'Gives a token a new value and returns it, once; id, name, scopes and expiry stay. overlap: for how long the value before goes on working, 0 to 7 days; the listing shows its end. At most two values work: another renewal ends the older one. Of a backward-compatible token it ends the pair for good. A private token for its owner alone; shared ones for operators, owners and admins. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad overlap, 55000 not active. Example: SELECT r.token FROM walwarden.list_tokens(''acme'') AS t, walwarden.renew_token(t.token_id, ''1 hour'') AS r WHERE t.name = ''ci'';';

CREATE FUNCTION walwarden.revoke_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_token(uuid, text) IS
'Revokes a token for good, with effect for every transaction that starts after this one commits. reason: NULL or 1 to 500 characters. Own private tokens for any member; all tokens for operators, owners and admins. Returns false, and records nothing, when it was revoked before. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad value. Example: SELECT walwarden.revoke_token(token_id, ''laptop lost'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';
