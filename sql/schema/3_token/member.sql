-- Members of an organisation and their roles.

-- The member with a subject, after locking the organisation. Changing an owner needs another
-- permission. This function waits, so its callers must call caller() after it.
CREATE FUNCTION walwarden_internal.member_for_change(org text, subject text) RETURNS walwarden_internal.member
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    o walwarden_internal.org := walwarden_internal.lock_org(walwarden_internal.caller(), org, 'member.change', 'any');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member;
BEGIN
    SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.org_id = o.id AND f.subject = subject AND f.removed_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.refuse('42704', format('%s has no member %s', walwarden_internal.shown(o.slug), walwarden_internal.shown(subject)),
            'To see the members, run SELECT subject FROM walwarden.list_members(org).');
    END IF;
    IF m.role = 'owner' THEN
        PERFORM walwarden_internal.require(c, o.id, 'member.change', 'owner');
    END IF;
    RETURN m;
END
$$;

-- An organisation that has active owners or admins must keep at least one. Called while the
-- organisation is locked.
CREATE FUNCTION walwarden_internal.check_last_manager(m walwarden_internal.member) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF m.disabled_at IS NULL
       AND EXISTS (SELECT FROM walwarden_internal.role AS r WHERE r.name = m.role AND r.capabilities @> '{manage_members}')
       AND NOT EXISTS (SELECT FROM walwarden_internal.member AS f JOIN walwarden_internal.role AS r ON r.name = f.role
                        WHERE f.org_id = m.org_id AND f.id <> m.id
                          AND f.disabled_at IS NULL AND f.removed_at IS NULL
                          AND r.capabilities @> '{manage_members}') THEN
        PERFORM walwarden_internal.refuse('55000', format('%s is the last active owner or admin of the organisation', walwarden_internal.shown(m.subject)),
            'Make another member an owner or admin first.');
    END IF;
END
$$;

-- Appends the entry and stores the row m in place of was; returns false if they are equal.
CREATE FUNCTION walwarden_internal.update_member(actor jsonb, event text, was walwarden_internal.member, m walwarden_internal.member) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before jsonb := walwarden_internal.member_image(was);
    after jsonb := walwarden_internal.member_image(m);
BEGIN
    IF before = after THEN
        RETURN false;
    END IF;
    m.audit_seq := walwarden_internal.append(m.org_id, event, walwarden_internal.change(actor, 'member', m.id::text, before, after));
    UPDATE walwarden_internal.member AS f
       SET subject = m.subject, salt = m.salt, person = m.person, role = m.role, sso = m.sso,
           db_role = m.db_role, db_role_oid = m.db_role_oid, system_identifier = m.system_identifier,
           disabled_at = m.disabled_at, removed_at = m.removed_at, erased_at = m.erased_at, audit_seq = m.audit_seq
     WHERE f.id = m.id;
    RETURN true;
END
$$;

-- 32 random bytes.
CREATE FUNCTION walwarden_internal.salt() RETURNS bytea
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_salt';

-- Validates a subject that a member of an organisation is to get. m: the member; NULL for a
-- new one.
CREATE FUNCTION walwarden_internal.check_subject(o walwarden_internal.org, m walwarden_internal.member, subject text, hint text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    taken text;
BEGIN
    PERFORM walwarden_internal.check_text('subject', subject, 255);
    SELECT f.subject INTO taken
      FROM walwarden_internal.member AS f
     WHERE f.org_id = o.id AND walwarden_internal.likeness(f.subject) = walwarden_internal.likeness(subject) AND f.removed_at IS NULL
       AND f.id IS DISTINCT FROM m.id;
    IF taken = subject THEN
        PERFORM walwarden_internal.refuse('23505', format('%s already has a member %s', walwarden_internal.shown(o.slug), walwarden_internal.shown(subject)), hint);
    ELSIF FOUND THEN
        PERFORM walwarden_internal.refuse('23505',
            format('%s already has a member %s, which looks like %s', walwarden_internal.shown(o.slug), walwarden_internal.shown(taken), walwarden_internal.shown(subject)),
            'Subjects that differ only in letter case, in their Unicode form or in blanks at the ends are taken for one another. Give the existing subject, or another one.');
    ELSIF subject ~ format('^[%1$s]|[%1$s]$', walwarden_internal.blanks()) THEN
        PERFORM walwarden_internal.refuse('22023', 'subject begins or ends with a blank',
            'Remove the blanks at the ends. The subject must be exactly what the identity provider sends.');
    END IF;
END
$$;

-- Gives a member a server role, or none, after checking that they may have it.
CREATE FUNCTION walwarden_internal.with_db_role(
        c walwarden_internal.caller, o walwarden_internal.org, m walwarden_internal.member, db_role name) RETURNS walwarden_internal.member
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF db_role IS NOT NULL THEN
        PERFORM walwarden_internal.check_server_role(db_role, false);
        IF walwarden_internal.speaks_for_many(db_role)
           OR EXISTS (SELECT FROM walwarden_internal.role_grant AS g WHERE g.kind = 'rest' AND g.login = db_role AND g.revoked_at IS NULL) THEN
            PERFORM walwarden_internal.refuse('22023', format('server role %s is a trusted authenticator, a REST role or its login', walwarden_internal.shown(db_role)),
                'Give the member their own role, or none. Authenticators and REST roles act for many people.');
        -- an organisation must not make a member of a role that acts on all of them
        ELSIF NOT c.operator AND walwarden_internal.is_named(db_role, '{operator,runner}') THEN
            PERFORM walwarden_internal.refuse('42501', format('server role %s is an operator or a runner', walwarden_internal.shown(db_role)),
                'Ask an operator to do this, or give the member another role.');
        ELSIF EXISTS (SELECT FROM walwarden_internal.member AS f
                       WHERE f.org_id = o.id AND f.db_role = db_role AND f.removed_at IS NULL AND f.id IS DISTINCT FROM m.id) THEN
            PERFORM walwarden_internal.refuse('23505', format('server role %s already belongs to another member of %s', walwarden_internal.shown(db_role), walwarden_internal.shown(o.slug)),
                'Give each member their own role, or none.');
        END IF;
    END IF;
    m.db_role := db_role;
    m.db_role_oid := walwarden_internal.server_role_oid(db_role);
    m.system_identifier := CASE WHEN db_role IS NOT NULL THEN walwarden_internal.system_identifier() END;
    RETURN m;
END
$$;

CREATE FUNCTION walwarden_internal.add_member(org text, subject text, role text, db_role name) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org := walwarden_internal.lock_org(c, org, 'member.change', 'any');
    m walwarden_internal.member;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    PERFORM walwarden_internal.check_subject(o, NULL, subject, 'Change the member''s role with walwarden.set_member_role().');
    PERFORM walwarden_internal.check_role(role);
    IF role = 'owner' THEN
        PERFORM walwarden_internal.require(c, o.id, 'member.change', 'owner');
    END IF;
    m := walwarden_internal.with_db_role(c, o, NULL, db_role);

    m.id := gen_random_uuid();
    m.org_id := o.id;
    m.subject := subject;
    m.salt := walwarden_internal.salt();
    m.person := walwarden_internal.member_commitment('person', m.salt, subject);
    m.role := role;
    m.sso := false;
    m.created_at := clock_timestamp();
    m.audit_seq := walwarden_internal.append(o.id, 'member.added',
        walwarden_internal.change(walwarden_internal.actor('caller', c, o.id), 'member', m.id::text, NULL, walwarden_internal.member_image(m)));
    INSERT INTO walwarden_internal.member SELECT m.*;
    RETURN m.id;
END
$$;

CREATE FUNCTION walwarden_internal.set_member_role(org text, subject text, role text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member := was;
BEGIN
    PERFORM walwarden_internal.check_role(role);
    IF role = 'owner' THEN
        PERFORM walwarden_internal.require(c, m.org_id, 'member.change', 'owner');
    END IF;
    m.role := role;
    IF NOT EXISTS (SELECT FROM walwarden_internal.role AS r WHERE r.name = m.role AND r.capabilities @> '{manage_members}') THEN
        PERFORM walwarden_internal.check_last_manager(was);
    END IF;
    RETURN walwarden_internal.update_member(walwarden_internal.actor('caller', c, m.org_id), 'member.role_changed', was, m);
END
$$;

CREATE FUNCTION walwarden_internal.set_member_db_role(org text, subject text, db_role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member;
    o walwarden_internal.org;
BEGIN
    SELECT * INTO o FROM walwarden_internal.org AS f WHERE f.id = was.org_id;
    m := walwarden_internal.with_db_role(c, o, was, db_role);
    IF db_role = was.db_role THEN
        PERFORM walwarden_internal.require_confirmed(db_role, was.db_role_oid, was.system_identifier);
    END IF;
    RETURN walwarden_internal.update_member(walwarden_internal.actor('caller', c, m.org_id), 'member.db_role_changed', was, m);
END
$$;

CREATE FUNCTION walwarden_internal.list_members(org text)
    RETURNS TABLE (member_id uuid, subject text, role text, db_role name, sso boolean, state text, created_at timestamptz, disabled_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org := walwarden_internal.permitted_org(c, org, 'member.list', 'any');
BEGIN
    RETURN QUERY
        SELECT m.id, m.subject, m.role, m.db_role, m.sso,
               CASE WHEN m.disabled_at IS NULL THEN 'active' ELSE 'disabled' END, m.created_at, m.disabled_at
          FROM walwarden_internal.member AS m
         WHERE m.org_id = o.id AND m.removed_at IS NULL
         ORDER BY m.subject;
END
$$;

-- The members who are not erased, with what their commitments in entries are made of. Canonical
-- JSON, member by member, so that its length is not limited.
CREATE FUNCTION walwarden_internal.export_people(org text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org := walwarden_internal.permitted_org(c, org, 'member.export', 'any');
BEGIN
    RETURN (SELECT '{' || coalesce(string_agg(format('"%s":%s', m.id, (walwarden_internal.canonical_json(convert_to(
                       jsonb_build_object('subject', m.subject, 'salt', encode(m.salt, 'hex'), 'dbRole', m.db_role)::text, 'UTF8'))).canonical), ',' ORDER BY m.id), '') || '}'
              FROM walwarden_internal.member AS m
             WHERE m.org_id = o.id AND m.erased_at IS NULL);
END
$$;

CREATE FUNCTION walwarden.add_member(org text, subject text, role text DEFAULT 'member', db_role name DEFAULT NULL) RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.add_member(text, text, text, name) IS
'Adds a person to an organisation; returns the member''s id. subject: the identity of the person, such as an e-mail address or a JWT sub, 1 to 255 characters, none of them invisible, and no blank at the ends. role: owner, admin, analyst, member, api_developer, read_only or deploy. db_role: the server role that acts as this member, or NULL; only operators can give a role that is an operator or a runner. For operators, owners and admins; only operators and owners can add an owner. Errors: 42501 if the caller lacks permission, 42704 if the organisation or a role does not exist, 22023 if a value is invalid, 23505 if the db_role is already taken, or a member has the subject or one that looks alike: in another letter case or Unicode form, 55000 if the organisation is closed. Example: SELECT walwarden.add_member(''acme'', ''ann@acme.example'', ''admin'', ''ann'');';

CREATE FUNCTION walwarden.set_member_role(org text, subject text, role text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_role(text, text, text) IS
'Changes a member''s role. The effective scopes of their private tokens change with it, from commit on. For operators, owners and admins; only operators and owners can grant or revoke the role owner. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation, the member or the role does not exist, 55000 if the organisation is closed, or the member is the last active owner or admin. Example: SELECT walwarden.set_member_role(''acme'', ''bob@acme.example'', ''analyst'');';

CREATE FUNCTION walwarden.set_member_db_role(org text, subject text, db_role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_db_role(text, text, name) IS
'Changes the server role that acts as a member, from commit on. db_role: NULL for none. A role can act as one member of each organisation. Only operators can give a role that is an operator or a runner. For operators, owners and admins; only operators and owners can change an owner. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation, the member or the role does not exist, 22023 if the role is a superuser, a trusted authenticator, a REST role or its login, 23505 if the role acts as another member, 55000 if the organisation is closed, or if the member has the name already, but of another role: see confirm_server_role(). Example: SELECT walwarden.set_member_db_role(''acme'', ''bob@acme.example'', ''bob'');';

CREATE FUNCTION walwarden.enable_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.enable_member(text, text) IS
'Enables a disabled member again. Their private tokens become active again, except tokens that are themselves disabled or expired. Tokens that ended longer ago than the retention are removed first, or disabled if the clock has just jumped ahead and maintenance may not remove them yet. For operators, owners and admins. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the member does not exist, 55000 if the organisation is closed. Example: SELECT walwarden.enable_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.set_member_sso(org text, subject text, enabled boolean) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_sso(text, text, boolean) IS
'Sets whether a member can sign in by single sign-on, and use the API with a JWT of the identity provider. With false, which is the default, such a session or JWT does not open this organisation, from the next request on; a one-time link still does. With true, the legacy credentials of their tokens end for good. For operators, owners and admins. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the member does not exist, 22023 if enabled is NULL, 55000 if the organisation is closed. Example: SELECT walwarden.set_member_sso(''acme'', ''bob@acme.example'', true);';

CREATE FUNCTION walwarden.list_members(org text)
    RETURNS TABLE (member_id uuid, subject text, role text, db_role name, sso boolean, state text, created_at timestamptz, disabled_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_members(text) IS
'Lists the members of an organisation by subject; state is active or disabled. For operators, owners and admins. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist. Example: SELECT subject, role FROM walwarden.list_members(''acme'');';

CREATE FUNCTION walwarden.export_people(org text) RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.export_people(text) IS
'Returns who the members in the entries of an organisation are, as the file people.json of a bundle: canonical JSON, {"MEMBERID": {"subject", "salt", "dbRole"}}, also of removed members, but not of erased ones. salt: 64 hex digits. With it an auditor checks the commitments in entries, as docs/audit-chain.md describes it. This is personal data, and the salts are what erase_member() deletes: give it to those alone who need it, and delete it after use. For operators, owners and admins, and for no token. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist. Example: SELECT walwarden.export_people(''acme'');';

-- Changes of a member that also end or stop tokens.

-- Overdue tokens are removed first, so that they do not become active again. Those that may
-- not be removed yet are disabled: if the clock was wrong, they can be enabled.
CREATE FUNCTION walwarden_internal.enable_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member := was;
    t walwarden_internal.token;
    ended boolean;
BEGIN
    ended := walwarden_internal.expire_tokens(walwarden_internal.tokens_of(m.id));
    FOR t IN SELECT f.* FROM walwarden_internal.token AS f JOIN walwarden_internal.ended_token AS n ON n.id = f.id
              WHERE f.id = ANY (walwarden_internal.tokens_of(m.id)) AND n.overdue AND n.reason = 'owner disabled'
              ORDER BY f.id LOOP
        IF walwarden_internal.state(t) = 'inactive' THEN    -- otherwise it stays stopped anyway
            PERFORM walwarden_internal.disable(walwarden_internal.actor('system'), t, false, 'the owner was disabled for longer than the retention');
            ended := true;
        END IF;
    END LOOP;
    m.disabled_at := NULL;
    RETURN walwarden_internal.update_member(walwarden_internal.actor('caller', c, m.org_id), 'member.enabled', was, m) OR ended;
END
$$;

-- A member who signs in by SSO has no legacy credentials.
CREATE FUNCTION walwarden_internal.set_member_sso(org text, subject text, enabled boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member := was;
    actor jsonb := walwarden_internal.actor('caller', c, m.org_id);
    t walwarden_internal.token;
BEGIN
    IF enabled IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'enabled is missing',
            'Give true or false.');
    END IF;
    IF enabled THEN
        PERFORM FROM walwarden_internal.token AS f WHERE f.owner_id = m.id AND f.kind = 'legacy' ORDER BY f.id FOR NO KEY UPDATE;
        FOR t IN SELECT f.* FROM walwarden_internal.token AS f
                  WHERE f.owner_id = m.id AND f.kind = 'legacy' AND f.removed_at IS NULL
                  ORDER BY f.id LOOP
            PERFORM walwarden_internal.end_legacy_credential(actor, walwarden_internal.record_expiry(t), 'SSO enabled');
        END LOOP;
    END IF;
    m.sso := enabled;
    RETURN walwarden_internal.update_member(actor, 'member.sso_changed', was, m);
END
$$;
