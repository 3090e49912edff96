-- The handlers that show a person their organisations.

CREATE FUNCTION walwarden_internal.rest_list_orgs(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    s walwarden_internal.session;
BEGIN
    SELECT * INTO s FROM walwarden_internal.session AS f WHERE f.id = r.session_id;
    RETURN walwarden_internal.object(
        'subject', c.subject, 'method', coalesce(s.method, 'jwt'), 'expiresAt', coalesce(s.expires_at, r.jwt_expires_at),
        'orgs', coalesce((SELECT json_agg(walwarden_internal.object('slug', o.slug, 'name', o.display_name, 'plan', o.plan, 'role', m.role) ORDER BY o.slug)
                            FROM walwarden_internal.memberships(c) AS m
                            JOIN walwarden_internal.org AS o ON o.id = m.org_id AND o.closed_at IS NULL), '[]'));
END
$$;

CREATE FUNCTION walwarden_internal.shown_policy(o walwarden_internal.org) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.object(
        'defaultLifetimeSeconds', walwarden_internal.seconds(o.default_lifetime)::bigint, 'maxLifetimeSeconds', walwarden_internal.max_lifetime(o)::bigint,
        'noticeSeconds', walwarden_internal.seconds(o.notice)::bigint, 'retentionSeconds', walwarden_internal.seconds(o.retention)::bigint);
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_org(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member := walwarden_internal.caller_member(walwarden_internal.caller(), r.org_id);
    carried text[] := walwarden_internal.role_scopes(m.role);
BEGIN
    RETURN (SELECT walwarden_internal.object(
        'id', o.id, 'slug', o.slug, 'name', o.display_name, 'plan', o.plan, 'apiTokens', p.api_tokens, 'memberId', m.id, 'role', m.role,
        'capabilities', to_json(walwarden_internal.capabilities(walwarden_internal.caller(), o.id)),
        'roles', (SELECT json_agg(walwarden_internal.object('name', f.name, 'description', f.description, 'scopes', to_json(walwarden_internal.role_scopes(f.name))) ORDER BY f.name)
                    FROM walwarden_internal.role AS f),
        'scopes', (SELECT json_agg(walwarden_internal.object('name', s.name, 'label', s.label, 'description', s.description, 'carried', s.name = ANY (carried)) ORDER BY s.name)
                     FROM walwarden_internal.scope AS s),
        'policy', walwarden_internal.shown_policy(o))
      FROM walwarden_internal.org AS o
      JOIN walwarden_internal.plan AS p ON p.name = o.plan
     WHERE o.id = r.org_id);
END
$$;
