-- The handlers that start and end a session.

-- A new cookie, which the response to the running request sets if it succeeds; returns its
-- SHA-256. SQL never sees the cookie itself.
CREATE FUNCTION walwarden_internal.new_cookie() RETURNS bytea
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_new_cookie';

-- The response to the running request removes the cookie if it succeeds.
CREATE FUNCTION walwarden_internal.clear_cookie() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_clear_cookie';

CREATE FUNCTION walwarden_internal.rest_create_session(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    code_hash bytea := sha256(convert_to(r.body ->> 'code', 'UTF8'));
    cookie_hash bytea := walwarden_internal.new_cookie();
BEGIN
    IF walwarden_internal.sign_in(code_hash, cookie_hash, r.session_id) IS NULL THEN
        PERFORM walwarden_internal.rest_fail('code_refused', 'the code is unknown, used or expired', '{"nextAction": "Ask for another link."}');
    END IF;
    RETURN NULL;
END
$$;

-- The row of the session tells that the JWT was used. It is kept for a week after the expiry of
-- the session, so the JWT must not be valid for longer.
CREATE FUNCTION walwarden_internal.rest_sign_in_by_sso(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    cookie_hash bytea := walwarden_internal.new_cookie();
BEGIN
    IF r.jwt_expires_at > walwarden_internal.later(clock_timestamp(), 86400) THEN
        PERFORM walwarden_internal.rest_fail('claim_refused', 'the JWT is valid for more than a day', '{"field": "exp"}');
    END IF;
    IF walwarden_internal.start_session(cookie_hash, c.subject, NULL, r.claims_hash) IS NULL THEN
        IF EXISTS (SELECT FROM walwarden_internal.session AS s WHERE s.claims_hash = r.claims_hash) THEN
            PERFORM walwarden_internal.rest_fail('jwt_used', 'a session was started with this JWT before', '{"nextAction": "Sign in again."}');
        END IF;
        PERFORM walwarden_internal.rest_fail('not_a_member', 'the person is no active member any more', '{"nextAction": "Ask an owner or admin of the organisation."}');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION walwarden_internal.rest_delete_session(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.end_sessions(walwarden_internal.actor('session', session_id => r.session_id), ARRAY[r.session_id], 'signed out');
    PERFORM walwarden_internal.clear_cookie();
    RETURN NULL;
END
$$;
