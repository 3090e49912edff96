-- The tables of organisations, members, tokens and grants. Each audited row has audit_seq,
-- the entry that describes its current state. Rows are marked (removed_at, revoked_at)
-- instead of deleted, so that verification can report a missing row. audit_seq is not a
-- foreign key, because restored rows come in any order.

CREATE TABLE walwarden_internal.org (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug         text COLLATE "C" NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    display_name text NOT NULL,
    plan         text COLLATE "C" NOT NULL REFERENCES walwarden_internal.plan,
    retention    interval NOT NULL DEFAULT '7 days',
    created_at   timestamptz NOT NULL,
    audit_seq    bigint NOT NULL,
    closed_at    timestamptz,
    default_lifetime interval,
    max_lifetime interval,
    notice       interval NOT NULL DEFAULT '7 days'
);
-- for maintenance: those that orgs_with_expiring_tokens() asks one by one
CREATE INDEX org_with_long_notice ON walwarden_internal.org (id) WHERE walwarden_internal.seconds(notice) > 604800;
SELECT pg_extension_config_dump('walwarden_internal.org', '');
COMMENT ON TABLE walwarden_internal.org IS 'Organisations. retention: how long a token is kept after it was disabled, it expired, or its owner was disabled. closed_at: from then on nothing in it changes. default_lifetime, max_lifetime: of tokens of kind api.';
COMMENT ON COLUMN walwarden_internal.org.retention IS '0 to 3650 days, in whole seconds';
COMMENT ON COLUMN walwarden_internal.org.default_lifetime IS '1 second to 36500 days, in whole seconds; NULL for no default';
COMMENT ON COLUMN walwarden_internal.org.max_lifetime IS '1 second to 36500 days, in whole seconds; NULL for no maximum';
COMMENT ON COLUMN walwarden_internal.org.notice IS '0 to 36500 days, in whole seconds: how long before its expiry a token gets an entry; 0 for none';

-- Every slug that an organisation has or had. A row is never changed or deleted, so that a
-- link or a record that names an organisation never means another one. The image of the
-- organisation contains its slugs.
CREATE TABLE walwarden_internal.org_slug (
    slug   text COLLATE "C" PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES walwarden_internal.org
);
CREATE INDEX org_slug_by_org ON walwarden_internal.org_slug (org_id);
SELECT pg_extension_config_dump('walwarden_internal.org_slug', '');
COMMENT ON TABLE walwarden_internal.org_slug IS 'The present and former slugs of organisations. None is ever given to another organisation.';

CREATE TABLE walwarden_internal.member (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id      uuid NOT NULL REFERENCES walwarden_internal.org,
    subject     text COLLATE "C",
    salt        bytea CHECK (octet_length(salt) = 32),
    person      text COLLATE "C" NOT NULL,
    role        text COLLATE "C" NOT NULL REFERENCES walwarden_internal.role,
    db_role     name,
    sso         boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    disabled_at timestamptz,
    removed_at  timestamptz,
    erased_at   timestamptz,
    audit_seq   bigint NOT NULL,
    db_role_oid oid,
    system_identifier text COLLATE "C",
    CHECK (CASE WHEN erased_at IS NULL THEN subject IS NOT NULL AND salt IS NOT NULL
                ELSE removed_at IS NOT NULL AND subject IS NULL AND salt IS NULL AND db_role IS NULL AND db_role_oid IS NULL END)
);
CREATE UNIQUE INDEX member_subject_key ON walwarden_internal.member (org_id, subject) WHERE removed_at IS NULL;
-- no two members of an organisation look alike
CREATE UNIQUE INDEX member_likeness_key ON walwarden_internal.member (org_id, walwarden_internal.likeness(subject)) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX member_db_role_key ON walwarden_internal.member (org_id, db_role) WHERE removed_at IS NULL;
CREATE INDEX member_by_subject ON walwarden_internal.member (subject) WHERE removed_at IS NULL;
CREATE INDEX member_by_db_role ON walwarden_internal.member (db_role) WHERE removed_at IS NULL;
-- for maintenance: members whose db_role was named in another cluster
CREATE INDEX member_by_cluster ON walwarden_internal.member (system_identifier) WHERE removed_at IS NULL;
-- for index_has(): whether a member is of an organisation
CREATE UNIQUE INDEX member_of_org ON walwarden_internal.member (org_id, id);
CREATE INDEX member_removed ON walwarden_internal.member (org_id, subject) WHERE removed_at IS NOT NULL;
CREATE INDEX member_by_disabling ON walwarden_internal.member (disabled_at) WHERE removed_at IS NULL AND disabled_at IS NOT NULL;
SELECT pg_extension_config_dump('walwarden_internal.member', '');
COMMENT ON TABLE walwarden_internal.member IS 'People in organisations. person: the commitment that stands for the subject in entries. db_role: the server role that acts as this member. erased_at: when the subject was deleted for good.';
COMMENT ON COLUMN walwarden_internal.member.db_role_oid IS 'OID of db_role when it was named, in the cluster system_identifier; without it the role does not act as the member';
COMMENT ON COLUMN walwarden_internal.member.system_identifier IS 'digits: the cluster in which db_role_oid is an OID';
COMMENT ON COLUMN walwarden_internal.member.salt IS '32 random bytes, for the commitments to subject and db_role; NULL if erased';
COMMENT ON COLUMN walwarden_internal.member.person IS '64 lower-case hex digits: SHA-256 of salt and subject';

-- scopes NULL: no override, or not any more; the built-in set applies.
CREATE TABLE walwarden_internal.role_override (
    role      text COLLATE "C" PRIMARY KEY REFERENCES walwarden_internal.role,
    scopes    text[],
    audit_seq bigint NOT NULL
);
SELECT pg_extension_config_dump('walwarden_internal.role_override', '');
COMMENT ON TABLE walwarden_internal.role_override IS 'Scopes that set_role_scopes() put in place of a role''s built-in set. scopes NULL: no longer overridden.';

-- What server roles are authorised for. By name, never as regrole, so that a dump can
-- be restored where the role does not exist. Beside each name stands the role's OID in the
-- cluster where it was named: see server_role.sql.
CREATE TABLE walwarden_internal.role_grant (
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('operator', 'authenticator', 'rest', 'runner', 'monitor')),
    role       name NOT NULL,
    login      name CHECK ((login IS NOT NULL) = (kind = 'rest')),
    granted_at timestamptz NOT NULL,
    revoked_at timestamptz,
    audit_seq  bigint NOT NULL,
    role_oid   oid NOT NULL,
    login_oid  oid CHECK ((login_oid IS NULL) = (login IS NULL)),
    system_identifier text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, role)
);
SELECT pg_extension_config_dump('walwarden_internal.role_grant', '');
COMMENT ON TABLE walwarden_internal.role_grant IS 'The server roles that are operators, trusted authenticators, REST roles, runners or monitors, by name.';
COMMENT ON COLUMN walwarden_internal.role_grant.role_oid IS 'OID of role when it was authorised, in the cluster system_identifier';
COMMENT ON COLUMN walwarden_internal.role_grant.login_oid IS 'OID of login, likewise';
COMMENT ON COLUMN walwarden_internal.role_grant.system_identifier IS 'digits: the cluster in which these are OIDs';

CREATE TABLE walwarden_internal.token (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id          uuid NOT NULL REFERENCES walwarden_internal.org,
    name            text NOT NULL,
    kind            text COLLATE "C" NOT NULL CHECK (kind IN ('api', 'node', 'legacy')),
    scopes          text[],
    role            text COLLATE "C" REFERENCES walwarden_internal.role,
    owner_id        uuid REFERENCES walwarden_internal.member,
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    expires_at      timestamptz CHECK (expires_at < '10000-01-01 00:00:00+00'),
    expired_at      timestamptz,            -- the expiry that was recorded in an entry
    disabled_at     timestamptz,
    disabled_by     text,
    disabled_by_owner boolean,              -- of the token; otherwise by somebody who manages tokens
    disabled_reason text,
    revoked_at      timestamptz,
    revoked_by      text,
    revoked_reason  text,
    removed_at      timestamptz,
    audit_seq       bigint NOT NULL,
    -- why the token is stopped, in order of precedence, which is decided only here. An expiry
    -- that is not on record yet depends on the clock: see src/token/status.c.
    stopped         text COLLATE "C" GENERATED ALWAYS AS (
                        CASE WHEN removed_at IS NOT NULL THEN 'removed'
                             WHEN revoked_at IS NOT NULL THEN 'revoked'
                             WHEN expired_at IS NOT NULL THEN 'expired'
                             WHEN disabled_at IS NOT NULL THEN 'disabled' END) STORED,
    labels          jsonb CHECK (labels <> '{}'),
    networks        cidr[] CHECK (networks <> '{}'),
    rate_limit      integer CHECK (rate_limit BETWEEN 1 AND 1000000),
    key_name        text,                   -- the name at issue: see idempotency_key
    lifetime_from   timestamptz,            -- when it was last renewed or enabled
    notice_for      timestamptz,            -- the expiry of which notice was given in an entry
    -- permissions come from scopes, from a role or, for a legacy token, from the owner's role
    CHECK (CASE kind WHEN 'legacy' THEN scopes IS NULL AND role IS NULL AND owner_id IS NOT NULL
                     ELSE scopes IS NOT NULL AND (role IS NULL OR scopes = '{}') END)
);
CREATE INDEX token_by_org ON walwarden_internal.token (org_id, created_at, id);
-- for the check of walwarden.max_tokens_per_org
CREATE INDEX token_live ON walwarden_internal.token (org_id) WHERE removed_at IS NULL AND revoked_at IS NULL;
-- for index_has(): whether a token is somebody's
CREATE UNIQUE INDEX token_of_org ON walwarden_internal.token (org_id, id);
CREATE INDEX token_by_owner ON walwarden_internal.token (owner_id, id) WHERE owner_id IS NOT NULL;
-- for maintenance: tokens that have ended and are not removed
CREATE INDEX token_by_expiry ON walwarden_internal.token (expires_at) WHERE removed_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX token_by_disabling ON walwarden_internal.token (disabled_at) WHERE removed_at IS NULL AND revoked_at IS NULL AND disabled_at IS NOT NULL;
-- for maintenance: tokens of which no notice was given
CREATE INDEX token_without_notice ON walwarden_internal.token (org_id, expires_at)
    WHERE removed_at IS NULL AND revoked_at IS NULL AND disabled_at IS NULL AND expires_at IS NOT NULL AND notice_for IS DISTINCT FROM expires_at;
CREATE INDEX token_next_notice ON walwarden_internal.token (expires_at, org_id)
    WHERE removed_at IS NULL AND revoked_at IS NULL AND disabled_at IS NULL AND expires_at IS NOT NULL AND notice_for IS DISTINCT FROM expires_at;
SELECT pg_extension_config_dump('walwarden_internal.token', '');
COMMENT ON TABLE walwarden_internal.token IS 'Tokens, including revoked ones. owner_id: NULL for a shared token. expired_at: the expiry that was recorded in an entry. removed_at: rows are marked, never deleted. No part of a plaintext is stored.';
COMMENT ON COLUMN walwarden_internal.token.expires_at IS 'NULL if the token never expires';
COMMENT ON COLUMN walwarden_internal.token.labels IS 'strings by name; NULL if none';
COMMENT ON COLUMN walwarden_internal.token.networks IS 'from which it is accepted; NULL if from everywhere';
COMMENT ON COLUMN walwarden_internal.token.rate_limit IS 'uses per minute; NULL if not limited';
COMMENT ON COLUMN walwarden_internal.token.key_name IS 'the name at issue, which never changes; tokens of one organisation, owner, kind and key_name share idempotency keys';
COMMENT ON COLUMN walwarden_internal.token.lifetime_from IS 'when it was last renewed or enabled: its lifetime counts from then; NULL: from created_at';
COMMENT ON COLUMN walwarden_internal.token.notice_for IS 'the expiry of which notice was given in an entry; NULL if none';
COMMENT ON COLUMN walwarden_internal.token.scopes IS 'NULL for a legacy token, which has the scopes of its owner''s role; {} for no scopes, or for the scopes of role';

-- One row for each credential of a token. No part of the plaintext is stored.
CREATE TABLE walwarden_internal.credential (
    fingerprint bytea PRIMARY KEY CHECK (octet_length(fingerprint) = 32),
    token_id    uuid NOT NULL REFERENCES walwarden_internal.token,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('bearer', 'legacy')),
    created_at  timestamptz NOT NULL,
    valid_until timestamptz,
    audit_seq   bigint NOT NULL,
    -- copied from its token, so that authenticate() reads one row. Triggers set these
    -- columns, regardless of the statement; verification compares them
    org_id      uuid,                       -- NULL: the token does not exist
    token_kind  text COLLATE "C",
    scopes      text[],
    role        text COLLATE "C",
    owner_id    uuid,
    expires_at  timestamptz,
    stopped     text COLLATE "C",           -- disabled, expired, revoked or removed
    networks    cidr[],
    rate_limit  integer,
    -- its own again: where token_usage records its uses
    slot        smallint CHECK (slot IN (0, 1))
);
CREATE INDEX credential_by_token ON walwarden_internal.credential (token_id);
-- for verification: credentials of an organisation, even if their token is missing
CREATE INDEX credential_by_org ON walwarden_internal.credential (org_id);
SELECT pg_extension_config_dump('walwarden_internal.credential', '');
COMMENT ON TABLE walwarden_internal.credential IS 'The credentials of tokens, as SHA-256 fingerprints. kind: bearer, or legacy for a UUID with a secret. valid_until: when a renewed credential ended or will end. A row is deleted with its credential. The columns from org_id to rate_limit are a copy of the token, maintained by triggers.';
COMMENT ON COLUMN walwarden_internal.credential.fingerprint IS '32 bytes: SHA-256 of the credential';
COMMENT ON COLUMN walwarden_internal.credential.valid_until IS 'NULL: as long as the token is valid; -infinity: it was ended, when it was renewed or later';
COMMENT ON COLUMN walwarden_internal.credential.org_id IS 'NULL: the token does not exist';
COMMENT ON COLUMN walwarden_internal.credential.stopped IS 'disabled, expired (on record), revoked or removed; NULL if none of these';
COMMENT ON COLUMN walwarden_internal.credential.rate_limit IS 'uses per minute; NULL if not limited';
COMMENT ON COLUMN walwarden_internal.credential.slot IS '0 or 1, in turn from one renewal to the next; NULL for a legacy credential';
COMMENT ON COLUMN walwarden_internal.token.stopped IS 'disabled, expired (on record), revoked or removed; NULL if none of these';

-- Separate from token, so that recording a use never waits for a change or blocks one. For the
-- same reason a renewal does not write here: the new value takes over the slot of the value
-- before the previous one, and a time before its own creation does not count as its use.
CREATE TABLE walwarden_internal.token_usage (
    token_id            uuid PRIMARY KEY REFERENCES walwarden_internal.token,
    last_used_at        timestamptz,
    slot0_used_at       timestamptz,
    slot1_used_at       timestamptz,
    last_used_from      inet,
    uses                bigint,
    refusals            bigint,
    last_refused_at     timestamptz,
    last_refused_reason text
);
SELECT pg_extension_config_dump('walwarden_internal.token_usage', '');
COMMENT ON TABLE walwarden_internal.token_usage IS 'When each token was last used. With preload also how often it was accepted and refused, as of the worker''s last round; without, only the times of uses are kept, to the minute. The chain does not describe it.';
COMMENT ON COLUMN walwarden_internal.token_usage.last_used_at IS 'NULL if never';
COMMENT ON COLUMN walwarden_internal.token_usage.last_used_from IS 'the address of the client; NULL if unknown';
COMMENT ON COLUMN walwarden_internal.token_usage.uses IS 'NULL if never counted';
COMMENT ON COLUMN walwarden_internal.token_usage.refusals IS 'NULL if never counted';
COMMENT ON COLUMN walwarden_internal.token_usage.last_refused_reason IS 'as in stat_auth';
COMMENT ON COLUMN walwarden_internal.token_usage.slot0_used_at IS 'the last use of a value with slot 0';
COMMENT ON COLUMN walwarden_internal.token_usage.slot1_used_at IS 'the last use of a value with slot 1';

-- The image of a row in the chain is decided only here. The same functions render the entry
-- when a change is made, and the row when the current state is compared with the chain. Only
-- of a token, token_image_text() says the same in C, for entries and for the verifier in C.
-- They are expressions that the planner puts in the place of the call: a function in SQL that
-- it cannot inline is planned at each call.

-- slugs: all slugs that the organisation has or had, in order. slug is NULL, which no entry
-- contains, if it is not among them. Nor does any entry contain retentionSeconds as a string:
-- a month is not a number of seconds.
CREATE FUNCTION walwarden_internal.org_image(o walwarden_internal.org, slugs text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(
        jsonb_build_object(
            'id', o.id, 'slug', CASE WHEN o.slug = ANY (slugs) THEN o.slug END, 'displayName', o.display_name, 'plan', o.plan,
            'retentionSeconds', walwarden_internal.seconds_image(o.retention),
            'createdAt', walwarden_internal.iso(o.created_at)),
        jsonb_build_object(
            'formerSlugs', to_jsonb(nullif(array_remove(slugs, o.slug), '{}')),
            'closedAt', walwarden_internal.iso(o.closed_at),
            'defaultLifetimeSeconds', walwarden_internal.seconds_image(o.default_lifetime),
            'maxLifetimeSeconds', walwarden_internal.seconds_image(o.max_lifetime),
            'noticeSeconds', walwarden_internal.seconds_image(o.notice)));

CREATE FUNCTION walwarden_internal.org_slugs(org_id uuid) RETURNS text[]
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg(s.slug ORDER BY s.slug), '{}')
              FROM walwarden_internal.org_slug AS s
             WHERE s.org_id = $1);
END
$$;

-- The commitment that stands for a subject (person) or a server role (dbrole) in
-- entries. Only the member's row contains the salt. Once it is erased, names cannot be
-- guessed and compared.
CREATE FUNCTION walwarden_internal.member_commitment(what text, salt bytea, value text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN encode(sha256(convert_to('walwarden/' || what || '/v1:' || encode(salt, 'hex') || ':' || value, 'UTF8')), 'hex');

-- person is NULL, which no entry contains, if it does not match the subject, or if an erased
-- member has a subject. For an erased member it cannot be recomputed; only the chain has it.
CREATE FUNCTION walwarden_internal.member_image(m walwarden_internal.member) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', m.id,
        'person', CASE WHEN CASE WHEN m.erased_at IS NULL THEN m.person = walwarden_internal.member_commitment('person', m.salt, m.subject)
                                 ELSE m.subject IS NULL AND m.salt IS NULL END THEN m.person END,
        'role', m.role, 'dbRole', walwarden_internal.member_commitment('dbrole', m.salt, m.db_role), 'sso', m.sso,
        'createdAt', walwarden_internal.iso(m.created_at),
        'disabledAt', walwarden_internal.iso(m.disabled_at),
        'removedAt', walwarden_internal.iso(m.removed_at)),
        jsonb_build_object('erasedAt', walwarden_internal.iso(m.erased_at)));

-- Binds a fingerprint to its token without disclosing it.
CREATE FUNCTION walwarden_internal.commitment(token_id uuid, fingerprint bytea) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN encode(sha256(convert_to('walwarden/credential/v1:' || token_id::text || ':' || encode(fingerprint, 'hex'), 'UTF8')), 'hex');

CREATE FUNCTION walwarden_internal.credential_image(c walwarden_internal.credential) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'kind', c.kind,
        'commitment', walwarden_internal.commitment(c.token_id, c.fingerprint),
        'createdAt', walwarden_internal.iso(c.created_at),
        'validUntil', walwarden_internal.iso(c.valid_until));

-- credentials: the image of all credentials of the token.
CREATE FUNCTION walwarden_internal.token_image(t walwarden_internal.token, credentials jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', t.id, 'name', t.name, 'kind', t.kind, 'scopes', t.scopes, 'role', t.role, 'ownerId', t.owner_id,
        'createdAt', walwarden_internal.iso(t.created_at), 'createdBy', t.created_by,
        'expiresAt', walwarden_internal.iso(t.expires_at), 'expiredAt', walwarden_internal.iso(t.expired_at),
        'disabledAt', walwarden_internal.iso(t.disabled_at), 'disabledBy', t.disabled_by,
        'disabledByOwner', t.disabled_by_owner, 'disabledReason', t.disabled_reason,
        'revokedAt', walwarden_internal.iso(t.revoked_at), 'revokedBy', t.revoked_by, 'revokedReason', t.revoked_reason,
        'removedAt', walwarden_internal.iso(t.removed_at),
        'credentials', credentials),
        jsonb_build_object(
            'labels', t.labels, 'networks', t.networks, 'rateLimit', t.rate_limit, 'keyName', t.key_name,
            'lifetimeFrom', walwarden_internal.iso(t.lifetime_from), 'noticeFor', walwarden_internal.iso(t.notice_for)));

-- The same as the canonical text that entries contain, made in C.
-- credentials: all credentials of the token, in any order.
CREATE FUNCTION walwarden_internal.token_image_text(t walwarden_internal.token, credentials walwarden_internal.credential[]) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_token_image_text';

CREATE FUNCTION walwarden_internal.credentials(token_id uuid) RETURNS walwarden_internal.credential[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_credentials';

CREATE FUNCTION walwarden_internal.scope_image(s walwarden_internal.scope) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('name', s.name, 'label', s.label, 'description', s.description);

CREATE FUNCTION walwarden_internal.role_override_image(r walwarden_internal.role_override) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('role', r.role, 'scopes', r.scopes);

CREATE FUNCTION walwarden_internal.role_grant_image(g walwarden_internal.role_grant) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'kind', g.kind, 'role', g.role, 'login', g.login,
        'grantedAt', walwarden_internal.iso(g.granted_at), 'revokedAt', walwarden_internal.iso(g.revoked_at));
