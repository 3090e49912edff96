-- Changes of a member that also end sessions. A person can be a member of several
-- organisations, and stays signed in while one of these memberships is active.

-- Replaces a subject in the responses of REST v1 that are kept to be given again: in those about
-- a member or a token of the organisation, which are all that name a person, in these fields.
CREATE FUNCTION walwarden_internal.rename_in_responses(org_id uuid, subject text, new_subject text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    k walwarden_internal.idempotency_key;
    renamed text;
    field text;
BEGIN
    FOR k IN SELECT f.* FROM walwarden_internal.idempotency_key AS f
              WHERE strpos(f.body::text, to_jsonb(subject)::text) > 0
                AND (EXISTS (SELECT FROM walwarden_internal.member AS m WHERE m.id = (f.body ->> 'memberId')::uuid AND m.org_id = $1)
                     OR EXISTS (SELECT FROM walwarden_internal.token AS t WHERE t.id = (f.body ->> 'tokenId')::uuid AND t.org_id = $1)) LOOP
        renamed := k.body::text;
        FOREACH field IN ARRAY '{subject,owner,createdBy,revokedBy}'::text[] LOOP
            renamed := replace(renamed, format('"%s" : %s', field, to_jsonb(subject)), format('"%s" : %s', field, to_jsonb(new_subject)));
        END LOOP;
        UPDATE walwarden_internal.idempotency_key AS f SET body = renamed::json WHERE f.holder = k.holder AND f.key_hash = k.key_hash;
    END LOOP;
END
$$;

-- A new salt, so that nobody who knows the former subject can connect the two commitments.
CREATE FUNCTION walwarden_internal.set_member_subject(org text, subject text, new_subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member := was;
    actor jsonb := walwarden_internal.actor('caller', c, m.org_id);
    o walwarden_internal.org;
BEGIN
    SELECT * INTO o FROM walwarden_internal.org AS f WHERE f.id = m.org_id;
    PERFORM walwarden_internal.check_subject(o, m, new_subject, 'Give another subject, or remove that member first with walwarden.remove_member().');
    IF new_subject = was.subject THEN
        RETURN false;
    END IF;
    m.subject := new_subject;
    m.salt := walwarden_internal.salt();
    m.person := walwarden_internal.member_commitment('person', m.salt, m.subject);
    PERFORM walwarden_internal.update_member(actor, 'member.subject_changed', was, m);
    PERFORM walwarden_internal.end_sessions_of(actor, ARRAY[was.subject]);
    PERFORM walwarden_internal.rename_in_responses(o.id, was.subject, m.subject);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.disable_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.member := walwarden_internal.member_for_change(org, subject);
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    m walwarden_internal.member := was;
    actor jsonb := walwarden_internal.actor('caller', c, m.org_id);
BEGIN
    PERFORM walwarden_internal.check_last_manager(was);
    m.disabled_at := coalesce(was.disabled_at, clock_timestamp());
    IF NOT walwarden_internal.update_member(actor, 'member.disabled', was, m) THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.end_sessions_of(actor, ARRAY[m.subject]);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.remove_member(org text, subject text) RETURNS boolean
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
    PERFORM walwarden_internal.check_last_manager(was);
    PERFORM walwarden_internal.expire_tokens(walwarden_internal.tokens_of(m.id));
    FOR t IN SELECT f.* FROM walwarden_internal.token AS f
              WHERE f.owner_id = m.id AND f.revoked_at IS NULL AND f.removed_at IS NULL ORDER BY f.id LOOP
        PERFORM walwarden_internal.revoke(actor, t, 'owner removed');
    END LOOP;
    m.removed_at := clock_timestamp();
    PERFORM walwarden_internal.update_member(actor, 'member.removed', was, m);
    PERFORM walwarden_internal.end_sessions_of(actor, ARRAY[m.subject]);
    RETURN true;
END
$$;

-- Deletes the identity of a removed member for good; the row still agrees with its entries.
-- A subject that was added and removed several times has several rows, which are all erased.
CREATE FUNCTION walwarden_internal.erase_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    o walwarden_internal.org := walwarden_internal.lock_org(walwarden_internal.caller(), org, 'member.erase', 'any');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    actor jsonb := walwarden_internal.actor('caller', c, o.id);
    was walwarden_internal.member;
    m walwarden_internal.member;
BEGIN
    SELECT * INTO m FROM walwarden_internal.member AS f WHERE f.org_id = o.id AND f.subject = subject AND f.removed_at IS NULL;
    IF FOUND AND o.closed_at IS NOT NULL THEN
        -- nobody can be removed any more, so it happens here
        IF m.role = 'owner' THEN
            PERFORM walwarden_internal.require(c, o.id, 'member.erase', 'owner');
        END IF;
        was := m;
        m.removed_at := clock_timestamp();
        PERFORM walwarden_internal.update_member(actor, 'member.removed', was, m);
    ELSIF FOUND THEN
        PERFORM walwarden_internal.check_last_manager(m);
        PERFORM walwarden_internal.refuse('55000', format('member %s is not removed', walwarden_internal.shown(subject)),
            'Remove the member first with walwarden.remove_member().');
    END IF;
    FOR was IN SELECT f.* FROM walwarden_internal.member AS f
                WHERE f.org_id = o.id AND f.subject = subject AND f.removed_at IS NOT NULL
                ORDER BY f.removed_at, f.id LOOP
        IF was.role = 'owner' THEN
            PERFORM walwarden_internal.require(c, o.id, 'member.erase', 'owner');
        END IF;
        m := was;
        m.subject := NULL;
        m.salt := NULL;
        m.db_role := NULL;
        m.db_role_oid := NULL;
        m.system_identifier := NULL;
        m.erased_at := clock_timestamp();
        PERFORM walwarden_internal.update_member(actor, 'member.erased', was, m);
    END LOOP;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.refuse('42704', format('%s has no removed member %s', walwarden_internal.shown(o.slug), walwarden_internal.shown(subject)),
            'Give the subject that the member had when they were removed. An erased member can no longer be found by subject.');
    END IF;
    PERFORM walwarden_internal.end_sessions_of(actor, ARRAY[subject], forget => true);
    PERFORM walwarden_internal.rename_in_responses(o.id, subject, 'erased');
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.set_member_subject(org text, subject text, new_subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_member_subject(text, text, text) IS
'Changes the subject of a member, for example to a new e-mail address. The member keeps the role, the tokens and the history; listings show the new subject everywhere. The member gets a new salt, so later entries have another commitment for the person. If nobody is an active member under the former subject any more, its sessions end when the transaction commits. new_subject: 1 to 255 characters, none of them invisible, and no blank at the ends. For operators, owners and admins; only operators and owners can change an owner. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the member does not exist, 22023 if new_subject is invalid, 23505 if another member has it or one that looks alike, 55000 if the organisation is closed. Example: SELECT walwarden.set_member_subject(''acme'', ''bob@acme.example'', ''robert@acme.example'');';

CREATE FUNCTION walwarden.disable_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.disable_member(text, text) IS
'Disables a member. Their private tokens are inactive from commit on, and are removed if the member stays disabled for longer than the organisation''s retention. If they are no active member of any other organisation, their sessions end when the transaction commits; those from single sign-on count only organisations that have it enabled for them. For operators, owners and admins. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the member does not exist, 55000 if the organisation is closed, or the member is the last active owner or admin. Example: SELECT walwarden.disable_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.remove_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.remove_member(text, text) IS
'Removes a member for good and revokes their private tokens. If they are no active member of any other organisation, their sessions end when the transaction commits; those from single sign-on count only organisations that have it enabled for them. For operators, owners and admins. Returns true. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the member does not exist, 55000 if the organisation is closed, or the member is the last active owner or admin. Example: SELECT walwarden.remove_member(''acme'', ''bob@acme.example'');';

CREATE FUNCTION walwarden.erase_member(org text, subject text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.erase_member(text, text) IS
'Erases a removed member: deletes the subject, the salt and the server role for good. In a closed organisation, a member who is not removed is removed first. Entries of the chain contain none of them, so the chain still verifies. Listings, and responses of REST v1 that are kept to be given again, show erased instead of the subject. If several removed members had the subject, all of them are erased. Sessions and sign-in codes of the subject are deleted too, unless it is a member of another organisation. Dumps, WAL and exports from before keep the subject. For operators, owners and admins; only operators and owners can erase a removed owner. Returns true. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist or no removed member had the subject, 55000 if the member is not removed and the organisation is not closed. Example: SELECT walwarden.erase_member(''acme'', ''bob@acme.example'');';
