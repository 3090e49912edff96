-- What the extension stores. Each row that the chain describes carries
-- audit_seq, the entry that describes its present state; rows are never
-- deleted but marked (removed_at, revoked_at), so that a missing row is always
-- a finding. No audit_seq is a foreign key: restored rows come in any order.

CREATE TABLE walwarden.org (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug         text COLLATE "C" NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    display_name text NOT NULL,
    plan         text COLLATE "C" NOT NULL REFERENCES walwarden.plan,
    retention    interval NOT NULL DEFAULT '7 days',
    created_at   timestamptz NOT NULL,
    audit_seq    bigint NOT NULL
);

CREATE TABLE walwarden.member (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id      uuid NOT NULL REFERENCES walwarden.org,
    subject     text COLLATE "C" NOT NULL,
    role        text COLLATE "C" NOT NULL REFERENCES walwarden.role,
    db_role     name,
    sso         boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    disabled_at timestamptz,
    removed_at  timestamptz,
    audit_seq   bigint NOT NULL
);
CREATE UNIQUE INDEX member_subject_key ON walwarden.member (org_id, subject) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX member_db_role_key ON walwarden.member (org_id, db_role) WHERE removed_at IS NULL;
CREATE INDEX member_by_subject ON walwarden.member (subject) WHERE removed_at IS NULL;
CREATE INDEX member_by_db_role ON walwarden.member (db_role) WHERE removed_at IS NULL;
CREATE INDEX member_by_disabling ON walwarden.member (disabled_at) WHERE removed_at IS NULL AND disabled_at IS NOT NULL;

-- scopes NULL: no override (any more), the built-in set holds.
CREATE TABLE walwarden.role_override (
    role      text COLLATE "C" PRIMARY KEY REFERENCES walwarden.role,
    scopes    text[],
    audit_seq bigint NOT NULL
);

-- What roles of the server were given. By name, never as regrole: a dump must
-- load where the role does not exist.
CREATE TABLE walwarden.role_grant (
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('operator', 'authenticator', 'rest', 'runner')),
    role       name NOT NULL,
    login      name CHECK ((login IS NOT NULL) = (kind = 'rest')),
    granted_at timestamptz NOT NULL,
    revoked_at timestamptz,
    audit_seq  bigint NOT NULL,
    PRIMARY KEY (kind, role)
);

CREATE TABLE walwarden.token (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id          uuid NOT NULL REFERENCES walwarden.org,
    name            text NOT NULL,
    kind            text COLLATE "C" NOT NULL CHECK (kind IN ('api', 'node', 'legacy')),
    scopes          text[],
    role            text COLLATE "C" REFERENCES walwarden.role,
    owner_id        uuid REFERENCES walwarden.member,
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    expires_at      timestamptz CHECK (expires_at < '10000-01-01 00:00:00+00'),
    expired_at      timestamptz,            -- the expiry that an entry records
    disabled_at     timestamptz,
    disabled_by     text,
    disabled_by_owner boolean,              -- of the token; else by whoever manages tokens
    disabled_reason text,
    revoked_at      timestamptz,
    revoked_by      text,
    revoked_reason  text,
    removed_at      timestamptz,
    audit_seq       bigint NOT NULL,
    -- permissions come from scopes or from a role; a legacy token's from its owner
    CHECK (CASE kind WHEN 'legacy' THEN scopes IS NULL AND role IS NULL AND owner_id IS NOT NULL
                     ELSE scopes IS NOT NULL AND (role IS NULL OR scopes = '{}') END)
);
CREATE INDEX token_by_org ON walwarden.token (org_id, created_at, id);
-- for the count of walwarden.max_tokens_per_org
CREATE INDEX token_live ON walwarden.token (org_id) WHERE removed_at IS NULL AND revoked_at IS NULL;
CREATE INDEX token_by_owner ON walwarden.token (owner_id) WHERE owner_id IS NOT NULL;
-- for maintenance: what ended and has not been removed
CREATE INDEX token_by_expiry ON walwarden.token (expires_at) WHERE removed_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX token_by_disabling ON walwarden.token (disabled_at) WHERE removed_at IS NULL AND revoked_at IS NULL AND disabled_at IS NOT NULL;

-- One row for each value that opens a token. Nothing of the plaintext.
CREATE TABLE walwarden.credential (
    fingerprint bytea PRIMARY KEY CHECK (octet_length(fingerprint) = 32),
    token_id    uuid NOT NULL REFERENCES walwarden.token,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('bearer', 'legacy')),
    created_at  timestamptz NOT NULL,
    valid_until timestamptz,
    audit_seq   bigint NOT NULL,
    -- what decides about its token, so that authenticate() reads one row: written by
    -- triggers, whatever the statement says, and compared by verification
    org_id      uuid,                       -- NULL: no such token
    token_kind  text COLLATE "C",
    scopes      text[],
    role        text COLLATE "C",
    owner_id    uuid,
    expires_at  timestamptz,
    stopped     text COLLATE "C"            -- disabled, revoked or removed
);
CREATE INDEX credential_by_token ON walwarden.credential (token_id);
-- for verification: those of an organisation, also where the token is missing
CREATE INDEX credential_by_org ON walwarden.credential (org_id);

-- Apart from token, so that no use ever waits for a change or blocks one.
CREATE TABLE walwarden.token_usage (
    token_id     uuid PRIMARY KEY REFERENCES walwarden.token,
    last_used_at timestamptz
);

-- Machines that run jobs, by the name that they gave themselves.
CREATE TABLE walwarden.node (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id        uuid NOT NULL REFERENCES walwarden.org,
    token_id      uuid NOT NULL REFERENCES walwarden.token,
    name          text NOT NULL,
    version       text NOT NULL,
    registered_at timestamptz NOT NULL,
    audit_seq     bigint NOT NULL,
    UNIQUE (org_id, name)
);

-- How a row appears in the chain, and the only place where that is decided.
-- The same functions render the entry when a change is made and the row when
-- the present state is checked against the chain.

CREATE FUNCTION walwarden._org_state(o walwarden.org) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', o.id, 'slug', o.slug, 'displayName', o.display_name, 'plan', o.plan,
        'retentionSeconds', extract(epoch FROM o.retention)::bigint,
        'createdAt', walwarden._iso(o.created_at))
$$;

CREATE FUNCTION walwarden._member_state(m walwarden.member) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', m.id, 'subject', m.subject, 'role', m.role, 'dbRole', m.db_role, 'sso', m.sso,
        'createdAt', walwarden._iso(m.created_at),
        'disabledAt', walwarden._iso(m.disabled_at),
        'removedAt', walwarden._iso(m.removed_at))
$$;

-- Binds a fingerprint to its token without disclosing it.
CREATE FUNCTION walwarden._commitment(token_id uuid, fingerprint bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT encode(sha256(convert_to('walwarden/credential/v1:' || token_id::text || ':' || encode(fingerprint, 'hex'), 'UTF8')), 'hex');
    END;

CREATE FUNCTION walwarden._credential_state(c walwarden.credential) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'kind', c.kind,
        'commitment', walwarden._commitment(c.token_id, c.fingerprint),
        'createdAt', walwarden._iso(c.created_at),
        'validUntil', walwarden._iso(c.valid_until))
$$;

-- credentials: all of the token's, in any order.
CREATE FUNCTION walwarden._token_state(t walwarden.token, credentials walwarden.credential[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', t.id, 'name', t.name, 'kind', t.kind, 'scopes', t.scopes, 'role', t.role, 'ownerId', t.owner_id,
        'createdAt', walwarden._iso(t.created_at), 'createdBy', t.created_by,
        'expiresAt', walwarden._iso(t.expires_at), 'expiredAt', walwarden._iso(t.expired_at),
        'disabledAt', walwarden._iso(t.disabled_at), 'disabledBy', t.disabled_by,
        'disabledByOwner', t.disabled_by_owner, 'disabledReason', t.disabled_reason,
        'revokedAt', walwarden._iso(t.revoked_at), 'revokedBy', t.revoked_by, 'revokedReason', t.revoked_reason,
        'removedAt', walwarden._iso(t.removed_at),
        'credentials', coalesce((SELECT jsonb_agg(walwarden._credential_state(credentials[i])
                                                  ORDER BY credentials[i].created_at, credentials[i].fingerprint)
                                   FROM generate_subscripts(credentials, 1) AS i),
                                '[]'))
$$;

CREATE FUNCTION walwarden._credentials(token_id uuid) RETURNS walwarden.credential[]
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(c), '{}')
      FROM walwarden.credential AS c
     WHERE c.token_id = $1
$$;

CREATE FUNCTION walwarden._node_state(n walwarden.node) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', n.id, 'tokenId', n.token_id, 'name', n.name, 'version', n.version,
        'registeredAt', walwarden._iso(n.registered_at))
$$;

CREATE FUNCTION walwarden._scope_state(s walwarden.scope) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('name', s.name, 'label', s.label, 'description', s.description)
$$;

CREATE FUNCTION walwarden._role_override_state(r walwarden.role_override) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('role', r.role, 'scopes', r.scopes)
$$;

CREATE FUNCTION walwarden._role_grant_state(g walwarden.role_grant) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'kind', g.kind, 'role', g.role, 'login', g.login,
        'grantedAt', walwarden._iso(g.granted_at), 'revokedAt', walwarden._iso(g.revoked_at))
$$;
