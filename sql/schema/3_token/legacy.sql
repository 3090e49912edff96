-- Legacy credentials: a UUID and a secret from an older system, imported as a token of kind
-- legacy. The token has the permissions of its owner's role. It can be used with the legacy
-- credential, until that ends for good, and with a plaintext like any other token, which the
-- import returns and renew_token() replaces.

-- SHA-256 of lower(uuid) || ':' || secret; NULL if no request can present them.
CREATE FUNCTION walwarden_internal.legacy_fingerprint(legacy_uuid text, secret text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_legacy_fingerprint';

CREATE FUNCTION walwarden_internal.check_secret(secret text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF secret IS NULL OR length(secret) < 32 THEN
        PERFORM walwarden_internal.refuse('22023', 'the secret has fewer than 32 characters',
            'Issue a token instead. A shorter secret could be guessed from its fingerprint.');
    ELSIF length(secret) > 512 THEN
        PERFORM walwarden_internal.refuse('22023', 'the secret has more than 512 characters',
            'Give only the secret, without the UUID, quotes or encoding.');
    ELSIF secret !~ '^[!-~]+$' THEN
        PERFORM walwarden_internal.refuse('22023', 'the secret contains a character that a request header cannot carry',
            'Give a secret of visible ASCII characters, without spaces.');
    END IF;
END
$$;

-- Ends the legacy credential of a token, with an entry, and returns the token. Does nothing
-- if the token has none or is revoked.
CREATE FUNCTION walwarden_internal.end_legacy_credential(actor jsonb, t walwarden_internal.token, reason text) RETURNS walwarden_internal.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    credentials walwarden_internal.credential[];
BEGIN
    IF t.kind <> 'legacy' OR t.revoked_at IS NOT NULL THEN
        RETURN t;
    END IF;
    credentials := walwarden_internal.credentials(t.id);
    IF NOT EXISTS (SELECT FROM unnest(credentials) AS f WHERE f.kind = 'legacy') THEN
        RETURN t;
    END IF;
    RETURN walwarden_internal.store_token(actor, 'legacy.ended', t, t,
        ARRAY(SELECT credentials[i] FROM generate_subscripts(credentials, 1) AS i WHERE credentials[i].kind <> 'legacy'),
        reason);
END
$$;

-- Whether no token has this fingerprint. Waits for concurrent transactions that import the
-- same credential, possibly in another organisation.
CREATE FUNCTION walwarden_internal.is_new_legacy_fingerprint(fingerprint bytea) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.acquire_credential_lock(substr(encode(fingerprint, 'hex'), 1, 32)::uuid);
    RETURN NOT EXISTS (SELECT FROM walwarden_internal.credential AS f WHERE f.fingerprint = is_new_legacy_fingerprint.fingerprint);
END
$$;

CREATE FUNCTION walwarden_internal.import_legacy_credential(
        org text, owner text, legacy_uuid uuid, secret text, wanted_name text,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org := walwarden_internal.lock_org(c, org, 'legacy.import', 'any');
    m walwarden_internal.member;
    t walwarden_internal.token;
    legacy walwarden_internal.credential;
    bearer walwarden_internal.credential;
    minted record;
    actor jsonb;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    PERFORM walwarden_internal.check_text('token name', wanted_name, 100);
    PERFORM walwarden_internal.check_secret(secret);
    IF legacy_uuid IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'legacy_uuid is missing',
            'Give the UUID that requests send in X-WallarmAPI-UUID.');
    END IF;
    PERFORM walwarden_internal.check_plan_has_tokens(o);
    m := walwarden_internal.owner(o, owner);
    IF m.sso THEN
        PERFORM walwarden_internal.refuse('55000', format('member %s signs in by SSO', walwarden_internal.shown(owner)),
            'Issue a token instead. Members who sign in by SSO cannot have legacy credentials.');
    END IF;
    PERFORM walwarden_internal.check_token_limit(o);

    actor := walwarden_internal.actor('caller', c, o.id);
    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.name := wanted_name;
    t.key_name := wanted_name;
    t.kind := 'legacy';
    t.owner_id := m.id;
    t.created_at := clock_timestamp();
    t.created_by := walwarden_internal.actor_name(actor);
    legacy.fingerprint := walwarden_internal.legacy_fingerprint(legacy_uuid::text, secret);
    legacy.token_id := t.id;
    legacy.kind := 'legacy';
    legacy.created_at := t.created_at;
    IF NOT walwarden_internal.is_new_legacy_fingerprint(legacy.fingerprint) THEN
        PERFORM walwarden_internal.refuse('23505', 'this legacy credential has already been imported',
            'Issue a token instead. A legacy credential stays with the token for which it was imported, even if that token is revoked.');
    END IF;
    bearer := legacy;
    bearer.kind := 'bearer';
    bearer.slot := 0;
    minted := walwarden_internal.mint();
    token := minted.token;
    bearer.fingerprint := minted.fingerprint;
    t := walwarden_internal.store_token(actor, walwarden_internal.transition('import', 'none'), NULL, t, ARRAY[legacy, bearer]);
    PERFORM walwarden_internal.append_revealed(actor, t, m);

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
'Imports a legacy credential (a UUID and a secret) as a private token of owner, of kind legacy. Like issue_token(), it returns a plaintext this one time; scopes is NULL. Requests authenticate with the UUID and the secret in X-WallarmAPI-UUID and X-WallarmAPI-Secret, or with the plaintext in X-WallarmApi-Token. The token has the permissions of the owner''s role, which are not shown and cannot be changed. Renewing the token, or SSO for the owner, ends the legacy credential for good. secret: 32 to 512 visible ASCII characters; only the SHA-256 of lower(uuid) || '':'' || secret is stored. Pass the secret as a parameter. For operators. The chain then records that somebody other than the owner saw the plaintext (token.revealed_for_owner). Errors: 0A000 for SELECT (import_legacy_credential(...)).*, which would call it once for each column, 42501 if the caller is not an operator, 42704 if the organisation or the owner does not exist, 22023 if a value is invalid, 23505 if the credential has already been imported, 55000 if the organisation is closed, or the plan does not include API tokens, or the owner is disabled or signs in by SSO, 53400 if there are too many tokens. Example: SELECT o.email, i.token FROM old_keys AS o, walwarden.import_legacy_credential(''acme'', o.email, o.uuid, o.secret) AS i;';
