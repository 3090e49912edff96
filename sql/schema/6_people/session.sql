-- Sessions: people who signed in over HTTP, and the codes of one-time links by which they do.
-- Only hashes of cookies and codes are stored. Neither table is dumped, and the chain does not
-- describe their rows: a restored database knows no session, and nothing is missing.
-- src/people/session.c checks the cookie of a request against them.

CREATE TABLE walwarden_internal.session (
    id          uuid PRIMARY KEY,
    cookie_hash bytea NOT NULL UNIQUE CHECK (octet_length(cookie_hash) = 32),
    subject     text COLLATE "C" NOT NULL,
    salt        bytea NOT NULL CHECK (octet_length(salt) = 32),
    method      text COLLATE "C" NOT NULL CHECK (method IN ('link', 'sso')),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    claims_hash bytea UNIQUE CHECK (octet_length(claims_hash) = 32),
    CHECK ((method = 'sso') = (claims_hash IS NOT NULL))
);
CREATE INDEX session_by_subject ON walwarden_internal.session (subject);
CREATE INDEX session_by_expiry ON walwarden_internal.session (expires_at);
COMMENT ON TABLE walwarden_internal.session IS 'People who signed in over HTTP. Not dumped. ended_at: before its expiry.';
COMMENT ON COLUMN walwarden_internal.session.cookie_hash IS '32 bytes: SHA-256 of the cookie';
COMMENT ON COLUMN walwarden_internal.session.salt IS '32 random bytes, for the commitment to subject in entries';
COMMENT ON COLUMN walwarden_internal.session.method IS 'link: sign_in_link(); sso: single sign-on';
COMMENT ON COLUMN walwarden_internal.session.claims_hash IS '32 bytes, of method sso: SHA-256 of the claims of the JWT that was exchanged, so that it is not exchanged again';

CREATE TABLE walwarden_internal.sign_in_code (
    code_hash  bytea PRIMARY KEY CHECK (octet_length(code_hash) = 32),
    subject    text COLLATE "C" NOT NULL,
    made_by    jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX sign_in_code_by_subject ON walwarden_internal.sign_in_code (subject);
CREATE INDEX sign_in_code_by_expiry ON walwarden_internal.sign_in_code (expires_at);
COMMENT ON TABLE walwarden_internal.sign_in_code IS 'The codes of one-time sign-in links. Not dumped.';
COMMENT ON COLUMN walwarden_internal.sign_in_code.code_hash IS '32 bytes: SHA-256 of the code';
COMMENT ON COLUMN walwarden_internal.sign_in_code.made_by IS 'the actor of entries: the operator who called sign_in_link()';

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('session.started', 'system', 'a person signed in over HTTP'),
    ('session.ended',   'system', 'a session ended before its expiry: the person signed out, or is no active member any more');

-- The text of a new code, and its SHA-256. The text goes only to the caller of
-- sign_in_link(); it is never a parameter of a query.
CREATE FUNCTION walwarden_internal.mint_code(OUT code text, OUT hash bytea)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_mint_code';

-- The setting walwarden.base_url; empty if it is not set.
CREATE FUNCTION walwarden_internal.base_url() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_base_url_setting';

-- Whether anybody may sign in under a subject, and stay so: an active member of an
-- organisation that is not closed and, by single sign-on, has enabled that for them.
CREATE FUNCTION walwarden_internal.may_sign_in(subject text, by_sso boolean) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM walwarden_internal.member AS m JOIN walwarden_internal.org AS o ON o.id = m.org_id
                    WHERE m.subject = $1 AND m.disabled_at IS NULL AND m.removed_at IS NULL AND o.closed_at IS NULL
                      AND (m.sso OR NOT by_sso));
END
$$;

-- How entries show a session. They have no subject: person is a commitment with a salt of the
-- session's own, so that two sessions of a person have nothing in common.
CREATE FUNCTION walwarden_internal.session_image(s walwarden_internal.session) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('id', s.id, 'person', walwarden_internal.member_commitment('person', s.salt, s.subject), 'method', s.method);

-- Locks are acquired in this order: memberships, codes, sessions, the system chain.

-- The same as may_sign_in(); and it stays so until the transaction ends: whoever ends one of the
-- memberships that this locks waits, and then finds the session. It waits only if every membership that
-- would do is being changed, so that a change in one organisation, which may be left open, keeps
-- nobody out who is a member of another.
CREATE FUNCTION walwarden_internal.lock_memberships(subject text, by_sso boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM FROM walwarden_internal.member AS m JOIN walwarden_internal.org AS o ON o.id = m.org_id
      WHERE m.subject = subject AND m.disabled_at IS NULL AND m.removed_at IS NULL AND o.closed_at IS NULL
        AND (m.sso OR NOT by_sso)
        FOR SHARE SKIP LOCKED;
    IF NOT FOUND THEN
        PERFORM FROM walwarden_internal.member AS m JOIN walwarden_internal.org AS o ON o.id = m.org_id
          WHERE m.subject = subject AND m.disabled_at IS NULL AND m.removed_at IS NULL AND o.closed_at IS NULL
            AND (m.sso OR NOT by_sso)
            FOR SHARE;
    END IF;
    RETURN FOUND;
END
$$;

-- All rows are locked before the first entry.
CREATE FUNCTION walwarden_internal.lock_sessions(ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM walwarden_internal.session AS s WHERE s.id = ANY (ids) ORDER BY s.id FOR NO KEY UPDATE;
END
$$;

-- Ends those of the sessions that have neither ended nor expired, each with its entry. Returns
-- how many.
CREATE FUNCTION walwarden_internal.end_sessions(actor jsonb, ids uuid[], reason text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s walwarden_internal.session;
    ended integer := 0;
BEGIN
    PERFORM walwarden_internal.lock_sessions(ids);
    FOR s IN SELECT f.* FROM walwarden_internal.session AS f
              WHERE f.id = ANY (ids) AND f.ended_at IS NULL AND f.expires_at > clock_timestamp() ORDER BY f.id LOOP
        UPDATE walwarden_internal.session AS f SET ended_at = clock_timestamp() WHERE f.id = s.id;
        PERFORM walwarden_internal.append(walwarden_internal.system_org(), 'session.ended',
            jsonb_build_object('actor', actor, 'session', walwarden_internal.session_image(s), 'reason', reason));
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;

-- Ends the sessions of those of the subjects under which nobody may be signed in any more, so
-- that none of them comes back with a later membership: when the transaction commits, or with the
-- request. forget: deletes what is stored of them, too. Call it after the change, and from a door.
-- src/people/ending.c.
CREATE FUNCTION walwarden_internal.end_sessions_of(actor jsonb, subjects text[], reason text DEFAULT 'no active member', forget boolean DEFAULT false) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_end_sessions_of';

-- Ends every session, and deletes every code. Returns how many sessions it ended.
CREATE FUNCTION walwarden_internal.end_every_session(actor jsonb, reason text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM walwarden_internal.sign_in_code;
    RETURN walwarden_internal.end_sessions(actor, ARRAY(SELECT s.id FROM walwarden_internal.session AS s WHERE s.ended_at IS NULL), reason);
END
$$;

-- Starts a session for a subject; returns its id, or NULL if nobody may sign in under it, or if
-- a session was started with these claims before. link_by: the actor who made the link.
-- claims_hash: of the JWT. One of the two is NULL. replaced: the session of the browser so far,
-- which ends because nobody else should have its cookie; or NULL.
CREATE FUNCTION walwarden_internal.start_session(cookie_hash bytea, subject text, link_by jsonb, claims_hash bytea, replaced uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s walwarden_internal.session;
BEGIN
    IF NOT walwarden_internal.lock_memberships(subject, claims_hash IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    PERFORM walwarden_internal.end_sessions(walwarden_internal.actor('session', session_id => replaced), ARRAY[replaced], 'signed in again');
    s.id := gen_random_uuid();
    s.cookie_hash := cookie_hash;
    s.subject := subject;
    s.salt := walwarden_internal.salt();
    s.method := CASE WHEN claims_hash IS NULL THEN 'link' ELSE 'sso' END;
    s.claims_hash := claims_hash;
    s.created_at := clock_timestamp();
    s.expires_at := walwarden_internal.later(s.created_at, walwarden_internal.setting('session_lifetime'));
    INSERT INTO walwarden_internal.session SELECT s.* ON CONFLICT ON CONSTRAINT session_claims_hash_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM walwarden_internal.append(walwarden_internal.system_org(), 'session.started',
        jsonb_build_object('actor', walwarden_internal.actor('session', session_id => s.id), 'session', walwarden_internal.session_image(s))
        || CASE WHEN link_by IS NULL THEN '{}' ELSE jsonb_build_object('linkBy', link_by) END);
    RETURN s.id;
END
$$;

-- Uses a code up and starts a session; returns its id, or NULL if the code is unknown, used or
-- expired, or nobody may sign in under its subject, which keeps the code. Of two at once the
-- second waits, and finds the code used. replaced: as above.
CREATE FUNCTION walwarden_internal.sign_in(code_hash bytea, cookie_hash bytea, replaced uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    used walwarden_internal.sign_in_code;
BEGIN
    IF NOT walwarden_internal.lock_memberships((SELECT k.subject FROM walwarden_internal.sign_in_code AS k WHERE k.code_hash = code_hash), false) THEN
        RETURN NULL;
    END IF;
    UPDATE walwarden_internal.sign_in_code AS k
       SET used_at = clock_timestamp()
     WHERE k.code_hash = code_hash AND k.used_at IS NULL AND k.expires_at > clock_timestamp()
    RETURNING k.* INTO used;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN walwarden_internal.start_session(cookie_hash, used.subject, used.made_by, NULL, replaced);
END
$$;

-- Deletes these sessions, which have ended, and what else is stored of the subjects that are no
-- member any more.
CREATE FUNCTION walwarden_internal.forget_sessions(ids uuid[], subjects text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone text[] := ARRAY(SELECT s FROM unnest(subjects) AS s
                          WHERE NOT EXISTS (SELECT FROM walwarden_internal.member AS m WHERE m.subject = s AND m.removed_at IS NULL));
BEGIN
    DELETE FROM walwarden_internal.session AS s WHERE s.id = ANY (ids) OR s.subject = ANY (gone);
    DELETE FROM walwarden_internal.sign_in_code AS k WHERE k.subject = ANY (gone);
END
$$;

-- Maintenance: deletes expired codes, and sessions a week after their expiry. Until then an
-- operator can find out who is behind an entry. Returns whether there were any.
CREATE FUNCTION walwarden_internal.forget_old_sessions() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due timestamptz := walwarden_internal.removal_limit();
    forgotten boolean;
BEGIN
    DELETE FROM walwarden_internal.sign_in_code AS k WHERE k.expires_at <= due;
    forgotten := FOUND;
    DELETE FROM walwarden_internal.session AS s WHERE s.expires_at <= walwarden_internal.later(due, -7 * 86400);
    RETURN forgotten OR FOUND;
END
$$;

CREATE FUNCTION walwarden_internal.sign_in_link(subject text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    now timestamptz := clock_timestamp();
    code text;
    hash bytea;
    page text := walwarden_internal.base_url();
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'session.link', 'any');
    PERFORM walwarden_internal.check_text('subject', subject, 255);
    IF NOT walwarden_internal.may_sign_in(subject, false) THEN
        PERFORM walwarden_internal.refuse('42704', format('no organisation has an active member %s', walwarden_internal.shown(subject)),
            'Add or enable the member first. To see the members, run SELECT subject FROM walwarden.list_members(org).');
    END IF;
    SELECT minted.code, minted.hash INTO code, hash FROM walwarden_internal.mint_code() AS minted;
    INSERT INTO walwarden_internal.sign_in_code (code_hash, subject, made_by, created_at, expires_at)
    VALUES (hash, subject, walwarden_internal.actor('caller', c), now, walwarden_internal.later(now, 600));
    RETURN CASE WHEN page = '' THEN code ELSE page || '/signin#' || code END;
END
$$;

CREATE FUNCTION walwarden.sign_in_link(subject text) RETURNS text
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.sign_in_link(text) IS
'Returns a link by which a person signs in once, within 10 minutes: walwarden.base_url, /signin# and a code of 64 hex digits; without that setting the code alone. It is the only time that the code is returned; only its SHA-256 is stored. Whoever has the link signs in as this person, so give it to nobody else. subject: of an active member of an organisation that is not closed. The entry session.started of the system chain names who called this function. For operators. Errors: 42501 if the caller is not an operator, 42704 if no organisation has such an active member, 22023 if subject is invalid. Example: SELECT walwarden.sign_in_link(''bob@acme.example'');';
