-- The identity of a transaction. These functions run no SQL and read only state that this
-- library sets. A SET clause would cost more than the functions themselves.

CREATE FUNCTION walwarden.authenticate(token text, client inet DEFAULT NULL) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authenticate';
COMMENT ON FUNCTION walwarden.authenticate(text, inet) IS
'Checks a token and makes it the identity of the current transaction, replacing an earlier identity; returns the token''s id. All tokens that are not accepted fail with the same error, whether they are unknown, malformed, expired, disabled, revoked, inactive, presented from outside its networks, or NULL. client: the address from which the token was presented, without a netmask; only operators, trusted authenticators and logins of grant_rest() may give it, as their session user. NULL for the address of the connection, which for the latter two is unknown. A token with networks is refused if the address is unknown. Pass the token as a parameter, never as a literal. Errors: 28000 if the token is not accepted, 54000 if it has reached its rate limit (HINT: how long to wait), 42501 if client is given and the session user may not, 22023 if client has a netmask, 55000 in a parallel worker. Example: SELECT walwarden.authenticate($1);';

CREATE FUNCTION walwarden.authorize(token text, scope text, client inet DEFAULT NULL) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authorize';
COMMENT ON FUNCTION walwarden.authorize(text, text, inet) IS
'authenticate(token, client) and require_scope(scope) in one call, for the hot path of a gateway; returns the token''s id. Errors: 28000 if the token is not accepted, 54000 if it has reached its rate limit (HINT: how long to wait), 42501 if the token does not hold the scope (in a request of PostgREST PGRST, as require_scope), or client is given and the session user may not, 22023 if the scope is unknown or client has a netmask, 55000 in a parallel worker. Example: SELECT walwarden.authorize($1, ''databases:read'');';

CREATE FUNCTION walwarden.has_scope(scope text) RETURNS boolean
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_has_scope';
COMMENT ON FUNCTION walwarden.has_scope(text) IS
'Returns whether the identity of this transaction held a scope when it was authenticated. Returns false without an identity, for an unknown scope and for NULL. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING ((SELECT walwarden.has_scope(''databases:read'')) AND org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.require_scope(scope text) RETURNS void
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_require_scope';
COMMENT ON FUNCTION walwarden.require_scope(text) IS
'Raises an error unless the identity of this transaction holds a scope. The function is STABLE, so a query that does not use the result may skip the call; call it in a statement of its own. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. In a request of PostgREST, the error ends the request with status 401 without an identity, 403 without the scope. Errors: 28000 if the transaction has no identity, 42501 if the token does not hold the scope (DETAIL requiredScope=...), PGRST in place of both in a request of PostgREST, 22023 if the scope is unknown or NULL, 55000 in a parallel worker. Example: SELECT walwarden.require_scope(''backups:trigger'');';

CREATE FUNCTION walwarden.current_token_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_token_id';
COMMENT ON FUNCTION walwarden.current_token_id() IS
'Returns the id of the token that is the identity of this transaction; NULL without an identity. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_token_id();';

CREATE FUNCTION walwarden.current_org() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org';
COMMENT ON FUNCTION walwarden.current_org() IS
'Returns the slug of the identity''s organisation; NULL without an identity. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_org();';

CREATE FUNCTION walwarden.current_org_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org_id';
COMMENT ON FUNCTION walwarden.current_org_id() IS
'Returns the id of the identity''s organisation; NULL without an identity. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING (org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.current_subject() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_subject';
COMMENT ON FUNCTION walwarden.current_subject() IS
'Returns the subject of the owner, if the identity is a private token; NULL for a shared token and without an identity. Warns once (25P01) if an identity was set before, outside of a transaction block, and so has ended. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_subject();';

CREATE FUNCTION walwarden.introspect_token(token text) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_introspect_token';
COMMENT ON FUNCTION walwarden.introspect_token(text) IS
'Describes a token without making it the identity of the transaction. For an active token it returns {"active":true,"tokenId","org","kind","scopes","effectiveScopes","expiresAt"}; operators also get state. For any other token it returns exactly {"active":false}; operators also get state, reason, and the fields of the token if it exists. expiresAt: UTC, as text, or null. Pass the token as a parameter. Errors: 55000 in a parallel worker. Example: SELECT walwarden.introspect_token($1);';

-- Whether the identity speaks for a node and so may use the runner protocol.
CREATE FUNCTION walwarden_internal.speaks_for_node() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_speaks_for_node';
