-- Tokens, managed by people. The handlers call the inner functions of the doors, which check
-- the rights of the caller: here that is the person of the session.

-- A token as REST v1 shows it: the columns of list_tokens().
CREATE FUNCTION walwarden_internal.shown_token(t walwarden_internal.token_overview) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.object(
        'tokenId', t.token_id, 'name', t.name, 'fingerprintHandle', t.fingerprint_handle, 'kind', t.kind, 'visibility', t.visibility,
        'owner', t.owner, 'role', t.role, 'scopes', to_json(t.scopes), 'effectiveScopes', to_json(t.effective_scopes), 'state', t.state,
        'createdAt', t.created_at, 'createdBy', t.created_by, 'expiresAt', t.expires_at, 'lastUsedAt', t.last_used_at,
        'disabledAt', t.disabled_at, 'disabledReason', t.disabled_reason,
        'revokedAt', t.revoked_at, 'revokedBy', t.revoked_by, 'revokedReason', t.revoked_reason, 'overlapUntil', t.overlap_until,
        'labels', t.labels, 'networks', to_json(t.networks::text[]), 'rateLimit', t.rate_limit,
        'lastUsedFrom', host(t.last_used_from), 'uses', t.uses, 'refusals', t.refusals,
        'lastRefusedAt', t.last_refused_at, 'lastRefusedReason', t.last_refused_reason,
        'previousHandle', t.previous_handle, 'previousLastUsedAt', t.previous_last_used_at);
END
$$;

-- The token of the path, as the person sees it; ends the request with 404 if there is none in
-- this organisation that they see.
CREATE FUNCTION walwarden_internal.rest_token(r walwarden_internal.rest_request) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden_internal.token;
BEGIN
    IF r.id IS NOT NULL THEN
        t := walwarden_internal.visible_token(walwarden_internal.caller(), r.id);
    END IF;
    IF t.org_id IS DISTINCT FROM r.org_id THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    RETURN t.id;
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted uuid := walwarden_internal.rest_token(r);
BEGIN
    RETURN (SELECT walwarden_internal.shown_token(v)
              FROM walwarden_internal.token AS t
             CROSS JOIN LATERAL walwarden_internal.overview(t) AS v
             WHERE t.id = wanted);
END
$$;

-- A page of the tokens that fit the filters. They are read in batches until it is full, because a
-- condition on a page of list_tokens() would miss those of other pages.
CREATE FUNCTION walwarden_internal.rest_list_tokens(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 200;
    after uuid := CASE WHEN isfinite(r.after_at) THEN r.after_id::uuid END;
    t walwarden_internal.token_overview;
    items walwarden_internal.rest_item[] := '{}';
    seen integer;
BEGIN
    LOOP
        seen := 0;
        FOR t IN SELECT l.* FROM walwarden_internal.list_tokens(r.org, after, batch) AS l LOOP
            seen := seen + 1;
            after := t.token_id;
            CONTINUE WHEN t.state <> r.filters ->> 'state' OR t.owner IS DISTINCT FROM coalesce(r.filters ->> 'owner', t.owner)
                       OR strpos(lower(t.name), lower(r.filters ->> 'name')) = 0;
            items := items || (t.created_at, t.token_id::text, walwarden_internal.shown_token(t))::walwarden_internal.rest_item;
            EXIT WHEN cardinality(items) > r.max_rows;
        END LOOP;
        EXIT WHEN seen < batch OR cardinality(items) > r.max_rows;
    END LOOP;
    RETURN walwarden_internal.rest_page(r, 'tokens', items);
END
$$;

-- An expiry of a body: NULL if it has none; null there means never.
CREATE FUNCTION walwarden_internal.rest_expiry(body jsonb) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? 'expiresAt' THEN coalesce((body ->> 'expiresAt')::timestamptz, 'infinity') END
$$;

-- The strings of an array in a body; NULL if it has none.
CREATE FUNCTION walwarden_internal.rest_texts(body jsonb, field text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? field THEN ARRAY(SELECT jsonb_array_elements_text(body -> field)) END
$$;

-- The networks of a body; NULL if it has none.
CREATE FUNCTION walwarden_internal.rest_networks(body jsonb) RETURNS cidr[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_texts(body, 'networks')::cidr[];
EXCEPTION WHEN invalid_text_representation THEN
    PERFORM walwarden_internal.rest_fail('malformed', 'networks contain something that is no network', jsonb_build_object(
        'field', 'networks', 'nextAction', 'Give networks such as 192.0.2.0/24 or 2001:db8::/32, without bits beyond the prefix.'));
END
$$;

-- What is shown of a new value, this one time.
CREATE FUNCTION walwarden_internal.issued_token(token_id uuid, token text, name text, scopes text[], expires_at timestamptz, created_at timestamptz) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.object('tokenId', token_id, 'token', token, 'name', name, 'scopes', to_json(scopes), 'expiresAt', expires_at, 'createdAt', created_at);
END
$$;

CREATE FUNCTION walwarden_internal.rest_issue_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    t record;
BEGIN
    SELECT * INTO t
      FROM walwarden_internal.issue_token(
               r.org, r.body ->> 'name', coalesce(walwarden_internal.rest_texts(r.body, 'scopes'), '{}'), walwarden_internal.rest_expiry(r.body),
               CASE r.body ->> 'visibility' WHEN 'private' THEN c.subject END, r.body ->> 'role', coalesce(r.body ->> 'kind', 'api'),
               coalesce(r.body -> 'labels', '{}'), coalesce(walwarden_internal.rest_networks(r.body), '{}'), (r.body ->> 'rateLimit')::integer);
    RETURN walwarden_internal.issued_token(t.token_id, t.token, t.name, t.scopes, t.expires_at, t.created_at);
END
$$;

CREATE FUNCTION walwarden_internal.rest_update_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.update_token(
        walwarden_internal.rest_token(r), r.body ->> 'name', walwarden_internal.rest_texts(r.body, 'scopes'), walwarden_internal.rest_expiry(r.body),
        r.body -> 'labels', walwarden_internal.rest_networks(r.body), CASE WHEN r.body ? 'rateLimit' THEN coalesce((r.body ->> 'rateLimit')::integer, 0) END);
    RETURN walwarden_internal.rest_get_token(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_disable_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.disable_token(walwarden_internal.rest_token(r), r.body ->> 'reason');
    RETURN walwarden_internal.rest_get_token(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_enable_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.enable_token(walwarden_internal.rest_token(r), walwarden_internal.rest_expiry(r.body));
    RETURN walwarden_internal.rest_get_token(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_revoke_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.revoke_token(walwarden_internal.rest_token(r), r.body ->> 'reason');
    RETURN walwarden_internal.rest_get_token(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_renew_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
BEGIN
    SELECT * INTO t
      FROM walwarden_internal.renew_token(walwarden_internal.rest_token(r), make_interval(secs => coalesce((r.body ->> 'overlapSeconds')::integer, 0)));
    RETURN walwarden_internal.issued_token(t.token_id, t.token, t.name, t.scopes, t.expires_at, t.created_at);
END
$$;

CREATE FUNCTION walwarden_internal.rest_end_overlap(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.end_overlap(walwarden_internal.rest_token(r));
    RETURN walwarden_internal.rest_get_token(r);
END
$$;
