-- The actor in entries.

-- The member as whom the caller acts in an organisation; NULL for an operator whom no
-- trusted authenticator verified. Such an operator acts as the role that was authorised. A
-- member may have the same role, but somebody else says so, and an id beside the name of the
-- role would disclose whose role it is.
CREATE FUNCTION walwarden_internal.acting_member_id(c walwarden_internal.caller, org_id uuid) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF c.operator AND c.subject IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (walwarden_internal.caller_member(c, org_id)).id;
END
$$;

-- The only format of an actor, described in docs/audit-chain.md. who: caller (an operator, or a
-- member of the organisation, who may have signed in), token (the identity of the transaction),
-- bearer (whoever presented the plaintext of the token bearer_of), session (the person of
-- session_id, outside of any organisation) or system (the passage of time). A person without a
-- session, who presented a JWT, is a member as any other. The role and login
-- of a member are personal, so no entry contains them. Nor does it contain those of a bearer,
-- who can be a member of another organisation, unless the role serves REST.
CREATE FUNCTION walwarden_internal.actor(who text, c walwarden_internal.caller DEFAULT NULL, org_id uuid DEFAULT NULL, bearer_of uuid DEFAULT NULL, session_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text := CASE WHEN who = 'bearer' THEN 'token' WHEN who <> 'caller' THEN who WHEN c.session_id IS NOT NULL THEN 'session' WHEN c.operator THEN 'operator' ELSE 'member' END;
    impersonal boolean := kind NOT IN ('member', 'session') AND (who <> 'bearer' OR walwarden_internal.is_granted(c.role, '{rest}'));
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'kind', kind,
        'role', CASE WHEN impersonal THEN c.role END,
        'login', CASE WHEN impersonal THEN c.login END,
        'memberId', CASE who WHEN 'caller' THEN walwarden_internal.acting_member_id(c, org_id)
                             WHEN 'token' THEN walwarden_internal.current_member_id() END,
        'tokenId', CASE who WHEN 'token' THEN walwarden.current_token_id() WHEN 'bearer' THEN bearer_of END,
        'sessionId', CASE who WHEN 'caller' THEN c.session_id ELSE session_id END));
END
$$;

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
