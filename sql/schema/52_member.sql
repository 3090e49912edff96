-- Members of an organisation and their roles.

-- The member of a subject, with the org locked; who may change it depends on
-- whether it is an owner. It waits: whoever calls it asks for the caller after it.
CREATE FUNCTION walwarden._member_for_change(org text, subject text) RETURNS walwarden.member
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    o walwarden.org := walwarden._lock_org(walwarden._caller(), org, 'member.change', 'any');
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member;
BEGIN
    SELECT * INTO m FROM walwarden.member AS f WHERE f.org_id = o.id AND f.subject = subject AND f.removed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('%s has no member %s', walwarden._shown(o.slug), walwarden._shown(subject)),
            HINT = 'SELECT subject FROM walwarden.list_members(org) shows the members.';
    END IF;
    IF m.role = 'owner' THEN
        PERFORM walwarden._require(c, o.id, 'member.change', 'owner');
    END IF;
    RETURN m;
END
$$;

-- An organisation that has active owners or admins keeps at least one. Called
-- under the lock of the org row.
CREATE FUNCTION walwarden._check_last_manager(m walwarden.member) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF m.disabled_at IS NULL
       AND EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = m.role AND r.capabilities @> '{manage_members}')
       AND NOT EXISTS (SELECT FROM walwarden.member AS f JOIN walwarden.role AS r ON r.name = f.role
                        WHERE f.org_id = m.org_id AND f.id <> m.id
                          AND f.disabled_at IS NULL AND f.removed_at IS NULL
                          AND r.capabilities @> '{manage_members}') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is the last active owner or admin of the organisation', walwarden._shown(m.subject)),
            HINT = 'Make another member owner or admin first.';
    END IF;
END
$$;

-- Stores the changed row m of member was, with its entry; false when nothing differs.
CREATE FUNCTION walwarden._update_member(c walwarden.caller, event text, was walwarden.member, m walwarden.member) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF walwarden._member_state(was) = walwarden._member_state(m) THEN
        RETURN false;
    END IF;
    m.audit_seq := walwarden._append(m.org_id, event,
        walwarden._change(walwarden._actor(c, m.org_id), 'member', m.id::text,
                          walwarden._member_state(was), walwarden._member_state(m)));
    UPDATE walwarden.member AS f
       SET role = m.role, sso = m.sso, disabled_at = m.disabled_at, removed_at = m.removed_at, audit_seq = m.audit_seq
     WHERE f.id = m.id;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._add_member(org text, subject text, role text, db_role name) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._lock_org(c, org, 'member.change', 'any');
    m walwarden.member;
BEGIN
    c := walwarden._caller();       -- after the wait
    PERFORM walwarden._check_text('subject', subject, 255);
    PERFORM walwarden._check_role(role);
    IF role = 'owner' THEN
        PERFORM walwarden._require(c, o.id, 'member.change', 'owner');
    END IF;
    IF EXISTS (SELECT FROM walwarden.member AS f WHERE f.org_id = o.id AND f.subject = subject AND f.removed_at IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = format('%s already has a member %s', walwarden._shown(o.slug), walwarden._shown(subject)),
            HINT = 'Change the member''s role with walwarden.set_member_role().';
    END IF;
    IF db_role IS NOT NULL THEN
        PERFORM walwarden._check_server_role(db_role, false);
        IF walwarden._speaks_for_many(db_role) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('role %s is a trusted authenticator or a REST role', walwarden._shown(db_role)),
                HINT = 'Such a role speaks for many people: give the member a role of their own, or none.';
        ELSIF EXISTS (SELECT FROM walwarden.member AS f
                       WHERE f.org_id = o.id AND f.db_role = db_role AND f.removed_at IS NULL) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'unique_violation',
                MESSAGE = format('role %s is another member''s in %s', walwarden._shown(db_role), walwarden._shown(o.slug)),
                HINT = 'Give each member a role of their own, or none.';
        END IF;
    END IF;

    m.id := gen_random_uuid();
    m.org_id := o.id;
    m.subject := subject;
    m.role := role;
    m.db_role := db_role;
    m.sso := false;
    m.created_at := clock_timestamp();
    m.audit_seq := walwarden._append(o.id, 'member.added',
        walwarden._change(walwarden._actor(c, o.id), 'member', m.id::text, NULL, walwarden._member_state(m)));
    INSERT INTO walwarden.member SELECT m.*;
    RETURN m.id;
END
$$;

CREATE FUNCTION walwarden._set_member_role(org text, subject text, role text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
BEGIN
    PERFORM walwarden._check_role(role);
    IF role = 'owner' THEN
        PERFORM walwarden._require(c, m.org_id, 'member.change', 'owner');
    END IF;
    m.role := role;
    IF NOT EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = m.role AND r.capabilities @> '{manage_members}') THEN
        PERFORM walwarden._check_last_manager(was);
    END IF;
    RETURN walwarden._update_member(c, 'member.role_changed', was, m);
END
$$;

CREATE FUNCTION walwarden._disable_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
BEGIN
    PERFORM walwarden._check_last_manager(was);
    m.disabled_at := coalesce(was.disabled_at, clock_timestamp());
    RETURN walwarden._update_member(c, 'member.disabled', was, m);
END
$$;

CREATE FUNCTION walwarden._list_members(org text)
    RETURNS TABLE (member_id uuid, subject text, role text, db_role name, sso boolean, state text, created_at timestamptz, disabled_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._org(c, org, 'member.list', 'any');
BEGIN
    RETURN QUERY
        SELECT m.id, m.subject, m.role, m.db_role, m.sso,
               CASE WHEN m.disabled_at IS NULL THEN 'active' ELSE 'disabled' END, m.created_at, m.disabled_at
          FROM walwarden.member AS m
         WHERE m.org_id = o.id AND m.removed_at IS NULL
         ORDER BY m.subject;
END
$$;

CREATE FUNCTION walwarden.add_member(org text, subject text, role text DEFAULT 'member', db_role name DEFAULT NULL) RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.add_member(text, text, text, name) IS
'Adds a person to an organisation; returns the member''s id. subject: their identity, an e-mail or a JWT sub, 1 to 255 characters. role: owner, admin, analyst, member, api_developer, read_only or deploy. db_role: the role of the server that acts as this member, or NULL. For operators, owners and admins; owners are added by operators and owners. Errors: 42501 no right, 42704 unknown organisation or role, 22023 bad value, 23505 subject or db_role taken. Example: SELECT walwarden.add_member(''acme'', ''ann@acme.example'', ''admin'', ''ann'');';

CREATE FUNCTION walwarden.set_member_role(org text, subject text, role text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_role(text, text, text) IS
'Changes a member''s role; the scopes of their private tokens follow at commit. For operators, owners and admins; the role owner is given and taken by operators and owners. Returns whether anything changed. Errors: 42501 no right, 42704 unknown organisation, member or role, 55000 the last active owner or admin. Example: SELECT walwarden.set_member_role(''acme'', ''bob@acme.example'', ''analyst'');';

CREATE FUNCTION walwarden.disable_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.disable_member(text, text) IS
'Disables a member; their private tokens are inactive from commit on, and removed when that lasts longer than the organisation''s retention. For operators, owners and admins. Returns whether anything changed. Errors: 42501 no right, 42704 unknown organisation or member, 55000 the last active owner or admin. Example: SELECT walwarden.disable_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.enable_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.enable_member(text, text) IS
'Enables a disabled member again, and with them their private tokens, but for those disabled by themselves meanwhile; those that had ended longer ago than the retention are removed first. For operators, owners and admins. Returns whether anything changed. Errors: 42501 no right, 42704 unknown organisation or member. Example: SELECT walwarden.enable_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.remove_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.remove_member(text, text) IS
'Removes a member for good and revokes their private tokens. For operators, owners and admins. Returns true. Errors: 42501 no right, 42704 unknown organisation or member, 55000 the last active owner or admin. Example: SELECT walwarden.remove_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.set_member_sso(org text, subject text, enabled boolean) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_sso(text, text, boolean) IS
'Notes whether a member signs in by single sign-on; with true, the pairs of a UUID and a secret of their backward-compatible tokens end for good. For operators, owners and admins. Returns whether anything changed. Errors: 42501 no right, 42704 unknown organisation or member, 22023 NULL. Example: SELECT walwarden.set_member_sso(''acme'', ''bob@acme.example'', true);';

CREATE FUNCTION walwarden.list_members(org text)
    RETURNS TABLE (member_id uuid, subject text, role text, db_role name, sso boolean, state text, created_at timestamptz, disabled_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_members(text) IS
'Lists the members of an organisation by subject; state is active or disabled. For operators, owners and admins. Errors: 42501 no right, 42704 unknown organisation. Example: SELECT subject, role FROM walwarden.list_members(''acme'');';
