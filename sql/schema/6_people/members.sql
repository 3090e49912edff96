-- Members, nodes and the policy of an organisation, for people who manage it. As in tokens.sql,
-- the inner functions of the doors check the rights.

CREATE FUNCTION walwarden_internal.shown_member(m walwarden_internal.member) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.object(
        'memberId', m.id, 'subject', m.subject, 'role', m.role, 'sso', m.sso,
        'state', CASE WHEN m.disabled_at IS NULL THEN 'active' ELSE 'disabled' END, 'createdAt', m.created_at, 'disabledAt', m.disabled_at);
END
$$;

-- The member of the path; ends the request with 404 if there is none. An erased member has no
-- subject any more, and counts as none. Only for operations with an action for members.
CREATE FUNCTION walwarden_internal.rest_member(r walwarden_internal.rest_request, removed boolean DEFAULT false) RETURNS walwarden_internal.member
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member;
BEGIN
    IF walwarden_internal.index_has('member_of_org', r.org_id, r.id) THEN
        SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.id = r.id AND f.erased_at IS NULL AND (removed OR f.removed_at IS NULL);
    END IF;
    IF m.id IS NULL THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    RETURN m;
END
$$;

-- The member as it is now, for whoever has just changed it, who may have lost the right to see it.
CREATE FUNCTION walwarden_internal.rest_changed_member(id uuid) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden_internal.shown_member(m) FROM walwarden_internal.member AS m WHERE m.id = $1);
END
$$;

CREATE FUNCTION walwarden_internal.rest_list_members(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'members', ARRAY(
        SELECT (l.created_at, l.member_id::text, walwarden_internal.shown_member(m))::walwarden_internal.rest_item
          FROM walwarden_internal.list_members(r.org) AS l
          JOIN walwarden_internal.member AS m ON m.id = l.member_id
         WHERE (l.created_at, l.member_id) < (r.after_at, r.after_id::uuid)
         ORDER BY l.created_at DESC, l.member_id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_member(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.shown_member(walwarden_internal.rest_member(r));
END
$$;

-- A db_role is never given over HTTP: it lets a server role act as the member.
CREATE FUNCTION walwarden_internal.rest_add_member(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id uuid := walwarden_internal.add_member(r.org, r.body ->> 'subject', r.body ->> 'role', NULL);
BEGIN
    RETURN walwarden_internal.rest_changed_member(id);
END
$$;

-- The subject comes last, because the others go by it.
CREATE FUNCTION walwarden_internal.rest_update_member(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member := walwarden_internal.rest_member(r);
BEGIN
    IF r.body ? 'sso' THEN
        PERFORM walwarden_internal.set_member_sso(r.org, m.subject, (r.body ->> 'sso')::boolean);
    END IF;
    IF r.body ? 'role' THEN
        PERFORM walwarden_internal.set_member_role(r.org, m.subject, r.body ->> 'role');
    END IF;
    IF (r.body ->> 'disabled')::boolean THEN
        PERFORM walwarden_internal.disable_member(r.org, m.subject);
    ELSIF r.body ? 'disabled' THEN
        PERFORM walwarden_internal.enable_member(r.org, m.subject);
    END IF;
    IF r.body ? 'subject' THEN
        PERFORM walwarden_internal.set_member_subject(r.org, m.subject, r.body ->> 'subject');
    END IF;
    RETURN walwarden_internal.rest_changed_member(m.id);
END
$$;

CREATE FUNCTION walwarden_internal.rest_remove_member(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.remove_member(r.org, (walwarden_internal.rest_member(r)).subject);
    RETURN NULL;
END
$$;

CREATE FUNCTION walwarden_internal.rest_erase_member(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden_internal.member := walwarden_internal.rest_member(r, true);
BEGIN
    IF m.removed_at IS NULL THEN
        PERFORM walwarden_internal.rest_fail('member_not_removed', 'the member is not removed', '{"nextAction": "Remove the member first, with DELETE."}');
    END IF;
    PERFORM walwarden_internal.erase_member(r.org, m.subject);
    RETURN NULL;
END
$$;

CREATE FUNCTION walwarden_internal.rest_list_nodes(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'nodes', ARRAY(
        SELECT (n.registered_at, n.node_id::text, walwarden_internal.object(
                   'nodeId', n.node_id, 'name', n.name, 'version', n.version, 'registeredAt', n.registered_at, 'tokenId', n.token_id,
                   'tokenState', n.token_state, 'lastSeenAt', n.last_seen_at, 'publicKey', n.public_key))::walwarden_internal.rest_item
          FROM walwarden_internal.list_nodes(r.org) AS n
         WHERE (n.registered_at, n.node_id) < (r.after_at, r.after_id::uuid)
         ORDER BY n.registered_at DESC, n.node_id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_policy(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden_internal.shown_policy(o) FROM walwarden_internal.org AS o WHERE o.id = r.org_id);
END
$$;

-- A lifetime of a body, for set_token_policy(): NULL keeps it, null there lifts it.
CREATE FUNCTION walwarden_internal.rest_lifetime(body jsonb, field text) RETURNS interval
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? field THEN make_interval(secs => coalesce((body ->> field)::double precision, 0)) END
$$;

CREATE FUNCTION walwarden_internal.rest_update_policy(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.set_token_policy(
        r.org, walwarden_internal.rest_lifetime(r.body, 'defaultLifetimeSeconds'), walwarden_internal.rest_lifetime(r.body, 'maxLifetimeSeconds'),
        walwarden_internal.rest_lifetime(r.body, 'noticeSeconds'));
    RETURN walwarden_internal.rest_get_policy(r);
END
$$;
