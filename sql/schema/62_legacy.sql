-- Backward-compatible credentials: a pair of a UUID and a secret from an older
-- system, imported as a token of kind legacy. Its permissions are its owner's
-- role. The pair opens it until it ends for good; so does a value like that of any
-- other token, which import returns and renew_token() replaces.

-- SHA-256 of lower(uuid) || ':' || secret; NULL for what no request can present.
CREATE FUNCTION walwarden._pair_fingerprint(legacy_uuid text, secret text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_pair_fingerprint';

CREATE FUNCTION walwarden._check_secret(secret text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF secret IS NULL OR length(secret) < 32 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has less than 32 characters',
            HINT = 'A shorter one can be guessed from its fingerprint: issue a token instead.';
    ELSIF length(secret) > 512 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has more than 512 characters',
            HINT = 'Give the secret alone, without the UUID, quotes or encoding.';
    ELSIF secret !~ '^[!-~]+$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has a character that no request header can carry',
            HINT = 'A secret is visible ASCII characters, without spaces.';
    END IF;
END
$$;

-- The token without its pair, audited; as it was when it has none or is revoked.
CREATE FUNCTION walwarden._end_pair(actor jsonb, t walwarden.token, reason text) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    credentials walwarden.credential[] := walwarden._credentials(t.id);
BEGIN
    IF t.revoked_at IS NOT NULL OR NOT EXISTS (SELECT FROM unnest(credentials) AS f WHERE f.kind = 'legacy') THEN
        RETURN t;
    END IF;
    RETURN walwarden._store_token(actor, 'legacy.ended', t, t,
        ARRAY(SELECT credentials[i] FROM generate_subscripts(credentials, 1) AS i WHERE credentials[i].kind <> 'legacy'),
        reason);
END
$$;

-- Whether no token has this fingerprint, here or in a transaction that is waited
-- for: one of another org can be importing the same pair.
CREATE FUNCTION walwarden._is_new_pair(fingerprint bytea) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._take_request_lock(substr(encode(fingerprint, 'hex'), 1, 32)::uuid);
    RETURN NOT EXISTS (SELECT FROM walwarden.credential AS f WHERE f.fingerprint = _is_new_pair.fingerprint);
END
$$;

CREATE FUNCTION walwarden._import_legacy_credential(
        org text, owner text, legacy_uuid uuid, secret text, wanted_name text,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._lock_org(c, org, 'legacy.import', 'any');
    m walwarden.member;
    t walwarden.token;
    pair walwarden.credential;
    bearer walwarden.credential;
BEGIN
    c := walwarden._caller();       -- after the wait
    PERFORM walwarden._check_text('token name', wanted_name, 100);
    PERFORM walwarden._check_secret(secret);
    IF legacy_uuid IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'legacy_uuid is missing',
            HINT = 'Give the UUID that requests send in X-WallarmAPI-UUID.';
    END IF;
    PERFORM walwarden._check_plan_has_tokens(o);
    m := walwarden._owner(o, owner);
    IF m.sso THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('member %s signs in by SSO', walwarden._shown(owner)),
            HINT = 'SSO ends pairs of a UUID and a secret: issue a token instead.';
    END IF;
    PERFORM walwarden._check_token_limit(o);

    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.name := wanted_name;
    t.kind := 'legacy';
    t.owner_id := m.id;
    t.created_at := clock_timestamp();
    t.created_by := walwarden._caller_name(c, o.id);
    pair.fingerprint := walwarden._pair_fingerprint(legacy_uuid::text, secret);
    pair.token_id := t.id;
    pair.kind := 'legacy';
    pair.created_at := t.created_at;
    IF NOT walwarden._is_new_pair(pair.fingerprint) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = 'this pair of a UUID and a secret was imported already',
            HINT = 'It stays with the token that it was imported for, also when that is revoked: issue a token instead.';
    END IF;
    bearer := pair;
    bearer.kind := 'bearer';
    SELECT minted.token, minted.fingerprint INTO token, bearer.fingerprint FROM walwarden._mint() AS minted;
    t := walwarden._store_token(walwarden._actor(c, o.id), walwarden._transition('import', 'none'), NULL, t, ARRAY[pair, bearer]);
    PERFORM walwarden._note_revealed(c, t, m);

    token_id := t.id;
    name := t.name;
    created_at := t.created_at;
END
$$;

CREATE FUNCTION walwarden.import_legacy_credential(
        org text, owner text, legacy_uuid uuid, secret text, name text DEFAULT 'backward-compatible',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.import_legacy_credential(text, text, uuid, text, text) IS
'Takes over a pair of a UUID and a secret as a private token of owner, of kind legacy, and returns a value for it, once, as issue_token() does; scopes is NULL. Requests authenticate with the pair in X-WallarmAPI-UUID and X-WallarmAPI-Secret, or with the value in X-WallarmApi-Token. Its permissions are the owner''s role, not shown and not changeable. Renewing the value, or SSO for the owner, ends the pair for good. secret: 32 to 512 visible ASCII characters; only SHA-256 of lower(uuid) || '':'' || secret is stored. For operators; audited as revealed. Pass the secret as a parameter. Errors: 42501 no operator, 42704 unknown organisation or owner, 22023 bad value, 23505 imported before, 55000 wrong plan, disabled owner or SSO, 53400 too many tokens. Example: SELECT o.email, i.token FROM old_keys AS o, walwarden.import_legacy_credential(''acme'', o.email, o.uuid, o.secret) AS i;';
