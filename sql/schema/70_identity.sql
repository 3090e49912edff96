-- Never holds a row: what changes rows that a token's standing depends on
-- invalidates this relation, and so tells every backend that what it remembers is
-- old (src/cache.c).
CREATE TABLE walwarden._standing_signal ();

CREATE FUNCTION walwarden._signal_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_signal_change';

-- The identity of a transaction. These run no SQL and read what only this
-- library can set; a SET clause on them would cost more than they do.

CREATE FUNCTION walwarden.authenticate(token text) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authenticate';
COMMENT ON FUNCTION walwarden.authenticate(text) IS
'Checks a token and makes it the identity of the current transaction, in place of an earlier one; returns its id. Unknown, malformed, expired, disabled, revoked and inactive tokens, and NULL, all give 28000 with one message. Pass the token as a parameter, never as a literal. Errors: 28000 bad token. Example: SELECT walwarden.authenticate($1);';

CREATE FUNCTION walwarden.authorize(token text, scope text) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authorize';
COMMENT ON FUNCTION walwarden.authorize(text, text) IS
'authenticate(token) and require_scope(scope) in one call, for the hot path of a gateway; returns the token''s id. Errors: 28000 bad token, 42501 scope not held, 22023 unknown scope. Example: SELECT walwarden.authorize($1, ''databases:read'');';

CREATE FUNCTION walwarden.has_scope(scope text) RETURNS boolean
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_has_scope';
COMMENT ON FUNCTION walwarden.has_scope(text) IS
'Whether the identity of this transaction holds a scope, as authenticate() found it; false without an identity, for an unknown scope and for NULL. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING ((SELECT walwarden.has_scope(''databases:read'')) AND org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.require_scope(scope text) RETURNS void
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_require_scope';
COMMENT ON FUNCTION walwarden.require_scope(text) IS
'Raises an error unless the identity of this transaction holds a scope. It is STABLE: a query that does not use its result may leave it out, so call it by itself. Errors: 28000 no identity, 42501 scope not held (DETAIL requiredScope=...), 22023 unknown scope or NULL, 55000 in a parallel worker. Example: SELECT walwarden.require_scope(''backups:trigger'');';

CREATE FUNCTION walwarden.current_token_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_token_id';
COMMENT ON FUNCTION walwarden.current_token_id() IS
'Id of the token that is the identity of this transaction; NULL without one. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_token_id();';

CREATE FUNCTION walwarden.current_org() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org';
COMMENT ON FUNCTION walwarden.current_org() IS
'Slug of the identity''s organisation; NULL without an identity. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_org();';

CREATE FUNCTION walwarden.current_org_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org_id';
COMMENT ON FUNCTION walwarden.current_org_id() IS
'Id of the identity''s organisation; NULL without an identity. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING (org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.current_subject() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_subject';
COMMENT ON FUNCTION walwarden.current_subject() IS
'Subject of the owner of the identity''s private token; NULL for a shared token and without an identity. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_subject();';

CREATE FUNCTION walwarden.introspect_token(token text) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_introspect_token';
COMMENT ON FUNCTION walwarden.introspect_token(text) IS
'What a token is, without taking its identity. Active: {"active":true,"tokenId","org","kind","scopes","effectiveScopes","expiresAt"}, for operators also state. Otherwise exactly {"active":false}; for operators also what is known of it, state and reason. expiresAt: UTC, as text, or null. Pass the token as a parameter. Errors: none. Example: SELECT walwarden.introspect_token($1);';

-- Called by authenticate() where the worker does not do it, at most once a minute
-- for a token. Never waits.
CREATE FUNCTION walwarden._note_usage(token_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE walwarden.token_usage AS u
       SET last_used_at = clock_timestamp()
     WHERE u.token_id = (SELECT f.token_id FROM walwarden.token_usage AS f
                          WHERE f.token_id = _note_usage.token_id
                            FOR UPDATE SKIP LOCKED);
EXCEPTION
    WHEN disk_full THEN
        NULL;       -- the token is good, and what only reads goes on
END
$$;

-- Called by the worker with tokens, each once, and when they were used. Never waits,
-- never turns a time back. Returns the tokens to come back to: another transaction
-- holds their row. Those without a row are none of them.
CREATE FUNCTION walwarden._flush_usage(ids uuid[], times timestamptz[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH used AS (
        SELECT f.token_id, n.at
          FROM unnest(ids, times) AS n(token_id, at)
          JOIN walwarden.token_usage AS f ON f.token_id = n.token_id
         WHERE f.last_used_at IS NULL OR f.last_used_at < n.at
           FOR UPDATE OF f SKIP LOCKED)
    UPDATE walwarden.token_usage AS u
       SET last_used_at = used.at
      FROM used
     WHERE u.token_id = used.token_id;
    RETURN QUERY
        SELECT f.token_id
          FROM unnest(ids, times) AS n(token_id, at)
          JOIN walwarden.token_usage AS f ON f.token_id = n.token_id
         WHERE f.last_used_at IS NULL OR f.last_used_at < n.at;
END
$$;

-- The table of uses in shared memory, of all databases; NULL without preload.
CREATE FUNCTION walwarden._usage_table(OUT slots integer, OUT used integer, OUT dirty integer, OUT lost bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_usage_table';
