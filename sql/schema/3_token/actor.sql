-- The actor in entries.

-- The member as whom the caller acts in an organisation; NULL for an operator whom no
-- trusted authenticator verified.
CREATE FUNCTION walwarden_internal.acting_member_id(c walwarden_internal.caller, org_id uuid) RETURNS uuid
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_acting_member_id';

-- The only format of an actor, described in docs/audit-chain.md. who: caller (an operator, or a
-- member of the organisation, who may have signed in), token (the identity of the transaction),
-- bearer (whoever presented the plaintext of the token bearer_of), session (the person of
-- session_id, outside of any organisation) or system (the passage of time).
CREATE FUNCTION walwarden_internal.actor(who text, c walwarden_internal.caller DEFAULT NULL, org_id uuid DEFAULT NULL, bearer_of uuid DEFAULT NULL, session_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_actor';

-- The actor of a request of REST v1: a person in an organisation, or the identity's token.
CREATE FUNCTION walwarden_internal.request_actor(org_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
BEGIN
    RETURN CASE WHEN c.person THEN walwarden_internal.actor('caller', c, org_id) ELSE walwarden_internal.actor('token', c) END;
END
$$;

-- The name of an actor in a column *_by: the id of a member, which listings resolve, or the
-- server role.
CREATE FUNCTION walwarden_internal.actor_name(actor jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN coalesce(actor ->> 'memberId', actor ->> 'role');
