-- walwarden: the token authority of a REST API, inside the database.
-- This file is the concatenation of sql/schema/*.sql, in order of their names.

\echo Use "CREATE EXTENSION walwarden" to load this file. \quit

-- Token texts, chain bodies and their hashes are defined over UTF-8 bytes; in
-- another encoding the same text has other bytes and nothing would verify.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('walwarden needs a database in UTF8, this one is in %s', pg_catalog.getdatabaseencoding()),
            HINT = 'Create the database with: CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- Who owns what this extension depends on can drop it, and this extension with
-- it. pgcrypto is trusted: anyone with CREATE on the database may have made it.
-- The owner of the database is let pass: they can drop all of it anyway.
DO $$
DECLARE
    other text;
BEGIN
    SELECT pg_catalog.format('pgcrypto, or its schema, belongs to %I', r.rolname) INTO other
      FROM pg_catalog.pg_extension AS e
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) e.extowner OR r.oid OPERATOR(pg_catalog.=) n.nspowner
     WHERE e.extname OPERATOR(pg_catalog.=) 'pgcrypto' AND NOT r.rolsuper
       AND r.rolname OPERATOR(pg_catalog.<>) 'pg_database_owner'
       AND r.oid OPERATOR(pg_catalog.<>) (SELECT d.datdba FROM pg_catalog.pg_database AS d
                                           WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = other,
            DETAIL = 'They could drop it, and walwarden with it.',
            HINT = 'As a superuser: CREATE SCHEMA crypto; DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto SCHEMA crypto.';
    END IF;
END
$$;

-- Without IF NOT EXISTS: a schema that is already there may hold planted objects.
CREATE SCHEMA walwarden;
CREATE SCHEMA walwarden_rest;

-- pgcrypto, bound here and by OID, so that it may live in any schema and move
-- later. The argument types match digest(bytea, text) exactly: no other
-- function can be preferred. Only the auditor's SQL verifier calls it.
CREATE FUNCTION walwarden._digest_sha256(data bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT digest(data, 'sha256'::text);
    END;

-- From here on nothing is found outside pg_catalog unless it is qualified.
SET LOCAL search_path = pg_catalog, pg_temp;
-- The closed catalogues: capabilities, permissions, plans, scopes, roles.
-- Rights are data: what a role may do is decided by the rows below and nowhere
-- else. Built-in rows come with the extension, are never dumped and cannot be
-- changed (triggers at the end of the script).
-- Names are COLLATE "C" because C code looks them up by index.

CREATE TABLE walwarden.capability (
    name        text COLLATE "C" PRIMARY KEY,
    description text NOT NULL
);

INSERT INTO walwarden.capability (name, description) VALUES
    ('superuser',      'a superuser of the server'),
    ('operator',       'a superuser, or a role given grant_operator'),
    ('member',         'any active member of the organisation'),
    ('own_tokens',     'may have private tokens of their own'),
    ('manage_tokens',  'issues shared tokens; sees, disables and revokes every token of the organisation'),
    ('manage_members', 'adds, changes and removes members'),
    ('manage_owners',  'gives and takes the role owner'),
    ('read_audit',     'reads, verifies and extends the audit chain of the organisation'),
    ('register_nodes', 'registers nodes that run jobs');

-- A caller may do an action on a target when one of any_of is among the
-- caller's capabilities in that organisation.
CREATE TABLE walwarden.permission (
    action text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    any_of text[] NOT NULL,
    PRIMARY KEY (action, target)
);

INSERT INTO walwarden.permission (action, target, any_of) VALUES
    ('server_role.grant', 'any',     '{superuser}'),
    ('org.create',        'any',     '{operator}'),
    ('org.configure',     'any',     '{operator}'),
    ('org.list',          'all',     '{operator}'),
    ('scope.create',      'any',     '{operator}'),
    ('role.configure',    'any',     '{operator}'),
    ('member.list',       'any',     '{operator,manage_members}'),
    ('member.change',     'any',     '{operator,manage_members}'),
    ('member.change',     'owner',   '{operator,manage_owners}'),
    ('token.issue',       'own',     '{own_tokens}'),
    ('token.issue',       'private', '{operator}'),
    ('token.issue',       'shared',  '{operator,manage_tokens}'),
    ('token.issue',       'role',    '{operator,manage_tokens}'),
    ('token.issue',       'node',    '{operator,manage_tokens}'),
    ('token.list',        'all',     '{operator,manage_tokens}'),
    ('token.list',        'own',     '{operator,member}'),
    ('token.disable',     'own',     '{member}'),
    ('token.disable',     'private', '{operator,manage_tokens}'),
    ('token.disable',     'shared',  '{operator,manage_tokens}'),
    ('token.enable',      'own',     '{own_tokens}'),
    -- one that its owner disabled is not theirs to enable: see _enable_token()
    ('token.enable',      'private', '{operator,manage_tokens}'),
    ('token.enable',      'shared',  '{operator,manage_tokens}'),
    ('token.update',      'own',     '{own_tokens}'),
    ('token.update',      'private', '{}'),
    ('token.update',      'shared',  '{operator,manage_tokens}'),
    ('token.renew',       'own',     '{own_tokens}'),
    ('token.renew',       'private', '{}'),
    ('token.renew',       'shared',  '{operator,manage_tokens}'),
    ('token.revoke',      'own',     '{member}'),
    ('token.revoke',      'private', '{operator,manage_tokens}'),
    ('token.revoke',      'shared',  '{operator,manage_tokens}'),
    ('legacy.import',     'any',     '{operator}'),
    ('node.list',         'any',     '{operator,manage_tokens}'),
    ('maintenance.run',   'any',     '{operator}'),
    ('statistics.read',   'any',     '{operator}'),
    ('audit.list',        'org',     '{operator,read_audit}'),
    ('audit.list',        'system',  '{operator}'),
    ('audit.append',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'system',  '{operator}'),
    ('audit.verify',      'all',     '{operator}');

CREATE TABLE walwarden.plan (
    name       text COLLATE "C" PRIMARY KEY,
    api_tokens boolean NOT NULL
);

INSERT INTO walwarden.plan (name, api_tokens) VALUES
    ('free', false),
    ('pro',  false),
    ('team', true);

-- Custom scopes (builtin = false) are described by entry audit_seq of the
-- system chain.
CREATE TABLE walwarden.scope (
    name        text COLLATE "C" PRIMARY KEY
                CHECK (name ~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$'),
    label       text NOT NULL,
    description text NOT NULL,
    builtin     boolean NOT NULL DEFAULT false,
    audit_seq   bigint,
    CHECK (builtin = (audit_seq IS NULL))
);

INSERT INTO walwarden.scope (name, label, description, builtin) VALUES
    ('databases:read',     'Read databases',        'List and read protected databases, their backups and recovery state.', true),
    ('databases:write',    'Manage databases',      'Create, change and delete protected databases.', true),
    ('destinations:read',  'Read destinations',     'List and read backup destinations.', true),
    ('destinations:write', 'Manage destinations',   'Create, change and delete backup destinations.', true),
    ('backups:trigger',    'Trigger backups',       'Start, cancel and dismiss backup jobs.', true),
    ('restores:read',      'Read restores',         'List and read restore jobs.', true),
    ('restores:write',     'Start restores',        'Create restores and restore drills.', true),
    ('evidence:read',      'Read evidence',         'List and read the evidence of backups.', true),
    ('evidence:export',    'Export evidence',       'Export evidence packages.', true),
    ('audit:read',         'Read the audit trail',  'Read audit entries and the verification status.', true),
    ('readiness:read',     'Read readiness',        'Read service readiness and health.', true);

-- scopes NULL: every scope of the catalogue, custom ones too.
CREATE TABLE walwarden.role (
    name         text COLLATE "C" PRIMARY KEY,
    scopes       text[],
    capabilities text[] NOT NULL,
    description  text NOT NULL
);

INSERT INTO walwarden.role (name, scopes, capabilities, description) VALUES
    ('owner', NULL,
     '{member,own_tokens,manage_tokens,manage_members,manage_owners,read_audit}',
     'Manages everything of the organisation, its owners too.'),
    ('admin', NULL,
     '{member,own_tokens,manage_tokens,manage_members,read_audit}',
     'Manages everything of the organisation but its owners.'),
    ('analyst',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read,backups:trigger,restores:write,evidence:export}',
     '{member,own_tokens}',
     'Reads everything, starts backups and restores, exports evidence.'),
    ('member',
     '{databases:read,destinations:read,backups:trigger,restores:read,restores:write,evidence:read,evidence:export,readiness:read}',
     '{member,own_tokens}',
     'Works with what is there, without changing it.'),
    ('api_developer',
     '{databases:read,readiness:read}',
     '{member}',
     'Sees databases and readiness; has no tokens of their own.'),
    ('read_only',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read}',
     '{member}',
     'Reads everything; has no tokens of their own.'),
    ('deploy',
     '{}',
     '{member,register_nodes}',
     'No REST v1 scope; registers nodes that run jobs.');

-- What becomes of a token: an action leads from a state to another, with an
-- audit entry, or, where event is NULL, finds the work done and changes nothing.
-- What is not here is refused. States are those that listings show; none and
-- removed stand for no token yet and none any more.
CREATE TABLE walwarden.token_transition (
    action     text COLLATE "C" NOT NULL,
    from_state text COLLATE "C" NOT NULL,
    to_state   text COLLATE "C" NOT NULL,
    event      text COLLATE "C",
    PRIMARY KEY (action, from_state)
);

INSERT INTO walwarden.token_transition (action, from_state, to_state, event) VALUES
    ('issue',   'none',     'active',   'token.issued'),
    ('import',  'none',     'active',   'legacy.imported'),
    ('disable', 'active',   'disabled', 'token.disabled'),
    ('disable', 'inactive', 'disabled', 'token.disabled'),
    ('disable', 'disabled', 'disabled', NULL),
    ('enable',  'disabled', 'active',   'token.enabled'),
    ('enable',  'expired',  'active',   'token.enabled'),
    ('enable',  'active',   'active',   NULL),
    ('enable',  'inactive', 'inactive', NULL),
    ('update',  'active',   'active',   'token.updated'),
    ('update',  'disabled', 'disabled', 'token.updated'),
    ('renew',   'active',   'active',   'token.renewed'),
    ('revoke',  'active',   'revoked',  'token.revoked'),
    ('revoke',  'inactive', 'revoked',  'token.revoked'),
    ('revoke',  'disabled', 'revoked',  'token.revoked'),
    ('revoke',  'expired',  'revoked',  'token.revoked'),
    ('revoke',  'revoked',  'revoked',  NULL),
    ('expire',  'active',   'expired',  'token.expired'),
    ('expire',  'inactive', 'expired',  'token.expired'),
    ('expire',  'disabled', 'expired',  'token.expired'),
    ('remove',  'inactive', 'removed',  'token.removed'),
    ('remove',  'disabled', 'removed',  'token.removed'),
    ('remove',  'expired',  'removed',  'token.removed');
-- The audit chain: one table, one appending trigger, one CHECK. The bytes are
-- specified in docs/audit-chain.md.

-- True when hash is SHA-256(hex(prev_hash) || body), body is canonical and has at
-- most 64 KiB, the columns equal what body says, and kind is lower-case words with
-- dots between them, of at most 100 characters. Restored rows and new ones meet it
-- alike. It is one CHECK because the server reads the text of each one anew for
-- every statement.
CREATE FUNCTION walwarden._audit_entry_holds(
        org_id uuid, seq bigint, at timestamptz, kind text, job_id uuid,
        body text, prev_hash bytea, hash bytea) RETURNS boolean
    LANGUAGE C IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'walwarden_audit_entry_holds';

-- No foreign key: the system chain (org uuid all zeros) has no org row, and
-- entries outlive what they describe.
CREATE TABLE walwarden.audit_entry (
    org_id    uuid NOT NULL,
    seq       bigint NOT NULL,
    at        timestamptz NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    job_id    uuid,
    body      text NOT NULL,
    prev_hash bytea NOT NULL,
    hash      bytea NOT NULL,
    PRIMARY KEY (org_id, seq),
    UNIQUE (org_id, prev_hash),
    CONSTRAINT audit_entry_holds
        CHECK (walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash))
);

CREATE FUNCTION walwarden._audit_append() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_audit_append';

CREATE FUNCTION walwarden._refuse_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_refuse_change';

-- Hashes that were read leave the server after a call of this, which makes sure
-- that they are durable: under walwarden.early_lock_release they may be seen before.
-- In a STABLE function it may come first: the snapshot was taken before.
CREATE FUNCTION walwarden._settle_audit() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_settle_audit';

-- The one way in which this extension writes an entry. Called as late as the
-- change allows: from here to the end of the transaction the chain is locked.
CREATE FUNCTION walwarden._append(org_id uuid, kind text, payload jsonb, job_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    appended bigint;
BEGIN
    INSERT INTO walwarden.audit_entry (org_id, kind, job_id, body)
    VALUES (org_id, kind, job_id, payload::text)
    RETURNING audit_entry.seq INTO appended;
    RETURN appended;
END
$$;

-- Times in payloads: UTC with microseconds, whatever TimeZone and DateStyle are.
-- What no payload holds, infinity and years before the first, is told apart.
CREATE FUNCTION walwarden._iso(at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN isfinite(at)
                    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                         || CASE WHEN at < '0001-01-01 00:00:00+00' THEN ' BC' ELSE '' END
                    ELSE at::text END;
    END;

-- The org uuid of the system chain.
CREATE FUNCTION walwarden._system_org() RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00000000-0000-0000-0000-000000000000'::uuid;
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
-- What REST v1 is about: destinations, protected databases, jobs, evidence.
-- Like the tables before: rows are never deleted, only marked, and audit_seq is
-- the entry that describes the present state.

CREATE TABLE walwarden.destination (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id               uuid NOT NULL REFERENCES walwarden.org,
    name                 text NOT NULL,
    provider             text NOT NULL,
    uri                  text NOT NULL,
    region               text,
    credential_ref       text,
    retention_floor_days integer NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    deleted_at           timestamptz,
    audit_seq            bigint NOT NULL
);
CREATE UNIQUE INDEX destination_name_key ON walwarden.destination (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX destination_by_org ON walwarden.destination (org_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE walwarden.database (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id           uuid NOT NULL REFERENCES walwarden.org,
    name             text NOT NULL,
    engine           text NOT NULL,
    postgres_version text,
    connection_ref   text NOT NULL,
    destination_id   uuid REFERENCES walwarden.destination,
    schedule         text,
    rpo_seconds      integer,
    rto_seconds      integer,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    deleted_at       timestamptz,
    audit_seq        bigint NOT NULL
);
CREATE UNIQUE INDEX database_name_key ON walwarden.database (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX database_by_org ON walwarden.database (org_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX database_by_destination ON walwarden.database (destination_id) WHERE deleted_at IS NULL;

-- Job state machines are the rows of job_transition, and walwarden._move_job()
-- alone moves a job. machine: backup, or restore for restores and drills.
-- from_state NULL: how a job begins. moved_by: api (REST v1), runner (the node
-- that holds the lease), claim (a node that takes it) or lease (it ran out).
CREATE TABLE walwarden.job_state (
    machine text COLLATE "C" NOT NULL,
    state   text COLLATE "C" NOT NULL,
    done    boolean NOT NULL,       -- nothing works on it any more
    PRIMARY KEY (machine, state)
);

INSERT INTO walwarden.job_state (machine, state, done) VALUES
    ('backup',  'queued',            false),
    ('backup',  'claimed',           false),
    ('backup',  'running',           false),
    ('backup',  'finalizing',        false),
    ('backup',  'completed',         true),
    ('backup',  'failed',            true),
    ('backup',  'cancelled',         true),
    ('backup',  'dismissed',         true),
    ('restore', 'queued',            false),
    ('restore', 'claimed',           false),
    ('restore', 'downloading',       false),
    ('restore', 'verifying',         false),
    ('restore', 'manifest_verified', false),
    ('restore', 'restoring',         false),
    ('restore', 'finalizing',        false),
    ('restore', 'completed',         true),
    ('restore', 'failed',            true),
    ('restore', 'timed_out',         true);

CREATE TABLE walwarden.job_transition (
    machine    text COLLATE "C" NOT NULL,
    from_state text COLLATE "C",
    to_state   text COLLATE "C" NOT NULL,
    moved_by   text COLLATE "C" NOT NULL CHECK (moved_by IN ('api', 'runner', 'claim', 'lease')),
    event      text COLLATE "C" NOT NULL,       -- kind of the audit entry
    UNIQUE NULLS NOT DISTINCT (machine, from_state, to_state, moved_by),
    FOREIGN KEY (machine, from_state) REFERENCES walwarden.job_state,
    FOREIGN KEY (machine, to_state) REFERENCES walwarden.job_state
);

INSERT INTO walwarden.job_transition (machine, from_state, to_state, moved_by, event) VALUES
    ('backup',  NULL,                'queued',            'api',    'backup.queued'),
    ('backup',  'queued',            'claimed',           'claim',  'backup.claimed'),
    ('backup',  'claimed',           'running',           'runner', 'backup.running'),
    ('backup',  'running',           'finalizing',        'runner', 'backup.finalizing'),
    ('backup',  'finalizing',        'completed',         'runner', 'backup.completed'),
    ('backup',  'claimed',           'failed',            'runner', 'backup.failed'),
    ('backup',  'running',           'failed',            'runner', 'backup.failed'),
    ('backup',  'finalizing',        'failed',            'runner', 'backup.failed'),
    -- the lease ran out: another node takes it, or its attempts are used up
    ('backup',  'claimed',           'claimed',           'claim',  'backup.claimed'),
    ('backup',  'running',           'claimed',           'claim',  'backup.claimed'),
    ('backup',  'finalizing',        'claimed',           'claim',  'backup.claimed'),
    ('backup',  'claimed',           'failed',            'lease',  'backup.failed'),
    ('backup',  'running',           'failed',            'lease',  'backup.failed'),
    ('backup',  'finalizing',        'failed',            'lease',  'backup.failed'),
    ('backup',  'queued',            'cancelled',         'api',    'backup.cancelled'),
    ('backup',  'claimed',           'cancelled',         'api',    'backup.cancelled'),
    ('backup',  'running',           'cancelled',         'api',    'backup.cancelled'),
    ('backup',  'failed',            'dismissed',         'api',    'backup.dismissed'),

    ('restore', NULL,                'queued',            'api',    'restore.triggered'),
    ('restore', 'queued',            'claimed',           'claim',  'restore.claimed'),
    ('restore', 'claimed',           'downloading',       'runner', 'restore.downloading'),
    ('restore', 'downloading',       'verifying',         'runner', 'restore.verifying'),
    ('restore', 'verifying',         'manifest_verified', 'runner', 'restore.manifest_verified'),
    ('restore', 'manifest_verified', 'restoring',         'runner', 'restore.restoring'),
    ('restore', 'restoring',         'finalizing',        'runner', 'restore.finalizing'),
    ('restore', 'finalizing',        'completed',         'runner', 'restore.completed'),
    ('restore', 'claimed',           'failed',            'runner', 'restore.failed'),
    ('restore', 'downloading',       'failed',            'runner', 'restore.failed'),
    ('restore', 'verifying',         'failed',            'runner', 'restore.failed'),
    ('restore', 'manifest_verified', 'failed',            'runner', 'restore.failed'),
    ('restore', 'restoring',         'failed',            'runner', 'restore.failed'),
    ('restore', 'finalizing',        'failed',            'runner', 'restore.failed'),
    ('restore', 'claimed',           'claimed',           'claim',  'restore.claimed'),
    ('restore', 'downloading',       'claimed',           'claim',  'restore.claimed'),
    ('restore', 'verifying',         'claimed',           'claim',  'restore.claimed'),
    ('restore', 'manifest_verified', 'claimed',           'claim',  'restore.claimed'),
    -- what was begun in the target is not begun again by itself
    ('restore', 'claimed',           'timed_out',         'lease',  'restore.timed_out'),
    ('restore', 'downloading',       'timed_out',         'lease',  'restore.timed_out'),
    ('restore', 'verifying',         'timed_out',         'lease',  'restore.timed_out'),
    ('restore', 'manifest_verified', 'timed_out',         'lease',  'restore.timed_out'),
    ('restore', 'restoring',         'timed_out',         'lease',  'restore.timed_out'),
    ('restore', 'finalizing',        'timed_out',         'lease',  'restore.timed_out');

-- Backups, restores and drills. fence counts the claims: whoever holds an older
-- one has lost the job. progress, lease and lease_until belong to the node that
-- works on it and are not part of what the chain describes.
CREATE TABLE walwarden.job (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id         uuid NOT NULL REFERENCES walwarden.org,
    kind           text COLLATE "C" NOT NULL CHECK (kind IN ('backup', 'restore', 'drill')),
    machine        text COLLATE "C" NOT NULL CHECK (machine = CASE kind WHEN 'backup' THEN 'backup' ELSE 'restore' END),
    database_id    uuid NOT NULL REFERENCES walwarden.database,
    destination_id uuid NOT NULL REFERENCES walwarden.destination,
    backup_job_id  uuid,       -- of a restore; no foreign key to itself, which a dump could not order
    type           text,
    trigger        text NOT NULL,
    reason         text,
    mode           text,
    target         text,
    state          text COLLATE "C" NOT NULL,
    done           boolean NOT NULL,
    attempt        integer NOT NULL,
    max_attempts   integer NOT NULL,
    fence          bigint NOT NULL,
    claimed_by     uuid REFERENCES walwarden.token,
    lease          interval,
    lease_until    timestamptz,
    progress       jsonb,
    artifact       jsonb,
    validation     jsonb,
    error          jsonb,
    requested_by   uuid NOT NULL REFERENCES walwarden.token,
    queued_at      timestamptz NOT NULL,
    claimed_at     timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz,
    first_seq      bigint NOT NULL,
    audit_seq      bigint NOT NULL,
    FOREIGN KEY (machine, state) REFERENCES walwarden.job_state,
    CHECK ((kind = 'backup') = (backup_job_id IS NULL AND mode IS NULL AND target IS NULL AND type IS NOT NULL))
);
-- one active backup a database
CREATE UNIQUE INDEX job_active_backup_key ON walwarden.job (database_id) WHERE kind = 'backup' AND NOT done;
CREATE INDEX job_open ON walwarden.job (org_id, queued_at, id) WHERE NOT done;
CREATE INDEX job_backups_by_database ON walwarden.job (database_id, queued_at, id) WHERE kind = 'backup';
CREATE INDEX job_backups_by_destination ON walwarden.job (destination_id, finished_at) WHERE kind = 'backup';
CREATE INDEX job_restores_by_org ON walwarden.job (org_id, queued_at, id) WHERE kind <> 'backup';
CREATE INDEX job_restores_by_backup ON walwarden.job (backup_job_id) WHERE kind <> 'backup';

-- What a node found out about a backup. recoverable_from to recoverable_to: the
-- span of time to each point of which this backup can be restored, with the WAL
-- that was archived for it. fence: of the claim that recorded it; what an
-- earlier claim found out says nothing of what a later one made.
CREATE TABLE walwarden.evidence (
    backup_job_id    uuid PRIMARY KEY REFERENCES walwarden.job,
    org_id           uuid NOT NULL REFERENCES walwarden.org,
    database_id      uuid NOT NULL REFERENCES walwarden.database,
    fence            bigint NOT NULL,
    window_id        uuid NOT NULL UNIQUE,      -- names the window that begins with it
    state            text COLLATE "C" NOT NULL CHECK (state IN ('verified', 'failed', 'unverified')),
    manifest         jsonb NOT NULL,
    result           text NOT NULL,
    checked_at       timestamptz,
    tool             text,
    recoverable_from timestamptz NOT NULL,
    recoverable_to   timestamptz NOT NULL CHECK (recoverable_to >= recoverable_from),
    recorded_at      timestamptz NOT NULL,
    recorded_by      uuid NOT NULL REFERENCES walwarden.token,
    audit_seq        bigint NOT NULL
);
CREATE INDEX evidence_by_org ON walwarden.evidence (org_id, recorded_at, backup_job_id);
CREATE INDEX evidence_verified ON walwarden.evidence (database_id, recoverable_to) WHERE state = 'verified';

-- Answers of mutations, to be given again under the same key, and deleted when
-- they are old. Only hashes of key and request.
CREATE TABLE walwarden.idempotency_key (
    token_id     uuid NOT NULL REFERENCES walwarden.token,
    key_hash     bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    body         json,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (token_id, key_hash)
);
CREATE INDEX idempotency_key_by_age ON walwarden.idempotency_key (created_at);

-- The last stored verification of each chain.
CREATE TABLE walwarden.verification (
    org_id        uuid PRIMARY KEY,
    finished_at   timestamptz NOT NULL,
    entries       bigint NOT NULL,
    head_hash     text NOT NULL,
    ok            boolean NOT NULL,
    first_bad_seq bigint,
    reason        text
);

CREATE FUNCTION walwarden._destination_state(d walwarden.destination) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', d.id, 'name', d.name, 'provider', d.provider, 'uri', d.uri, 'region', d.region,
        'credentialRef', d.credential_ref, 'retentionFloorDays', d.retention_floor_days,
        'createdAt', walwarden._iso(d.created_at), 'updatedAt', walwarden._iso(d.updated_at),
        'deletedAt', walwarden._iso(d.deleted_at))
$$;

CREATE FUNCTION walwarden._database_state(d walwarden.database) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', d.id, 'name', d.name, 'engine', d.engine, 'postgresVersion', d.postgres_version,
        'connectionRef', d.connection_ref, 'destinationId', d.destination_id, 'schedule', d.schedule,
        'rpoSeconds', d.rpo_seconds, 'rtoSeconds', d.rto_seconds,
        'createdAt', walwarden._iso(d.created_at), 'updatedAt', walwarden._iso(d.updated_at),
        'deletedAt', walwarden._iso(d.deleted_at))
$$;

CREATE FUNCTION walwarden._job_state(j walwarden.job) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'id', j.id, 'kind', j.kind, 'databaseId', j.database_id, 'destinationId', j.destination_id,
        'backupJobId', j.backup_job_id, 'type', j.type, 'trigger', j.trigger, 'reason', j.reason,
        'mode', j.mode, 'target', j.target,
        'state', j.state, 'done', j.done, 'attempt', j.attempt, 'maxAttempts', j.max_attempts, 'fence', j.fence,
        'claimedBy', j.claimed_by, 'requestedBy', j.requested_by,
        'artifact', j.artifact, 'validation', j.validation, 'error', j.error,
        'queuedAt', walwarden._iso(j.queued_at), 'claimedAt', walwarden._iso(j.claimed_at),
        'startedAt', walwarden._iso(j.started_at), 'finishedAt', walwarden._iso(j.finished_at))
$$;

CREATE FUNCTION walwarden._evidence_state(e walwarden.evidence) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'backupJobId', e.backup_job_id, 'databaseId', e.database_id, 'fence', e.fence, 'windowId', e.window_id,
        'state', e.state, 'manifest', e.manifest, 'result', e.result,
        'checkedAt', walwarden._iso(e.checked_at), 'tool', e.tool,
        'recoverableFrom', walwarden._iso(e.recoverable_from), 'recoverableTo', walwarden._iso(e.recoverable_to),
        'recordedAt', walwarden._iso(e.recorded_at), 'recordedBy', e.recorded_by)
$$;

-- The restores and drills that say something of their backup: one that completed
-- and passed its validation, or one that failed for good, which is not the node's
-- disk or network.
CREATE VIEW walwarden._telling_restore AS
    SELECT j.backup_job_id, j.id, j.finished_at, j.state = 'completed' AS restored
      FROM walwarden.job AS j
     WHERE j.kind <> 'backup'
       AND ((j.state = 'completed' AND j.validation ->> 'result' = 'passed')
            OR (j.state = 'failed' AND j.error -> 'retryable' = 'false'::jsonb));

-- Evidence of the claim that holds or completed its backup. What an earlier claim
-- recorded is in the chain and nowhere else.
CREATE VIEW walwarden._current_evidence AS
    SELECT e.*, j.destination_id, j.state AS job_state, j.first_seq, greatest(j.audit_seq, e.audit_seq) AS last_seq
      FROM walwarden.evidence AS e
      JOIN walwarden.job AS j ON j.id = e.backup_job_id AND j.fence = e.fence;

-- The evidence that claims of recovery rest on, here alone: verified, of a completed
-- backup, at a destination that is still there, and not refuted by the last restore
-- that says something.
CREATE VIEW walwarden._standing_evidence AS
    SELECT e.*
      FROM walwarden._current_evidence AS e
      JOIN walwarden.destination AS d ON d.id = e.destination_id AND d.deleted_at IS NULL
     WHERE e.state = 'verified' AND e.job_state = 'completed'
       AND (SELECT t.restored FROM walwarden._telling_restore AS t
             WHERE t.backup_job_id = e.backup_job_id
             ORDER BY t.finished_at DESC LIMIT 1) IS NOT FALSE;
-- REST API v1 as data. The router, the OpenAPI document and the reference page
-- are made from these three tables; nothing of them stands anywhere else.

CREATE TABLE walwarden.rest_error (
    status  integer PRIMARY KEY,
    code    text NOT NULL UNIQUE,
    meaning text NOT NULL
);

INSERT INTO walwarden.rest_error (status, code, meaning) VALUES
    (400, 'invalid_request',        'The request is malformed; field and reason say where.'),
    (401, 'unauthorized',           'The token is missing, malformed, inactive, expired or revoked.'),
    (403, 'forbidden',              'The token is good and does not hold requiredScope; nextAction says what to do.'),
    (404, 'not_found',              'There is no such path, or no such resource in the organisation of the token.'),
    (405, 'method_not_allowed',     'The path has other methods; Allow names them.'),
    (409, 'conflict',               'The state of the resource, or an earlier request with the same key, forbids it; reason says which.'),
    (413, 'payload_too_large',      'The body has more than 64 KiB.'),
    (414, 'uri_too_long',           'The request line is too long.'),
    (415, 'unsupported_media_type', 'The body is not declared as application/json.'),
    (429, 'rate_limited',           'Too many requests; Retry-After says when to come again.'),
    (431, 'headers_too_large',      'The header fields are too large.'),
    (500, 'internal',               'Something failed that is not the client''s doing; the server''s log has it under requestId.'),
    (503, 'unavailable',            'Not now: a lock was not had in time, the database is down, or it is a read-only standby.');

-- JSON Schemas (2020-12, the part of it that _schema_problem() enforces
-- for what comes in) of all that requests and answers carry. json, not jsonb: properties
-- are shown in this order. x-required-scope: a scope that a request needs besides
-- the operation's own when it names the property.
CREATE TABLE walwarden.rest_schema (
    name   text COLLATE "C" PRIMARY KEY,
    schema json NOT NULL
);

INSERT INTO walwarden.rest_schema (name, schema) VALUES

-- answers; they may grow, so that only what is also taken in is closed

('Profile', '{
  "description": "Whose token this is and what it may do.",
  "type": "object",
  "required": ["org", "token", "apiVersion", "server"],
  "properties": {
    "org": {"type": "object", "required": ["id", "slug", "plan"], "properties": {
      "id": {"type": "string", "format": "uuid"},
      "slug": {"type": "string", "examples": ["acme"]},
      "plan": {"type": "string", "enum": ["free", "pro", "team"], "examples": ["team"]}}},
    "token": {"type": "object", "required": ["id", "kind", "scopes", "effectiveScopes", "expiresAt"], "properties": {
      "id": {"type": "string", "format": "uuid"},
      "kind": {"type": "string", "enum": ["api", "legacy"], "examples": ["api"]},
      "scopes": {"description": "As issued; empty for a token with a role, null for a backward-compatible one.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read", "backups:trigger"]]},
      "effectiveScopes": {"description": "What it may do now; null for a backward-compatible token.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read", "backups:trigger"]]},
      "expiresAt": {"type": ["string", "null"], "format": "date-time"}}},
    "apiVersion": {"type": "string", "const": "v1", "examples": ["v1"]},
    "server": {"type": "object", "required": ["walwarden", "postgresql"], "properties": {
      "walwarden": {"type": "string", "examples": ["0.1.0"]},
      "postgresql": {"type": "string", "examples": ["15.10"]}}}
  }}'),

('PageInfo', '{
  "type": "object",
  "required": ["nextCursor", "hasMore"],
  "properties": {
    "nextCursor": {"description": "Opaque; give it as cursor to get the next page.", "type": ["string", "null"], "examples": [null]},
    "hasMore": {"type": "boolean", "examples": [false]}
  }}'),

('Objectives', '{
  "description": "Recovery objectives.",
  "type": "object", "additionalProperties": false,
  "properties": {
    "rpoSeconds": {"description": "Recovery point objective: how much may be lost.", "type": ["integer", "null"], "minimum": 1, "maximum": 315360000, "examples": [86400]},
    "rtoSeconds": {"description": "Recovery time objective: how long a restore may take.", "type": ["integer", "null"], "minimum": 1, "maximum": 315360000, "examples": [3600]}
  }}'),

('Database', '{
  "description": "A protected database.",
  "type": "object",
  "required": ["id", "name", "engine", "postgresVersion", "connectionRef", "destinationId", "schedule", "objectives", "state", "lastBackup", "readiness", "createdAt", "updatedAt"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["orders"]},
    "engine": {"type": "string", "enum": ["postgresql"], "examples": ["postgresql"]},
    "postgresVersion": {"type": ["string", "null"], "examples": ["15"]},
    "connectionRef": {"description": "Name of a connection that the node knows; never a connection string.", "type": "string", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid"},
    "schedule": {"description": "Five-field cron expression, UTC.", "type": ["string", "null"], "examples": ["0 3 * * *"]},
    "objectives": {"$ref": "#/components/schemas/Objectives"},
    "state": {"description": "By the last backup that ended: none yet, completed, or failed.", "type": "string", "enum": ["unprotected", "protected", "failing"], "examples": ["unprotected"]},
    "lastBackup": {"description": "The newest backup job, whatever its state.", "type": ["object", "null"], "required": ["backupJobId", "state", "queuedAt", "finishedAt"], "properties": {
      "backupJobId": {"type": "string", "format": "uuid"},
      "state": {"type": "string", "examples": ["completed"]},
      "queuedAt": {"type": "string", "format": "date-time"},
      "finishedAt": {"type": ["string", "null"], "format": "date-time"}}},
    "readiness": {"description": "Whether a restore could start from verified evidence now.", "type": "object", "required": ["verdict", "recoverableTo", "rpoMet"], "properties": {
      "verdict": {"description": "ready: there is verified evidence; unproven: there is none.", "type": "string", "enum": ["ready", "unproven"], "examples": ["unproven"]},
      "recoverableTo": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
      "rpoMet": {"description": "Whether recoverableTo lies within the recovery point objective; null without one.", "type": ["boolean", "null"], "examples": [null]}}},
    "createdAt": {"type": "string", "format": "date-time"},
    "updatedAt": {"type": "string", "format": "date-time"}
  }}'),

('Destination', '{
  "description": "Where backups are kept.",
  "type": "object",
  "required": ["id", "name", "provider", "uri", "region", "credentialRef", "retentionFloorDays", "state", "createdAt"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["offsite"]},
    "provider": {"type": "string", "enum": ["local", "s3", "minio", "gcs", "wasabi", "b2"], "examples": ["s3"]},
    "uri": {"type": "string", "examples": ["s3://acme-backups/prod"]},
    "region": {"type": ["string", "null"], "examples": ["eu-central-1"]},
    "credentialRef": {"description": "Name of a credential that the node knows; never the credential.", "type": ["string", "null"], "examples": ["s3-writer"]},
    "retentionFloorDays": {"type": "integer", "examples": [30]},
    "state": {"description": "By the last backup to it that ended: verified by evidence, failing, or neither.", "type": "string", "enum": ["unverified", "verified", "failing"], "examples": ["unverified"]},
    "createdAt": {"type": "string", "format": "date-time"}
  }}'),

('JobError', '{
  "type": ["object", "null"], "additionalProperties": false,
  "required": ["class", "message", "retryable"],
  "properties": {
    "class": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z0-9_.-]+$", "examples": ["destination_unreachable"]},
    "message": {"type": "string", "minLength": 1, "maxLength": 1000, "examples": ["connection refused"]},
    "retryable": {"type": "boolean", "examples": [true]}
  }}'),

('Artifact', '{
  "type": ["object", "null"], "additionalProperties": false,
  "required": ["name", "sizeBytes", "checksumSha256"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 500, "examples": ["orders/2026-11-21/base.tar.zst"]},
    "sizeBytes": {"type": "integer", "minimum": 0, "examples": [73400320]},
    "checksumSha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}
  }}'),

('Progress', '{
  "type": ["object", "null"], "additionalProperties": false,
  "properties": {
    "percent": {"type": "integer", "minimum": 0, "maximum": 100, "examples": [40]},
    "bytesDone": {"type": "integer", "minimum": 0},
    "bytesTotal": {"type": "integer", "minimum": 0},
    "phase": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["copying"]}
  }}'),

('Validation', '{
  "description": "What a node checked of what it restored.",
  "type": ["object", "null"], "additionalProperties": false,
  "required": ["result"],
  "properties": {
    "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
    "checks": {"type": "array", "maxItems": 50, "items": {"type": "object", "additionalProperties": false, "required": ["name", "result"], "properties": {
      "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["row_counts"]},
      "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
      "detail": {"type": "string", "minLength": 1, "maxLength": 500, "examples": ["412 tables"]}}}}
  }}'),

('Backup', '{
  "description": "A backup job.",
  "type": "object",
  "required": ["id", "databaseId", "destinationId", "type", "trigger", "reason", "state", "attempt", "maxAttempts", "progress", "artifact", "error", "queuedAt", "claimedAt", "startedAt", "finishedAt", "done"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "destinationId": {"type": "string", "format": "uuid"},
    "type": {"type": "string", "enum": ["full", "differential", "incremental"], "examples": ["full"]},
    "trigger": {"type": "string", "enum": ["api"], "examples": ["api"]},
    "reason": {"type": ["string", "null"], "examples": ["before the upgrade"]},
    "state": {"type": "string", "enum": ["queued", "claimed", "running", "finalizing", "completed", "failed", "cancelled", "dismissed"], "examples": ["queued"]},
    "attempt": {"description": "How often a node has claimed it.", "type": "integer", "examples": [0]},
    "maxAttempts": {"type": "integer", "examples": [3]},
    "progress": {"$ref": "#/components/schemas/Progress", "examples": [null]},
    "artifact": {"$ref": "#/components/schemas/Artifact", "examples": [null]},
    "error": {"$ref": "#/components/schemas/JobError", "examples": [null]},
    "queuedAt": {"type": "string", "format": "date-time"},
    "claimedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "startedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "finishedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "done": {"description": "Nothing works on it any more.", "type": "boolean", "examples": [false]}
  }}'),

('BackupAccepted', '{
  "type": "object",
  "required": ["backupJobId", "job"],
  "properties": {
    "backupJobId": {"type": "string", "format": "uuid"},
    "job": {"$ref": "#/components/schemas/Backup"}
  }}'),

('Restore', '{
  "description": "A restore, or a drill: a restore that is only a test.",
  "type": "object",
  "required": ["id", "databaseId", "kind", "mode", "backupJobId", "target", "state", "attempt", "maxAttempts", "progress", "validation", "error", "timings", "done"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
    "mode": {"type": "string", "enum": ["new_database", "in_place", "new_cluster"], "examples": ["new_database"]},
    "backupJobId": {"type": "string", "format": "uuid"},
    "target": {"description": "Name of where it goes; never a connection string.", "type": "string", "examples": ["drill-host/orders_drill"]},
    "state": {"type": "string", "enum": ["queued", "claimed", "downloading", "verifying", "manifest_verified", "restoring", "finalizing", "completed", "failed", "timed_out"], "examples": ["queued"]},
    "attempt": {"type": "integer", "examples": [0]},
    "maxAttempts": {"type": "integer", "examples": [3]},
    "progress": {"$ref": "#/components/schemas/Progress", "examples": [null]},
    "validation": {"$ref": "#/components/schemas/Validation", "examples": [null]},
    "error": {"$ref": "#/components/schemas/JobError", "examples": [null]},
    "timings": {"type": "object", "required": ["queuedAt", "claimedAt", "startedAt", "finishedAt"], "properties": {
      "queuedAt": {"type": "string", "format": "date-time"},
      "claimedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
      "startedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
      "finishedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]}}},
    "done": {"type": "boolean", "examples": [false]}
  }}'),

('RestoreAccepted', '{
  "type": "object",
  "required": ["restoreJobId", "job"],
  "properties": {
    "restoreJobId": {"type": "string", "format": "uuid"},
    "job": {"$ref": "#/components/schemas/Restore"}
  }}'),

('IntegrityVerification', '{
  "type": "object", "additionalProperties": false,
  "required": ["result", "checkedAt", "tool"],
  "properties": {
    "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
    "checkedAt": {"type": ["string", "null"], "format": "date-time"},
    "tool": {"type": ["string", "null"], "minLength": 1, "maxLength": 100, "examples": ["pg_verifybackup 15.10"]}
  }}'),

('Evidence', '{
  "description": "What a node found out about a backup, and where the audit chain says so.",
  "type": "object",
  "required": ["backupJobId", "databaseId", "state", "manifest", "integrityVerification", "recoverableFrom", "recoverableTo", "recordedAt", "audit"],
  "properties": {
    "backupJobId": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "state": {"type": "string", "enum": ["verified", "failed", "unverified"], "examples": ["verified"]},
    "manifest": {"description": "As the node recorded it.", "type": "object", "examples": [{"files": 1204, "wal": 3}]},
    "integrityVerification": {"$ref": "#/components/schemas/IntegrityVerification"},
    "recoverableFrom": {"type": "string", "format": "date-time"},
    "recoverableTo": {"type": "string", "format": "date-time"},
    "recordedAt": {"description": "First recorded for this attempt.", "type": "string", "format": "date-time"},
    "audit": {"description": "The entries of the audit chain from the job''s first to its last; headHash is the last one''s.", "type": "object", "required": ["firstSeq", "lastSeq", "headHash"], "properties": {
      "firstSeq": {"type": "integer", "examples": [12]},
      "lastSeq": {"type": "integer", "examples": [18]},
      "headHash": {"type": "string", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}}}
  }}'),

('EvidenceExport', '{
  "description": "Evidence as it was at one moment. packageSha256 is SHA-256 of the canonical JSON (RFC 8785) of evidence, and stands in entry auditSeq of the chain.",
  "type": "object",
  "required": ["exportId", "exportedAt", "evidence", "packageSha256", "auditSeq"],
  "properties": {
    "exportId": {"type": "string", "format": "uuid"},
    "exportedAt": {"type": "string", "format": "date-time"},
    "evidence": {"type": "array", "items": {"$ref": "#/components/schemas/Evidence"}},
    "packageSha256": {"type": "string", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]},
    "auditSeq": {"type": "integer", "examples": [19]}
  }}'),

('RecoveryWindow', '{
  "description": "A span in which every point can be restored from verified backups.",
  "type": "object",
  "required": ["windowId", "from", "to"],
  "properties": {
    "windowId": {"type": "string", "format": "uuid"},
    "from": {"type": "string", "format": "date-time"},
    "to": {"type": "string", "format": "date-time"}
  }}'),

('RecoverySummary', '{
  "description": "What can be restored, by the evidence that there is. Without any the verdict is unproven and there are no windows.",
  "type": "object",
  "required": ["databaseId", "verdict", "windows", "lastVerifiedAt", "backups"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "verdict": {"type": "string", "enum": ["proven", "unproven"], "examples": ["proven"]},
    "windows": {"description": "Newest first, at most 100.", "type": "array", "items": {"$ref": "#/components/schemas/RecoveryWindow"}},
    "lastVerifiedAt": {"type": ["string", "null"], "format": "date-time"},
    "backups": {"description": "Completed ones, by what their node found when it checked them; the windows count besides whether a restore refuted that, and whether the destination is still there.", "type": "object", "required": ["completed", "verified", "failedVerification", "withoutEvidence"], "properties": {
      "completed": {"type": "integer", "examples": [1]},
      "verified": {"type": "integer", "examples": [1]},
      "failedVerification": {"type": "integer", "examples": [0]},
      "withoutEvidence": {"type": "integer", "examples": [0]}}}
  }}'),

('RecoveryCandidate', '{
  "description": "The backup that a restore to the latest possible point would start from now; null when no verified evidence speaks for one.",
  "type": "object",
  "required": ["databaseId", "candidate"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "candidate": {"type": ["object", "null"], "required": ["backupJobId", "recoverableFrom", "recoverableTo", "destinationId"], "properties": {
      "backupJobId": {"type": "string", "format": "uuid"},
      "recoverableFrom": {"type": "string", "format": "date-time"},
      "recoverableTo": {"type": "string", "format": "date-time"},
      "destinationId": {"type": "string", "format": "uuid"}}}
  }}'),

('RecoveryProof', '{
  "description": "What the claim of a window rests on. proven: verified evidence for all of it; refuted: its first backup failed verification, or a restore of it failed for good; unproven: neither. What is refuted is part of no window any more.",
  "type": "object",
  "required": ["windowId", "databaseId", "from", "to", "verdict", "basis", "notClaimed"],
  "properties": {
    "windowId": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "from": {"type": "string", "format": "date-time"},
    "to": {"type": "string", "format": "date-time"},
    "verdict": {"type": "string", "enum": ["proven", "unproven", "refuted"], "examples": ["proven"]},
    "basis": {"description": "Newest first, at most 1000.", "type": "array", "items": {"type": "object", "required": ["backupJobId", "state", "integrityVerification", "recoverableFrom", "recoverableTo", "lastRestore", "auditSeq"], "properties": {
      "backupJobId": {"type": "string", "format": "uuid"},
      "state": {"type": "string", "enum": ["verified", "failed", "unverified"], "examples": ["verified"]},
      "integrityVerification": {"$ref": "#/components/schemas/IntegrityVerification"},
      "recoverableFrom": {"type": "string", "format": "date-time"},
      "recoverableTo": {"type": "string", "format": "date-time"},
      "lastRestore": {"description": "The last restore or drill of this backup that ended.", "type": ["object", "null"], "required": ["restoreJobId", "kind", "state", "validation", "finishedAt"], "properties": {
        "restoreJobId": {"type": "string", "format": "uuid"},
        "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
        "state": {"type": "string", "enum": ["completed", "failed", "timed_out"], "examples": ["completed"]},
        "validation": {"type": ["string", "null"], "enum": ["passed", "failed", "not_run", null], "examples": ["passed"]},
        "finishedAt": {"type": "string", "format": "date-time"}}},
      "auditSeq": {"description": "The entry of the audit chain that holds the evidence.", "type": "integer", "examples": [17]}}}},
    "notClaimed": {"type": "array", "items": {"type": "string"}, "examples": [["That the destination still holds the artifacts now: it was last checked at checkedAt."]]}
  }}'),

('AuditEntry', '{
  "description": "An entry of the organisation''s audit chain. hash is SHA-256 of prevHash in hex followed by body; payload is part of body.",
  "type": "object",
  "required": ["seq", "at", "kind", "jobId", "body", "prevHash", "hash"],
  "properties": {
    "seq": {"type": "integer", "examples": [1]},
    "at": {"type": "string", "format": "date-time"},
    "kind": {"type": "string", "examples": ["org.created"]},
    "jobId": {"type": ["string", "null"], "format": "uuid", "examples": [null]},
    "body": {"description": "The exact text that is hashed.", "type": "string"},
    "prevHash": {"type": "string"},
    "hash": {"type": "string"}
  }}'),

('AuditVerification', '{
  "description": "The last stored verification of the organisation''s chain; null when none has run yet.",
  "type": "object",
  "required": ["lastRun", "ageSeconds"],
  "properties": {
    "lastRun": {"type": ["object", "null"], "required": ["finishedAt", "ok", "entries", "headHash", "firstBadSeq", "reason"], "properties": {
      "finishedAt": {"type": "string", "format": "date-time"},
      "ok": {"type": "boolean", "examples": [true]},
      "entries": {"type": "integer", "examples": [19]},
      "headHash": {"type": "string"},
      "firstBadSeq": {"type": ["integer", "null"], "examples": [null]},
      "reason": {"type": ["string", "null"], "examples": [null]}}},
    "ageSeconds": {"type": ["integer", "null"], "examples": [3600]}
  }}'),

('Recoverability', '{
  "description": "One database, as an auditor asks for it: what can be restored by verified evidence.",
  "type": "object",
  "required": ["databaseId", "name", "verdict", "lastVerifiedAt", "recoverableTo", "rpoMet"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["orders"]},
    "verdict": {"type": "string", "enum": ["proven", "unproven"], "examples": ["unproven"]},
    "lastVerifiedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "recoverableTo": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "rpoMet": {"type": ["boolean", "null"], "examples": [null]}
  }}'),

('Readiness', '{
  "description": "ready unless a check fails.",
  "type": "object",
  "required": ["status", "checks", "server"],
  "properties": {
    "status": {"type": "string", "enum": ["ready", "degraded"], "examples": ["ready"]},
    "checks": {"type": "array", "items": {"type": "object", "required": ["name", "status", "detail"], "properties": {
      "name": {"type": "string", "enum": ["database_writable", "audit_verified", "queue_served"], "examples": ["audit_verified"]},
      "status": {"type": "string", "enum": ["pass", "warn", "fail"], "examples": ["pass"]},
      "detail": {"type": "string", "examples": ["verified 3600 seconds ago"]}}}},
    "server": {"type": "object", "required": ["walwarden", "postgresql", "standby"], "properties": {
      "walwarden": {"type": "string", "examples": ["0.1.0"]},
      "postgresql": {"type": "string", "examples": ["15.10"]},
      "standby": {"type": "boolean", "examples": [false]}}}
  }}'),

('Error', '{
  "description": "What every answer of 400 and more carries, from the proxy too.",
  "type": "object",
  "required": ["error"],
  "properties": {
    "error": {"type": "object", "required": ["code", "message", "requestId"], "properties": {
      "code": {"type": "string", "enum": ["invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed", "conflict", "payload_too_large", "uri_too_long", "unsupported_media_type", "rate_limited", "headers_too_large", "internal", "unavailable"], "examples": ["invalid_request"]},
      "message": {"type": "string", "examples": ["name is missing"]},
      "requestId": {"type": "string", "examples": ["5f0c2f6f0d1c4bb1a3a7c2d4e5f60718"]},
      "requiredScope": {"description": "With forbidden; null for a token that opens nothing.", "type": ["string", "null"]},
      "nextAction": {"description": "What to do about it.", "type": "string"},
      "field": {"description": "What of the request is at fault.", "type": "string"},
      "reason": {"description": "For programs, with invalid_request and conflict.", "type": "string"},
      "position": {"description": "Byte of the body where malformed JSON was seen.", "type": "integer"},
      "state": {"description": "State of the job that is in the way.", "type": "string"},
      "backupJobId": {"description": "The backup that is in the way.", "type": "string", "format": "uuid"}}}
  }}'),

('OpenApi', '{"description": "This document.", "type": "object"}'),

-- requests

('DatabaseCreate', '{
  "type": "object", "additionalProperties": false,
  "required": ["name", "connectionRef"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["orders"]},
    "engine": {"type": "string", "enum": ["postgresql"], "default": "postgresql", "examples": ["postgresql"]},
    "postgresVersion": {"type": ["string", "null"], "pattern": "^[1-9][0-9]([.][0-9]{1,2})?$", "examples": ["15"]},
    "connectionRef": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid", "x-required-scope": "destinations:write"},
    "schedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["0 3 * * *"]},
    "objectives": {"$ref": "#/components/schemas/Objectives"}
  }}'),

('DatabaseUpdate', '{
  "description": "Fields that are left out stay as they are; null clears a field that allows it.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["orders"]},
    "postgresVersion": {"type": ["string", "null"], "pattern": "^[1-9][0-9]([.][0-9]{1,2})?$", "examples": ["16"]},
    "connectionRef": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid", "x-required-scope": "destinations:write"},
    "schedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["30 2 * * 0"]},
    "objectives": {"$ref": "#/components/schemas/Objectives"}
  }}'),

('DestinationCreate', '{
  "type": "object", "additionalProperties": false,
  "required": ["name", "provider", "uri"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["offsite"]},
    "provider": {"type": "string", "enum": ["local", "s3", "minio", "gcs", "wasabi", "b2"], "examples": ["s3"]},
    "uri": {"description": "Without user, password or query.", "type": "string", "maxLength": 500, "pattern": "^[a-z][a-z0-9+.-]*://[A-Za-z0-9._~-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", "examples": ["s3://acme-backups/prod"]},
    "region": {"type": ["string", "null"], "pattern": "^[a-z0-9-]{1,50}$", "examples": ["eu-central-1"]},
    "credentialRef": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", "examples": ["s3-writer"]},
    "retentionFloorDays": {"type": "integer", "minimum": 0, "maximum": 36500, "default": 0, "examples": [30]}
  }}'),

('DestinationUpdate', '{
  "description": "Fields that are left out stay as they are; null clears a field that allows it. Provider and uri never change: backups are kept there.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["offsite"]},
    "region": {"type": ["string", "null"], "pattern": "^[a-z0-9-]{1,50}$", "examples": ["eu-central-1"]},
    "credentialRef": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", "examples": ["s3-writer-2"]},
    "retentionFloorDays": {"type": "integer", "minimum": 0, "maximum": 36500, "examples": [60]}
  }}'),

('BackupRequest', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "type": {"type": "string", "enum": ["full", "differential", "incremental"], "default": "full", "examples": ["full"]},
    "destinationId": {"description": "Instead of the database''s own.", "type": "string", "format": "uuid"},
    "reason": {"type": "string", "minLength": 1, "maxLength": 500, "examples": ["before the upgrade"]}
  }}'),

('RestoreRequest', '{
  "type": "object", "additionalProperties": false,
  "required": ["databaseId", "backupJobId", "kind", "mode", "target"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "backupJobId": {"description": "A completed backup of this database.", "type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
    "mode": {"type": "string", "enum": ["new_database", "in_place", "new_cluster"], "examples": ["new_database"]},
    "target": {"description": "Name of where it goes, known to the node; never a connection string.", "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", "examples": ["drill-host/orders_drill"]},
    "confirmDestructive": {"description": "Must be true for mode in_place, which overwrites.", "type": "boolean", "examples": [false]}
  },
  "allOf": [{
    "if": {"properties": {"mode": {"const": "in_place"}}},
    "then": {"required": ["confirmDestructive"], "properties": {"confirmDestructive": {"const": true}, "kind": {"const": "restore"}}}}]}'),

('EvidenceExportRequest', '{
  "type": "object", "additionalProperties": false,
  "required": ["backupJobIds"],
  "properties": {
    "backupJobIds": {"type": "array", "minItems": 1, "maxItems": 100, "uniqueItems": true, "items": {"type": "string", "format": "uuid"}}
  }}'),

('Nothing', '{"description": "No body, or an empty object.", "type": "object", "additionalProperties": false, "properties": {}}'),

-- what nodes say (not part of REST v1): the argument detail of report_job() and
-- evidence of record_evidence()

('JobReport', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "artifact": {"$ref": "#/components/schemas/Artifact"},
    "validation": {"$ref": "#/components/schemas/Validation"},
    "error": {"$ref": "#/components/schemas/JobError"}
  }}'),

('EvidenceReport', '{
  "type": "object", "additionalProperties": false,
  "required": ["manifest", "integrityVerification", "recoverableTo"],
  "properties": {
    "manifest": {"type": "object"},
    "integrityVerification": {"$ref": "#/components/schemas/IntegrityVerification"},
    "recoverableFrom": {"type": "string", "format": "date-time"},
    "recoverableTo": {"type": "string", "format": "date-time"}
  }}');

-- What each operation is; method GET answers HEAD as well.
-- request: schema of the body. response: schema of the answer, or of one item
-- of list_field. location: made from fields of the answer. stage public: open
-- to everyone, without a token.
CREATE TABLE walwarden.rest_operation (
    method         text COLLATE "C" NOT NULL CHECK (method IN ('GET', 'POST', 'PATCH', 'DELETE')),
    path           text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" PRIMARY KEY,
    required_scope text COLLATE "C" REFERENCES walwarden.scope,
    success_status integer NOT NULL,
    summary        text NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('alpha', 'beta', 'public')),
    request        text COLLATE "C" REFERENCES walwarden.rest_schema CHECK ((request IS NULL) = (method = 'GET')),
    response       text COLLATE "C" REFERENCES walwarden.rest_schema CHECK ((response IS NULL) = (success_status = 204)),
    list_field     text,
    location       text,
    -- what the router goes by: the path with its parameter as a wildcard, the
    -- number of slashes, the parameter's place, the function to call
    template       text COLLATE "C" NOT NULL GENERATED ALWAYS AS (regexp_replace(path, '[{][^}]*[}]', '%')) STORED,
    depth          integer NOT NULL GENERATED ALWAYS AS (length(path) - length(replace(path, '/', ''))) STORED,
    parameter      text GENERATED ALWAYS AS (substring(path, '[{]([^}]*)[}]')) STORED,
    parameter_at   integer GENERATED ALWAYS AS (length(split_part(path, '{', 1)) - length(replace(split_part(path, '{', 1), '/', '')) + 1) STORED,
    handler        text NOT NULL GENERATED ALWAYS AS ('_rest_' || lower(regexp_replace(operation, '([A-Z])', '_' || chr(92) || '1', 'g'))) STORED,
    UNIQUE (method, path)
);

INSERT INTO walwarden.rest_operation (method, path, operation, required_scope, success_status, summary, stage, request, response, list_field, location) VALUES
    ('GET',    '/profile',                                 'getProfile',             NULL,                 200, 'Who the token is and what it may do', 'alpha', NULL, 'Profile', NULL, NULL),
    ('GET',    '/databases',                               'listDatabases',          'databases:read',     200, 'List protected databases', 'alpha', NULL, 'Database', 'databases', NULL),
    ('GET',    '/databases/{databaseId}',                  'getDatabase',            'databases:read',     200, 'Read a protected database', 'alpha', NULL, 'Database', NULL, NULL),
    ('GET',    '/destinations',                            'listDestinations',       'destinations:read',  200, 'List backup destinations', 'alpha', NULL, 'Destination', 'destinations', NULL),
    ('GET',    '/destinations/{destinationId}',            'getDestination',         'destinations:read',  200, 'Read a backup destination', 'alpha', NULL, 'Destination', NULL, NULL),
    ('GET',    '/databases/{databaseId}/backups',          'listDatabaseBackups',    'databases:read',     200, 'List the backup jobs of a database', 'alpha', NULL, 'Backup', 'backups', NULL),
    ('POST',   '/databases/{databaseId}/backups',          'triggerBackup',          'backups:trigger',    202, 'Queue a backup of a database', 'alpha', 'BackupRequest', 'BackupAccepted', NULL, '/backups/{backupJobId}'),
    ('GET',    '/backups/{backupJobId}',                   'getBackup',              'databases:read',     200, 'Read a backup job', 'alpha', NULL, 'Backup', NULL, NULL),
    ('GET',    '/evidence',                                'listEvidence',           'evidence:read',      200, 'List the evidence of backups', 'alpha', NULL, 'Evidence', 'evidence', NULL),
    ('GET',    '/evidence/{backupJobId}',                  'getEvidence',            'evidence:read',      200, 'Read the evidence of a backup', 'alpha', NULL, 'Evidence', NULL, NULL),
    ('POST',   '/restores',                                'createRestore',          'restores:write',     202, 'Queue a restore or a restore drill', 'alpha', 'RestoreRequest', 'RestoreAccepted', NULL, '/restores/{restoreJobId}'),
    ('GET',    '/restores/{restoreJobId}',                 'getRestore',             'restores:read',      200, 'Read a restore job', 'alpha', NULL, 'Restore', NULL, NULL),
    ('GET',    '/databases/{databaseId}/recovery/summary', 'getRecoverySummary',     'databases:read',     200, 'What can be restored of a database', 'alpha', NULL, 'RecoverySummary', NULL, NULL),
    ('GET',    '/databases/{databaseId}/recovery/candidate', 'getRecoveryCandidate', 'databases:read',     200, 'The backup that a restore would start from', 'alpha', NULL, 'RecoveryCandidate', NULL, NULL),
    ('GET',    '/recovery/windows/{windowId}/proof',       'getRecoveryWindowProof', 'databases:read',     200, 'What the claim of a recovery window rests on', 'alpha', NULL, 'RecoveryProof', NULL, NULL),

    ('POST',   '/databases',                               'createDatabase',         'databases:write',    201, 'Protect a database', 'beta', 'DatabaseCreate', 'Database', NULL, '/databases/{id}'),
    ('PATCH',  '/databases/{databaseId}',                  'updateDatabase',         'databases:write',    200, 'Change a protected database', 'beta', 'DatabaseUpdate', 'Database', NULL, NULL),
    ('DELETE', '/databases/{databaseId}',                  'deleteDatabase',         'databases:write',    204, 'Stop protecting a database', 'beta', 'Nothing', NULL, NULL, NULL),
    ('POST',   '/destinations',                            'createDestination',      'destinations:write', 201, 'Add a backup destination', 'beta', 'DestinationCreate', 'Destination', NULL, '/destinations/{id}'),
    ('PATCH',  '/destinations/{destinationId}',            'updateDestination',      'destinations:write', 200, 'Change a backup destination', 'beta', 'DestinationUpdate', 'Destination', NULL, NULL),
    ('DELETE', '/destinations/{destinationId}',            'deleteDestination',      'destinations:write', 204, 'Remove a backup destination', 'beta', 'Nothing', NULL, NULL, NULL),
    ('POST',   '/backups/{backupJobId}/cancel',            'cancelBackup',           'backups:trigger',    202, 'Cancel a backup that is not done', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}'),
    ('POST',   '/backups/{backupJobId}/dismiss',           'dismissBackup',          'backups:trigger',    202, 'Dismiss a failed backup', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}'),
    ('GET',    '/restores',                                'listRestores',           'restores:read',      200, 'List restores and drills', 'beta', NULL, 'Restore', 'restores', NULL),
    ('POST',   '/evidence/exports',                        'exportEvidence',         'evidence:export',    202, 'Export evidence; the package is in the answer', 'beta', 'EvidenceExportRequest', 'EvidenceExport', NULL, NULL),
    ('GET',    '/audit/entries',                           'listAuditEntries',       'audit:read',         200, 'List the audit chain of the organisation', 'beta', NULL, 'AuditEntry', 'entries', NULL),
    ('GET',    '/audit/verification',                      'getAuditVerification',   'audit:read',         200, 'The last stored verification of the audit chain', 'beta', NULL, 'AuditVerification', NULL, NULL),
    ('GET',    '/audit/recoverability',                    'listRecoverability',     'audit:read',         200, 'List what can be restored of each database', 'beta', NULL, 'Recoverability', 'databases', NULL),
    ('GET',    '/readiness',                               'getReadiness',           'readiness:read',     200, 'Readiness of the service', 'beta', NULL, 'Readiness', NULL, NULL),

    ('GET',    '/openapi.json',                            'getOpenApi',             NULL,                 200, 'This API as an OpenAPI 3.1 document', 'public', NULL, 'OpenApi', NULL, NULL);
-- Every row that a chain describes, with the chain, the entry and the state.
CREATE VIEW walwarden._described AS
    SELECT o.id AS org_id, 'org' AS type, o.id::text AS id, o.audit_seq, walwarden._org_state(o) AS state
      FROM walwarden.org AS o
    UNION ALL
    SELECT m.org_id, 'member', m.id::text, m.audit_seq, walwarden._member_state(m)
      FROM walwarden.member AS m
    UNION ALL
    SELECT t.org_id, 'token', t.id::text, t.audit_seq, walwarden._token_state(t, walwarden._credentials(t.id))
      FROM walwarden.token AS t
    UNION ALL
    SELECT n.org_id, 'node', n.id::text, n.audit_seq, walwarden._node_state(n)
      FROM walwarden.node AS n
    UNION ALL
    SELECT walwarden._system_org(), 'scope', s.name, s.audit_seq, walwarden._scope_state(s)
      FROM walwarden.scope AS s
     WHERE NOT s.builtin
    UNION ALL
    SELECT walwarden._system_org(), 'role', r.role, r.audit_seq, walwarden._role_override_state(r)
      FROM walwarden.role_override AS r
    UNION ALL
    SELECT walwarden._system_org(), 'grant', g.kind || ':' || g.role, g.audit_seq, walwarden._role_grant_state(g)
      FROM walwarden.role_grant AS g
    UNION ALL
    SELECT d.org_id, 'destination', d.id::text, d.audit_seq, walwarden._destination_state(d)
      FROM walwarden.destination AS d
    UNION ALL
    SELECT d.org_id, 'database', d.id::text, d.audit_seq, walwarden._database_state(d)
      FROM walwarden.database AS d
    UNION ALL
    SELECT j.org_id, 'job', j.id::text, j.audit_seq, walwarden._job_state(j)
      FROM walwarden.job AS j
    UNION ALL
    SELECT e.org_id, 'evidence', e.backup_job_id::text, e.audit_seq, walwarden._evidence_state(e)
      FROM walwarden.evidence AS e;
-- Who is calling, and what they may do. Every public function that manages
-- something is a door: a SECURITY INVOKER C function (src/door.c) that notes the
-- caller, becomes the extension's owner and calls the inner function of the
-- same name and arguments with an underscore before it. Inner functions ask
-- _caller() and _require(); nobody but the owner can execute them.

CREATE TYPE walwarden.caller AS (
    door      text,     -- name of the public function that was called
    role      name,     -- current user at the call
    superuser boolean,
    operator  boolean,  -- superusers are operators too
    subject   text      -- verified by a trusted authenticator, else NULL
);

-- The caller of the door that is running; an error outside of one. What the role
-- is, is read anew at each call.
CREATE FUNCTION walwarden._caller() RETURNS walwarden.caller
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_caller';

-- Text from a caller, fit for a message: short, printable, and with nothing
-- that has the shape of a token.
CREATE FUNCTION walwarden._shown(value text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('"' || CASE WHEN length(safe) > 60 THEN left(safe, 60) || '...' ELSE safe END || '"', 'NULL')
      FROM (SELECT regexp_replace(regexp_replace(left(value, 200), E'[\u0001-\u001F\u007F-\u009F]', '?', 'g'),
                                  'wal_[0-9A-Fa-f]{16,}', 'wal_...', 'g')) AS s(safe)
$$;

-- Whether a role of the server was given one of these kinds, and has it still.
CREATE FUNCTION walwarden._is_granted(role name, kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM walwarden.role_grant AS g
                    WHERE g.kind = ANY ($2) AND g.role = $1 AND g.revoked_at IS NULL)
$$;

-- Roles through which many people come: authenticators and REST roles. None of
-- them is a member's role.
CREATE FUNCTION walwarden._speaks_for_many(role name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._is_granted($1, '{authenticator,rest}')
$$;

-- The caller's active memberships. A verified subject is the person, whatever
-- role the connection uses; otherwise the current role is, unless it speaks for
-- many people. A branch for each, so that each finds its index.
CREATE FUNCTION walwarden._memberships(c walwarden.caller) RETURNS SETOF walwarden.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.*
      FROM walwarden.member AS m
     WHERE m.subject = c.subject
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
    UNION ALL
    SELECT m.*
      FROM walwarden.member AS m
     WHERE c.subject IS NULL AND m.db_role = c.role
       AND m.disabled_at IS NULL AND m.removed_at IS NULL
       AND NOT c.superuser AND NOT walwarden._speaks_for_many(c.role)
$$;

-- The caller's active membership in an org, or NULL.
CREATE FUNCTION walwarden._caller_member(c walwarden.caller, org_id uuid) RETURNS walwarden.member
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m FROM walwarden._memberships(c) AS m WHERE m.org_id = $2
$$;

-- How a change is signed in listings: the person's subject, else the role.
CREATE FUNCTION walwarden._caller_name(c walwarden.caller, org_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(c.subject, (walwarden._caller_member(c, org_id)).subject, c.role::text)
$$;

-- What a caller is and may be in an org; org_id NULL: outside of every org.
CREATE FUNCTION walwarden._capabilities(c walwarden.caller, org_id uuid) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[CASE WHEN c.superuser THEN 'superuser' END,
                              CASE WHEN c.operator THEN 'operator' END], NULL)
           || coalesce((SELECT r.capabilities
                          FROM walwarden.role AS r
                         WHERE r.name = (walwarden._caller_member(c, org_id)).role), '{}')
$$;

CREATE FUNCTION walwarden._may(c walwarden.caller, org_id uuid, action text, target text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT p.any_of && walwarden._capabilities(c, org_id)
                       FROM walwarden.permission AS p
                      WHERE p.action = $3 AND p.target = $4), false)
$$;

CREATE FUNCTION walwarden._require(c walwarden.caller, org_id uuid, action text, target text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    needed text[];
BEGIN
    IF walwarden._may(c, org_id, action, target) THEN
        RETURN;
    END IF;
    SELECT p.any_of INTO needed FROM walwarden.permission AS p WHERE p.action = $3 AND p.target = $4;
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied for %s', c.door),
        -- without the target: it would tell an unknown token from a foreign one
        DETAIL = CASE WHEN needed = '{}' THEN format('%s is for the owner of a private token alone.', action)
                      ELSE format('%s needs one of: %s.', action, array_to_string(needed, ', ')) END,
        HINT = CASE
            WHEN action = 'token.issue' AND target = 'private' THEN 'A private token is issued by its owner; an operator can do it for them.'
            WHEN needed = '{superuser}' THEN 'Ask a superuser of the server.'
            WHEN needed = '{operator}' THEN 'Ask an operator: a superuser, or a role given walwarden.grant_operator().'
            WHEN needed IN ('{own_tokens}', '{}') THEN 'Only the owner of a private token may do this, with a role that has private tokens.'
            WHEN needed = '{operator,manage_owners}' THEN 'Ask an owner of the organisation, or an operator.'
            WHEN action = 'audit.append' THEN 'Ask an owner or admin of the organisation, or an operator; for a token''s identity, use a role given walwarden.grant_rest().'
            ELSE 'Ask an owner or admin of the organisation, or an operator.' END;
END
$$;

-- The org of a slug. Whoever is no operator gets the same refusal for an
-- unknown org as for one that they have no right in.
CREATE FUNCTION walwarden._org(c walwarden.caller, slug text, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    SELECT * INTO o FROM walwarden.org WHERE org.slug = _org.slug;
    PERFORM walwarden._require(c, o.id, action, target);
    IF o.id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('organisation %s does not exist', walwarden._shown(slug)),
            HINT = 'SELECT slug FROM walwarden.list_orgs() shows the organisations; slugs are lower-case.';
    END IF;
    RETURN o;
END
$$;

-- Waits for the lock of an org, no longer than walwarden.audit_lock_timeout, and
-- holds it to the end of the transaction. 55P03 names the processes in the way.
CREATE FUNCTION walwarden._take_org_lock(org_id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_take_org_lock';

-- The org, locked. What changes something of one org goes one after the other:
-- what is counted, compared or allowed under this lock still holds at commit.
-- Taken before the locks of tokens and of the chain, always in this order. The
-- right was asked for before, so that a stranger makes nobody wait, and is asked
-- for again here, of whoever the caller is now: it may have been lost meanwhile.
CREATE FUNCTION walwarden._hold_org(org_id uuid, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    PERFORM walwarden._take_org_lock(org_id);
    SELECT * INTO o FROM walwarden.org AS l WHERE l.id = org_id;
    PERFORM walwarden._require(walwarden._caller(), org_id, action, target);
    RETURN o;
END
$$;

CREATE FUNCTION walwarden._lock_org(c walwarden.caller, slug text, action text, target text) RETURNS walwarden.org
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._hold_org((walwarden._org(c, slug, action, target)).id, action, target);
END
$$;

-- Limits on text that callers give: 1 to max characters, not only spaces, no
-- control characters, nothing that contains a token.
CREATE FUNCTION walwarden._check_text(what text, value text, max integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is missing', what),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF btrim(value) = '' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is empty', what),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF length(value) > max THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s is too long', what),
            DETAIL = format('It has %s characters.', length(value)),
            HINT = format('Give 1 to %s characters.', max);
    ELSIF value ~ E'[\u0001-\u001F\u007F-\u009F]' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s contains a control character', what),
            HINT = 'Use printable characters only: no newline, tab or escape.';
    ELSIF value ~ 'wal_[0-9a-f]{64}' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s contains a token', what),
            HINT = 'A token is a secret and is never stored; treat this one as disclosed and revoke it.';
    END IF;
END
$$;

-- A closed set of scopes: known, named once, no NULL, no wildcard.
CREATE FUNCTION walwarden._check_scopes(scopes text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad text;
    place bigint;
BEGIN
    IF scopes IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'scopes are missing',
            HINT = 'Give an array of scope names; ''{}'' is a token without scopes.';
    ELSIF array_ndims(scopes) > 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'scopes are not a one-dimensional array',
            HINT = 'Write ARRAY[''databases:read'', ''backups:trigger''].';
    ELSIF cardinality(scopes) > 200 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('too many scopes: %s', cardinality(scopes)),
            HINT = 'Give at most 200 scopes, each once.';
    END IF;

    SELECT u.n INTO place FROM unnest(scopes) WITH ORDINALITY AS u(name, n) WHERE u.name IS NULL ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('scope %s of the array is NULL', place),
            HINT = 'Name every scope.';
    END IF;

    SELECT u.name INTO bad
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE NOT EXISTS (SELECT FROM walwarden.scope AS s WHERE s.name = u.name)
     ORDER BY u.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown scope %s', walwarden._shown(bad)),
            HINT = CASE WHEN strpos(bad, '*') > 0
                        THEN 'There are no wildcards: name every scope.'
                        ELSE 'The catalogue is closed; its scopes are: '
                             || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden.scope AS s) || '.' END;
    END IF;

    SELECT u.name INTO bad FROM unnest(scopes) AS u(name) GROUP BY u.name HAVING count(*) > 1 ORDER BY u.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('duplicate scope %s', walwarden._shown(bad)),
            HINT = 'Name every scope once.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._check_role(role text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = _check_role.role) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('role %s does not exist', walwarden._shown(role)),
            HINT = 'The roles are: ' || (SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM walwarden.role AS r) || '.';
    END IF;
END
$$;

-- The scopes that a role carries now, overrides counted in.
CREATE FUNCTION walwarden._role_scopes(role text) RETURNS text[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_role_scopes';

-- Who did it, for the entry.
CREATE FUNCTION walwarden._actor(c walwarden.caller, org_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'kind', CASE WHEN c.operator THEN 'operator' ELSE 'member' END,
        'role', c.role,
        'subject', coalesce(c.subject, (walwarden._caller_member(c, org_id)).subject))
$$;

-- The payload of an entry that describes a row: what it was and what it is.
CREATE FUNCTION walwarden._change(actor jsonb, type text, id text, before jsonb, after jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'actor', actor,
        'object', jsonb_build_object('type', type, 'id', id),
        'before', before,
        'after', after)
$$;
-- What roles of the server may be: operator, trusted authenticator, REST role,
-- runner. Four pairs of doors over one table and one pair of functions.

CREATE FUNCTION walwarden._set_role_grant(
        c walwarden.caller, kind text, role name, login name, granted boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was walwarden.role_grant;
    g walwarden.role_grant;
    event text;
BEGIN
    -- one at a time: there may be no row to lock yet
    LOCK TABLE walwarden.role_grant IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO was FROM walwarden.role_grant AS r WHERE r.kind = kind AND r.role = role;
    IF granted = (was.kind IS NOT NULL AND was.revoked_at IS NULL)
       AND (NOT granted OR was.login IS NOT DISTINCT FROM login) THEN
        RETURN false;
    END IF;

    g := was;
    IF granted THEN
        g.kind := kind;
        g.role := role;
        g.login := login;
        g.granted_at := clock_timestamp();
        g.revoked_at := NULL;
    ELSE
        g.revoked_at := clock_timestamp();
    END IF;
    event := CASE WHEN kind = 'authenticator'
                  THEN CASE WHEN granted THEN 'authenticator.trusted' ELSE 'authenticator.untrusted' END
                  ELSE kind || CASE WHEN granted THEN '.granted' ELSE '.revoked' END END;

    g.audit_seq := walwarden._append(walwarden._system_org(), event,
        walwarden._change(walwarden._actor(c, NULL), 'grant', kind || ':' || role,
                          CASE WHEN was.kind IS NOT NULL THEN walwarden._role_grant_state(was) END,
                          walwarden._role_grant_state(g)));
    IF was.kind IS NULL THEN
        INSERT INTO walwarden.role_grant SELECT g.*;
    ELSE
        UPDATE walwarden.role_grant AS r
           SET login = g.login, granted_at = g.granted_at, revoked_at = g.revoked_at, audit_seq = g.audit_seq
         WHERE r.kind = kind AND r.role = role;
    END IF;
    RETURN true;
END
$$;

-- A role of the server that may be given something.
CREATE FUNCTION walwarden._check_server_role(role name, allow_superuser boolean) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'role is missing',
            HINT = 'Name a role of the server.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('role %s does not exist in this server', walwarden._shown(role)),
            HINT = 'Create it first: CREATE ROLE name.';
    END IF;
    IF NOT allow_superuser AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role AND r.rolsuper) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('role %s is a superuser', walwarden._shown(role)),
            HINT = 'Use a role of its own, without rights beyond what it needs.';
    END IF;
END
$$;

-- A role through which many people come is nobody's own.
CREATE FUNCTION walwarden._check_no_member(role name) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.member AS m WHERE m.db_role = _check_no_member.role AND m.removed_at IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('role %s is the database role of a member', walwarden._shown(role)),
            HINT = 'Authenticators and REST roles speak for many people: give each a role of its own.';
    END IF;
END
$$;

-- What an operator may do is decided by the doors; a view of statistics, which some
-- tools read unasked, is shown to operators alone. Given again, it grants again
-- what was revoked by hand.
CREATE FUNCTION walwarden._grant_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    changed boolean;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, true);
    changed := walwarden._set_role_grant(c, 'operator', role, NULL, true);
    EXECUTE format('GRANT SELECT ON walwarden.stat_auth TO %I', role);
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._revoke_operator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    IF NOT walwarden._set_role_grant(c, 'operator', role, NULL, false) THEN
        RETURN false;
    END IF;
    -- not from the view's owner, as whom this runs
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = _revoke_operator.role AND r.rolname <> current_user) THEN
        EXECUTE format('REVOKE ALL ON walwarden.stat_auth FROM %I', role);
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._trust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    PERFORM walwarden._check_no_member(role);
    RETURN walwarden._set_role_grant(c, 'authenticator', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden._untrust_authenticator(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    RETURN walwarden._set_role_grant(c, 'authenticator', role, NULL, false);
END
$$;

-- Takes the settings of grant_rest from a login that serves no REST role any more.
CREATE FUNCTION walwarden._release_login(login name) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = login)
       AND NOT EXISTS (SELECT FROM walwarden.role_grant AS g
                        WHERE g.kind = 'rest' AND g.login = login AND g.revoked_at IS NULL) THEN
        EXECUTE format('ALTER ROLE %I RESET log_parameter_max_length', login);
        EXECUTE format('ALTER ROLE %I RESET log_parameter_max_length_on_error', login);
        EXECUTE format('ALTER ROLE %I RESET idle_in_transaction_session_timeout', login);
    END IF;
END
$$;

-- role gets the entry points of schema walwarden_rest and nothing else. The
-- settings stand on login because SET ROLE applies no role's settings: they
-- keep request parameters, tokens among them, out of the server's log. Given
-- again, it sets again what was changed by hand.
CREATE FUNCTION walwarden._grant_rest(role name, login name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    before name;
    changed boolean;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    PERFORM walwarden._check_server_role(login, false);
    PERFORM walwarden._check_no_member(role);
    SELECT g.login INTO before
      FROM walwarden.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = _grant_rest.role AND g.revoked_at IS NULL;
    changed := walwarden._set_role_grant(c, 'rest', role, login, true);
    EXECUTE format('GRANT USAGE ON SCHEMA walwarden_rest TO %I', role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA walwarden_rest TO %I', role);
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length = 0', login);
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0', login);
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''10s''', login);
    IF before <> login THEN
        PERFORM walwarden._release_login(before);
    END IF;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._revoke_rest(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    given walwarden.role_grant;
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    SELECT * INTO given
      FROM walwarden.role_grant AS g
     WHERE g.kind = 'rest' AND g.role = _revoke_rest.role AND g.revoked_at IS NULL;
    IF NOT walwarden._set_role_grant(c, 'rest', role, given.login, false) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = _revoke_rest.role) THEN
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden_rest FROM %I', role);
        EXECUTE format('REVOKE ALL ON SCHEMA walwarden_rest FROM %I', role);
    END IF;
    PERFORM walwarden._release_login(given.login);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._grant_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    PERFORM walwarden._check_server_role(role, false);
    RETURN walwarden._set_role_grant(c, 'runner', role, NULL, true);
END
$$;

CREATE FUNCTION walwarden._revoke_runner(role name) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    PERFORM walwarden._require(c, NULL, 'server_role.grant', 'any');
    RETURN walwarden._set_role_grant(c, 'runner', role, NULL, false);
END
$$;

CREATE FUNCTION walwarden.grant_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_operator(name) IS
'Makes a role of the server an operator, who acts on every organisation, and grants it SELECT on the view stat_auth. For superusers. The role itself acts, not its members: they SET ROLE. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 NULL. Example: SELECT walwarden.grant_operator(''ops'');';

CREATE FUNCTION walwarden.revoke_operator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_operator(name) IS
'Takes back grant_operator; to be done before the role is dropped, which its SELECT on stat_auth reminds of. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_operator(''ops'');';

CREATE FUNCTION walwarden.trust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.trust_authenticator(name) IS
'Declares a login role whose sessions verify JWTs (PostgREST''s authenticator): the claim sub of request.jwt.claims then names the calling member. Whoever runs SQL of their own in such a session can claim to be anyone. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL, 55000 the role is a member''s. Example: SELECT walwarden.trust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.untrust_authenticator(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.untrust_authenticator(name) IS
'Takes back trust_authenticator. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.untrust_authenticator(''authenticator'');';

CREATE FUNCTION walwarden.grant_rest(role name, login name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_rest(name, name) IS
'Gives role, PostgREST''s anonymous role, the entry points of schema walwarden_rest, and sets on login, PostgREST''s login role, log_parameter_max_length = 0, log_parameter_max_length_on_error = 0 and idle_in_transaction_session_timeout = 10s; revoke_rest removes these settings, also where you had set them. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL, 55000 the role is a member''s. Example: SELECT walwarden.grant_rest(''web_anon'', ''authenticator'');';

CREATE FUNCTION walwarden.revoke_rest(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_rest(name) IS
'Takes back grant_rest and resets the settings of its login role. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_rest(''web_anon'');';

CREATE FUNCTION walwarden.grant_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.grant_runner(name) IS
'Lets a role of the server speak the runner protocol, with a node token. For superusers. Returns whether anything changed. Errors: 42501 no superuser, 42704 unknown role, 22023 a superuser or NULL. Example: SELECT walwarden.grant_runner(''runner'');';

CREATE FUNCTION walwarden.revoke_runner(role name) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_runner(name) IS
'Takes back grant_runner. For superusers. Returns whether anything changed. Errors: 42501 no superuser. Example: SELECT walwarden.revoke_runner(''runner'');';
-- Organisations and plans.

CREATE FUNCTION walwarden._check_plan(plan text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.plan AS p WHERE p.name = _check_plan.plan) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown plan %s', walwarden._shown(plan)),
            HINT = 'The plans are: ' || (SELECT string_agg(p.name, ', ' ORDER BY p.name) FROM walwarden.plan AS p) || '.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._create_org(slug text, display_name text, plan text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org;
BEGIN
    PERFORM walwarden._require(c, NULL, 'org.create', 'any');
    IF slug IS NULL OR slug !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad organisation slug %s', walwarden._shown(slug)),
            HINT = 'A slug has 1 to 63 lower-case letters, digits and hyphens, with no hyphen at its ends.';
    END IF;
    display_name := coalesce(display_name, slug);
    PERFORM walwarden._check_text('display name', display_name, 100);
    PERFORM walwarden._check_plan(plan);

    o.id := gen_random_uuid();
    o.slug := slug;
    o.display_name := display_name;
    o.plan := plan;
    o.retention := '7 days';
    o.created_at := clock_timestamp();
    o.audit_seq := 1;               -- the first entry of its chain, below
    INSERT INTO walwarden.org SELECT o.* ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = format('organisation %s already exists', walwarden._shown(slug)),
            HINT = 'Choose another slug.';
    END IF;
    PERFORM walwarden._append(o.id, 'org.created',
        walwarden._change(walwarden._actor(c, o.id), 'org', o.id::text, NULL, walwarden._org_state(o)));
    RETURN o.id;
END
$$;

-- Stores the changed row o of org was, with its entry; false when nothing differs.
CREATE FUNCTION walwarden._update_org(c walwarden.caller, event text, was walwarden.org, o walwarden.org) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF walwarden._org_state(was) = walwarden._org_state(o) THEN
        RETURN false;
    END IF;
    o.audit_seq := walwarden._append(o.id, event,
        walwarden._change(walwarden._actor(c, o.id), 'org', o.id::text, walwarden._org_state(was), walwarden._org_state(o)));
    UPDATE walwarden.org SET plan = o.plan, retention = o.retention, audit_seq = o.audit_seq WHERE org.id = o.id;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._set_plan(org text, plan text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.org := walwarden._lock_org(c, org, 'org.configure', 'any');
    o walwarden.org := was;
BEGIN
    c := walwarden._caller();       -- after the wait
    PERFORM walwarden._check_plan(plan);
    o.plan := plan;
    RETURN walwarden._update_org(c, 'org.plan_changed', was, o);
END
$$;

CREATE FUNCTION walwarden._set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.org := walwarden._lock_org(c, org, 'org.configure', 'any');
    o walwarden.org := was;
BEGIN
    c := walwarden._caller();       -- after the wait
    -- in days and seconds, so that it means the same in every month
    o.retention := CASE WHEN retention BETWEEN '0' AND '4000 days' THEN justify_hours(make_interval(days => 365 * extract(year FROM retention)::integer + 30 * extract(month FROM retention)::integer
                                                       + extract(day FROM retention)::integer,
                                               secs => floor(extract(epoch FROM retention - date_trunc('day', retention))))) END;
    IF o.retention IS NULL OR o.retention NOT BETWEEN '0' AND '3650 days' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad retention',
            HINT = 'Give an interval from 0 to 3650 days; a month counts as 30 days, a year as 365.';
    END IF;
    RETURN walwarden._update_org(c, 'org.settings_changed', was, o);
END
$$;

CREATE FUNCTION walwarden._list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    IF walwarden._may(c, NULL, 'org.list', 'all') THEN
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at
              FROM walwarden.org AS o
             ORDER BY o.slug;
    ELSE
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at
              FROM walwarden._memberships(c) AS m
              JOIN walwarden.org AS o ON o.id = m.org_id
             ORDER BY o.slug;
    END IF;
END
$$;

CREATE FUNCTION walwarden.create_org(slug text, display_name text DEFAULT NULL, plan text DEFAULT 'team') RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_org(text, text, text) IS
'Creates an organisation and starts its audit chain; returns its id. slug: 1 to 63 lower-case letters, digits, hyphens. display_name: 1 to 100 characters, NULL for the slug. plan: free, pro or team. For operators. Errors: 42501 no operator, 22023 bad value, 23505 slug taken. Example: SELECT walwarden.create_org(''globex'', ''Globex Ltd'');';

CREATE FUNCTION walwarden.set_plan(org text, plan text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_plan(text, text) IS
'Changes the plan of an organisation: free, pro or team. API tokens work on team alone; on another plan they are inactive until it returns. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown organisation, 22023 unknown plan. Example: SELECT walwarden.set_plan(''acme'', ''pro'');';

CREATE FUNCTION walwarden.set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_org_retention(text, interval) IS
'Sets for how long tokens of an organisation are kept once they are disabled, expired or stopped by their owner''s disabling: 0 to 3650 days, in whole seconds, a month counts as 30 days, a year as 365. run_maintenance() removes what is older. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown organisation, 22023 bad interval. Example: SELECT walwarden.set_org_retention(''acme'', ''30 days'');';

CREATE FUNCTION walwarden.list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_orgs() IS
'Lists the organisations by slug: every one for operators, their own for members, none for anyone else. Errors: none. Example: SELECT slug, plan FROM walwarden.list_orgs();';
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
-- Custom scopes and overrides of what roles carry, both in the system chain.

CREATE FUNCTION walwarden._create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    s walwarden.scope;
BEGIN
    PERFORM walwarden._require(c, NULL, 'scope.create', 'any');
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad scope name %s', walwarden._shown(name)),
            HINT = 'Write thing:right, each 1 to 31 lower-case letters, digits, hyphens or underscores, first a letter.';
    END IF;
    PERFORM walwarden._check_text('label', label, 100);
    PERFORM walwarden._check_text('description', description, 500);

    -- one at a time: the limit and the name are decided on what is committed
    LOCK TABLE walwarden.scope IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM walwarden.scope AS f WHERE f.name = name) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = format('scope %s already exists', walwarden._shown(name)),
            HINT = 'Scopes are never changed or removed; choose another name.';
    ELSIF (SELECT count(*) FROM walwarden.scope) >= 200 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = 'there are 200 scopes already',
            HINT = 'Scopes are coarse and organisation-wide; express finer rights in your own tables.';
    END IF;

    s.name := name;
    s.label := label;
    s.description := description;
    s.builtin := false;
    s.audit_seq := walwarden._append(walwarden._system_org(), 'scope.created',
        walwarden._change(walwarden._actor(c, NULL), 'scope', name, NULL, walwarden._scope_state(s)));
    INSERT INTO walwarden.scope SELECT s.*;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.role_override;
    r walwarden.role_override;
BEGIN
    PERFORM walwarden._require(c, NULL, 'role.configure', 'any');
    PERFORM walwarden._check_role(role);
    IF scopes IS NOT NULL THEN
        PERFORM walwarden._check_scopes(scopes);
    END IF;

    scopes := scopes[:];    -- from 1, whatever its bounds were
    LOCK TABLE walwarden.role_override IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO was FROM walwarden.role_override AS f WHERE f.role = role;
    IF was.scopes IS NOT DISTINCT FROM scopes THEN
        RETURN false;
    END IF;
    r.role := role;
    r.scopes := scopes;
    r.audit_seq := walwarden._append(walwarden._system_org(), 'role.scopes_changed',
        walwarden._change(walwarden._actor(c, NULL), 'role', role,
                          CASE WHEN was.role IS NOT NULL THEN walwarden._role_override_state(was) END,
                          walwarden._role_override_state(r)));
    INSERT INTO walwarden.role_override SELECT r.*
        ON CONFLICT ON CONSTRAINT role_override_pkey DO UPDATE SET scopes = EXCLUDED.scopes, audit_seq = EXCLUDED.audit_seq;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.create_scope(name text, label text, description text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_scope(text, text, text) IS
'Adds a scope of your own to the closed catalogue; owner and admin carry it, other roles once set_role_scopes gives it to them. name: thing:right. label: 1 to 100, description: 1 to 500 characters. At most 200 scopes in all; none is ever changed or removed. For operators. Returns true. Errors: 42501 no operator, 22023 bad value, 23505 name taken, 53400 too many. Example: SELECT walwarden.create_scope(''invoices:read'', ''Read invoices'', ''List and read invoices.'');';

CREATE FUNCTION walwarden.set_role_scopes(role text, scopes text[]) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_role_scopes(text, text[]) IS
'Overrides the scopes that a role carries, in every organisation, from commit on; NULL goes back to the built-in set. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown role, 22023 bad scopes. Example: SELECT walwarden.set_role_scopes(''analyst'', ARRAY[''databases:read'']);';
-- Tokens: issue and list. What becomes of them is in the next part.

-- 32 bytes of pg_strong_random as token text, and its fingerprint. The
-- plaintext goes from here to the caller of issue_token and nowhere else: it is
-- never a parameter of a query.
CREATE FUNCTION walwarden._mint(OUT token text, OUT fingerprint bytea)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_mint';

-- State and effective scopes as authenticate() decides them; NULL scopes for a
-- legacy token, whose permissions are not shown.
CREATE FUNCTION walwarden._token_standing(token_id uuid, OUT state text, OUT reason text, OUT effective_scopes text[])
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_token_standing';

-- What shared memory knows of a token's last use; NULL without preload.
CREATE FUNCTION walwarden._noted_use(token_id uuid) RETURNS timestamptz
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_noted_use';

CREATE FUNCTION walwarden._check_expiry(INOUT expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF expires_at = 'infinity' THEN
        expires_at := NULL;
    ELSIF expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'expiry is not in the future',
            HINT = 'Give a later time, for example now() + interval ''90 days'', or ''infinity'' for no expiry.';
    ELSIF expires_at >= '10000-01-01 00:00:00+00' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'expiry is after the year 9999',
            HINT = 'Give ''infinity'' for no expiry.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._check_reason(reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF reason IS NOT NULL THEN
        PERFORM walwarden._check_text('reason', reason, 500);
    END IF;
END
$$;

-- Tokens on a plan without them can be listed, disabled and revoked, no more.
CREATE FUNCTION walwarden._check_plan_has_tokens(o walwarden.org) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT (SELECT p.api_tokens FROM walwarden.plan AS p WHERE p.name = o.plan) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the plan %s has no API tokens', walwarden._shown(o.plan)),
            HINT = 'API tokens come with the plan team: ask an operator for walwarden.set_plan().';
    END IF;
END
$$;

-- Called under the lock of the org row, so that the count holds at commit.
CREATE FUNCTION walwarden._check_token_limit(o walwarden.org) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most integer := current_setting('walwarden.max_tokens_per_org');
BEGIN
    IF (SELECT count(*)
          FROM (SELECT FROM walwarden.token AS t
                 WHERE t.org_id = o.id AND t.removed_at IS NULL AND t.revoked_at IS NULL
                 LIMIT most) AS live) >= most THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = format('organisation %s has %s tokens already', walwarden._shown(o.slug), most),
            HINT = 'Revoke tokens that are no longer used, or raise walwarden.max_tokens_per_org.';
    END IF;
END
$$;

-- No token may be wider than the role of whoever answers for it.
CREATE FUNCTION walwarden._check_within_role(scopes text[], m walwarden.member, who text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    beyond text;
BEGIN
    SELECT string_agg(u.name, ', ' ORDER BY u.n) INTO beyond
      FROM unnest(scopes) WITH ORDINALITY AS u(name, n)
     WHERE u.name <> ALL (walwarden._role_scopes(m.role));
    IF beyond IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('scopes wider than those of %s', who),
            DETAIL = format('The role %s does not carry: %s.', m.role, beyond),
            HINT = 'Leave these scopes out, or have an owner or admin change the role.';
    END IF;
END
$$;

-- The active member who is to answer for a token.
CREATE FUNCTION walwarden._owner(o walwarden.org, owner text) RETURNS walwarden.member
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m walwarden.member;
BEGIN
    SELECT * INTO m FROM walwarden.member AS f WHERE f.org_id = o.id AND f.subject = owner AND f.removed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('%s has no member %s', walwarden._shown(o.slug), walwarden._shown(owner)),
            HINT = 'Add the owner first with walwarden.add_member().';
    ELSIF m.disabled_at IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('member %s is disabled', walwarden._shown(owner)),
            HINT = 'Enable the member first with walwarden.enable_member().';
    END IF;
    RETURN m;
END
$$;

-- A credential with what decides about its token as that is now; t NULL: there is none.
CREATE FUNCTION walwarden._with_standing(c walwarden.credential, t walwarden.token) RETURNS walwarden.credential
    LANGUAGE sql IMMUTABLE
    RETURN ROW(c.fingerprint, c.token_id, c.kind, c.created_at, c.valid_until, c.audit_seq,
               t.org_id, t.kind, t.scopes, t.role, t.owner_id, t.expires_at,
               CASE WHEN t.removed_at IS NOT NULL THEN 'removed'
                    WHEN t.revoked_at IS NOT NULL THEN 'revoked'
                    WHEN t.disabled_at IS NOT NULL THEN 'disabled' END)::walwarden.credential;

-- A change of the token that is under way is waited for, and a snapshot that does not see
-- the latest is refused. What is left: under REPEATABLE READ a token can be changed that got a
-- credential after the snapshot. Our functions hold the organisation's lock; of whatever
-- else writes these tables, verification finds it.
CREATE FUNCTION walwarden._copy_standing() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token;
BEGIN
    SELECT * INTO t FROM walwarden.token AS f WHERE f.id = NEW.token_id FOR SHARE;
    RETURN walwarden._with_standing(NEW, t);
END
$$;

-- Has the trigger of credential do its work again; also for a token that is restored
-- after its credential.
CREATE FUNCTION walwarden._refresh_standing() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE walwarden.credential AS c
       SET token_id = c.token_id
     WHERE c.token_id = coalesce(NEW.id, OLD.id) AND walwarden._with_standing(c, NEW) IS DISTINCT FROM c;
    RETURN NULL;
END
$$;

-- The audit entry that an action leaves on a token in a state; NULL where there
-- is nothing to do. What is no row of token_transition is refused.
CREATE FUNCTION walwarden._transition(action text, state text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
BEGIN
    SELECT t.event INTO event FROM walwarden.token_transition AS t WHERE t.action = $1 AND t.from_state = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot %s a token that is %s', action, state),
            HINT = CASE state
                WHEN 'revoked' THEN 'Revoked is final: issue a new token.'
                WHEN 'expired' THEN 'Give it a new expiry first, with walwarden.enable_token(), or issue a new token.'
                WHEN 'disabled' THEN 'Enable it first with walwarden.enable_token().'
                ELSE 'It is stopped by its owner''s disabling or its organisation''s plan.' END;
    END IF;
    RETURN event;
END
$$;

-- Stores the row t of a token, was before, with its entry. credentials: the values
-- that open it from now on; NULL leaves them as they are. The one
-- place that writes tokens and credentials. Returns the row as stored. The caller
-- holds the lock of the org, and of the row.
CREATE FUNCTION walwarden._store_token(
        actor jsonb, event text, was walwarden.token, t walwarden.token,
        credentials walwarden.credential[] DEFAULT NULL, reason text DEFAULT NULL) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    had walwarden.credential[] := walwarden._credentials(t.id);
    has walwarden.credential[] := coalesce(credentials, had);
BEGIN
    t.audit_seq := walwarden._append(t.org_id, event,
        walwarden._change(actor, 'token', t.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._token_state(was, had) END, walwarden._token_state(t, has))
        || CASE WHEN reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', reason) END);
    IF was.id IS NULL THEN
        INSERT INTO walwarden.token SELECT t.*;
        INSERT INTO walwarden.token_usage (token_id) VALUES (t.id);
    ELSE
        UPDATE walwarden.token AS f
           SET name = t.name, scopes = t.scopes, expires_at = t.expires_at, expired_at = t.expired_at,
               disabled_at = t.disabled_at, disabled_by = t.disabled_by,
               disabled_by_owner = t.disabled_by_owner, disabled_reason = t.disabled_reason,
               revoked_at = t.revoked_at, revoked_by = t.revoked_by, revoked_reason = t.revoked_reason,
               removed_at = t.removed_at, audit_seq = t.audit_seq
         WHERE f.id = t.id;
    END IF;
    IF credentials IS NOT NULL THEN
        DELETE FROM walwarden.credential AS f
         WHERE f.token_id = t.id AND f.fingerprint <> ALL (SELECT n.fingerprint FROM unnest(has) AS n);
        UPDATE walwarden.credential AS f
           SET valid_until = n.valid_until
          FROM unnest(has) AS n
         WHERE f.fingerprint = n.fingerprint AND f.token_id = t.id AND f.valid_until IS DISTINCT FROM n.valid_until;
        INSERT INTO walwarden.credential (fingerprint, token_id, kind, created_at, valid_until, audit_seq)
        SELECT n.fingerprint, t.id, n.kind, n.created_at, n.valid_until, t.audit_seq
          FROM unnest(has) AS n
         WHERE n.fingerprint <> ALL (SELECT f.fingerprint FROM unnest(had) AS f);
    END IF;
    RETURN t;
END
$$;

-- The entry of a plaintext that somebody else than its owner was shown.
CREATE FUNCTION walwarden._note_revealed(c walwarden.caller, t walwarden.token, m walwarden.member) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._append(t.org_id, 'token.revealed_for_owner', jsonb_build_object(
        'actor', walwarden._actor(c, t.org_id),
        'token', jsonb_build_object('id', t.id, 'name', t.name, 'scopes', t.scopes),
        'owner', jsonb_build_object('id', m.id, 'subject', m.subject)));
END
$$;

CREATE FUNCTION walwarden._issue_token(
        org text, wanted_name text, wanted_scopes text[], expiry timestamptz, owner text, from_role text, wanted_kind text,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    target text := CASE WHEN owner IS NULL THEN 'shared'
                        WHEN owner = (walwarden._caller_member(c, (SELECT f.id FROM walwarden.org AS f WHERE f.slug = org))).subject THEN 'own'
                        ELSE 'private' END;
    o walwarden.org := walwarden._lock_org(c, org, 'token.issue', target);
    m walwarden.member;
    t walwarden.token;
    cred walwarden.credential;
    carried text[];
BEGIN
    c := walwarden._caller();       -- after the wait
    IF from_role IS NOT NULL THEN
        PERFORM walwarden._require(c, o.id, 'token.issue', 'role');
    END IF;
    IF wanted_kind = 'node' THEN
        PERFORM walwarden._require(c, o.id, 'token.issue', 'node');
    END IF;

    PERFORM walwarden._check_text('token name', wanted_name, 100);
    PERFORM walwarden._check_scopes(wanted_scopes);
    expiry := walwarden._check_expiry(expiry);
    IF wanted_kind IS NULL OR wanted_kind NOT IN ('api', 'node') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown token kind %s', walwarden._shown(wanted_kind)),
            HINT = 'Issue kind api or node.';
    ELSIF wanted_kind = 'node' AND (cardinality(wanted_scopes) > 0 OR from_role IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a node token has no scopes and no role',
            HINT = 'Leave scopes and role out: a node token opens the runner protocol only.';
    END IF;
    IF from_role IS NOT NULL THEN
        PERFORM walwarden._check_role(from_role);
        IF cardinality(wanted_scopes) > 0 THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = 'scopes and role exclude each other',
                HINT = 'Leave scopes out to take the permissions from the role, or leave the role out.';
        END IF;
    END IF;
    PERFORM walwarden._check_plan_has_tokens(o);

    carried := CASE WHEN from_role IS NULL THEN wanted_scopes ELSE walwarden._role_scopes(from_role) END;
    IF owner IS NOT NULL THEN
        m := walwarden._owner(o, owner);
        IF NOT EXISTS (SELECT FROM walwarden.role AS r WHERE r.name = m.role AND r.capabilities @> '{own_tokens}') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'insufficient_privilege',
                MESSAGE = format('members with the role %s have no private tokens', m.role),
                HINT = 'Issue a shared token, or change the member''s role.';
        END IF;
        PERFORM walwarden._check_within_role(carried, m, 'the owner');
    ELSIF NOT c.operator THEN
        PERFORM walwarden._check_within_role(carried, walwarden._caller_member(c, o.id), 'the issuer');
    END IF;
    PERFORM walwarden._check_token_limit(o);

    SELECT minted.token, minted.fingerprint INTO token, cred.fingerprint FROM walwarden._mint() AS minted;
    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.name := wanted_name;
    t.kind := wanted_kind;
    t.scopes := wanted_scopes[:];   -- from 1, whatever its bounds were
    t.role := from_role;
    t.owner_id := m.id;
    t.created_at := clock_timestamp();
    t.created_by := walwarden._caller_name(c, o.id);
    t.expires_at := expiry;
    cred.token_id := t.id;
    cred.kind := 'bearer';
    cred.created_at := t.created_at;

    t := walwarden._store_token(walwarden._actor(c, o.id), walwarden._transition('issue', 'none'), NULL, t, ARRAY[cred]);
    IF target = 'private' THEN
        PERFORM walwarden._note_revealed(c, t, m);
    END IF;

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

-- What listings show of a token.
CREATE TYPE walwarden.listed_token AS (
    token_id           uuid,
    name               text,
    fingerprint_handle text,
    kind               text,
    visibility         text,
    owner              text,
    role               text,
    scopes             text[],
    effective_scopes   text[],
    state              text,
    created_at         timestamptz,
    created_by         text,
    expires_at         timestamptz,
    last_used_at       timestamptz,
    disabled_at        timestamptz,
    disabled_reason    text,
    revoked_at         timestamptz,
    revoked_by         text,
    overlap_until      timestamptz
);

-- The same of every token, each resolved as authenticate() would.
CREATE VIEW walwarden._token_overview AS
    SELECT t.id AS token_id,
           t.name,
           (SELECT left(encode(cr.fingerprint, 'hex'), 12)
              FROM walwarden.credential AS cr
             WHERE cr.token_id = t.id AND cr.kind = 'bearer'
             ORDER BY cr.valid_until DESC NULLS FIRST, cr.created_at DESC LIMIT 1) AS fingerprint_handle,
           t.kind,
           CASE WHEN t.owner_id IS NULL THEN 'shared' ELSE 'private' END AS visibility,
           m.subject AS owner,
           t.role,
           t.scopes,
           standing.effective_scopes,
           standing.state,
           t.created_at,
           t.created_by,
           t.expires_at,
           greatest(u.last_used_at, walwarden._noted_use(t.id)) AS last_used_at,
           t.disabled_at,
           t.disabled_reason,
           t.revoked_at,
           t.revoked_by,
           (SELECT max(cr.valid_until)
              FROM walwarden.credential AS cr
             WHERE cr.token_id = t.id AND cr.valid_until > clock_timestamp()) AS overlap_until
      FROM walwarden.token AS t
      LEFT JOIN walwarden.member AS m ON m.id = t.owner_id
      LEFT JOIN walwarden.token_usage AS u ON u.token_id = t.id
     CROSS JOIN LATERAL walwarden._token_standing(t.id) AS standing
     WHERE t.removed_at IS NULL;

CREATE FUNCTION walwarden._list_tokens(org text, after uuid, max_rows integer)
    RETURNS SETOF walwarden.listed_token
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._org(c, org, 'token.list', 'own');
    every boolean := walwarden._may(c, o.id, 'token.list', 'all');
    me uuid := (walwarden._caller_member(c, o.id)).id;
    last walwarden.token;
    page uuid[];
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR max_rows > 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'max_rows is not between 1 and 1000',
            HINT = 'List in pages: give the last token_id of one page as after of the next.';
    END IF;
    IF after IS NOT NULL THEN
        SELECT * INTO last FROM walwarden.token AS t WHERE t.id = after AND t.org_id = o.id AND (every OR t.owner_id = me);
        IF NOT FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('after is no token of %s', walwarden._shown(o.slug)),
                HINT = 'Give the last token_id of the page before, or NULL for the first page.';
        END IF;
    END IF;
    -- first the page, by index, and only then what is costly to know of a token
    IF every THEN
        page := ARRAY(SELECT t.id FROM walwarden.token AS t
                       WHERE t.org_id = o.id AND t.removed_at IS NULL
                         AND (t.created_at, t.id) < (coalesce(last.created_at, 'infinity'), coalesce(last.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows);
    ELSE
        page := ARRAY(SELECT t.id FROM walwarden.token AS t
                       WHERE t.owner_id = me AND t.removed_at IS NULL
                         AND (t.created_at, t.id) < (coalesce(last.created_at, 'infinity'), coalesce(last.id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows);
    END IF;
    RETURN QUERY
        SELECT v.*
          FROM walwarden._token_overview AS v
         WHERE v.token_id = ANY (page)
         ORDER BY v.created_at DESC, v.token_id DESC;
END
$$;

CREATE FUNCTION walwarden._visible_tokens()
    RETURNS SETOF walwarden.listed_token
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    ids uuid[];
BEGIN
    IF walwarden._may(c, NULL, 'token.list', 'all') THEN
        RETURN QUERY
            SELECT v.*
              FROM walwarden._token_overview AS v
             ORDER BY v.created_at DESC, v.token_id DESC;
    ELSE
        ids := ARRAY(
            WITH mine AS MATERIALIZED (
                SELECT m.id, m.org_id, walwarden._may(c, m.org_id, 'token.list', 'all') AS every
                  FROM walwarden._memberships(c) AS m
                 WHERE walwarden._may(c, m.org_id, 'token.list', 'own'))
            SELECT t.id FROM mine AS i JOIN walwarden.token AS t ON t.org_id = i.org_id WHERE i.every
            UNION ALL
            SELECT t.id FROM mine AS i JOIN walwarden.token AS t ON t.owner_id = i.id WHERE NOT i.every);
        RETURN QUERY
            SELECT v.*
              FROM walwarden._token_overview AS v
             WHERE v.token_id = ANY (ids)
             ORDER BY v.created_at DESC, v.token_id DESC;
    END IF;
END
$$;

CREATE FUNCTION walwarden.issue_token(
        org text, name text, scopes text[] DEFAULT '{}', expires_at timestamptz DEFAULT NULL,
        owner text DEFAULT NULL, role text DEFAULT NULL, kind text DEFAULT 'api',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.issue_token(text, text, text[], timestamptz, text, text, text) IS
'Issues a token and returns its plaintext, wal_ and 64 hex digits, once: only its SHA-256 fingerprint is stored. name: 1 to 100 characters. scopes: at most 200 names of the catalogue, each once. expires_at: before the year 10000, NULL or infinity for none. owner: NULL for a shared token, else the subject whose private token it is. role: take the permissions from this role instead of scopes. kind: api or node. Shared, role and node tokens for operators, owners and admins; a private one for its owner, and for operators, audited as revealed. Errors: 42501 no right or scopes wider than the owner''s, 42704 unknown organisation, owner or role, 22023 bad value, 55000 wrong plan or disabled owner, 53400 too many tokens. Example: SELECT * FROM walwarden.issue_token(''acme'', ''ci'', ARRAY[''databases:read''], now() + interval ''90 days'');';

CREATE FUNCTION walwarden.list_tokens(org text, after uuid DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS SETOF walwarden.listed_token
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_tokens(text, uuid, integer) IS
'Lists the tokens of an organisation, newest first, revoked ones too; a page of max_rows (1 to 1000) after the token_id that ended the page before. All tokens for operators, owners and admins; their own for other members. Errors: 42501 no member, 42704 unknown organisation, 22023 bad page. Example: SELECT name, state, last_used_at FROM walwarden.list_tokens(''acme'');';

CREATE FUNCTION walwarden.visible_tokens()
    RETURNS SETOF walwarden.listed_token
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.visible_tokens() IS
'The door behind the view token_list: every token that the caller may see, of all organisations. Errors: none. Example: SELECT name FROM walwarden.token_list;';

CREATE VIEW walwarden.token_list WITH (security_barrier) AS
    SELECT * FROM walwarden.visible_tokens();
-- What becomes of a token: disable, enable, update, renew, revoke, expire, remove.
-- Which action leads from which state to which is data (token_transition), and so
-- is who may do it (permission); here is how each is done.

-- For what nobody did but time.
CREATE FUNCTION walwarden._system_actor() RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('kind', 'system', 'role', NULL, 'subject', NULL)
$$;

CREATE FUNCTION walwarden._state(t walwarden.token) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (walwarden._token_standing(t.id)).state
$$;

-- An expiry is one entry: here, by whatever comes first to a token that has
-- passed it unrecorded.
CREATE FUNCTION walwarden._record_expiry(was walwarden.token) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := was;
BEGIN
    IF was.expired_at IS NOT NULL OR walwarden._state(was) IS DISTINCT FROM 'expired' THEN
        RETURN was;
    END IF;
    t.expired_at := was.expires_at;
    RETURN walwarden._store_token(walwarden._system_actor(),
        walwarden._transition('expire', CASE WHEN was.disabled_at IS NULL THEN 'active' ELSE 'disabled' END), was, t);
END
$$;

-- Tokens that ended and are neither revoked nor removed, and since when: disabled,
-- expired, or stopped by their owner's disabling, whichever came first. To be
-- asked by id, owner or org; maintenance finds whom to ask about by index.
CREATE VIEW walwarden._ended_token AS
    SELECT e.id, e.org_id, e.owner_id, e.expires_at <= clock_timestamp() AND e.expired_at IS NULL AS unrecorded,
           e.ended_at + o.retention <= clock_timestamp() AS overdue,
           CASE e.ended_at WHEN e.disabled_at THEN 'disabled' WHEN e.expires_at THEN 'expired' ELSE 'owner disabled' END AS reason
      FROM (SELECT t.*, least(t.disabled_at, CASE WHEN t.expires_at <= clock_timestamp() THEN t.expires_at END, m.disabled_at) AS ended_at
              FROM walwarden.token AS t
              LEFT JOIN walwarden.member AS m ON m.id = t.owner_id
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL) AS e
      JOIN walwarden.org AS o ON o.id = e.org_id
     WHERE e.ended_at IS NOT NULL;

-- Ends a token whose retention is over: its values are erased, its row is marked.
CREATE FUNCTION walwarden._remove_token(was walwarden.token, reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token;
BEGIN
    was := walwarden._record_expiry(was);
    t := was;
    t.removed_at := clock_timestamp();
    PERFORM walwarden._store_token(walwarden._system_actor(), walwarden._transition('remove', walwarden._state(was)),
                                   was, t, '{}', reason);
END
$$;

-- Carries out what time decided about tokens of one org: puts expiries on record and
-- removes what is overdue. Returns whether there was anything. The caller holds the
-- lock of the org.
CREATE FUNCTION walwarden._end_tokens(ids uuid[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e record;
    changed boolean := false;
BEGIN
    -- all rows before the first entry: the lock of the chain comes last, always
    PERFORM FROM walwarden.token AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR NO KEY UPDATE;
    FOR e IN SELECT t, n.overdue, n.reason
               FROM walwarden._ended_token AS n JOIN walwarden.token AS t ON t.id = n.id
              WHERE n.id = ANY (ids) AND (n.overdue OR n.unrecorded)
              ORDER BY n.id LOOP
        IF e.overdue THEN
            PERFORM walwarden._remove_token(e.t, e.reason);
        ELSE
            PERFORM walwarden._record_expiry(e.t);
        END IF;
        changed := true;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._tokens_of(owner_id uuid) RETURNS uuid[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(SELECT t.id FROM walwarden.token AS t
                  WHERE t.owner_id = $1 AND t.revoked_at IS NULL AND t.removed_at IS NULL)
$$;

-- What a token is to the caller: one's own, another member's, or shared. One that
-- they may not see is to them as another member's, like one that does not exist.
CREATE FUNCTION walwarden._token_target(c walwarden.caller, t walwarden.token) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN t.owner_id = (walwarden._caller_member(c, t.org_id)).id THEN 'own'
                WHEN t.id IS NOT NULL AND t.owner_id IS NULL AND walwarden._may(c, t.org_id, 'token.list', 'all') THEN 'shared'
                ELSE 'private' END
$$;

-- The token, locked, for a caller who may do action on it, with its expiry on
-- record. It waits: whoever calls it asks for the caller after it. Whoever is no operator gets the same refusal for an unknown token as
-- for a foreign one.
CREATE FUNCTION walwarden._token_for_change(token_id uuid, action text) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    t walwarden.token;
    target text;
BEGIN
    IF token_id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'token_id is missing',
            HINT = 'SELECT token_id, name FROM walwarden.token_list shows your tokens.';
    END IF;
    SELECT * INTO t FROM walwarden.token AS f WHERE f.id = token_id AND f.removed_at IS NULL;
    IF t.id IS NOT NULL OR NOT c.operator THEN
        target := walwarden._token_target(c, t);
        PERFORM walwarden._require(c, t.org_id, action, target);
        PERFORM walwarden._hold_org(t.org_id, action, target);
        SELECT * INTO t FROM walwarden.token AS f WHERE f.id = token_id AND f.removed_at IS NULL FOR NO KEY UPDATE;
    END IF;
    IF t.id IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('token %s does not exist', token_id),
            HINT = 'SELECT token_id, name FROM walwarden.token_list shows the tokens.';
    END IF;
    RETURN walwarden._record_expiry(t);
END
$$;

-- A token can only be made to work where the plan has tokens; a revoked one never is.
CREATE FUNCTION walwarden._check_plan_of(t walwarden.token) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o walwarden.org;
BEGIN
    IF t.revoked_at IS NULL THEN
        SELECT * INTO o FROM walwarden.org WHERE org.id = t.org_id;
        PERFORM walwarden._check_plan_has_tokens(o);
    END IF;
END
$$;

CREATE FUNCTION walwarden._disable_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.disable');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    event text;
BEGIN
    PERFORM walwarden._check_reason(reason);
    event := walwarden._transition('disable', walwarden._state(was));
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.disabled_at := clock_timestamp();
    t.disabled_by := walwarden._caller_name(c, t.org_id);
    t.disabled_by_owner := walwarden._token_target(c, was) = 'own';
    t.disabled_reason := reason;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._enable_token(token_id uuid, expiry timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.enable');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    state text := walwarden._state(was);
    event text := walwarden._transition('enable', state);
BEGIN
    IF walwarden._token_target(c, was) = 'private' AND event IS NOT NULL
       AND (was.disabled_by_owner IS DISTINCT FROM false OR state = 'expired' OR expiry IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'a private token that its owner disabled or that expired is enabled, and its expiry changed, by its owner',
            HINT = 'Operators, owners and admins enable what one of them disabled, with the expiry that it has.';
    END IF;
    IF EXISTS (SELECT FROM walwarden._ended_token AS e WHERE e.id = was.id AND e.overdue) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('token %s is to be removed', token_id),
            HINT = 'It ended longer ago than the retention of its organisation: issue a new token.';
    END IF;
    PERFORM walwarden._check_plan_of(was);
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden._check_expiry(expiry);
    ELSIF state = 'expired' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'an expired token needs a new expiry',
            HINT = 'Give expires_at, for example now() + interval ''90 days'', or ''infinity'' for none.';
    END IF;
    IF event IS NULL THEN
        -- it works already; only its expiry could differ, and that is another function's
        IF t.expires_at IS DISTINCT FROM was.expires_at THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'the token is not disabled',
                HINT = 'Change its expiry with walwarden.update_token().';
        END IF;
        RETURN false;
    END IF;
    t.disabled_at := NULL;
    t.disabled_by := NULL;
    t.disabled_by_owner := NULL;
    t.disabled_reason := NULL;
    t.expired_at := NULL;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._update_token(token_id uuid, new_name text, new_scopes text[], expiry timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.token := walwarden._token_for_change(token_id, 'token.update');
    c walwarden.caller := walwarden._caller();      -- after the wait
    t walwarden.token := was;
    event text;
    m walwarden.member;
BEGIN
    PERFORM walwarden._check_plan_of(was);
    event := walwarden._transition('update', walwarden._state(was));
    IF new_name IS NOT NULL THEN
        PERFORM walwarden._check_text('token name', new_name, 100);
        t.name := new_name;
    END IF;
    IF expiry IS NOT NULL THEN
        t.expires_at := walwarden._check_expiry(expiry);
    END IF;
    IF new_scopes IS NOT NULL THEN
        IF was.kind = 'legacy' OR (new_scopes <> '{}' AND (was.kind = 'node' OR was.role IS NOT NULL)) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = CASE WHEN was.kind = 'legacy' THEN 'the permissions of a backward-compatible token cannot be changed'
                               WHEN was.kind = 'node' THEN 'a node token has no scopes'
                               ELSE format('the permissions of the token come from the role %s', was.role) END,
                HINT = CASE WHEN was.kind = 'legacy' THEN 'They are those of its owner''s role. Revoke it and issue another token with scopes of its own.'
                            ELSE 'Issue another token with scopes of its own.' END;
        END IF;
        PERFORM walwarden._check_scopes(new_scopes);
        IF was.owner_id IS NOT NULL THEN
            SELECT * INTO m FROM walwarden.member AS f WHERE f.id = was.owner_id;
            PERFORM walwarden._check_within_role(new_scopes, m, 'the owner');
        ELSIF NOT c.operator THEN
            PERFORM walwarden._check_within_role(new_scopes, walwarden._caller_member(c, was.org_id), 'the issuer');
        END IF;
        t.scopes := new_scopes[:];  -- from 1, whatever its bounds were
    END IF;
    IF t IS NOT DISTINCT FROM was THEN
        RETURN false;
    END IF;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

-- The value that a token is opened with from now on, beside the one before until
-- that ends. A pair ends at once: see _end_pair().
CREATE FUNCTION walwarden._renew_token(
        wanted_id uuid, overlap interval,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := walwarden._token_for_change(wanted_id, 'token.renew');
    c walwarden.caller := walwarden._caller();      -- after the wait
    event text;
    old walwarden.credential;
    new walwarden.credential;
    seconds numeric := extract(epoch FROM overlap);
BEGIN
    -- in seconds: a month or a year compares as so many days, and adds as others
    IF overlap IS NULL OR seconds NOT BETWEEN 0 AND 7 * 86400
       OR extract(year FROM overlap) <> 0 OR extract(month FROM overlap) <> 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'overlap is not between 0 and 7 days',
            HINT = 'It is for how long the value before goes on working, for example ''1 hour''.';
    END IF;
    PERFORM walwarden._check_plan_of(t);
    event := walwarden._transition('renew', walwarden._state(t));
    -- it hands out a plaintext, as issuing does
    IF t.owner_id IS NULL AND NOT c.operator THEN
        PERFORM walwarden._check_within_role(CASE WHEN t.role IS NULL THEN t.scopes ELSE walwarden._role_scopes(t.role) END,
                                             walwarden._caller_member(c, t.org_id), 'the issuer');
    END IF;
    t := walwarden._end_pair(walwarden._actor(c, t.org_id), t, 'value renewed');

    SELECT minted.token, minted.fingerprint INTO token, new.fingerprint FROM walwarden._mint() AS minted;
    new.token_id := t.id;
    new.kind := 'bearer';
    new.created_at := clock_timestamp();
    SELECT * INTO old FROM walwarden.credential AS f WHERE f.token_id = t.id AND f.valid_until IS NULL;
    old.valid_until := new.created_at + make_interval(secs => seconds::double precision);
    t := walwarden._store_token(walwarden._actor(c, t.org_id), event, t, t, ARRAY[old, new]);

    token_id := t.id;
    name := t.name;
    scopes := t.scopes;
    expires_at := t.expires_at;
    created_at := t.created_at;
END
$$;

-- False when it was revoked before. The caller holds the lock of the row.
CREATE FUNCTION walwarden._revoke(c walwarden.caller, was walwarden.token, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := was;
    event text := walwarden._transition('revoke', walwarden._state(was));
BEGIN
    IF event IS NULL THEN
        RETURN false;
    END IF;
    t.revoked_at := clock_timestamp();
    t.revoked_by := walwarden._caller_name(c, t.org_id);
    t.revoked_reason := reason;
    PERFORM walwarden._store_token(walwarden._actor(c, t.org_id), event, was, t);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._revoke_token(token_id uuid, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t walwarden.token := walwarden._token_for_change(token_id, 'token.revoke');
    c walwarden.caller := walwarden._caller();      -- after the wait
BEGIN
    PERFORM walwarden._check_reason(reason);
    RETURN walwarden._revoke(c, t, reason);
END
$$;

-- What changes of a member ends or stops tokens: here, and not with the other
-- functions of members.

CREATE FUNCTION walwarden._remove_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    t walwarden.token;
BEGIN
    PERFORM walwarden._check_last_manager(was);
    PERFORM walwarden._end_tokens(walwarden._tokens_of(m.id));
    FOR t IN SELECT f.* FROM walwarden.token AS f WHERE f.id = ANY (walwarden._tokens_of(m.id)) ORDER BY f.id LOOP
        PERFORM walwarden._revoke(c, t, 'owner removed');
    END LOOP;
    m.removed_at := clock_timestamp();
    RETURN walwarden._update_member(c, 'member.removed', was, m);
END
$$;

-- What was overdue before is removed first, and does not come back.
CREATE FUNCTION walwarden._enable_member(org text, subject text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    ended boolean;
BEGIN
    ended := walwarden._end_tokens(walwarden._tokens_of(m.id));
    m.disabled_at := NULL;
    RETURN walwarden._update_member(c, 'member.enabled', was, m) OR ended;
END
$$;

-- Who signs in by SSO has no pair of a UUID and a secret any more.
CREATE FUNCTION walwarden._set_member_sso(org text, subject text, enabled boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.member := walwarden._member_for_change(org, subject);
    c walwarden.caller := walwarden._caller();      -- after the wait
    m walwarden.member := was;
    t walwarden.token;
BEGIN
    IF enabled IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'enabled is missing',
            HINT = 'Give true or false.';
    END IF;
    IF enabled THEN
        PERFORM FROM walwarden.token AS f WHERE f.owner_id = m.id AND f.kind = 'legacy' ORDER BY f.id FOR NO KEY UPDATE;
        FOR t IN SELECT f.* FROM walwarden.token AS f
                  WHERE f.owner_id = m.id AND f.kind = 'legacy' AND f.removed_at IS NULL
                  ORDER BY f.id LOOP
            PERFORM walwarden._end_pair(walwarden._actor(c, m.org_id), walwarden._record_expiry(t), 'SSO enabled');
        END LOOP;
    END IF;
    m.sso := enabled;
    RETURN walwarden._update_member(c, 'member.sso_changed', was, m);
END
$$;

CREATE FUNCTION walwarden.disable_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.disable_token(uuid, text) IS
'Stops a token, all its values with it, until it is enabled again, for every transaction that starts after this one commits; it is removed when it has been disabled for longer than the organisation''s retention. reason: NULL or 1 to 500 characters. Own private tokens for any member; all tokens for operators, owners and admins. Returns false, and records nothing, when it was disabled before. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad value, 55000 revoked or expired. Example: SELECT walwarden.disable_token(token_id, ''on leave'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.enable_token(token_id uuid, expires_at timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.enable_token(uuid, timestamptz) IS
'Makes a disabled or expired token work again. expires_at: a new expiry, infinity for none; NULL keeps one that lies ahead. A private token for its owner; for operators, owners and admins where one of these disabled it; shared ones for operators, owners and admins. Returns false, and records nothing, when it was neither disabled nor expired. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token or one that is to be removed, 22023 expiry in the past or missing for an expired token, 55000 revoked, wrong plan, or a new expiry for a token that is not disabled. Example: SELECT walwarden.enable_token(token_id, now() + interval ''90 days'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.update_token(
        token_id uuid, name text DEFAULT NULL, scopes text[] DEFAULT NULL, expires_at timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.update_token(uuid, text, text[], timestamptz) IS
'Changes the name, the scopes or the expiry of a token; NULL leaves a thing as it is, infinity takes an expiry away. The value that opens it stays. A private token for its owner alone; shared ones for operators, owners and admins. Returns false, and records nothing, when nothing differs. Errors: 42501 no right, scopes wider than the owner''s or, but for operators, no such token, 42704 unknown token, 22023 bad value, 55000 revoked or expired, wrong plan, or scopes of a token whose permissions are not its own (legacy, node, from a role). Example: SELECT walwarden.update_token(token_id, scopes => ARRAY[''databases:read'']) FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';

CREATE FUNCTION walwarden.renew_token(
        token_id uuid, overlap interval DEFAULT '0',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.renew_token(uuid, interval) IS
'Gives a token a new value and returns it, once; id, name, scopes and expiry stay. overlap: for how long the value before goes on working, 0 to 7 days; the listing shows its end. At most two values work: another renewal ends the older one. Of a backward-compatible token it ends the pair for good. A private token for its owner alone; shared ones for operators, owners and admins. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad overlap, 55000 not active. Example: SELECT r.token FROM walwarden.list_tokens(''acme'') AS t, walwarden.renew_token(t.token_id, ''1 hour'') AS r WHERE t.name = ''ci'';';

CREATE FUNCTION walwarden.revoke_token(token_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.revoke_token(uuid, text) IS
'Revokes a token for good, with effect for every transaction that starts after this one commits. reason: NULL or 1 to 500 characters. Own private tokens for any member; all tokens for operators, owners and admins. Returns false, and records nothing, when it was revoked before. Errors: 42501 no right or, but for operators, no such token, 42704 unknown token, 22023 bad value. Example: SELECT walwarden.revoke_token(token_id, ''laptop lost'') FROM walwarden.list_tokens(''acme'') WHERE name = ''ci'';';
-- Backward-compatible credentials: a pair of a UUID and a secret from an older
-- system, imported as a token of kind legacy. Its permissions are its owner's
-- role. The pair opens it until it ends for good; so does a value like that of any
-- other token, which import returns and renew_token() replaces.

-- SHA-256 of lower(uuid) || ':' || secret; NULL for what no request can present.
CREATE FUNCTION walwarden._pair_fingerprint(legacy_uuid text, secret text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_pair_fingerprint';

CREATE FUNCTION walwarden._check_secret(secret text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF secret IS NULL OR length(secret) < 32 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has less than 32 characters',
            HINT = 'A shorter one can be guessed from its fingerprint: issue a token instead.';
    ELSIF length(secret) > 512 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has more than 512 characters',
            HINT = 'Give the secret alone, without the UUID, quotes or encoding.';
    ELSIF secret !~ '^[!-~]+$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has a character that no request header can carry',
            HINT = 'A secret is visible ASCII characters, without spaces.';
    END IF;
END
$$;

-- The token without its pair, audited; as it was when it has none or is revoked.
CREATE FUNCTION walwarden._end_pair(actor jsonb, t walwarden.token, reason text) RETURNS walwarden.token
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    credentials walwarden.credential[] := walwarden._credentials(t.id);
BEGIN
    IF t.revoked_at IS NOT NULL OR NOT EXISTS (SELECT FROM unnest(credentials) AS f WHERE f.kind = 'legacy') THEN
        RETURN t;
    END IF;
    RETURN walwarden._store_token(actor, 'legacy.ended', t, t,
        ARRAY(SELECT credentials[i] FROM generate_subscripts(credentials, 1) AS i WHERE credentials[i].kind <> 'legacy'),
        reason);
END
$$;

-- Whether no token has this fingerprint, here or in a transaction that is waited
-- for: one of another org can be importing the same pair.
CREATE FUNCTION walwarden._is_new_pair(fingerprint bytea) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._take_request_lock(substr(encode(fingerprint, 'hex'), 1, 32)::uuid);
    RETURN NOT EXISTS (SELECT FROM walwarden.credential AS f WHERE f.fingerprint = _is_new_pair.fingerprint);
END
$$;

CREATE FUNCTION walwarden._import_legacy_credential(
        org text, owner text, legacy_uuid uuid, secret text, wanted_name text,
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org := walwarden._lock_org(c, org, 'legacy.import', 'any');
    m walwarden.member;
    t walwarden.token;
    pair walwarden.credential;
    bearer walwarden.credential;
BEGIN
    c := walwarden._caller();       -- after the wait
    PERFORM walwarden._check_text('token name', wanted_name, 100);
    PERFORM walwarden._check_secret(secret);
    IF legacy_uuid IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'legacy_uuid is missing',
            HINT = 'Give the UUID that requests send in X-WallarmAPI-UUID.';
    END IF;
    PERFORM walwarden._check_plan_has_tokens(o);
    m := walwarden._owner(o, owner);
    IF m.sso THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('member %s signs in by SSO', walwarden._shown(owner)),
            HINT = 'SSO ends pairs of a UUID and a secret: issue a token instead.';
    END IF;
    PERFORM walwarden._check_token_limit(o);

    t.id := gen_random_uuid();
    t.org_id := o.id;
    t.name := wanted_name;
    t.kind := 'legacy';
    t.owner_id := m.id;
    t.created_at := clock_timestamp();
    t.created_by := walwarden._caller_name(c, o.id);
    pair.fingerprint := walwarden._pair_fingerprint(legacy_uuid::text, secret);
    pair.token_id := t.id;
    pair.kind := 'legacy';
    pair.created_at := t.created_at;
    IF NOT walwarden._is_new_pair(pair.fingerprint) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = 'this pair of a UUID and a secret was imported already',
            HINT = 'It stays with the token that it was imported for, also when that is revoked: issue a token instead.';
    END IF;
    bearer := pair;
    bearer.kind := 'bearer';
    SELECT minted.token, minted.fingerprint INTO token, bearer.fingerprint FROM walwarden._mint() AS minted;
    t := walwarden._store_token(walwarden._actor(c, o.id), walwarden._transition('import', 'none'), NULL, t, ARRAY[pair, bearer]);
    PERFORM walwarden._note_revealed(c, t, m);

    token_id := t.id;
    name := t.name;
    created_at := t.created_at;
END
$$;

CREATE FUNCTION walwarden.import_legacy_credential(
        org text, owner text, legacy_uuid uuid, secret text, name text DEFAULT 'backward-compatible',
        OUT token_id uuid, OUT token text, OUT name text, OUT scopes text[], OUT expires_at timestamptz, OUT created_at timestamptz)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.import_legacy_credential(text, text, uuid, text, text) IS
'Takes over a pair of a UUID and a secret as a private token of owner, of kind legacy, and returns a value for it, once, as issue_token() does; scopes is NULL. Requests authenticate with the pair in X-WallarmAPI-UUID and X-WallarmAPI-Secret, or with the value in X-WallarmApi-Token. Its permissions are the owner''s role, not shown and not changeable. Renewing the value, or SSO for the owner, ends the pair for good. secret: 32 to 512 visible ASCII characters; only SHA-256 of lower(uuid) || '':'' || secret is stored. For operators; audited as revealed. Pass the secret as a parameter. Errors: 42501 no operator, 42704 unknown organisation or owner, 22023 bad value, 23505 imported before, 55000 wrong plan, disabled owner or SSO, 53400 too many tokens. Example: SELECT o.email, i.token FROM old_keys AS o, walwarden.import_legacy_credential(''acme'', o.email, o.uuid, o.secret) AS i;';
-- Nodes: the machines that run jobs. They speak with a node token, or one whose
-- role may register nodes; what they do with jobs is the runner protocol.

CREATE FUNCTION walwarden._register_node(name text, version text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    runner_org uuid := walwarden._require_runner(c);
    was walwarden.node;
    n walwarden.node;
BEGIN
    PERFORM walwarden._check_text('node name', name, 100);
    PERFORM walwarden._check_text('node version', version, 100);
    PERFORM walwarden._take_org_lock(runner_org);
    SELECT * INTO was FROM walwarden.node AS f WHERE f.org_id = runner_org AND f.name = name;
    IF was.token_id = walwarden.current_token_id() AND was.version = version THEN
        RETURN was.id;
    ELSIF was.id IS NULL AND (SELECT count(*) FROM walwarden.node AS f WHERE f.org_id = runner_org) >= 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = 'the organisation has 1000 nodes already',
            HINT = 'Register under the name of a node that is no longer there.';
    END IF;
    n := was;
    n.id := coalesce(was.id, gen_random_uuid());
    n.org_id := runner_org;
    n.token_id := walwarden.current_token_id();
    n.name := name;
    n.version := version;
    n.registered_at := clock_timestamp();
    n.audit_seq := walwarden._append(runner_org, 'node.registered',
        walwarden._change(walwarden._token_actor(c), 'node', n.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._node_state(was) END, walwarden._node_state(n)));
    INSERT INTO walwarden.node SELECT n.*
        ON CONFLICT ON CONSTRAINT node_pkey DO UPDATE
        SET token_id = n.token_id, version = n.version, registered_at = n.registered_at, audit_seq = n.audit_seq;
    RETURN n.id;
END
$$;

CREATE FUNCTION walwarden._list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    wanted uuid;
BEGIN
    -- a node sees those of its organisation
    IF org = walwarden.current_org() AND walwarden._is_granted(c.role, '{runner}')
       AND walwarden._speaks_for_node(walwarden.current_token_id()) THEN
        wanted := walwarden.current_org_id();
    ELSE
        wanted := (walwarden._org(c, org, 'node.list', 'any')).id;
    END IF;
    RETURN QUERY
        SELECT n.id, n.name, n.version, n.registered_at, n.token_id,
               CASE (s.standing).state WHEN 'unknown' THEN 'removed' ELSE (s.standing).state END
          FROM walwarden.node AS n
         CROSS JOIN LATERAL (SELECT walwarden._token_standing(n.token_id)) AS s(standing)
         WHERE n.org_id = wanted
         ORDER BY n.name;
END
$$;

CREATE FUNCTION walwarden.register_node(name text, version text) RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.register_node(text, text) IS
'Makes a node known under a name, 1 to 100 characters, with the version of what it runs; returns its id. The same name again is the same node: a new version or token is recorded, no difference is not. At most 1000 names an organisation. With a node token''s identity, or that of a token from the role deploy, in a role given grant_runner. Errors: 28000 no identity, 42501 no node token or role, 22023 bad name or version, 53400 too many, 55P03 locked for too long. Example: SELECT walwarden.register_node(''node-1'', ''2.4.0'');';

CREATE FUNCTION walwarden.list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_nodes(text) IS
'Lists the nodes of an organisation by name, with the token that last registered each and its state (active, inactive, disabled, expired, revoked or removed). For operators, owners and admins, and for a node of the organisation in a role given grant_runner. Errors: 42501 no right, 42704 unknown organisation. Example: SELECT name, version, token_state FROM walwarden.list_nodes(''acme'');';
-- Never holds a row: what changes rows that a token's standing depends on
-- invalidates this relation, and so tells every backend that what it remembers is
-- old (src/cache.c).
CREATE TABLE walwarden._standing_signal ();

CREATE FUNCTION walwarden._signal_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_signal_change';

-- The identity of a transaction. These run no SQL and read what only this
-- library can set; a SET clause on them would cost more than they do.

CREATE FUNCTION walwarden.authenticate(token text) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authenticate';
COMMENT ON FUNCTION walwarden.authenticate(text) IS
'Checks a token and makes it the identity of the current transaction, in place of an earlier one; returns its id. Unknown, malformed, expired, disabled, revoked and inactive tokens, and NULL, all give 28000 with one message. Pass the token as a parameter, never as a literal. Errors: 28000 bad token. Example: SELECT walwarden.authenticate($1);';

CREATE FUNCTION walwarden.authorize(token text, scope text) RETURNS uuid
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_authorize';
COMMENT ON FUNCTION walwarden.authorize(text, text) IS
'authenticate(token) and require_scope(scope) in one call, for the hot path of a gateway; returns the token''s id. Errors: 28000 bad token, 42501 scope not held, 22023 unknown scope. Example: SELECT walwarden.authorize($1, ''databases:read'');';

CREATE FUNCTION walwarden.has_scope(scope text) RETURNS boolean
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_has_scope';
COMMENT ON FUNCTION walwarden.has_scope(text) IS
'Whether the identity of this transaction holds a scope, as authenticate() found it; false without an identity, for an unknown scope and for NULL. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING ((SELECT walwarden.has_scope(''databases:read'')) AND org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.require_scope(scope text) RETURNS void
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_require_scope';
COMMENT ON FUNCTION walwarden.require_scope(text) IS
'Raises an error unless the identity of this transaction holds a scope. It is STABLE: a query that does not use its result may leave it out, so call it by itself. Errors: 28000 no identity, 42501 scope not held (DETAIL requiredScope=...), 22023 unknown scope or NULL, 55000 in a parallel worker. Example: SELECT walwarden.require_scope(''backups:trigger'');';

CREATE FUNCTION walwarden.current_token_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_token_id';
COMMENT ON FUNCTION walwarden.current_token_id() IS
'Id of the token that is the identity of this transaction; NULL without one. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_token_id();';

CREATE FUNCTION walwarden.current_org() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org';
COMMENT ON FUNCTION walwarden.current_org() IS
'Slug of the identity''s organisation; NULL without an identity. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_org();';

CREATE FUNCTION walwarden.current_org_id() RETURNS uuid
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_org_id';
COMMENT ON FUNCTION walwarden.current_org_id() IS
'Id of the identity''s organisation; NULL without an identity. Errors: 55000 in a parallel worker. Example: CREATE POLICY p ON t USING (org_id = (SELECT walwarden.current_org_id()));';

CREATE FUNCTION walwarden.current_subject() RETURNS text
    LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'walwarden_current_subject';
COMMENT ON FUNCTION walwarden.current_subject() IS
'Subject of the owner of the identity''s private token; NULL for a shared token and without an identity. Errors: 55000 in a parallel worker. Example: SELECT walwarden.current_subject();';

CREATE FUNCTION walwarden.introspect_token(token text) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'walwarden_introspect_token';
COMMENT ON FUNCTION walwarden.introspect_token(text) IS
'What a token is, without taking its identity. Active: {"active":true,"tokenId","org","kind","scopes","effectiveScopes","expiresAt"}, for operators also state. Otherwise exactly {"active":false}; for operators also what is known of it, state and reason. expiresAt: UTC, as text, or null. Pass the token as a parameter. Errors: none. Example: SELECT walwarden.introspect_token($1);';

-- Called by authenticate() where the worker does not do it, at most once a minute
-- for a token. Never waits.
CREATE FUNCTION walwarden._note_usage(token_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE walwarden.token_usage AS u
       SET last_used_at = clock_timestamp()
     WHERE u.token_id = (SELECT f.token_id FROM walwarden.token_usage AS f
                          WHERE f.token_id = _note_usage.token_id
                            FOR UPDATE SKIP LOCKED);
END
$$;

-- Called by the worker with tokens, each once, and when they were used. Never waits,
-- never turns a time back. Returns the tokens to come back to: another transaction
-- holds their row. Those without a row are none of them.
CREATE FUNCTION walwarden._flush_usage(ids uuid[], times timestamptz[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH used AS (
        SELECT f.token_id, n.at
          FROM unnest(ids, times) AS n(token_id, at)
          JOIN walwarden.token_usage AS f ON f.token_id = n.token_id
         WHERE f.last_used_at IS NULL OR f.last_used_at < n.at
           FOR UPDATE OF f SKIP LOCKED)
    UPDATE walwarden.token_usage AS u
       SET last_used_at = used.at
      FROM used
     WHERE u.token_id = used.token_id;
    RETURN QUERY
        SELECT f.token_id
          FROM unnest(ids, times) AS n(token_id, at)
          JOIN walwarden.token_usage AS f ON f.token_id = n.token_id
         WHERE f.last_used_at IS NULL OR f.last_used_at < n.at;
END
$$;

-- The table of uses in shared memory, of all databases; NULL without preload.
CREATE FUNCTION walwarden._usage_table(OUT slots integer, OUT used integer, OUT dirty integer, OUT lost bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_usage_table';
-- How many authentications were accepted and refused, for operators.

-- The counters in shared memory; no rows without preload.
CREATE FUNCTION walwarden._auth_counters() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_auth_counters';

CREATE FUNCTION walwarden._auth_statistics() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._require(walwarden._caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY SELECT * FROM walwarden._auth_counters();
END
$$;

CREATE FUNCTION walwarden.auth_statistics() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.auth_statistics() IS
'The door behind the view stat_auth. For operators. Errors: 42501 no operator. Example: SELECT reason, count FROM walwarden.stat_auth WHERE outcome = ''refused'';';

-- Read with the rights of the reader where the function is concerned: who is no
-- operator is refused, however they got SELECT.
CREATE VIEW walwarden.stat_auth AS
    SELECT * FROM walwarden.auth_statistics();
-- The triggers that append to the chain, that refuse changes, and that tell every
-- backend of changes, for everyone and under every session_replication_role. They are made from this list, and
-- the verifiers compare the server with it.

CREATE VIEW walwarden._protecting_trigger AS
    SELECT t.relation, t.trigger,
           format('CREATE TRIGGER %s %s %s ON walwarden.%s FOR EACH %s EXECUTE FUNCTION walwarden.%s()',
                  t.trigger, CASE t.trigger WHEN 'refresh_standing' THEN 'AFTER' ELSE 'BEFORE' END,
                  t.events, t.relation, t.level, t.function) AS definition
      FROM (VALUES
        -- hash NULL: a new entry, body holds its payload, the trigger fills in the rest;
        -- hash given: a restored entry, taken as it is if the CHECK holds
        ('audit_entry', 'append',          'INSERT',                     'ROW',       '_audit_append'),
        ('audit_entry', 'refuse_change',   'DELETE OR UPDATE',           'ROW',       '_refuse_change'),
        ('audit_entry', 'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- scopes may be added, through walwarden.create_scope()
        ('scope',       'refuse_builtin',  'INSERT',                     'ROW WHEN (new.builtin)', '_refuse_change'),
        ('scope',       'refuse_change',   'DELETE OR UPDATE',           'ROW',       '_refuse_change'),
        ('scope',       'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- the other catalogues are complete as they are installed
        ('role',        'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('role',        'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('plan',        'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('plan',        'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('capability',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('capability',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('permission',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('permission',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- what decides about a token stands in its credentials too
        ('credential',    'copy_standing',    'INSERT OR UPDATE',        'ROW',       '_copy_standing'),
        ('token',         'refresh_standing', 'INSERT OR DELETE OR UPDATE', 'ROW',       '_refresh_standing'),
        -- what a token's standing depends on; a new token, owner or org makes nothing old
        ('org',           'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('org',           'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('member',        'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('member',        'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('token',         'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('token',         'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('credential',    'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('credential',    'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('role_override', 'signal_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_signal_change'),
        ('role_override', 'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('scope',         'signal_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_signal_change'),
        ('scope',         'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('token_transition', 'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('token_transition', 'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('job_state',       'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('job_state',       'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('job_transition',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('job_transition',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_error',      'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_error',      'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_schema',     'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_schema',     'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_operation',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_operation',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change')
      ) AS t(relation, trigger, events, level, function);

DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT * FROM walwarden._protecting_trigger LOOP
        EXECUTE p.definition;
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', p.relation, p.trigger);
    END LOOP;
END
$$;

-- The catalogues as they are, in one value; and as they were installed, which
-- the verifiers compare. A delta that changes a catalogue replaces the second.
CREATE FUNCTION walwarden._catalogue_digest() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(sha256(convert_to(string_agg(c.line, chr(10) ORDER BY c.line COLLATE "C"), 'UTF8')), 'hex')
      FROM (SELECT jsonb_build_array('capability', c.name, c.description)::text FROM walwarden.capability AS c
            UNION ALL
            SELECT jsonb_build_array('permission', p.action, p.target, p.any_of)::text FROM walwarden.permission AS p
            UNION ALL
            SELECT jsonb_build_array('plan', p.name, p.api_tokens)::text FROM walwarden.plan AS p
            UNION ALL
            SELECT jsonb_build_array('role', r.name, r.scopes, r.capabilities, r.description)::text FROM walwarden.role AS r
            UNION ALL
            SELECT jsonb_build_array('scope', s.name, s.label, s.description)::text FROM walwarden.scope AS s WHERE s.builtin
            UNION ALL
            SELECT jsonb_build_array('token_transition', t.*)::text FROM walwarden.token_transition AS t
            UNION ALL
            SELECT jsonb_build_array('job_state', s.*)::text FROM walwarden.job_state AS s
            UNION ALL
            SELECT jsonb_build_array('job_transition', t.*)::text FROM walwarden.job_transition AS t
            UNION ALL
            SELECT jsonb_build_array('rest_error', e.*)::text FROM walwarden.rest_error AS e
            UNION ALL
            SELECT jsonb_build_array('rest_schema', s.*)::text FROM walwarden.rest_schema AS s
            UNION ALL
            SELECT jsonb_build_array('rest_operation', o.*)::text FROM walwarden.rest_operation AS o) AS c(line)
$$;

DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden._catalogue_installed() RETURNS text '
                   'LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %L', walwarden._catalogue_digest());
END
$$;
-- Reading, extending and verifying the audit chain.

-- The chain that a name means: the org of a slug, or the system chain.
CREATE FUNCTION walwarden._chain(c walwarden.caller, org text, action text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF org = '_system' THEN
        PERFORM walwarden._require(c, NULL, action, 'system');
        RETURN walwarden._system_org();
    END IF;
    RETURN (walwarden._org(c, org, action, 'org')).id;
END
$$;

CREATE FUNCTION walwarden._list_audit(org text, after_seq bigint, max_rows integer) RETURNS SETOF walwarden.audit_entry
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    chain uuid := walwarden._chain(c, org, 'audit.list');
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR max_rows > 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'max_rows is not between 1 and 1000',
            HINT = 'List in pages: give the last seq of one page as after_seq of the next.';
    ELSIF after_seq IS NULL OR after_seq < 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'after_seq is missing or negative',
            HINT = 'Give the last seq of the page before, or 0 for the first page.';
    END IF;
    PERFORM walwarden._settle_audit();
    RETURN QUERY
        SELECT e.* FROM walwarden.audit_entry AS e WHERE e.org_id = chain AND e.seq > after_seq ORDER BY e.seq LIMIT max_rows;
END
$$;

-- Who did it, for entries that a token causes.
CREATE FUNCTION walwarden._token_actor(c walwarden.caller) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('kind', 'token', 'role', c.role, 'tokenId', walwarden.current_token_id(),
                              'subject', walwarden.current_subject())
$$;

CREATE FUNCTION walwarden._append_audit(kind text, payload jsonb, job_id uuid, org text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    chain uuid;
    actor jsonb;
BEGIN
    SELECT o.id INTO chain FROM walwarden.org AS o WHERE o.slug = coalesce(org, walwarden.current_org());
    IF chain = walwarden.current_org_id()
       AND walwarden._is_granted(c.role, '{rest}') THEN
        actor := walwarden._token_actor(c);
    ELSIF org IS NULL AND chain IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'organisation is missing',
            HINT = 'Name the organisation, or authenticate a token first.';
    ELSE
        chain := (walwarden._org(c, coalesce(org, walwarden.current_org()), 'audit.append', 'org')).id;
        PERFORM walwarden._hold_org(chain, 'audit.append', 'org');
        actor := walwarden._actor(c, chain);
    END IF;
    IF kind IS NULL OR kind !~ '^app([.][a-z0-9_]+)+$' OR length(kind) > 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad audit kind %s', walwarden._shown(kind)),
            HINT = 'Kinds of your own are app. and lower-case words with dots between them, at most 100 characters: app.invoice.sent.';
    ELSIF payload IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'payload is missing',
            HINT = 'Give any JSON value with integers only; {} is one.';
    END IF;
    RETURN walwarden._append(chain, kind, jsonb_build_object('actor', actor, 'data', payload), job_id);
END
$$;

-- One chain, streamed in the order of seq: its entries and links, and the
-- expected head when one is given.
CREATE FUNCTION walwarden._verify_chain(
        org_id uuid, expected_seq bigint, expected_hash text,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_verify_chain';

-- NULL for what is no JSON: a tampered body must give a verdict, not an error.
CREATE FUNCTION walwarden._json(body text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN body::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- Order of keys in canonical JSON: UTF-16 code units, here as bytes.
CREATE FUNCTION walwarden._utf16(key text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(CASE WHEN u.cp < 65536 THEN decode(lpad(to_hex(u.cp), 4, '0'), 'hex')
                                    ELSE decode(to_hex(55296 + ((u.cp - 65536) >> 10)) || to_hex(56320 + ((u.cp - 65536) & 1023)), 'hex') END,
                               '' ORDER BY u.n), '')
      FROM (SELECT n, ascii(substr(key, n, 1)) FROM generate_series(1, length(key)) AS n) AS u(n, cp)
$$;

-- An integer within +-(2^53-1), or NULL.
CREATE FUNCTION walwarden._canonical_number(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE WHEN value::text ~ '^(0|-?[1-9][0-9]{0,15})$' AND abs(value::text::numeric) <= 9007199254740991
                    THEN value::text END;
    END;

-- Canonical JSON without the C code, for the SQL verifier; NULL, or not equal to
-- the body, for what is not canonical. Calls itself for arrays and objects only.
-- astral: there are characters beyond U+FFFF, without which the order of bytes is
-- that of UTF-16 units.
CREATE FUNCTION walwarden._canonical(value jsonb, astral boolean, depth integer DEFAULT 1) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- planning takes longer than the rest
AS $$
BEGIN
    IF depth > 64 THEN
        RETURN NULL;
    ELSIF jsonb_typeof(value) = 'object' THEN
        RETURN '{' || coalesce((
            SELECT string_agg(to_jsonb(m.key)::text || ':'
                              || CASE jsonb_typeof(m.value)
                                     WHEN 'object' THEN walwarden._canonical(m.value, astral, depth + 1)
                                     WHEN 'array' THEN walwarden._canonical(m.value, astral, depth + 1)
                                     WHEN 'number' THEN walwarden._canonical_number(m.value)
                                     ELSE m.value::text END,
                              ',' ORDER BY CASE WHEN astral THEN walwarden._utf16(m.key) END, m.key COLLATE "C")
              FROM jsonb_each(value) AS m), '') || '}';
    ELSIF jsonb_typeof(value) = 'array' THEN
        RETURN '[' || coalesce((
            SELECT string_agg(CASE jsonb_typeof(e.value)
                                  WHEN 'object' THEN walwarden._canonical(e.value, astral, depth + 1)
                                  WHEN 'array' THEN walwarden._canonical(e.value, astral, depth + 1)
                                  WHEN 'number' THEN walwarden._canonical_number(e.value)
                                  ELSE e.value::text END,
                              ',' ORDER BY e.n)
              FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n)), '') || ']';
    END IF;
    RETURN NULL;    -- no entry is a scalar
END
$$;

-- The first difference between the present state and what the chain says of
-- it. Every described row must equal the entry that it names, every entry that
-- describes a row must find it at that entry or a later one, every credential
-- must be committed to by its entry, and the guards must be as they were made.
CREATE FUNCTION walwarden._cross_check(chain uuid, OUT bad_seq bigint, OUT reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- definitions are compared as text
AS $$
    WITH entry AS MATERIALIZED (
        SELECT e.seq, walwarden._json(e.body) -> 'payload' AS payload
          FROM walwarden.audit_entry AS e
         WHERE e.org_id = chain
    ), described AS MATERIALIZED (
        SELECT d.type, d.id, d.audit_seq, d.state
          FROM walwarden._described AS d
         WHERE d.org_id = chain
    ), finding AS (
        SELECT d.audit_seq AS seq, format('%s %s differs from entry %s', d.type, d.id, d.audit_seq) AS reason
          FROM described AS d
          LEFT JOIN entry AS e ON e.seq = d.audit_seq
         WHERE e.payload -> 'object' IS DISTINCT FROM jsonb_build_object('type', d.type, 'id', d.id)
            OR e.payload -> 'after' IS DISTINCT FROM d.state
        UNION ALL
        SELECT e.seq, format('%s %s of entry %s is missing', e.payload #>> '{object,type}', e.payload #>> '{object,id}', e.seq)
          FROM entry AS e
          LEFT JOIN described AS d ON d.type = e.payload #>> '{object,type}' AND d.id = e.payload #>> '{object,id}'
         WHERE e.payload ? 'object' AND d.id IS NULL
        UNION ALL
        SELECT e.seq, format('%s %s is older than entry %s', d.type, d.id, e.seq)
          FROM entry AS e
          JOIN described AS d ON d.type = e.payload #>> '{object,type}' AND d.id = e.payload #>> '{object,id}'
         WHERE d.audit_seq < e.seq
        UNION ALL
        SELECT j.audit_seq, format('job %s does not begin at entry %s', j.id, j.first_seq)
          FROM walwarden.job AS j
          LEFT JOIN entry AS e ON e.seq = j.first_seq
         WHERE j.org_id = chain
           AND (e.payload #>> '{object,id}' IS DISTINCT FROM j.id::text OR e.payload -> 'before' IS DISTINCT FROM 'null')
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s is not in entry %s', c.token_id, c.audit_seq)
          FROM walwarden.credential AS c
          JOIN walwarden.token AS t ON t.id = c.token_id AND t.org_id = chain
          LEFT JOIN entry AS e ON e.seq = c.audit_seq
         WHERE (e.payload #> '{after,credentials}' @> jsonb_build_array(jsonb_build_object(
                   'commitment', walwarden._commitment(c.token_id, c.fingerprint)))) IS NOT TRUE
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s does not have its standing', c.token_id)
          FROM walwarden.credential AS c
          JOIN walwarden.token AS t ON t.id = c.token_id AND t.org_id = chain
         WHERE walwarden._with_standing(c, t) IS DISTINCT FROM c
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s has no token', c.token_id)
          FROM walwarden.credential AS c
         WHERE c.org_id = chain AND NOT EXISTS (SELECT FROM walwarden.token AS t WHERE t.id = c.token_id)
        UNION ALL
        SELECT NULL, format('trigger %s on walwarden.%s is missing, altered or not ENABLE ALWAYS', p.trigger, p.relation)
          FROM walwarden._protecting_trigger AS p
         WHERE NOT EXISTS (SELECT FROM pg_trigger AS g JOIN pg_class AS r ON r.oid = g.tgrelid
                            WHERE r.relnamespace = 'walwarden'::regnamespace
                              AND r.relname = p.relation AND g.tgname = p.trigger
                              AND g.tgenabled = 'A' AND pg_get_triggerdef(g.oid) = p.definition)
        UNION ALL
        SELECT NULL, format('constraint %s of walwarden.audit_entry is missing, altered or not validated', p.name)
          FROM (VALUES ('audit_entry_holds',
                        'CHECK (walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash))'),
                       ('audit_entry_pkey', 'PRIMARY KEY (org_id, seq)'),
                       ('audit_entry_org_id_prev_hash_key', 'UNIQUE (org_id, prev_hash)')) AS p(name, definition)
         WHERE NOT EXISTS (SELECT FROM pg_constraint AS k
                            WHERE k.conrelid = 'walwarden.audit_entry'::regclass
                              AND k.conname = p.name AND k.convalidated
                              AND pg_get_constraintdef(k.oid) = p.definition)
        UNION ALL
        SELECT NULL, format('rule %s stands on walwarden.%s', w.rulename, r.relname)
          FROM pg_rewrite AS w JOIN pg_class AS r ON r.oid = w.ev_class
         WHERE r.relnamespace = 'walwarden'::regnamespace AND r.relkind = 'r'
        UNION ALL
        SELECT NULL, 'the built-in catalogues are not as they were installed'
         WHERE walwarden._catalogue_digest() <> walwarden._catalogue_installed()
    )
    SELECT f.seq, f.reason FROM finding AS f ORDER BY f.seq NULLS LAST, f.reason LIMIT 1
$$;

-- Every chain there is: those of the orgs, the system's, and any that entries
-- name though its org is gone. Chains are found by skipping along the index.
CREATE FUNCTION walwarden._chains(OUT org_id uuid, OUT name text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE found AS (
        (SELECT e.org_id FROM walwarden.audit_entry AS e ORDER BY e.org_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.org_id FROM walwarden.audit_entry AS e WHERE e.org_id > f.org_id ORDER BY e.org_id LIMIT 1)
          FROM found AS f
         WHERE f.org_id IS NOT NULL
    ), chain AS (
        SELECT f.org_id FROM found AS f WHERE f.org_id IS NOT NULL
        UNION
        SELECT o.id FROM walwarden.org AS o
        UNION
        SELECT walwarden._system_org()
    )
    SELECT c.org_id, CASE WHEN c.org_id = walwarden._system_org() THEN '_system' ELSE coalesce(o.slug, c.org_id::text) END
      FROM chain AS c
      LEFT JOIN walwarden.org AS o ON o.id = c.org_id
     ORDER BY c.org_id <> walwarden._system_org(), o.slug, c.org_id
$$;

-- The entries of one chain, and once they are sound, the present state.
CREATE FUNCTION walwarden._verify(
        chain uuid, expected_seq bigint, expected_hash text,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason
      INTO entries, head_hash, first_bad_seq, reason
      FROM walwarden._verify_chain(chain, expected_seq, expected_hash) AS v;
    IF reason IS NULL THEN
        SELECT x.bad_seq, x.reason INTO first_bad_seq, reason FROM walwarden._cross_check(chain) AS x;
    END IF;
END
$$;

CREATE FUNCTION walwarden._verify_audit_chain(org text, expected_seq bigint, expected_hash text)
    RETURNS TABLE (org_name text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    wanted uuid;
    chain record;
BEGIN
    IF org IS NULL THEN
        PERFORM walwarden._require(c, NULL, 'audit.verify', 'all');
    ELSE
        wanted := walwarden._chain(c, org, 'audit.verify');
    END IF;
    IF (expected_seq IS NULL) <> (expected_hash IS NULL) OR (org IS NULL AND expected_seq IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'an expected head needs an organisation, a seq and a hash',
            HINT = 'Give all three, as an earlier verification of that chain returned them.';
    ELSIF expected_seq < 0 OR expected_hash !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad expected head',
            HINT = 'seq is 0 or more; hash is 64 lower-case hex digits.';
    END IF;
    FOR chain IN SELECT k.org_id, k.name FROM walwarden._chains() AS k WHERE wanted IS NULL OR k.org_id = wanted LOOP
        org_name := chain.name;
        SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason
          INTO entries, head_hash, first_bad_seq, reason
          FROM walwarden._verify(chain.org_id, expected_seq, expected_hash) AS v;
        ok := reason IS NULL;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION walwarden.list_audit(org text, after_seq bigint DEFAULT 0, max_rows integer DEFAULT 100) RETURNS SETOF walwarden.audit_entry
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_audit(text, bigint, integer) IS
'Lists the audit entries of an organisation, or of the system chain for org _system, in order: a page of max_rows (1 to 1000) after after_seq. For operators, and for owners and admins of the organisation. Errors: 42501 no right, 42704 unknown organisation, 22023 bad page. Example: SELECT seq, at, kind, body FROM walwarden.list_audit(''acme'');';

CREATE FUNCTION walwarden.append_audit(kind text, payload jsonb, job_id uuid DEFAULT NULL, org text DEFAULT NULL) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.append_audit(text, jsonb, uuid, text) IS
'Appends an entry of your application''s own to an organisation''s chain; returns its seq. kind: app. and lower-case words with dots, at most 100 characters. payload: JSON with integers only, stored under payload.data; an entry has at most 64 KiB. org NULL: the identity''s. For operators, owners and admins, and for a token''s identity in a role given grant_rest. Errors: 42501 no right, 42704 unknown organisation, 22023 bad kind or payload, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.append_audit(''app.invoice.sent'', ''{"invoice":17}'', NULL, ''acme'');';

CREATE FUNCTION walwarden.verify_audit_chain(org text DEFAULT NULL, expected_seq bigint DEFAULT NULL, expected_hash text DEFAULT NULL)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.verify_audit_chain(text, bigint, text) IS
'Verifies an audit chain, or with NULL every chain, and that the present state is what it says; writes nothing. With the seq and hash (64 lower-case hex digits) of an earlier head, which go with one org, it also finds a lost tail. entries counts what is there; head_hash, in hex, is that of the last. reason names the first finding, first_bad_seq its entry. For operators; for owners and admins with their organisation named. Errors: 42501 no right, 42704 unknown organisation, 22023 bad expected head. Example: SELECT * FROM walwarden.verify_audit_chain(''acme'');';

-- The same verdict without a line of this extension's C: hashes by pgcrypto,
-- rendering by to_char. For whoever does not trust the library, which has no part
-- in it but to flush what is judged.
CREATE FUNCTION walwarden.verify_audit_chain_sql(org text)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._settle_audit();
    WITH chain AS (
        SELECT c.org_id, c.name FROM walwarden._chains() AS c WHERE $1 IS NULL OR c.name = $1
        UNION ALL
        SELECT NULL, $1 WHERE $1 IS NOT NULL AND NOT EXISTS (SELECT FROM walwarden._chains() AS c WHERE c.name = $1)
    ), linked AS (
        SELECT e.*, c.name, walwarden._json(e.body) AS json,
               row_number() OVER w AS n,
               coalesce(lag(e.hash) OVER w,
                        walwarden._digest_sha256(convert_to('walwarden/audit/v1:' || e.org_id::text, 'UTF8'))) AS want_prev
          FROM walwarden.audit_entry AS e
          JOIN chain AS c ON c.org_id = e.org_id
        WINDOW w AS (PARTITION BY e.org_id ORDER BY e.seq)
    ), judged AS (
        SELECT l.org_id, l.n, l.hash,
               CASE
                   WHEN num_nulls(l.at, l.kind, l.body, l.prev_hash, l.hash) > 0 THEN 'columns differ from the body'
                   WHEN l.seq <> l.n THEN 'entry is missing'
                   WHEN l.hash <> walwarden._digest_sha256(convert_to(encode(l.prev_hash, 'hex') || l.body, 'UTF8'))
                       THEN 'hash does not match the body'
                   WHEN octet_length(l.body) > 65536 OR walwarden._canonical(l.json, l.body ~ E'[\U00010000-\U0010FFFF]') IS DISTINCT FROM l.body
                       THEN 'body is not canonical JSON'
                   WHEN starts_with(l.body,
                            '{"at":"' || walwarden._iso(l.at) || '","jobId":' || coalesce('"' || l.job_id::text || '"', 'null')
                            || ',"kind":"' || l.kind || '","payload":{') IS NOT TRUE
                        OR l.json - '{at,jobId,kind,payload}'::text[] <> '{}'
                        OR l.json #> '{payload,org}' IS DISTINCT FROM to_jsonb(l.org_id)
                        OR l.json #> '{payload,seq}' IS DISTINCT FROM to_jsonb(l.seq)
                       THEN 'columns differ from the body'
                   WHEN l.prev_hash <> l.want_prev THEN 'prev_hash is not the hash of the entry before'
               END AS reason
          FROM linked AS l
    ), summed AS (
        SELECT c.org_id, c.name, count(j.n) AS entries,
               coalesce((array_agg(encode(j.hash, 'hex') ORDER BY j.n DESC) FILTER (WHERE j.n IS NOT NULL))[1],
                        encode(walwarden._digest_sha256(convert_to('walwarden/audit/v1:' || c.org_id::text, 'UTF8')), 'hex')) AS head_hash,
               (array_agg(j.n ORDER BY j.n) FILTER (WHERE j.reason IS NOT NULL))[1] AS bad_seq,
               CASE WHEN c.org_id IS NULL THEN 'organisation does not exist'
                    ELSE (array_agg(j.reason ORDER BY j.n) FILTER (WHERE j.reason IS NOT NULL))[1] END AS reason
          FROM chain AS c
          LEFT JOIN judged AS j ON j.org_id = c.org_id
         GROUP BY c.org_id, c.name
    )
    SELECT s.name, s.entries, s.head_hash,
           s.reason IS NULL AND x.reason IS NULL,
           CASE WHEN s.reason IS NULL THEN x.bad_seq ELSE s.bad_seq END,
           coalesce(s.reason, x.reason)
      FROM summed AS s
      LEFT JOIN LATERAL (SELECT f.bad_seq, f.reason FROM walwarden._cross_check(s.org_id) AS f WHERE s.reason IS NULL) AS x ON true
     ORDER BY s.name <> '_system', s.name
$$;
COMMENT ON FUNCTION walwarden.verify_audit_chain_sql(text) IS
'verify_audit_chain in plain SQL with pgcrypto, for whoever does not trust the C code; NULL verifies every chain, a name that is no chain is a finding. Slow: about a hundredth of the speed. For the extension''s owner and superusers. Errors: 42501 no right. Example: SELECT * FROM walwarden.verify_audit_chain_sql(''acme'');';
-- Checking JSON from outside against the schemas of walwarden.rest_schema: what
-- the document promises is what is enforced.

-- A schema by its name or by a $ref.
CREATE FUNCTION walwarden._schema(name text) RETURNS json
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.schema FROM walwarden.rest_schema AS s WHERE s.name = replace($1, '#/components/schemas/', '')
$$;

-- The name of a field from outside, fit for an answer.
CREATE FUNCTION walwarden._field_name(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE name WHEN '' THEN '""' ELSE substr(shown, 2, length(shown) - 2) END FROM (SELECT walwarden._shown(name)) AS s(shown)
$$;

CREATE FUNCTION walwarden._schema_fault(field text, reason text, message text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('field', coalesce(nullif(field, ''), 'body'), 'reason', reason,
                              'message', coalesce(nullif(field, ''), 'the body') || ' ' || message)
$$;

-- What looks like a secret wherever it stands: a token, an address with a
-- password, a password of a connection string. Whoever hides one better is not
-- found out.
CREATE FUNCTION walwarden._holds_secret(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT value ~ 'wal_[0-9a-f]{64}'
           OR value ~* '[a-z][a-z0-9+.-]*://[^/@:[:space:]]*:[^/@[:space:]]+@'
           OR value ~* '(^|[^a-z0-9])(password|passwd|pwd)"?[[:space:]]*[=:][[:space:]]*[^[:space:]]'
$$;

-- Five fields: minute, hour, day of month, month, day of week (0 or 7: Sunday),
-- each * or a list of numbers and ranges, with a step.
CREATE FUNCTION walwarden._is_cron(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) = 5
           AND coalesce(bool_and(NOT EXISTS (SELECT FROM regexp_matches(f.field, '/([0-9]+)', 'g') AS step(every) WHERE step.every[1]::integer > b.high)
                        AND f.field ~ '^([*]|[0-9]{1,2}(-[0-9]{1,2})?)(/[1-9][0-9]?)?(,([*]|[0-9]{1,2}(-[0-9]{1,2})?)(/[1-9][0-9]?)?)*$'
                        AND NOT EXISTS (SELECT FROM regexp_matches(f.field, '(?:^|,)([0-9]{1,2})(?:-([0-9]{1,2}))?', 'g') AS n(range)
                                         WHERE n.range[1]::integer NOT BETWEEN b.low AND b.high
                                            OR n.range[2]::integer NOT BETWEEN n.range[1]::integer AND b.high)), false)
      FROM regexp_split_to_table(value, ' ') WITH ORDINALITY AS f(field, n)
      LEFT JOIN (VALUES (1, 0, 59), (2, 0, 23), (3, 1, 31), (4, 1, 12), (5, 0, 7)) AS b(n, low, high) ON b.n = f.n
$$;

CREATE FUNCTION walwarden._is_time(value text) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,6})?Z$'
       AND isfinite(value::timestamptz);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;

-- The first way in which value does not meet schema, as {field, reason, message};
-- NULL when it does. field: where value stands, '' at the top. Messages never
-- quote a value.
CREATE FUNCTION walwarden._schema_problem(schema json, value jsonb, field text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    kind text := CASE WHEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]+$' THEN 'integer' ELSE jsonb_typeof(value) END;
    kinds text[];
    content text := value #>> '{}';
    member record;
    problem jsonb;
BEGIN
    IF schema ->> '$ref' IS NOT NULL THEN
        RETURN walwarden._schema_problem(walwarden._schema(schema ->> '$ref'), value, field);
    END IF;
    kinds := ARRAY(SELECT json_array_elements_text(CASE json_typeof(schema -> 'type') WHEN 'array' THEN schema -> 'type'
                                                        ELSE json_build_array(schema -> 'type') END));
    IF schema -> 'type' IS NOT NULL AND kind <> ALL (kinds) THEN
        RETURN walwarden._schema_fault(field, 'wrong_type', 'is not of type ' || array_to_string(kinds, ' or '));
    END IF;
    IF schema -> 'const' IS NOT NULL AND value <> (schema -> 'const')::jsonb THEN
        RETURN walwarden._schema_fault(field, 'unknown_value', 'is not ' || (schema ->> 'const'));
    END IF;

    CASE kind
    WHEN 'object' THEN
        FOR member IN SELECT k.key FROM jsonb_object_keys(value) AS k(key) LOOP
            IF schema -> 'additionalProperties' IS NOT NULL AND schema -> 'properties' -> member.key IS NULL THEN
                RETURN walwarden._schema_fault(walwarden._field_name(concat_ws('.', nullif(field, ''), member.key)), 'unknown_field',
                                               'is not a known field');
            END IF;
        END LOOP;
        FOR member IN SELECT q.key FROM json_array_elements_text(coalesce(schema -> 'required', '[]')) AS q(key) LOOP
            IF NOT value ? member.key THEN
                RETURN walwarden._schema_fault(concat_ws('.', nullif(field, ''), member.key), 'missing', 'is missing');
            END IF;
        END LOOP;
        IF (SELECT count(*) FROM jsonb_object_keys(value)) < (schema ->> 'minProperties')::integer THEN
            RETURN walwarden._schema_fault(field, 'empty', 'has no field');
        END IF;
        FOR member IN SELECT p.key, p.value AS schema FROM json_each(schema -> 'properties') AS p WHERE value ? p.key LOOP
            problem := walwarden._schema_problem(member.schema, value -> member.key, concat_ws('.', nullif(field, ''), member.key));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
        FOR member IN SELECT a.rule FROM json_array_elements(schema -> 'allOf') AS a(rule) LOOP
            IF walwarden._schema_problem(member.rule -> 'if', value, field) IS NULL THEN
                problem := walwarden._schema_problem(member.rule -> 'then', value, field);
                IF problem IS NOT NULL THEN
                    RETURN problem;
                END IF;
            END IF;
        END LOOP;
        IF schema -> 'properties' IS NULL AND walwarden._holds_secret(value::text) THEN
            RETURN walwarden._schema_fault(field, 'secret', 'contains a token or a password; treat it as disclosed');
        END IF;
    WHEN 'array' THEN
        IF jsonb_array_length(value) < (schema ->> 'minItems')::integer OR jsonb_array_length(value) > (schema ->> 'maxItems')::integer THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('has not %s to %s items', coalesce(schema ->> 'minItems', '0'), schema ->> 'maxItems'));
        ELSIF (schema ->> 'uniqueItems')::boolean AND (SELECT count(*) <> count(DISTINCT e) FROM jsonb_array_elements(value) AS e) THEN
            RETURN walwarden._schema_fault(field, 'duplicate', 'names an item twice');
        END IF;
        FOR member IN SELECT e.value, e.n - 1 AS place FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n) LOOP
            problem := walwarden._schema_problem(schema -> 'items', member.value, format('%s[%s]', field, member.place));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
    WHEN 'string' THEN
        IF content ~ E'[\u0001-\u001F\u007F-\u009F]' THEN
            RETURN walwarden._schema_fault(field, 'malformed', 'contains a control character');
        ELSIF walwarden._holds_secret(content) THEN
            RETURN walwarden._schema_fault(field, 'secret', 'contains a token or a password; treat it as disclosed');
        ELSIF length(content) < (schema ->> 'minLength')::integer OR length(content) > (schema ->> 'maxLength')::integer
              OR ((schema ->> 'minLength')::integer > 0 AND btrim(content) = '') THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('does not have %s to %s characters', coalesce(schema ->> 'minLength', '0'), schema ->> 'maxLength'));
        ELSIF schema -> 'enum' IS NOT NULL AND content NOT IN (SELECT json_array_elements_text(schema -> 'enum')) THEN
            RETURN walwarden._schema_fault(field, 'unknown_value', 'is none of: ' || (SELECT string_agg(v, ', ') FROM json_array_elements_text(schema -> 'enum') AS v));
        ELSIF content !~ (schema ->> 'pattern') THEN
            RETURN walwarden._schema_fault(field, 'malformed', 'does not match ' || (schema ->> 'pattern'));
        ELSIF (CASE schema ->> 'format'      -- not uuid: an id that is none is a missing resource
                   WHEN 'date-time' THEN NOT walwarden._is_time(content)
                   WHEN 'cron' THEN NOT walwarden._is_cron(content) END) THEN
            RETURN walwarden._schema_fault(field, 'malformed', CASE schema ->> 'format'
                WHEN 'date-time' THEN 'is not a UTC time like 2026-11-21T17:33:20Z'
                ELSE 'is not a five-field cron expression' END);
        END IF;
    WHEN 'integer' THEN
        IF content::numeric < (schema ->> 'minimum')::numeric OR content::numeric > coalesce((schema ->> 'maximum')::numeric, 9007199254740991) THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('is not from %s to %s', coalesce(schema ->> 'minimum', '-9007199254740991'), coalesce(schema ->> 'maximum', '9007199254740991')));
        END IF;
    ELSE
        NULL;   -- true, false, null: the type is all there is
    END CASE;
    RETURN NULL;
END
$$;
-- The router of REST v1. An answer of 400 or more is an error of class WW until
-- the last moment, so that whatever was done before it is rolled back.
-- PL/pgSQL on the way of every request, also for what is one expression: it keeps
-- its plans from one transaction to the next, an SQL function does not.

-- The request. The first fields are filled in by _rest_request(), the others by
-- the router, for the handler.
CREATE TYPE walwarden.rest_request AS (
    method          text,
    path            text,       -- as it was sent, without the query
    query           text,
    content_type    text,
    idempotency_key text,
    request_id      text,
    credential      text,       -- none, bad or good
    org_id          uuid,       -- of a good one
    token_id        uuid,
    operation       text,
    id              uuid,       -- the path's parameter; NULL when it is no uuid
    max_rows        integer,    -- of a page
    after_at        timestamptz,    -- where the page begins: after this key, never NULL
    after_id        text,
    body            jsonb
);

-- What a list shows, with the key that its order goes by.
CREATE TYPE walwarden.rest_item AS (
    at   timestamptz,
    id   text,
    item json
);

CREATE FUNCTION walwarden._rest_request() RETURNS walwarden.rest_request
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_rest_request';

CREATE FUNCTION walwarden._rest_handle(handler text, r walwarden.rest_request) RETURNS json
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_handle';

-- An object of an answer: json_build_object() for literal keys and the types that
-- answers have, with times as the API shows them, and without its costs.
CREATE FUNCTION walwarden._object(VARIADIC "any") RETURNS json
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_object';

-- A page of items, of which one more than the page holds was asked for.
CREATE FUNCTION walwarden._rest_page(r walwarden.rest_request, list_field text, items walwarden.rest_item[]) RETURNS json
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_page';

CREATE FUNCTION walwarden._canonical_json(input bytea, OUT canonical text, OUT error text, OUT error_at integer, OUT twice text)
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_canonical_json';

CREATE FUNCTION walwarden._take_request_lock(id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_take_request_lock';

-- Ends the request with an error answer.
CREATE FUNCTION walwarden._rest_fail(status integer, message text, extra jsonb DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'WW' || status, MESSAGE = message, DETAIL = extra::text;
END
$$;

-- The same for a missing resource, one of another organisation, and no uuid.
-- field: of the body, when it was not the path that named it.
CREATE FUNCTION walwarden._rest_missing(field text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._rest_fail(404, 'no such resource', CASE WHEN field IS NULL THEN '{}' ELSE jsonb_build_object('field', field) END);
END
$$;

-- A resource as it is shown, when there is one.
CREATE FUNCTION walwarden._rest_found(item json) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF item IS NULL THEN
        PERFORM walwarden._rest_missing();
    END IF;
    RETURN item;
END
$$;

CREATE FUNCTION walwarden._rest_uuid(value text) RETURNS uuid
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN value::uuid END;
END
$$;

-- Node tokens, and those whose role may register nodes: they speak the runner
-- protocol and open nothing of REST v1.
CREATE FUNCTION walwarden._speaks_for_node(token_id uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM walwarden.token AS t
                     LEFT JOIN walwarden.role AS r ON r.name = t.role
                    WHERE t.id = $1 AND (t.kind = 'node' OR r.capabilities @> '{register_nodes}'));
END
$$;

CREATE FUNCTION walwarden._rest_require_scope(scope text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden.has_scope(scope) THEN
        PERFORM walwarden._rest_fail(403, 'the token does not hold the required scope', jsonb_build_object(
            'requiredScope', scope,
            'nextAction', format('Use a token that was issued with the scope %s; for a private token the owner''s role must carry it too.', scope)));
    END IF;
END
$$;

-- The operation that a request means, once the token may use it: 401, 404, 405,
-- 403, in this order. A literal path goes before one with a parameter.
CREATE FUNCTION walwarden._rest_route(r walwarden.rest_request) RETURNS walwarden.rest_operation
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    op walwarden.rest_operation;
    sent text := CASE WHEN starts_with(r.path, '/api/v1/') THEN substr(r.path, 8) END;
    depth_sent integer := length(sent) - length(replace(sent, '/', ''));
    wanted text := CASE r.method WHEN 'HEAD' THEN 'GET' ELSE r.method END;
BEGIN
    SELECT * INTO op
      FROM walwarden.rest_operation AS o
     WHERE o.depth = depth_sent AND sent LIKE o.template AND sent !~ '//|/$'
     ORDER BY o.parameter IS NOT NULL, o.method <> wanted
     LIMIT 1;
    IF op.stage = 'public' AND op.method = wanted THEN
        RETURN op;
    END IF;
    IF r.credential IS DISTINCT FROM 'good' THEN
        PERFORM walwarden._rest_fail(401, CASE r.credential WHEN 'none' THEN 'a bearer token is required' ELSE 'invalid or inactive token' END,
                                     jsonb_build_object('nextAction', 'Send a valid token: Authorization: Bearer wal_...'));
    ELSIF op.operation IS NULL THEN
        PERFORM walwarden._rest_fail(404, 'no such path');
    ELSIF op.method <> wanted OR wanted IS NULL THEN
        PERFORM walwarden._rest_fail(405, 'the path does not have this method', jsonb_build_object('allow',
            (SELECT string_agg(CASE o.method WHEN 'GET' THEN 'GET, HEAD' ELSE o.method END, ', ' ORDER BY o.method)
               FROM walwarden.rest_operation AS o WHERE o.template = op.template)));
    ELSIF walwarden._speaks_for_node(r.token_id) THEN
        PERFORM walwarden._rest_fail(403, 'a node token opens no operation of this API',
            jsonb_build_object('requiredScope', NULL, 'nextAction', 'Use an API token: kind api, with scopes.'));
    ELSIF op.required_scope IS NOT NULL THEN
        PERFORM walwarden._rest_require_scope(op.required_scope);
    END IF;
    RETURN op;
END
$$;

-- The query of a list: limit and cursor, each once; nothing for what is no list.
CREATE FUNCTION walwarden._rest_query(r walwarden.rest_request, op walwarden.rest_operation) RETURNS walwarden.rest_request
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pair text;
    name text;
    value text;
    seen text[] := '{}';
    key json;
BEGIN
    r.max_rows := 25;
    -- the chain is listed from its first seq on, everything else from the newest
    r.after_at := 'infinity';
    r.after_id := CASE op.list_field WHEN 'entries' THEN '0' ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END;
    IF r.query IS NULL THEN
        RETURN r;
    END IF;
    FOREACH pair IN ARRAY string_to_array(r.query, '&') LOOP
        name := split_part(pair, '=', 1);
        value := substr(pair, length(name) + 2);
        IF op.list_field IS NULL OR name NOT IN ('limit', 'cursor') THEN
            PERFORM walwarden._rest_fail(400, 'unknown query parameter', jsonb_build_object(
                'field', walwarden._field_name(name), 'reason', 'unknown_parameter',
                'nextAction', CASE WHEN op.list_field IS NULL THEN 'This operation has no query parameters.' ELSE 'Lists have limit and cursor.' END));
        ELSIF name = ANY (seen) THEN
            PERFORM walwarden._rest_fail(400, 'a query parameter was given twice', jsonb_build_object('field', name, 'reason', 'duplicate'));
        ELSIF name = 'limit' THEN
            IF value !~ '^[0-9]{1,3}$' OR value::integer NOT BETWEEN 1 AND 100 THEN
                PERFORM walwarden._rest_fail(400, 'limit is not a number from 1 to 100', jsonb_build_object('field', name, 'reason', 'out_of_range'));
            END IF;
            r.max_rows := value::integer;
        ELSE
            key := walwarden._rest_decode_cursor(value);
            -- the chain is listed by seq, everything else by time and uuid
            IF key IS NULL OR key ->> 0 IS DISTINCT FROM op.operation OR key ->> 1 IS DISTINCT FROM r.id::text
               OR (op.list_field = 'entries') <> (walwarden._rest_uuid(key ->> 3) IS NULL) THEN
                PERFORM walwarden._rest_fail(400, 'the cursor is not one of this list', jsonb_build_object('field', name, 'reason', 'bad_cursor'));
            END IF;
            r.after_at := key ->> 2;
            r.after_id := key ->> 3;
        END IF;
        seen := seen || name;
    END LOOP;
    RETURN r;
END
$$;

-- [operation, id of the path, at, id] of a cursor that _rest_page() made; NULL
-- for what cannot be one.
CREATE FUNCTION walwarden._rest_decode_cursor(cursor text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key json;
BEGIN
    IF length(cursor) > 400 OR cursor !~ '^[A-Za-z0-9_-]+$' THEN
        RETURN NULL;
    END IF;
    key := convert_from(decode(translate(cursor, '-_', '+/') || repeat('=', -length(cursor) & 3), 'base64'), 'UTF8')::json;
    IF json_typeof(key) = 'array' AND json_array_length(key) = 4
       AND key ->> 2 ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$'
       AND (walwarden._rest_uuid(key ->> 3) IS NOT NULL OR key ->> 3 ~ '^[0-9]{1,18}$')
       AND isfinite((key ->> 2)::timestamptz) THEN
        RETURN key;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception OR character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END
$$;

-- The key without its quotes. 1 to 255 visible ASCII characters.
CREATE FUNCTION walwarden._rest_idempotency_key(r walwarden.rest_request) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key text := r.idempotency_key;
BEGIN
    IF key ~ '^".*"$' AND length(key) >= 2 THEN
        key := substr(key, 2, length(key) - 2);
    END IF;
    IF key IS NULL THEN
        PERFORM walwarden._rest_fail(400, 'the header Idempotency-Key is missing', jsonb_build_object(
            'field', 'Idempotency-Key', 'reason', 'missing',
            'nextAction', 'Send a new random value with each request, and the same one when you repeat it.'));
    ELSIF key !~ '^[!-~]{1,255}$' THEN
        PERFORM walwarden._rest_fail(400, 'the header Idempotency-Key is not 1 to 255 visible ASCII characters', jsonb_build_object(
            'field', 'Idempotency-Key', 'reason', 'malformed'));
    END IF;
    RETURN key;
END
$$;

-- Says why a body is not acceptable, naming the field where that can be done: a
-- key that stands twice, or a number that is no integer.
CREATE FUNCTION walwarden._rest_refuse_json(body bytea, schema json, error text, error_at integer, twice text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem jsonb;
BEGIN
    IF twice IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, 'a key stands twice in one object', jsonb_build_object(
            'field', walwarden._field_name(twice), 'reason', 'duplicate_key', 'position', error_at));
    END IF;
    BEGIN
        problem := walwarden._schema_problem(schema, convert_from(body, 'UTF8')::jsonb, '');
    EXCEPTION WHEN data_exception OR character_not_in_repertoire OR program_limit_exceeded THEN
        NULL;   -- not even JSON
    END;
    IF problem IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, problem ->> 'message', problem - 'message');
    END IF;
    PERFORM walwarden._rest_fail(400, 'the body is not acceptable JSON: ' || error, jsonb_build_object(
        'field', 'body', 'reason', 'malformed_json', 'position', error_at));
END
$$;

-- The body as canonical JSON that meets the operation's schema, and the scopes
-- that its properties need. No body at all is an empty object.
CREATE FUNCTION walwarden._rest_body(op walwarden.rest_operation, body bytea) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parsed record;
    schema json;
    problem jsonb;
BEGIN
    IF octet_length(body) > 65536 THEN
        PERFORM walwarden._rest_fail(413, 'the body has more than 64 KiB');
    END IF;
    SELECT * INTO parsed FROM walwarden._canonical_json(CASE octet_length(body) WHEN 0 THEN '{}' ELSE body END);
    schema := walwarden._schema(op.request);
    IF parsed.error IS NOT NULL THEN
        PERFORM walwarden._rest_refuse_json(body, schema, parsed.error, parsed.error_at, parsed.twice);
    END IF;
    -- null sets nothing in what is new, and clears in what there is
    PERFORM walwarden._rest_require_scope(p.value ->> 'x-required-scope')
       FROM json_each(schema -> 'properties') AS p
      WHERE p.value ->> 'x-required-scope' IS NOT NULL
        AND CASE op.method WHEN 'POST' THEN parsed.canonical::jsonb ->> p.key IS NOT NULL ELSE parsed.canonical::jsonb ? p.key END;
    problem := walwarden._schema_problem(schema, parsed.canonical::jsonb, '');
    IF problem IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, problem ->> 'message', problem - 'message');
    END IF;
    RETURN parsed.canonical;
END
$$;

-- Everything of a mutation: 415, key 400, body 400 (413), replay or 409, then
-- the handler. Key, effect and audit entry commit together.
CREATE FUNCTION walwarden._rest_mutate(
        op walwarden.rest_operation, r walwarden.rest_request, body bytea, OUT answer json, OUT replayed boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    canonical text;
    key text;
    key_digest bytea;
    request_digest bytea;
    known walwarden.idempotency_key;
    oldest timestamptz;
BEGIN
    replayed := false;
    IF octet_length(body) > 0 AND r.content_type !~* '^application/json[ ]*(;[ ]*charset="?utf-8"?[ ]*)?$' IS NOT FALSE THEN
        PERFORM walwarden._rest_fail(415, 'the body must be application/json', jsonb_build_object(
            'field', 'Content-Type', 'nextAction', 'Send Content-Type: application/json.'));
    END IF;
    key := walwarden._rest_idempotency_key(r);
    IF r.query IS NOT NULL THEN
        PERFORM walwarden._rest_query(r, op);
    END IF;
    canonical := walwarden._rest_body(op, body);
    r.body := canonical::jsonb;

    key_digest := sha256(convert_to(key, 'UTF8'));
    request_digest := sha256(convert_to(r.method || ' ' || r.path || E'\n' || canonical, 'UTF8'));
    BEGIN
        PERFORM walwarden._take_request_lock(encode(substr(sha256(uuid_send(r.token_id) || key_digest), 1, 16), 'hex')::uuid);
    EXCEPTION WHEN lock_not_available THEN
        PERFORM walwarden._rest_fail(409, 'a request with this key is still being worked on', jsonb_build_object(
            'reason', 'request_in_progress', 'nextAction', 'Repeat it later with the same key.'));
    END;
    oldest := clock_timestamp() - current_setting('walwarden.idempotency_retention')::interval;
    SELECT * INTO known FROM walwarden.idempotency_key AS k WHERE k.token_id = r.token_id AND k.key_hash = key_digest AND k.created_at > oldest;
    IF FOUND THEN
        IF known.request_hash IS DISTINCT FROM request_digest THEN
            PERFORM walwarden._rest_fail(409, 'the key was used for another request', jsonb_build_object(
                'reason', 'idempotency_key_reused', 'nextAction', 'Send a new key with a new request.'));
        END IF;
        answer := known.body;
        replayed := true;
        RETURN;
    END IF;

    PERFORM walwarden._take_org_lock(r.org_id);
    answer := walwarden._rest_handle(op.handler, r);

    -- A row under this key is too old to count, or, where the snapshot is fixed, not
    -- seen and so a serialization failure. For each new key some old ones go.
    INSERT INTO walwarden.idempotency_key AS k (token_id, key_hash, request_hash, body, created_at)
    VALUES (r.token_id, key_digest, request_digest, answer, clock_timestamp())
        ON CONFLICT ON CONSTRAINT idempotency_key_pkey DO UPDATE
       SET request_hash = EXCLUDED.request_hash, body = EXCLUDED.body, created_at = EXCLUDED.created_at
     WHERE k.created_at <= oldest;
    DELETE FROM walwarden.idempotency_key AS k
     USING (SELECT f.token_id, f.key_hash FROM walwarden.idempotency_key AS f
             WHERE f.created_at <= oldest ORDER BY f.created_at LIMIT 10 FOR UPDATE SKIP LOCKED) AS old
     WHERE k.token_id = old.token_id AND k.key_hash = old.key_hash;
END
$$;

-- /api/v1 and a location template filled from the fields of an answer.
CREATE FUNCTION walwarden._rest_location(template text, answer json) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '/api/v1' || regexp_replace(template, '[{][^}]*[}]', answer ->> substring(template, '[{]([^}]*)[}]'))
$$;

-- The error that was raised, as status, header fields and body. What is not of
-- class WW is a state of the server, or a fault of ours that the log explains.
CREATE FUNCTION walwarden._rest_error(
        r walwarden.rest_request, state text, message text, detail text, context text,
        OUT status integer, OUT headers json[], OUT answer json)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extra jsonb := '{}';
BEGIN
    IF state ~ '^WW[0-9]{3}$' THEN
        status := substr(state, 3)::integer;
        extra := detail::jsonb;
    ELSIF r.request_id IS NULL AND state = '22023' THEN     -- from _rest_request()
        status := 431;
        message := 'the header fields are too large';
        r.request_id := replace(gen_random_uuid()::text, '-', '');
    ELSIF state IN ('55P03', '40001', '40P01', '25006') OR state LIKE '53%' OR state LIKE '57%' THEN
        status := 503;
        message := CASE WHEN state = '25006' AND pg_is_in_recovery() THEN 'this is a read-only standby' WHEN state = '25006' THEN 'the transaction is read-only' ELSE 'the database is busy; try again' END;
    ELSE
        RAISE LOG 'walwarden: REST request % failed: % (SQLSTATE %)', r.request_id, message, state USING DETAIL = context;
        status := 500;
        message := 'internal error';
    END IF;

    headers := CASE status
        WHEN 401 THEN ARRAY[json_build_object('WWW-Authenticate',
            CASE r.credential WHEN 'none' THEN 'Bearer' ELSE 'Bearer error="invalid_token"' END)]
        WHEN 403 THEN ARRAY[json_build_object('WWW-Authenticate',
            'Bearer error="insufficient_scope"' || coalesce(', scope="' || (extra ->> 'requiredScope') || '"', ''))]
        WHEN 405 THEN ARRAY[json_build_object('Allow', extra ->> 'allow')]
        WHEN 503 THEN ARRAY[json_build_object('Retry-After', '1')]
        ELSE '{}' END::json[];
    -- ASCII and in one line: nginx takes it from a header field
    SELECT regexp_replace(json_build_object('error', jsonb_build_object('code', e.code, 'message', message, 'requestId', r.request_id)
                                                     || (extra - 'allow'))::text, '[^ -~]', '?', 'g')::json
      INTO STRICT answer
      FROM walwarden.rest_error AS e WHERE e.status = _rest_error.status;
    headers := headers || json_build_object('X-Walwarden-Error', answer::text);
END
$$;

-- One request. body is NULL where only GET and HEAD are served. The wait for a
-- lock is short: whoever waits holds a connection that other organisations need.
CREATE FUNCTION walwarden._rest_serve(body bytea) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    r walwarden.rest_request;
    op walwarden.rest_operation;
    answer json;
    status integer;
    replayed boolean := false;
    headers json[] := '{}';
    state text;
    message text;
    detail text;
    context text;
BEGIN
    BEGIN
        r := walwarden._rest_request();
        op := walwarden._rest_route(r);
        r.operation := op.operation;
        IF op.parameter IS NOT NULL THEN
            r.id := walwarden._rest_uuid(split_part(substr(r.path, 8), '/', op.parameter_at));
        END IF;
        IF op.method <> 'GET' AND body IS NULL THEN
            PERFORM walwarden._rest_fail(405, 'this entry point serves GET and HEAD only', '{"allow": "GET, HEAD"}');
        ELSIF op.method = 'GET' THEN
            r := walwarden._rest_query(r, op);
            answer := walwarden._rest_handle(op.handler, r);
        ELSE
            SELECT * INTO answer, replayed FROM walwarden._rest_mutate(op, r, body);
        END IF;
        status := op.success_status;
        IF op.location IS NOT NULL THEN
            headers := headers || json_build_object('Location', walwarden._rest_location(op.location, answer));
        END IF;
        IF replayed THEN
            headers := headers || json_build_object('Idempotency-Replayed', 'true');
        END IF;
    -- query_canceled is statement_timeout, which deserves an answer as well
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                context = PG_EXCEPTION_CONTEXT;
        SELECT * INTO status, headers, answer FROM walwarden._rest_error(r, state, message, detail, context);
    END;
    headers := headers || json_build_object('X-Request-Id', r.request_id);
    PERFORM set_config('response.status', status::text, true),
            set_config('response.headers', array_to_json(headers)::text, true);
    RETURN answer;
END
$$;

-- VOLATILE, though it only reads: it sets the status, and PostgREST's query for
-- HEAD does not use its result, so that the planner would leave a STABLE one out.
CREATE FUNCTION walwarden._v1_get() RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_serve(NULL);
END
$$;

CREATE FUNCTION walwarden._v1_post(bytea) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_serve(coalesce($1, ''));
END
$$;

CREATE FUNCTION walwarden_rest.v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_get() IS
'Entry point of REST v1 for GET and HEAD, called by PostgREST in a read-only transaction; nginx puts method, path and query into header fields. For roles given grant_rest. Errors: 42501 no such role; else none, every answer is JSON with a status of its own. Example: SELECT walwarden_rest.v1_get();';

CREATE FUNCTION walwarden_rest.v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_post(bytea) IS
'Entry point of REST v1 for every other method; the argument is the body, byte by byte. For roles given grant_rest. Errors: 42501 no such role; else none, every answer is JSON with a status of its own. Example: SELECT walwarden_rest.v1_post('''');';

CREATE FUNCTION walwarden.pre_request() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_pre_request';
COMMENT ON FUNCTION walwarden.pre_request() IS
'PostgREST''s db-pre-request, for tables of your own: makes the token of the request (X-Walwarden-Token, to which nginx moves Authorization: Bearer wal_..., or X-WallarmApi-Token) the identity of its transaction. Without one the request stays anonymous; a bad one, or two different ones, end it with 401. Leaves REST v1 alone. Errors: PGRST, answered as 401, 22023 header fields that are no JSON. Example: SELECT walwarden.pre_request();';
-- Handlers of REST v1: profile, destinations, databases. A handler gets the
-- request, sees only rows of r.org_id, and returns the body of a success. How a
-- resource is shown is a view, so that a list is one statement; no view has a
-- volatile function, which would keep the planner from reading one page only.

CREATE FUNCTION walwarden._version() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'walwarden');
END
$$;

CREATE FUNCTION walwarden._rest_get_profile(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden._object(
        'org', walwarden._object('id', o.id, 'slug', o.slug, 'plan', o.plan),
        'token', walwarden._object(
            'id', t.id, 'kind', t.kind, 'scopes', to_json(t.scopes),
            'effectiveScopes', to_json((walwarden._token_standing(t.id)).effective_scopes),
            'expiresAt', t.expires_at),
        'apiVersion', 'v1',
        'server', walwarden._object('walwarden', walwarden._version(), 'postgresql', split_part(current_setting('server_version'), ' ', 1)))
      FROM walwarden.token AS t
      JOIN walwarden.org AS o ON o.id = t.org_id
     WHERE t.id = r.token_id);
END
$$;

-- Destinations.

CREATE VIEW walwarden._shown_destination AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden._object(
               'id', d.id, 'name', d.name, 'provider', d.provider, 'uri', d.uri, 'region', d.region,
               'credentialRef', d.credential_ref, 'retentionFloorDays', d.retention_floor_days,
               'state', CASE WHEN l.state = 'failed' OR e.state = 'failed' THEN 'failing'
                             WHEN e.state = 'verified' THEN 'verified'
                             ELSE 'unverified' END,
               'createdAt', d.created_at) AS item
      FROM walwarden.destination AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state
                           FROM walwarden.job AS j
                          WHERE j.destination_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                          ORDER BY j.finished_at DESC LIMIT 1) AS l ON true
      LEFT JOIN walwarden._current_evidence AS e ON e.backup_job_id = l.id
     WHERE d.deleted_at IS NULL;

CREATE FUNCTION walwarden._rest_list_destinations(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'destinations', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden.rest_item
          FROM walwarden._shown_destination AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT d.item FROM walwarden._shown_destination AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

-- The destination, for a change or as what a database is to use.
CREATE FUNCTION walwarden._rest_destination(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden.destination
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.destination;
BEGIN
    SELECT * INTO d FROM walwarden.destination AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing(field);
    END IF;
    RETURN d;
END
$$;

-- The destination that a body names, or NULL when it names none.
CREATE FUNCTION walwarden._rest_body_destination(r walwarden.rest_request) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN r.body ->> 'destinationId' IS NOT NULL
                THEN (walwarden._rest_destination(r.org_id, walwarden._rest_uuid(r.body ->> 'destinationId'), 'destinationId')).id END
$$;

CREATE FUNCTION walwarden._rest_name_taken() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._rest_fail(409, 'the name is taken', '{"field": "name", "reason": "name_taken"}');
END
$$;

-- Stores the row d, which was was, with its entry.
CREATE FUNCTION walwarden._store_destination(event text, was walwarden.destination, d walwarden.destination) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.destination AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden._append(d.org_id, event,
        walwarden._change(walwarden._token_actor(walwarden._caller()), 'destination', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._destination_state(was) END, walwarden._destination_state(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden.destination SELECT d.*;
    ELSE
        UPDATE walwarden.destination AS f
           SET name = d.name, region = d.region, credential_ref = d.credential_ref,
               retention_floor_days = d.retention_floor_days,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

-- A field of the body, or what was there before when the body does not name it.
CREATE FUNCTION walwarden._field(body jsonb, field text, before text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? field THEN body ->> field ELSE before END
$$;

CREATE FUNCTION walwarden._rest_create_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.destination;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.provider := r.body ->> 'provider';
    d.uri := r.body ->> 'uri';
    d.region := r.body ->> 'region';
    d.credential_ref := r.body ->> 'credentialRef';
    d.retention_floor_days := coalesce((r.body ->> 'retentionFloorDays')::integer, 0);
    PERFORM walwarden._store_destination('destination.created', NULL, d);
    r.id := d.id;
    RETURN walwarden._rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden._rest_update_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.destination := walwarden._rest_destination(r.org_id, r.id);
    d walwarden.destination := was;
BEGIN
    d.name := walwarden._field(r.body, 'name', d.name);
    d.region := walwarden._field(r.body, 'region', d.region);
    d.credential_ref := walwarden._field(r.body, 'credentialRef', d.credential_ref);
    d.retention_floor_days := walwarden._field(r.body, 'retentionFloorDays', d.retention_floor_days::text)::integer;
    IF walwarden._destination_state(d) <> walwarden._destination_state(was) THEN
        PERFORM walwarden._store_destination('destination.updated', was, d);
    END IF;
    RETURN walwarden._rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden._rest_delete_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.destination := walwarden._rest_destination(r.org_id, r.id);
    d walwarden.destination := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden.database AS f WHERE f.destination_id = d.id AND f.deleted_at IS NULL)
       OR EXISTS (SELECT FROM walwarden.job AS j WHERE j.org_id = r.org_id AND j.destination_id = d.id AND NOT j.done) THEN
        PERFORM walwarden._rest_fail(409, 'the destination is in use', jsonb_build_object(
            'reason', 'destination_in_use', 'nextAction', 'Give its databases another destination, and wait for its jobs.'));
    END IF;
    d.deleted_at := clock_timestamp();
    PERFORM walwarden._store_destination('destination.deleted', was, d);
    RETURN NULL;
END
$$;

-- Databases.

CREATE VIEW walwarden._shown_database AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden._object(
               'id', d.id, 'name', d.name, 'engine', d.engine, 'postgresVersion', d.postgres_version,
               'connectionRef', d.connection_ref, 'destinationId', d.destination_id, 'schedule', d.schedule,
               'objectives', walwarden._object('rpoSeconds', d.rpo_seconds, 'rtoSeconds', d.rto_seconds),
               -- by the newest backup that ended in one of the two; mostly that is the newest of all
               'state', CASE CASE WHEN n.state IN ('completed', 'failed') THEN n.state
                                  WHEN n.id IS NOT NULL THEN
                                      (SELECT j.state
                                         FROM walwarden.job AS j
                                        WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                                        ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) END
                        WHEN 'completed' THEN 'protected' WHEN 'failed' THEN 'failing' ELSE 'unprotected' END,
               'lastBackup', CASE WHEN n.id IS NOT NULL THEN walwarden._object(
                   'backupJobId', n.id, 'state', n.state,
                   'queuedAt', n.queued_at, 'finishedAt', n.finished_at) END,
               'readiness', walwarden._object(
                   'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'ready' END,
                   'recoverableTo', e.recoverable_to,
                   'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)),
               'createdAt', d.created_at, 'updatedAt', d.updated_at) AS item
      FROM walwarden.database AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state, j.queued_at, j.finished_at
                           FROM walwarden.job AS j
                          WHERE j.database_id = d.id AND j.kind = 'backup'
                          ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) AS n ON true
      LEFT JOIN LATERAL (SELECT v.recoverable_to
                           FROM walwarden._standing_evidence AS v
                          WHERE v.database_id = d.id AND n.id IS NOT NULL    -- without a backup there is none
                          ORDER BY v.recoverable_to DESC LIMIT 1) AS e ON true
     WHERE d.deleted_at IS NULL;

CREATE FUNCTION walwarden._rest_list_databases(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden.rest_item
          FROM walwarden._shown_database AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT d.item FROM walwarden._shown_database AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_database(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden.database
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
BEGIN
    SELECT * INTO d FROM walwarden.database AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing(field);
    END IF;
    RETURN d;
END
$$;

CREATE FUNCTION walwarden._store_database(event text, was walwarden.database, d walwarden.database) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.database AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden._append(d.org_id, event,
        walwarden._change(walwarden._token_actor(walwarden._caller()), 'database', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._database_state(was) END, walwarden._database_state(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden.database SELECT d.*;
    ELSE
        UPDATE walwarden.database AS f
           SET name = d.name, postgres_version = d.postgres_version, connection_ref = d.connection_ref,
               destination_id = d.destination_id, schedule = d.schedule,
               rpo_seconds = d.rpo_seconds, rto_seconds = d.rto_seconds,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

CREATE FUNCTION walwarden._rest_create_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.engine := coalesce(r.body ->> 'engine', 'postgresql');
    d.postgres_version := r.body ->> 'postgresVersion';
    d.connection_ref := r.body ->> 'connectionRef';
    d.destination_id := walwarden._rest_body_destination(r);
    d.schedule := r.body ->> 'schedule';
    d.rpo_seconds := r.body #>> '{objectives,rpoSeconds}';
    d.rto_seconds := r.body #>> '{objectives,rtoSeconds}';
    PERFORM walwarden._store_database('database.created', NULL, d);
    r.id := d.id;
    RETURN walwarden._rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden._rest_update_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.database := walwarden._rest_database(r.org_id, r.id);
    d walwarden.database := was;
BEGIN
    d.name := walwarden._field(r.body, 'name', d.name);
    d.postgres_version := walwarden._field(r.body, 'postgresVersion', d.postgres_version);
    d.connection_ref := walwarden._field(r.body, 'connectionRef', d.connection_ref);
    IF r.body ? 'destinationId' THEN
        d.destination_id := walwarden._rest_body_destination(r);
    END IF;
    d.schedule := walwarden._field(r.body, 'schedule', d.schedule);
    d.rpo_seconds := walwarden._field(r.body -> 'objectives', 'rpoSeconds', d.rpo_seconds::text);
    d.rto_seconds := walwarden._field(r.body -> 'objectives', 'rtoSeconds', d.rto_seconds::text);
    IF walwarden._database_state(d) <> walwarden._database_state(was) THEN
        PERFORM walwarden._store_database('database.updated', was, d);
    END IF;
    RETURN walwarden._rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden._rest_delete_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.database := walwarden._rest_database(r.org_id, r.id);
    d walwarden.database := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden.job AS j WHERE j.org_id = r.org_id AND j.database_id = d.id AND NOT j.done) THEN
        PERFORM walwarden._rest_fail(409, 'the database has jobs that are not done', jsonb_build_object(
            'reason', 'job_active', 'nextAction', 'Cancel its backup, or wait for its jobs.'));
    END IF;
    d.deleted_at := clock_timestamp();
    PERFORM walwarden._store_database('database.deleted', was, d);
    RETURN NULL;
END
$$;
-- Jobs: how they are shown, begin and move; the handlers of REST v1 on them; and
-- the protocol that nodes speak in SQL.

-- The one place where a job changes its state: was becomes j, if the machine has
-- that transition for moved_by, with an entry of the chain. Returns the row as
-- stored; NULL when there is no such transition. The caller holds the row's lock.
CREATE FUNCTION walwarden._move_job(actor jsonb, moved_by text, was walwarden.job, j walwarden.job) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
BEGIN
    SELECT t.event, s.done INTO event, j.done
      FROM walwarden.job_transition AS t
      JOIN walwarden.job_state AS s ON s.machine = t.machine AND s.state = t.to_state
     WHERE t.machine = j.machine AND t.from_state IS NOT DISTINCT FROM was.state AND t.to_state = j.state
       AND t.moved_by = _move_job.moved_by;
    IF event IS NULL THEN
        RETURN NULL;
    END IF;
    IF j.done THEN
        j.finished_at := coalesce(j.finished_at, clock_timestamp());
        j.lease_until := NULL;
    END IF;
    j.audit_seq := walwarden._append(j.org_id, event,
        walwarden._change(actor, 'job', j.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._job_state(was) END, walwarden._job_state(j)), j.id);
    IF was.id IS NULL THEN
        j.first_seq := j.audit_seq;
        INSERT INTO walwarden.job SELECT j.*;
    ELSE
        UPDATE walwarden.job AS f
           SET state = j.state, done = j.done, attempt = j.attempt, fence = j.fence, claimed_by = j.claimed_by,
               lease = j.lease, lease_until = j.lease_until, progress = j.progress,
               artifact = j.artifact, validation = j.validation, error = j.error,
               claimed_at = j.claimed_at, started_at = j.started_at, finished_at = j.finished_at, audit_seq = j.audit_seq
         WHERE f.id = j.id;
    END IF;
    RETURN j;
END
$$;

-- A new job of the token of r; the caller fills in the rest.
CREATE FUNCTION walwarden._new_job(r walwarden.rest_request, kind text) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden.job;
BEGIN
    j.id := gen_random_uuid();
    j.org_id := r.org_id;
    j.kind := kind;
    j.machine := CASE kind WHEN 'backup' THEN 'backup' ELSE 'restore' END;
    j.trigger := 'api';
    j.state := 'queued';
    j.attempt := 0;
    j.max_attempts := 3;
    j.fence := 0;
    j.requested_by := r.token_id;
    j.queued_at := clock_timestamp();
    RETURN j;
END
$$;

CREATE VIEW walwarden._shown_backup AS
    SELECT j.org_id, j.database_id, j.id, j.queued_at,
           walwarden._object(
               'id', j.id, 'databaseId', j.database_id, 'destinationId', j.destination_id, 'type', j.type,
               'trigger', j.trigger, 'reason', j.reason, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'artifact', j.artifact, 'error', j.error,
               'queuedAt', j.queued_at, 'claimedAt', j.claimed_at,
               'startedAt', j.started_at, 'finishedAt', j.finished_at,
               'done', j.done) AS item
      FROM walwarden.job AS j
     WHERE j.kind = 'backup';

CREATE VIEW walwarden._shown_restore AS
    SELECT j.org_id, j.id, j.queued_at,
           walwarden._object(
               'id', j.id, 'databaseId', j.database_id, 'kind', j.kind, 'mode', j.mode,
               'backupJobId', j.backup_job_id, 'target', j.target, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'validation', j.validation, 'error', j.error,
               'timings', walwarden._object(
                   'queuedAt', j.queued_at, 'claimedAt', j.claimed_at,
                   'startedAt', j.started_at, 'finishedAt', j.finished_at),
               'done', j.done) AS item
      FROM walwarden.job AS j
     WHERE j.kind <> 'backup';

-- Backups.

CREATE FUNCTION walwarden._rest_list_database_backups(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden._rest_page(r, 'backups', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden.rest_item
          FROM walwarden._shown_backup AS j
         WHERE j.database_id = d.id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT j.item FROM walwarden._shown_backup AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_backup_accepted(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._object('backupJobId', r.id, 'job', walwarden._rest_get_backup(r))
$$;

CREATE FUNCTION walwarden._rest_trigger_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
    j walwarden.job := walwarden._new_job(r, 'backup');
    active uuid;
BEGIN
    j.database_id := d.id;
    j.destination_id := coalesce(walwarden._rest_body_destination(r), d.destination_id);
    j.type := coalesce(r.body ->> 'type', 'full');
    j.reason := r.body ->> 'reason';
    IF j.destination_id IS NULL THEN
        PERFORM walwarden._rest_fail(409, 'the database has no destination', jsonb_build_object(
            'reason', 'no_destination', 'nextAction', 'Give the database a destination, or name one in destinationId.'));
    END IF;
    SELECT f.id INTO active FROM walwarden.job AS f WHERE f.database_id = d.id AND f.kind = 'backup' AND NOT f.done;
    IF FOUND THEN
        PERFORM walwarden._rest_fail(409, 'a backup of the database is active already', jsonb_build_object(
            'reason', 'backup_already_active', 'backupJobId', active));
    END IF;
    j := walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden._rest_backup_accepted(r);
END
$$;

CREATE FUNCTION walwarden._rest_end_backup(r walwarden.rest_request, state text) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.job;
    j walwarden.job;
BEGIN
    SELECT * INTO was FROM walwarden.job AS f WHERE f.org_id = r.org_id AND f.id = r.id AND f.kind = 'backup' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing();
    END IF;
    j := was;
    j.state := state;
    IF (walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', was, j)).id IS NULL THEN
        PERFORM walwarden._rest_fail(409, format('a backup that is %s cannot become %s', was.state, state), jsonb_build_object(
            'reason', 'invalid_state', 'state', was.state));
    END IF;
    RETURN walwarden._rest_backup_accepted(r);
END
$$;

CREATE FUNCTION walwarden._rest_cancel_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._rest_end_backup(r, 'cancelled')
$$;

CREATE FUNCTION walwarden._rest_dismiss_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._rest_end_backup(r, 'dismissed')
$$;

-- Restores.

CREATE FUNCTION walwarden._rest_list_restores(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'restores', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden.rest_item
          FROM walwarden._shown_restore AS j
         WHERE j.org_id = r.org_id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_restore(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT j.item FROM walwarden._shown_restore AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_create_restore(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
    b walwarden.job;
    j walwarden.job := walwarden._new_job(r, r.body ->> 'kind');
BEGIN
    j.mode := r.body ->> 'mode';
    j.target := r.body ->> 'target';
    d := walwarden._rest_database(r.org_id, walwarden._rest_uuid(r.body ->> 'databaseId'), 'databaseId');
    SELECT * INTO b FROM walwarden.job AS f
     WHERE f.org_id = r.org_id AND f.id = walwarden._rest_uuid(r.body ->> 'backupJobId') AND f.kind = 'backup' AND f.database_id = d.id;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing('backupJobId');
    ELSIF b.state <> 'completed' THEN
        PERFORM walwarden._rest_fail(409, 'the backup is not completed', jsonb_build_object(
            'reason', 'backup_not_completed', 'state', b.state));
    ELSIF NOT EXISTS (SELECT FROM walwarden.destination AS f WHERE f.id = b.destination_id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_fail(409, 'the destination of the backup was deleted', '{"reason": "destination_deleted"}');
    END IF;
    j.database_id := d.id;
    j.destination_id := b.destination_id;
    j.backup_job_id := b.id;
    j := walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden._object('restoreJobId', j.id, 'job', walwarden._rest_get_restore(r));
END
$$;

-- The runner protocol.

-- The node that speaks: a token of a node, in a role given grant_runner. Returns
-- the token's org.
CREATE FUNCTION walwarden._require_runner(c walwarden.caller) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden._is_granted(c.role, '{runner}') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for %s', c.door),
            HINT = 'The runner protocol is for roles given walwarden.grant_runner().';
    ELSIF walwarden.current_token_id() IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'the transaction has no identity',
            HINT = 'Call walwarden.authenticate() first, in the same transaction.';
    ELSIF NOT walwarden._speaks_for_node(walwarden.current_token_id()) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token is not a node''s',
            HINT = 'Use a token of kind node, or one with the role deploy; scopes do not open the runner protocol.';
    END IF;
    RETURN walwarden.current_org_id();
END
$$;

-- JSON from a node, checked against a schema.
CREATE FUNCTION walwarden._check_report(what text, schema text, value jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem jsonb;
BEGIN
    problem := CASE
        WHEN value IS NULL THEN jsonb_build_object('message', what || ' is missing')
        -- in bytes: an entry of the chain holds this twice, before and after
        WHEN octet_length(value::text) > 16384 THEN jsonb_build_object('message', what || ' is too long')
        ELSE coalesce(walwarden._schema_problem(walwarden._schema(schema), value, what),
                      (SELECT jsonb_build_object('message', format('%s is not acceptable JSON: %s', what, p.error))
                         FROM walwarden._canonical_json(convert_to(value::text, 'UTF8')) AS p
                        WHERE p.error IS NOT NULL)) END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = problem ->> 'message',
            HINT = format('At most 16 KiB of JSON with integers only, as the schema %s describes it; docs/runner.md has examples.', schema);
    END IF;
END
$$;

-- The job, locked, for the node that holds it; a completed one for any node of
-- the organisation that knows its fence, so that it can be verified again.
CREATE FUNCTION walwarden._held_job(c walwarden.caller, job_id uuid, fence bigint) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    runner_org uuid := walwarden._require_runner(c);
    j walwarden.job;
BEGIN
    SELECT * INTO j FROM walwarden.job AS f WHERE f.id = job_id AND f.org_id = runner_org FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('job %s does not exist', coalesce(job_id::text, 'NULL')),
            HINT = 'Use the job_id that walwarden.claim_job() returned.';
    ELSIF j.fence IS DISTINCT FROM fence
          OR (j.claimed_by IS DISTINCT FROM walwarden.current_token_id() AND j.state <> 'completed') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('job %s is held by another claim', job_id),
            HINT = 'Stop working on it: another node''s token claimed it, or its lease ran out and it was claimed again with a higher fence.';
    END IF;
    RETURN j;
END
$$;

CREATE FUNCTION walwarden._refuse_job_state(j walwarden.job, wanted text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('job %s is %s and cannot %s', j.id, j.state, wanted),
        HINT = CASE WHEN j.done THEN 'Stop working on it: it is done.'
                    ELSE 'Next states are: ' || coalesce((SELECT string_agg(t.to_state, ', ' ORDER BY t.to_state)
                                                            FROM walwarden.job_transition AS t
                                                           WHERE t.machine = j.machine AND t.from_state = j.state AND t.moved_by = 'runner'), 'none') || '.' END;
END
$$;

CREATE FUNCTION walwarden._claim_job(
        kinds text[], lease interval,
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c walwarden.caller := walwarden._caller();
    runner_org uuid := walwarden._require_runner(c);
    wanted text[] := kinds;
    span interval := lease;
    was walwarden.job;
    j walwarden.job;
BEGIN
    IF wanted IS NULL OR cardinality(wanted) NOT BETWEEN 1 AND 3 OR NOT wanted <@ '{backup,restore,drill}' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad kinds of jobs',
            HINT = 'Give an array of backup, restore and drill.';
    ELSIF span IS NULL OR span NOT BETWEEN '1 s' AND '1 h' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad lease',
            HINT = 'Give an interval from 1 second to 1 hour, and renew it with walwarden.heartbeat_job().';
    END IF;

    LOOP
        SELECT f.* INTO was
          FROM walwarden.job AS f
         WHERE f.org_id = runner_org AND NOT f.done AND f.kind = ANY (wanted)
           AND (f.state = 'queued' OR f.lease_until <= clock_timestamp())
         ORDER BY f.queued_at, f.id
         LIMIT 1
           FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        j := was;
        IF was.attempt < was.max_attempts THEN
            j.state := 'claimed';
            j.attempt := was.attempt + 1;
            j.fence := was.fence + 1;
            j.claimed_by := walwarden.current_token_id();
            j.claimed_at := clock_timestamp();
            -- what an earlier attempt reported is not this one's
            j.started_at := NULL;
            j.progress := NULL;
            j.artifact := NULL;
            j.validation := NULL;
            j.error := NULL;
            j.lease := span;
            j.lease_until := j.claimed_at + span;
            j := walwarden._move_job(walwarden._token_actor(c), 'claim', was, j);
            IF j.id IS NOT NULL THEN
                EXIT;
            END IF;
            j := was;
        END IF;
        -- nobody may begin it again: it ends here, and the next one is looked for
        j.state := CASE was.machine WHEN 'backup' THEN 'failed' ELSE 'timed_out' END;
        j.error := jsonb_build_object('class', 'lease_expired', 'retryable', was.machine = 'backup',
                                      'message', format('the lease of attempt %s of %s ran out', was.attempt, was.max_attempts));
        PERFORM walwarden._move_job(jsonb_build_object('kind', 'system'), 'lease', was, j);
    END LOOP;

    job_id := j.id;
    kind := j.kind;
    fence := j.fence;
    lease_until := j.lease_until;
    job := walwarden._job_state(j) || jsonb_build_object(
        'database', (SELECT walwarden._database_state(d) FROM walwarden.database AS d WHERE d.id = j.database_id),
        'destination', (SELECT walwarden._destination_state(d) FROM walwarden.destination AS d WHERE d.id = j.destination_id),
        'backup', (SELECT walwarden._job_state(b) FROM walwarden.job AS b WHERE b.id = j.backup_job_id));
    RETURN NEXT;
END
$$;

CREATE FUNCTION walwarden._heartbeat_job(job_id uuid, fence bigint, progress jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden.job := walwarden._held_job(walwarden._caller(), job_id, fence);
BEGIN
    IF progress IS NOT NULL THEN
        PERFORM walwarden._check_report('progress', 'Progress', progress);
    END IF;
    IF j.done THEN
        PERFORM walwarden._refuse_job_state(j, 'be worked on');
    END IF;
    UPDATE walwarden.job AS f
       SET lease_until = clock_timestamp() + f.lease,
           progress = coalesce(_heartbeat_job.progress, f.progress)
     WHERE f.id = j.id;
    RETURN true;
END
$$;

-- What programs say of themselves, fit to be stored: in one line, and withheld when
-- it holds a secret. A report must not fail for how an error was worded.
CREATE FUNCTION walwarden._plain_text(value jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(value) <> 'string' THEN value
                WHEN walwarden._holds_secret(value #>> '{}') THEN '"(withheld: it held a token or a password)"'
                ELSE to_jsonb(btrim(regexp_replace(value #>> '{}', E'[\u0001-\u001F\u007F-\u009F]+', ' ', 'g'))) END
$$;

CREATE FUNCTION walwarden._plain_report(detail jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    path text[];
BEGIN
    FOR path IN
        SELECT '{error,message}'::text[]
        UNION ALL
        SELECT ARRAY['validation', 'checks', i::text, 'detail']
          FROM generate_series(0, jsonb_array_length(CASE jsonb_typeof(detail #> '{validation,checks}') WHEN 'array' THEN detail #> '{validation,checks}' ELSE '[]' END) - 1) AS i
    LOOP
        IF detail #> path IS NOT NULL THEN
            detail := jsonb_set(detail, path, walwarden._plain_text(detail #> path));
        END IF;
    END LOOP;
    RETURN detail;
END
$$;

CREATE FUNCTION walwarden._report_job(job_id uuid, fence bigint, state text, detail jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.job := walwarden._held_job(c, job_id, fence);
    j walwarden.job := was;
    foreign_part text := CASE was.machine WHEN 'backup' THEN 'validation' ELSE 'artifact' END;
    missing text;
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.job_state AS s WHERE s.machine = was.machine AND s.state = _report_job.state) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown state %s of a %s', walwarden._shown(state), was.kind),
            HINT = 'The states are: ' || (SELECT string_agg(s.state, ', ' ORDER BY s.state) FROM walwarden.job_state AS s WHERE s.machine = was.machine) || '.';
    END IF;
    detail := walwarden._plain_report(coalesce(detail, '{}'));
    PERFORM walwarden._check_report('detail', 'JobReport', detail);
    IF state = was.state THEN
        -- a report that is repeated
        UPDATE walwarden.job AS f SET lease_until = clock_timestamp() + f.lease WHERE f.id = was.id AND NOT f.done;
        RETURN false;
    ELSIF NOT EXISTS (SELECT FROM walwarden.job_transition AS t
                       WHERE t.machine = was.machine AND t.from_state = was.state AND t.to_state = _report_job.state AND t.moved_by = 'runner') THEN
        PERFORM walwarden._refuse_job_state(was, 'become ' || state);
    END IF;

    j.state := state;
    j.artifact := coalesce(nullif(detail -> 'artifact', 'null'), j.artifact);
    j.validation := coalesce(nullif(detail -> 'validation', 'null'), j.validation);
    j.error := CASE WHEN state = 'failed' THEN nullif(detail -> 'error', 'null') END;
    j.started_at := coalesce(j.started_at, clock_timestamp());
    j.lease_until := clock_timestamp() + j.lease;
    missing := CASE
        WHEN state = 'failed' AND j.error IS NULL THEN 'error'
        WHEN state = 'completed' AND j.kind = 'backup' AND j.artifact IS NULL THEN 'artifact'
        WHEN state = 'completed' AND j.kind <> 'backup' AND j.validation IS NULL THEN 'validation' END;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s that is %s needs detail.%s', j.kind, state, missing),
            HINT = 'Say what came of it; docs/runner.md has examples.';
    ELSIF nullif(detail -> foreign_part, 'null') IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s has no %s', j.kind, foreign_part),
            HINT = 'A backup has an artifact, a restore has a validation.';
    ELSIF state = 'completed' AND (j.validation ->> 'result' = 'failed' OR j.validation -> 'checks' @> '[{"result": "failed"}]') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s whose validation failed is not completed', j.kind),
            HINT = 'Report it as failed, with "retryable": false when the backup is to blame.';
    END IF;
    PERFORM walwarden._move_job(walwarden._token_actor(c), 'runner', was, j);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    j walwarden.job := walwarden._held_job(c, job_id, fence);
    was walwarden.evidence;
    e walwarden.evidence;
BEGIN
    PERFORM walwarden._check_report('evidence', 'EvidenceReport', evidence);
    IF j.kind <> 'backup' OR j.state NOT IN ('running', 'finalizing', 'completed') THEN
        PERFORM walwarden._refuse_job_state(j, 'have evidence');
    END IF;
    SELECT * INTO was FROM walwarden.evidence AS f WHERE f.backup_job_id = j.id;
    e := was;
    e.backup_job_id := j.id;
    e.org_id := j.org_id;
    e.database_id := j.database_id;
    e.fence := j.fence;
    e.window_id := coalesce(was.window_id, gen_random_uuid());
    e.manifest := evidence -> 'manifest';
    e.result := evidence #>> '{integrityVerification,result}';
    e.state := CASE e.result WHEN 'passed' THEN 'verified' WHEN 'failed' THEN 'failed' ELSE 'unverified' END;
    e.checked_at := evidence #>> '{integrityVerification,checkedAt}';
    e.tool := evidence #>> '{integrityVerification,tool}';
    e.recoverable_to := evidence ->> 'recoverableTo';
    e.recoverable_from := coalesce(evidence ->> 'recoverableFrom', evidence ->> 'recoverableTo');
    IF e.recoverable_from > e.recoverable_to OR e.recoverable_from < '1970-01-01 00:00:00+00'
       OR greatest(e.recoverable_to, e.checked_at) > clock_timestamp() + interval '1 hour' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'recoverableFrom is after recoverableTo, or a time lies in the future',
            HINT = 'They are the first and the last point in time to which this backup can be restored; checkedAt is when that was checked.';
    ELSIF e.state <> 'unverified' AND (e.checked_at IS NULL OR e.tool IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a verification that ran needs checkedAt and tool',
            HINT = 'Say when and with what it was checked, or give the result not_run.';
    END IF;
    IF was.fence IS DISTINCT FROM j.fence THEN
        e.recorded_at := clock_timestamp();
    END IF;
    e.recorded_by := walwarden.current_token_id();
    IF was.backup_job_id IS NOT NULL AND walwarden._evidence_state(e) = walwarden._evidence_state(was) THEN
        RETURN false;
    END IF;
    e.audit_seq := walwarden._append(e.org_id, 'evidence.recorded',
        walwarden._change(walwarden._token_actor(c), 'evidence', j.id::text,
                          CASE WHEN was.backup_job_id IS NOT NULL THEN walwarden._evidence_state(was) END, walwarden._evidence_state(e)), j.id);
    INSERT INTO walwarden.evidence SELECT e.*
        ON CONFLICT ON CONSTRAINT evidence_pkey DO UPDATE
       SET fence = e.fence, state = e.state, manifest = e.manifest, result = e.result, checked_at = e.checked_at, tool = e.tool,
           recoverable_from = e.recoverable_from, recoverable_to = e.recoverable_to,
           recorded_at = e.recorded_at, recorded_by = e.recorded_by, audit_seq = e.audit_seq;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.claim_job(
        kinds text[], lease interval DEFAULT '60 s',
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE C ROWS 1 AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.claim_job(text[], interval) IS
'Claims the oldest job of the identity''s organisation that is queued or whose lease ran out; no row when there is none. kinds: of backup, restore, drill. lease: 1 second to 1 hour; renew it with heartbeat_job(). Returns job_id, kind, fence, lease_until and job, a JSON object as REST v1 shows it, with what a node needs. fence goes with every further call and is refused once the job was claimed again. A job that another node is looking at is skipped; the entry waits for the organisation''s chain, so commit at once, and make one call a transaction. For node tokens, in a role given grant_runner. Errors: 42501 no right, 28000 no identity, 22023 bad kinds or lease, 55P03 chain locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT * FROM walwarden.claim_job(''{backup}'');';

CREATE FUNCTION walwarden.heartbeat_job(job_id uuid, fence bigint, progress jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.heartbeat_job(uuid, bigint, jsonb) IS
'Renews the lease of a claimed job and stores its progress, {"percent","bytesDone","bytesTotal","phase"}: 0 to 100, bytes, bytes, 1 to 100 characters, each optional; NULL leaves it. fence: as claim_job() gave it. Returns true. For the node that claimed it. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or done (stop working), 22023 bad progress, 55P03 row locked for too long. Example: SELECT walwarden.heartbeat_job($1, $2, ''{"percent":40}'');';

CREATE FUNCTION walwarden.report_job(job_id uuid, fence bigint, state text, detail jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_job(uuid, bigint, text, jsonb) IS
'Moves a claimed job to its next state and renews its lease. state: of the machine of the job, listed in job_transition. detail: {"artifact":{"name","sizeBytes","checksumSha256"}} for a completed backup, {"validation":{"result","checks":[{"name","result","detail"}]}} for a completed restore, {"error":{"class","message","retryable"}} for failed; sizes in bytes, checksums in lower-case hex, results passed, failed or not_run. Returns false when the job is in that state already. For the node that claimed it. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or no such transition, 22023 bad state or detail, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_job($1, $2, ''running'');';

CREATE FUNCTION walwarden.record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.record_evidence(uuid, bigint, jsonb) IS
'Records what a node found out about a backup: {"manifest","integrityVerification":{"result","checkedAt","tool"},"recoverableFrom","recoverableTo"}, integers only, at most 16 KiB. result: passed, failed or not_run. Times: UTC, 2025-11-21T17:00:00Z, none in the future; recoverableFrom may be left out. Recorded again, it replaces what was there; the chain keeps both. Returns whether anything changed. For the node that claimed the backup, while it is running or finalizing; for every node of the organisation once it is completed. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or wrong state, 22023 bad evidence, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.record_evidence($1, $2, ''{"manifest":{},"integrityVerification":{"result":"passed","checkedAt":"2025-11-21T17:00:00Z","tool":"pg_verifybackup"},"recoverableTo":"2025-11-21T16:55:00Z"}'');';
-- Evidence, and what can be said of recovery from it; the auditors' operations;
-- readiness. All of it is computed from what the tables hold, when it is asked.

CREATE VIEW walwarden._shown_evidence AS
    SELECT e.org_id, e.backup_job_id, e.recorded_at,
           walwarden._object(
               'backupJobId', e.backup_job_id, 'databaseId', e.database_id, 'state', e.state, 'manifest', e.manifest,
               'integrityVerification', walwarden._object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'recordedAt', e.recorded_at,
               'audit', (SELECT walwarden._object('firstSeq', e.first_seq, 'lastSeq', a.seq, 'headHash', encode(a.hash, 'hex'))
                           FROM walwarden.audit_entry AS a
                          WHERE a.org_id = e.org_id AND a.seq = e.last_seq)) AS item
      FROM walwarden._current_evidence AS e;

CREATE FUNCTION walwarden._rest_list_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_page(r, 'evidence', ARRAY(
        SELECT (e.recorded_at, e.backup_job_id::text, e.item)::walwarden.rest_item
          FROM walwarden._shown_evidence AS e
         WHERE e.org_id = r.org_id
           AND (e.recorded_at, e.backup_job_id) < (r.after_at, r.after_id::uuid)
         ORDER BY e.recorded_at DESC, e.backup_job_id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_found((SELECT e.item FROM walwarden._shown_evidence AS e WHERE e.org_id = r.org_id AND e.backup_job_id = r.id));
END
$$;

-- The package goes out in the answer. Its digest goes into the chain, so that
-- whoever gets it can compare.
CREATE FUNCTION walwarden._rest_export_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT walwarden._rest_uuid(e) FROM jsonb_array_elements_text(r.body -> 'backupJobIds') AS e);
    package json;
    digest text;
    export_id uuid := gen_random_uuid();
    at timestamptz := clock_timestamp();
    seq bigint;
BEGIN
    SELECT json_agg(e.item ORDER BY u.n) INTO package
      FROM unnest(ids) WITH ORDINALITY AS u(id, n)
      JOIN walwarden._shown_evidence AS e ON e.org_id = r.org_id AND e.backup_job_id = u.id
    HAVING count(*) = cardinality(ids);
    PERFORM walwarden._settle_audit();
    IF package IS NULL THEN
        PERFORM walwarden._rest_missing();
    END IF;
    digest := encode(sha256(convert_to((walwarden._canonical_json(convert_to(package::text, 'UTF8'))).canonical, 'UTF8')), 'hex');
    IF digest IS NULL THEN
        PERFORM walwarden._rest_fail(413, 'the package would have more than 64 KiB; export fewer at a time');
    END IF;
    seq := walwarden._append(r.org_id, 'evidence.exported', jsonb_build_object(
        'actor', walwarden._token_actor(walwarden._caller()), 'exportId', export_id, 'backupJobIds', ids, 'packageSha256', digest));
    RETURN walwarden._object('exportId', export_id, 'exportedAt', at, 'evidence', package,
                             'packageSha256', digest, 'auditSeq', seq);
END
$$;

-- The windows of a database: verified spans that meet or overlap are one. id:
-- that of its first backup's evidence, which no later backup changes.
CREATE FUNCTION walwarden._recovery_windows(database_id uuid)
    RETURNS TABLE (id uuid, starts timestamptz, ends timestamptz, members uuid[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH span AS (
        SELECT e.*, max(e.recoverable_to) OVER (ORDER BY e.recoverable_from, e.recoverable_to DESC, e.backup_job_id
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
          FROM walwarden._standing_evidence AS e
         WHERE e.database_id = $1
    ), numbered AS (
        SELECT s.*, count(*) FILTER (WHERE s.reached IS NULL OR s.recoverable_from > s.reached)
                        OVER (ORDER BY s.recoverable_from, s.recoverable_to DESC, s.backup_job_id) AS place
          FROM span AS s
    )
    SELECT (array_agg(n.window_id ORDER BY n.recoverable_from, n.recoverable_to DESC, n.backup_job_id))[1],
           min(n.recoverable_from), max(n.recoverable_to),
           array_agg(n.backup_job_id ORDER BY n.recoverable_to DESC, n.backup_job_id)
      FROM numbered AS n
     GROUP BY n.place
$$;

CREATE FUNCTION walwarden._last_verified(database_id uuid) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(e.checked_at) FROM walwarden._standing_evidence AS e WHERE e.database_id = $1
$$;

CREATE FUNCTION walwarden._rest_get_recovery_summary(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
    windows json;
BEGIN
    SELECT json_agg(walwarden._object('windowId', w.id, 'from', w.starts, 'to', w.ends) ORDER BY w.ends DESC)
      INTO windows
      FROM (SELECT * FROM walwarden._recovery_windows(d.id) AS f ORDER BY f.ends DESC LIMIT 100) AS w;
    RETURN walwarden._object(
        'databaseId', d.id,
        'verdict', CASE WHEN windows IS NULL THEN 'unproven' ELSE 'proven' END,
        'windows', coalesce(windows, '[]'),
        'lastVerifiedAt', walwarden._last_verified(d.id),
        'backups', (SELECT walwarden._object(
                        'completed', count(*), 'verified', count(*) FILTER (WHERE e.state = 'verified'),
                        'failedVerification', count(*) FILTER (WHERE e.state = 'failed'),
                        'withoutEvidence', count(*) FILTER (WHERE e.state IS NULL))
                      FROM walwarden.job AS j
                      LEFT JOIN walwarden._current_evidence AS e ON e.backup_job_id = j.id
                     WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state = 'completed'));
END
$$;

CREATE FUNCTION walwarden._rest_get_recovery_candidate(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden._object('databaseId', d.id, 'candidate', (
        SELECT walwarden._object('backupJobId', e.backup_job_id,
                                 'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
                                 'destinationId', e.destination_id)
          FROM walwarden._standing_evidence AS e
         WHERE e.database_id = d.id
         ORDER BY e.recoverable_to DESC, e.recorded_at DESC, e.backup_job_id
         LIMIT 1));
END
$$;

-- A window is named by the evidence that it begins with, and stays findable by
-- it: where an earlier backup was recorded later, the window that holds it now;
-- where that evidence verifies nothing any more, its own span.
CREATE FUNCTION walwarden._rest_get_recovery_window_proof(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor walwarden._current_evidence;
    w record;
    basis json;
    standing boolean;
    refuted boolean;
    restored boolean;
BEGIN
    SELECT e.* INTO anchor FROM walwarden._current_evidence AS e JOIN walwarden.database AS d ON d.id = e.database_id
     WHERE e.org_id = r.org_id AND e.window_id = r.id AND d.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing();
    END IF;
    SELECT * INTO w FROM walwarden._recovery_windows(anchor.database_id) AS f WHERE anchor.backup_job_id = ANY (f.members);
    standing := FOUND;
    IF NOT standing THEN
        SELECT anchor.window_id AS id, anchor.recoverable_from AS starts, anchor.recoverable_to AS ends,
               ARRAY[anchor.backup_job_id] AS members, anchor.state AS state INTO w;
    END IF;

    SELECT json_agg(walwarden._object(
               'backupJobId', e.backup_job_id, 'state', e.state,
               'integrityVerification', walwarden._object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'lastRestore', CASE WHEN t.id IS NOT NULL THEN walwarden._object(
                   'restoreJobId', t.id, 'kind', t.kind, 'state', t.state, 'validation', t.validation ->> 'result',
                   'finishedAt', t.finished_at) END,
               'auditSeq', e.audit_seq) ORDER BY e.n) FILTER (WHERE e.n <= 1000),
           bool_or(e.state = 'failed' OR s.restored IS FALSE),
           bool_or(s.restored)
      INTO basis, refuted, restored
      FROM (SELECT f.*, u.n FROM unnest(w.members) WITH ORDINALITY AS u(id, n)
              JOIN walwarden._current_evidence AS f ON f.backup_job_id = u.id) AS e
      LEFT JOIN LATERAL (SELECT j.id, j.kind, j.state, j.validation, j.finished_at
                           FROM walwarden.job AS j
                          WHERE j.backup_job_id = e.backup_job_id AND j.kind <> 'backup' AND j.done
                          ORDER BY j.finished_at DESC LIMIT 1) AS t ON true
      LEFT JOIN LATERAL (SELECT f.restored
                           FROM walwarden._telling_restore AS f
                          WHERE f.backup_job_id = e.backup_job_id
                          ORDER BY f.finished_at DESC LIMIT 1) AS s ON true;

    RETURN walwarden._object(
        'windowId', w.id, 'databaseId', anchor.database_id,
        'from', w.starts, 'to', w.ends,
        'verdict', CASE WHEN standing THEN 'proven' WHEN refuted THEN 'refuted' ELSE 'unproven' END,
        'basis', basis,
        'notClaimed', array_to_json(array_remove(ARRAY[
            'That the destination still holds the artifacts now: each was last checked at its checkedAt.',
            'That the node''s report is true: it is what the node recorded, and the audit chain holds it unaltered.',
            'That a restore meets the recovery time objective.',
            CASE WHEN restored IS NOT TRUE THEN 'That a restore was tried: none of these backups has a restore or drill that passed its validation.' END], NULL)));
END
$$;

-- For auditors.

CREATE FUNCTION walwarden._rest_list_audit_entries(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_page(r, 'entries', ARRAY(
        SELECT (a.at, a.seq::text, walwarden._object(
                    'seq', a.seq, 'at', a.at, 'kind', a.kind, 'jobId', a.job_id, 'body', a.body,
                    'prevHash', encode(a.prev_hash, 'hex'), 'hash', encode(a.hash, 'hex')))::walwarden.rest_item
          FROM walwarden.audit_entry AS a
         WHERE a.org_id = r.org_id AND a.seq > r.after_id::bigint
         ORDER BY a.seq
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_audit_verification(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden._object(
        'lastRun', CASE WHEN v.org_id IS NOT NULL THEN walwarden._object(
            'finishedAt', v.finished_at, 'ok', v.ok, 'entries', v.entries, 'headHash', v.head_hash,
            'firstBadSeq', v.first_bad_seq, 'reason', v.reason) END,
        'ageSeconds', floor(extract(epoch FROM clock_timestamp() - v.finished_at))::bigint)
      FROM (SELECT) AS one
      LEFT JOIN walwarden.verification AS v ON v.org_id = r.org_id);
END
$$;

CREATE FUNCTION walwarden._rest_list_recoverability(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, walwarden._object(
                    'databaseId', d.id, 'name', d.name,
                    'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'proven' END,
                    'lastVerifiedAt', walwarden._last_verified(d.id),
                    'recoverableTo', e.recoverable_to,
                    'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)))::walwarden.rest_item
          FROM walwarden.database AS d
          LEFT JOIN LATERAL (SELECT max(f.ends) AS recoverable_to FROM walwarden._recovery_windows(d.id) AS f) AS e ON true
         WHERE d.org_id = r.org_id AND d.deleted_at IS NULL
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_readiness(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (WITH fact AS (
        SELECT pg_is_in_recovery() AS standby, v.ok, v.finished_at,
               (SELECT count(*) FROM walwarden.job AS j
                 WHERE j.org_id = r.org_id AND NOT j.done AND j.state = 'queued'
                   AND j.queued_at < clock_timestamp() - interval '15 minutes') AS waiting
          FROM (SELECT) AS one
          LEFT JOIN walwarden.verification AS v ON v.org_id = r.org_id
    ), checks(name, status, detail) AS (
        SELECT 'database_writable', CASE WHEN f.standby THEN 'warn' ELSE 'pass' END,
               CASE WHEN f.standby THEN 'a read-only standby' ELSE 'a primary' END
          FROM fact AS f
        UNION ALL
        SELECT 'audit_verified', CASE WHEN f.ok IS NULL THEN 'warn' WHEN f.ok THEN 'pass' ELSE 'fail' END,
               CASE WHEN f.ok IS NULL THEN 'no verification has been stored'
                    ELSE format('%s, %s seconds ago', CASE WHEN f.ok THEN 'verified' ELSE 'verification failed' END,
                                floor(extract(epoch FROM clock_timestamp() - f.finished_at))) END
          FROM fact AS f
        UNION ALL
        SELECT 'queue_served', CASE WHEN f.waiting = 0 THEN 'pass' ELSE 'warn' END,
               format('%s jobs have been queued for more than 15 minutes', f.waiting)
          FROM fact AS f
    )
    SELECT walwarden._object(
        'status', CASE WHEN bool_or(c.status = 'fail') THEN 'degraded' ELSE 'ready' END,
        'checks', json_agg(walwarden._object('name', c.name, 'status', c.status, 'detail', c.detail)),
        'server', walwarden._object('walwarden', walwarden._version(),
                                    'postgresql', split_part(current_setting('server_version'), ' ', 1),
                                    'standby', pg_is_in_recovery()))
      FROM checks AS c);
END
$$;
-- The OpenAPI 3.1 document, made of rest_operation, rest_schema, rest_error and
-- scope.

-- An example of what a schema describes, from the examples of its properties.
CREATE FUNCTION walwarden._schema_example(schema json) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text := CASE json_typeof(schema -> 'type') WHEN 'array' THEN schema #>> '{type,0}' ELSE schema ->> 'type' END;
BEGIN
    IF schema #> '{examples,0}' IS NOT NULL THEN
        RETURN schema #> '{examples,0}';
    ELSIF schema ->> '$ref' IS NOT NULL THEN
        RETURN walwarden._schema_example(walwarden._schema(schema ->> '$ref'));
    ELSIF kind = 'object' THEN
        RETURN coalesce((SELECT json_object_agg(p.key, walwarden._schema_example(p.value)) FROM json_each(schema -> 'properties') AS p), '{}');
    ELSIF kind = 'array' THEN
        RETURN json_build_array(walwarden._schema_example(schema -> 'items'));
    ELSIF kind IN ('integer', 'boolean') THEN
        RETURN CASE kind WHEN 'integer' THEN coalesce(schema -> 'minimum', '0') ELSE 'false' END;
    END IF;
    RETURN to_json(CASE schema ->> 'format'
        WHEN 'uuid' THEN '0b6f5a3e-8c1d-4e2f-9a7b-3c4d5e6f7081'
        WHEN 'date-time' THEN '2026-11-21T17:33:20.123456Z'
        ELSE 'text' END);
END
$$;

-- An object of the members that there are, in this order.
CREATE FUNCTION walwarden._members(keys text[], items json[]) RETURNS json
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_object_agg(m.key, m.item ORDER BY m.n)
      FROM unnest(keys, items) WITH ORDINALITY AS m(key, item, n)
     WHERE m.item IS NOT NULL
$$;

CREATE FUNCTION walwarden._schema_ref(name text) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('$ref', '#/components/schemas/' || name)
$$;

CREATE FUNCTION walwarden._header_ref(name text) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('$ref', '#/components/headers/' || name)
$$;

-- What a success answers: the schema, or a page of it.
CREATE FUNCTION walwarden._answer_schema(op walwarden.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN op.list_field IS NULL THEN walwarden._schema_ref(op.response)
                ELSE json_build_object(
                    'type', 'object', 'additionalProperties', false,
                    'required', json_build_array(op.list_field, 'pageInfo'),
                    'properties', json_build_object(
                        op.list_field, json_build_object('type', 'array', 'items', walwarden._schema_ref(op.response)),
                        'pageInfo', walwarden._schema_ref('PageInfo'))) END
$$;

-- The statuses of 400 and more that an operation can answer. Proxy limits and
-- faults come to every one.
CREATE FUNCTION walwarden._operation_errors(op walwarden.rest_operation) RETURNS SETOF walwarden.rest_error
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.*
      FROM walwarden.rest_error AS e
     WHERE e.status IN (400, 405, 414, 429, 431, 500, 503)
        OR (e.status IN (401, 403, 404) AND op.stage <> 'public')
        OR (e.status IN (409, 413, 415) AND op.request IS NOT NULL)
     ORDER BY e.status
$$;

CREATE FUNCTION walwarden._openapi_operation(op walwarden.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH parameter(n, item) AS (
        SELECT 1, json_build_object('name', op.parameter, 'in', 'path', 'required', true,
                                    'schema', json_build_object('type', 'string', 'format', 'uuid'))
         WHERE op.parameter IS NOT NULL
        UNION ALL
        SELECT 2, json_build_object('$ref', '#/components/parameters/' || p)
          FROM unnest(CASE WHEN op.list_field IS NOT NULL THEN '{Limit,Cursor}'::text[]
                           WHEN op.request IS NOT NULL THEN '{IdempotencyKey}' END) AS p
    ), request AS (
        SELECT walwarden._schema(op.request) AS schema WHERE op.request <> 'Nothing'
    ), answer AS (
        SELECT walwarden._members(
            '{description,headers,content}',
            ARRAY[to_json(op.summary),
                  walwarden._members(
                      '{X-Request-Id,Location,Idempotency-Replayed}',
                      ARRAY[walwarden._header_ref('X-Request-Id'),
                            CASE WHEN op.location IS NOT NULL THEN json_build_object(
                                'description', '/api/v1' || op.location, 'schema', json_build_object('type', 'string')) END,
                            CASE WHEN op.request IS NOT NULL THEN walwarden._header_ref('Idempotency-Replayed') END]),
                  CASE WHEN op.response IS NOT NULL THEN json_build_object('application/json', json_build_object(
                      'schema', walwarden._answer_schema(op),
                      'example', walwarden._schema_example(walwarden._answer_schema(op)))) END]) AS item
    )
    SELECT walwarden._members(
        '{operationId,summary,tags,x-stage,x-required-scope,security,parameters,requestBody,responses}',
        ARRAY[to_json(op.operation), to_json(op.summary), json_build_array(split_part(split_part(op.path, '/', 2), '.', 1)), to_json(op.stage),
              to_json(op.required_scope),
              CASE WHEN op.stage = 'public' THEN '[]'::json ELSE '[{"bearer": []}, {"header": []}]'::json END,
              (SELECT json_agg(p.item ORDER BY p.n) FROM parameter AS p),
              (SELECT json_build_object(
                          'required', q.schema -> 'required' IS NOT NULL OR q.schema -> 'minProperties' IS NOT NULL,
                          'content', json_build_object('application/json', json_build_object(
                              'schema', walwarden._schema_ref(op.request), 'example', walwarden._schema_example(q.schema))))
                 FROM request AS q),
              (SELECT json_object_agg(a.status, a.item ORDER BY a.status)
                 FROM (SELECT op.success_status, n.item FROM answer AS n
                       UNION ALL
                       SELECT e.status, json_build_object('$ref', '#/components/responses/' || e.code)
                         FROM walwarden._operation_errors(op) AS e) AS a(status, item))])
$$;

CREATE FUNCTION walwarden._openapi() RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH path AS (
        SELECT o.path, min(CASE o.stage WHEN 'alpha' THEN 1 WHEN 'beta' THEN 2 ELSE 3 END) AS place,
               json_object_agg(lower(o.method), walwarden._openapi_operation(o)
                               ORDER BY array_position('{GET,POST,PATCH,DELETE}', o.method)) AS item
          FROM walwarden.rest_operation AS o
         GROUP BY o.path
    )
    SELECT json_build_object(
        'openapi', '3.1.0',
        'info', json_build_object(
            'title', 'walwarden REST API', 'version', 'v1',
            'summary', 'Protected databases, backups, evidence, restores and recovery.',
            'description', 'HEAD answers wherever GET does. Answers may get further fields; ignore those that you do not know.',
            'license', json_build_object('name', 'PostgreSQL', 'identifier', 'PostgreSQL')),
        'servers', '[{"url": "/api/v1"}]'::json,
        'security', '[{"bearer": []}, {"header": []}]'::json,
        'tags', (SELECT json_agg(json_build_object('name', t.name) ORDER BY t.name)
                   FROM (SELECT DISTINCT split_part(split_part(o.path, '/', 2), '.', 1) AS name FROM walwarden.rest_operation AS o) AS t),
        'paths', (SELECT json_object_agg(p.path, p.item ORDER BY p.place, p.path) FROM path AS p),
        'components', json_build_object(
            'headers', json_build_object(
                'X-Request-Id', '{"description": "Names the request in the logs.", "schema": {"type": "string"}}'::json,
                'Idempotency-Replayed', '{"description": "true when the answer is that of an earlier request under the same key.", "schema": {"type": "string", "const": "true"}}'::json,
                'WWW-Authenticate', '{"description": "Bearer, with error and scope where they apply.", "schema": {"type": "string"}}'::json,
                'Allow', '{"description": "The methods of the path.", "schema": {"type": "string"}}'::json,
                'Retry-After', '{"description": "Seconds.", "schema": {"type": "integer"}}'::json),
            'securitySchemes', json_build_object(
                'header', '{"type": "apiKey", "in": "header", "name": "X-WallarmApi-Token", "description": "The same token in a header field of its own."}'::json,
                'bearer', json_build_object(
                'type', 'http', 'scheme', 'bearer',
                'description', 'A token of walwarden. Its scopes: '
                    || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden.scope AS s WHERE s.builtin) || '.')),
            'parameters', json_build_object(
                'Limit', '{"name": "limit", "in": "query", "description": "Items a page.", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}}'::json,
                'Cursor', '{"name": "cursor", "in": "query", "description": "pageInfo.nextCursor of the page before.", "schema": {"type": "string"}}'::json,
                'IdempotencyKey', '{"name": "Idempotency-Key", "in": "header", "required": true, "description": "A new random value with each request, the same one when it is repeated: within 24 hours the stored answer comes again, with Idempotency-Replayed: true.", "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}}'::json),
            'responses', (SELECT json_object_agg(e.code, json_build_object(
                                     'description', e.meaning,
                                     'headers', walwarden._members(
                                         '{X-Request-Id,WWW-Authenticate,Allow,Retry-After}',
                                         ARRAY[walwarden._header_ref('X-Request-Id'),
                                               CASE WHEN e.status IN (401, 403) THEN walwarden._header_ref('WWW-Authenticate') END,
                                               CASE WHEN e.status = 405 THEN walwarden._header_ref('Allow') END,
                                               CASE WHEN e.status IN (429, 503) THEN walwarden._header_ref('Retry-After') END]),
                                     'content', json_build_object('application/json', json_build_object('schema', walwarden._schema_ref('Error'))))
                                     ORDER BY e.status)
                            FROM walwarden.rest_error AS e),
            'schemas', (SELECT json_object_agg(s.name, s.schema ORDER BY s.name) FROM walwarden.rest_schema AS s WHERE s.name NOT IN ('JobReport', 'EvidenceReport', 'Nothing'))))
$$;

-- As it is at install time: nothing that it is made of can change afterwards.
DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden._rest_get_open_api(r walwarden.rest_request) RETURNS json '
                   'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L', format('SELECT %L::json', walwarden._openapi()));
END
$$;
-- What time asks for: expiries on record, tokens removed, old answers purged, every
-- chain verified once in walwarden.verify_interval, weakened guards restored. One
-- set of steps, for run_maintenance() and for the worker (src/worker.c).

-- Guards that pg_restore --disable-triggers left enabled as ordinary triggers. One
-- that is missing or altered is not made again: verification reports it.
CREATE FUNCTION walwarden._restore_guards() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- definitions are compared as text
AS $$
DECLARE
    g record;
    restored boolean := false;
BEGIN
    FOR g IN SELECT p.relation, p.trigger
               FROM walwarden._protecting_trigger AS p
               JOIN pg_class AS r ON r.relname = p.relation AND r.relnamespace = 'walwarden'::regnamespace
               JOIN pg_trigger AS t ON t.tgrelid = r.oid AND t.tgname = p.trigger
              WHERE t.tgenabled <> 'A' AND pg_get_triggerdef(t.oid) = p.definition
              ORDER BY p.relation, p.trigger LOOP
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', g.relation, g.trigger);
        RAISE WARNING USING
            MESSAGE = format('trigger %s on walwarden.%s was not ENABLE ALWAYS, and is again', g.trigger, g.relation),
            HINT = 'pg_restore --disable-triggers does that. If nobody restored a dump, ask who changed it.';
        restored := true;
    END LOOP;
    RETURN restored;
END
$$;

-- Verifies one chain and what it says of the present state, and stores the verdict.
CREATE FUNCTION walwarden._store_verification(chain uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO walwarden.verification AS f (org_id, finished_at, entries, head_hash, ok, first_bad_seq, reason)
    SELECT chain, clock_timestamp(), v.entries, v.head_hash, v.reason IS NULL, v.first_bad_seq, v.reason
      FROM walwarden._verify(chain, NULL, NULL) AS v
        ON CONFLICT ON CONSTRAINT verification_pkey DO UPDATE
       SET finished_at = clock_timestamp(), entries = EXCLUDED.entries, head_hash = EXCLUDED.head_hash,
           ok = EXCLUDED.ok, first_bad_seq = EXCLUDED.first_bad_seq, reason = EXCLUDED.reason;
END
$$;

CREATE FUNCTION walwarden._is_verification_due(chain uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM walwarden.verification AS v
                        WHERE v.org_id = chain
                          AND v.finished_at > clock_timestamp() - current_setting('walwarden.verify_interval')::interval)
$$;

-- The orgs in which time decided something about tokens. Every branch finds its
-- index.
CREATE FUNCTION walwarden._orgs_with_ended_tokens() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT n.org_id
      FROM (SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NOT NULL
            UNION
            SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.expires_at IS NOT NULL AND t.expires_at <= statement_timestamp()
            UNION
            SELECT t.id FROM walwarden.member AS m JOIN walwarden.token AS t ON t.owner_id = m.id
             WHERE m.removed_at IS NULL AND m.disabled_at IS NOT NULL
               AND t.removed_at IS NULL AND t.revoked_at IS NULL) AS candidate
      JOIN walwarden._ended_token AS n ON n.id = candidate.id
     WHERE n.overdue OR n.unrecorded
$$;

-- Ends the tokens of an org that are to be ended, at most so many of them; returns
-- how many.
CREATE FUNCTION walwarden._end_tokens_of(org_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[];
BEGIN
    PERFORM walwarden._take_org_lock(org_id);
    ids := ARRAY(SELECT n.id FROM walwarden._ended_token AS n
                  WHERE n.org_id = _end_tokens_of.org_id AND (n.overdue OR n.unrecorded)
                  LIMIT most);
    RETURN CASE WHEN walwarden._end_tokens(ids) THEN cardinality(ids) ELSE 0 END;
END
$$;

-- One maintenance at a time: whether it is the turn of this transaction, which keeps
-- it to its end. Not waited for: who has it is doing the same work.
CREATE FUNCTION walwarden._take_maintenance_turn() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_take_maintenance_turn';

-- From here to the end of the door, or of the worker's life, no lock is waited for
-- longer than so many milliseconds.
CREATE FUNCTION walwarden._bound_waits(milliseconds integer) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_bound_waits';

-- What is to be done now, in this order: run_maintenance() does it in one
-- transaction, the worker each step in a transaction of its own. Those that lock
-- organisations come last.
CREATE FUNCTION walwarden._maintenance_steps() RETURNS TABLE (step text, org_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY VALUES ('guards', NULL::uuid);
    RETURN QUERY SELECT 'verification', k.org_id FROM walwarden._chains() AS k WHERE walwarden._is_verification_due(k.org_id);
    RETURN QUERY VALUES ('idempotency keys', NULL::uuid);
    RETURN QUERY SELECT 'tokens', o FROM walwarden._orgs_with_ended_tokens() AS o;
END
$$;

-- One of these steps. more: it did a part of its work and is to be called again.
-- Locks are waited for no longer than a second, and an org in use is left for the
-- next time; so is one in which anything else goes wrong, because it must not keep
-- the others from theirs.
CREATE FUNCTION walwarden._maintenance_step(step text, org_id uuid, OUT changed boolean, OUT more boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 300;
    ended integer;
BEGIN
    changed := false;
    more := false;
    IF NOT walwarden._take_maintenance_turn() THEN
        RETURN;
    END IF;
    PERFORM walwarden._bound_waits(1000);
    CASE step
        WHEN 'guards' THEN
            changed := walwarden._restore_guards();
        WHEN 'verification' THEN
            PERFORM walwarden._store_verification(org_id);
            changed := true;
        WHEN 'idempotency keys' THEN
            DELETE FROM walwarden.idempotency_key AS k
             USING (SELECT f.token_id, f.key_hash FROM walwarden.idempotency_key AS f
                     WHERE f.created_at <= clock_timestamp() - current_setting('walwarden.idempotency_retention')::interval
                       FOR UPDATE SKIP LOCKED) AS old
             WHERE k.token_id = old.token_id AND k.key_hash = old.key_hash;
            changed := FOUND;
        WHEN 'tokens' THEN
            ended := walwarden._end_tokens_of(org_id, batch);
            changed := ended > 0;
            more := ended = batch;
    END CASE;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RAISE LOG 'walwarden: maintenance leaves % for later: %', step || coalesce(' of ' || org_id, ''), SQLERRM;
        changed := false;
        more := false;
    WHEN serialization_failure OR read_only_sql_transaction THEN
        RAISE;      -- the whole transaction's
    WHEN OTHERS THEN
        RAISE WARNING 'walwarden: maintenance could not do %: %', step || coalesce(' of ' || org_id, ''), SQLERRM USING ERRCODE = SQLSTATE;
        changed := false;
        more := false;
END
$$;

CREATE FUNCTION walwarden._run_maintenance() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    did record;
    changed boolean := false;
BEGIN
    PERFORM walwarden._require(walwarden._caller(), NULL, 'maintenance.run', 'any');
    IF NOT walwarden._take_maintenance_turn() THEN
        RETURN false;
    END IF;
    FOR due IN SELECT s.step, s.org_id FROM walwarden._maintenance_steps() AS s LOOP
        LOOP
            did := walwarden._maintenance_step(due.step, due.org_id);
            changed := changed OR did.changed;
            EXIT WHEN NOT did.more;
        END LOOP;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden.run_maintenance() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.run_maintenance() IS
'Does what time asks for, in one transaction: records expiries, removes tokens that ended longer ago than their organisation''s retention, purges answers older than walwarden.idempotency_retention, verifies every chain that was not verified within walwarden.verify_interval and stores the verdict, and makes guards ENABLE ALWAYS again where pg_restore --disable-triggers changed them, with a WARNING. Leaves out organisations whose lock is not to be had within a second. Without preload call it every minute to hour, with pg_cron for example; with preload the worker does the same by itself. For operators. Returns whether anything changed; false at once when another one is running. Errors: 42501 no operator. Example: SELECT walwarden.run_maintenance();';
-- What pg_dump keeps. Catalogues come with the extension; only what was added
-- to them is dumped.

SELECT pg_extension_config_dump('walwarden.scope', 'WHERE NOT builtin');
SELECT pg_extension_config_dump('walwarden.role_override', '');
SELECT pg_extension_config_dump('walwarden.role_grant', '');
SELECT pg_extension_config_dump('walwarden.org', '');
SELECT pg_extension_config_dump('walwarden.member', '');
SELECT pg_extension_config_dump('walwarden.token', '');
SELECT pg_extension_config_dump('walwarden.credential', '');
SELECT pg_extension_config_dump('walwarden.token_usage', '');
SELECT pg_extension_config_dump('walwarden.node', '');
SELECT pg_extension_config_dump('walwarden.destination', '');
SELECT pg_extension_config_dump('walwarden.database', '');
SELECT pg_extension_config_dump('walwarden.job', '');
SELECT pg_extension_config_dump('walwarden.evidence', '');
SELECT pg_extension_config_dump('walwarden.idempotency_key', '');
-- not verification: what was verified was another database
SELECT pg_extension_config_dump('walwarden.audit_entry', '');
-- Who may use what, decided here alone. Everything is the owner's; PUBLIC gets
-- the doors, which check for themselves, and the identity functions. Objects
-- without a line here are closed.

REVOKE ALL ON SCHEMA walwarden, walwarden_rest FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA walwarden FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden, walwarden_rest FROM PUBLIC;
REVOKE ALL ON TYPE walwarden.caller, walwarden.rest_request, walwarden.rest_item FROM PUBLIC;

-- Default privileges of the installing role may have opened them to others too.
DO $$
DECLARE
    opened record;
BEGIN
    FOR opened IN
        SELECT 'SCHEMA' AS kind, format('%I', n.nspname) AS object, n.nspacl AS acl, n.nspowner AS owner
          FROM pg_namespace AS n
         WHERE n.nspname IN ('walwarden', 'walwarden_rest')
        UNION ALL
        SELECT 'TABLE', format('%I.%I', n.nspname, r.relname), r.relacl, r.relowner
          FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest') AND r.relkind IN ('r', 'v')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proacl, p.proowner
          FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest')
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text, t.typacl, t.typowner
          FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest') AND t.typrelid <> 0
           AND EXISTS (SELECT FROM pg_class AS r WHERE r.oid = t.typrelid AND r.relkind = 'c')
    LOOP
        EXECUTE (SELECT coalesce(string_agg(format('REVOKE ALL ON %s %s FROM %s;', opened.kind, opened.object, a.grantee::regrole), ' '), 'SELECT')
                   FROM aclexplode(opened.acl) AS a
                  WHERE a.grantee NOT IN (0, opened.owner));
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA walwarden TO PUBLIC;
GRANT SELECT ON walwarden.token_list TO PUBLIC;
-- and walwarden.stat_auth to each operator: see _grant_operator()

GRANT EXECUTE ON FUNCTION
    -- superusers
    walwarden.grant_operator(name),
    walwarden.revoke_operator(name),
    walwarden.trust_authenticator(name),
    walwarden.untrust_authenticator(name),
    walwarden.grant_rest(name, name),
    walwarden.revoke_rest(name),
    walwarden.grant_runner(name),
    walwarden.revoke_runner(name),
    -- operators
    walwarden.create_org(text, text, text),
    walwarden.set_plan(text, text),
    walwarden.set_org_retention(text, interval),
    walwarden.create_scope(text, text, text),
    walwarden.set_role_scopes(text, text[]),
    walwarden.import_legacy_credential(text, text, uuid, text, text),
    walwarden.run_maintenance(),
    walwarden.auth_statistics(),
    -- operators, owners, admins
    walwarden.add_member(text, text, text, name),
    walwarden.set_member_role(text, text, text),
    walwarden.disable_member(text, text),
    walwarden.enable_member(text, text),
    walwarden.remove_member(text, text),
    walwarden.set_member_sso(text, text, boolean),
    walwarden.list_members(text),
    walwarden.list_audit(text, bigint, integer),
    walwarden.append_audit(text, jsonb, uuid, text),
    walwarden.verify_audit_chain(text, bigint, text),
    walwarden.list_nodes(text),
    -- members
    walwarden.list_orgs(),
    walwarden.issue_token(text, text, text[], timestamptz, text, text, text),
    walwarden.list_tokens(text, uuid, integer),
    walwarden.visible_tokens(),
    walwarden.disable_token(uuid, text),
    walwarden.enable_token(uuid, timestamptz),
    walwarden.update_token(uuid, text, text[], timestamptz),
    walwarden.renew_token(uuid, interval),
    walwarden.revoke_token(uuid, text),
    -- nodes, in roles given grant_runner
    walwarden.register_node(text, text),
    walwarden.claim_job(text[], interval),
    walwarden.heartbeat_job(uuid, bigint, jsonb),
    walwarden.report_job(uuid, bigint, text, jsonb),
    walwarden.record_evidence(uuid, bigint, jsonb),
    -- everyone
    walwarden.pre_request(),
    walwarden.introspect_token(text),
    walwarden.authenticate(text),
    walwarden.authorize(text, text),
    walwarden.has_scope(text),
    walwarden.require_scope(text),
    walwarden.current_token_id(),
    walwarden.current_org(),
    walwarden.current_org_id(),
    walwarden.current_subject()
TO PUBLIC;
-- Comments on what is read directly: by the owner, and by auditors in dumps.

COMMENT ON SCHEMA walwarden IS 'Token authority: everything but the entry points of REST v1.';
COMMENT ON SCHEMA walwarden_rest IS 'Entry points of REST v1, the only schema that PostgREST exposes.';

COMMENT ON TABLE walwarden.capability IS 'What permissions speak of: capabilities of callers and of roles. Built in, immutable.';
COMMENT ON TABLE walwarden.permission IS 'Who may do what: a caller may do action on target with one capability of any_of. Built in, immutable.';
COMMENT ON TABLE walwarden.plan IS 'Plans of organisations and whether they have API tokens. Built in, immutable.';
COMMENT ON TABLE walwarden.scope IS 'The closed catalogue of scopes; custom ones (builtin = false) come from create_scope().';
COMMENT ON TABLE walwarden.role IS 'Roles of members: capabilities, and scopes (NULL: all). Built in, immutable; see role_override.';
COMMENT ON TABLE walwarden.role_override IS 'Scopes set by set_role_scopes() in place of a role''s own; scopes NULL: none any more.';
COMMENT ON TABLE walwarden.role_grant IS 'Roles of the server that are operators, trusted authenticators, REST roles or runners, by name.';
COMMENT ON TABLE walwarden.org IS 'Organisations. retention: how long tokens are kept once they are disabled, expired or stopped by their owner''s disabling.';
COMMENT ON TABLE walwarden.member IS 'People in organisations. db_role: the role of the server that acts as them.';
COMMENT ON TABLE walwarden.token IS 'Tokens, revoked ones for good. owner_id NULL: shared; expired_at: the expiry that an entry records; removed_at: rows are marked, never deleted. Nothing of a plaintext.';
COMMENT ON TABLE walwarden.credential IS 'Values that open a token: SHA-256 fingerprints. kind: bearer, or legacy for a pair; valid_until: when a renewed value ended or ends. Rows go with the value. From org_id on a copy of what decides about its token, kept by triggers.';
COMMENT ON TABLE walwarden.token_usage IS 'When a token was last used: with preload to the second, as of the worker''s last round, else to the minute. Not part of what the chain describes.';
COMMENT ON TABLE walwarden.node IS 'Machines that run jobs, as register_node() recorded them; token_id: the token that last did.';
COMMENT ON TABLE walwarden.token_transition IS 'What an action makes of a token in a state, and the audit entry; event NULL: nothing to do. Built in, immutable; docs/lifecycle.md shows it.';
COMMENT ON TABLE walwarden.destination IS 'Where backups are kept. credential_ref: a name that nodes know. deleted_at: rows are marked, never deleted.';
COMMENT ON TABLE walwarden.database IS 'Protected databases. connection_ref: a name that nodes know; schedule: five-field cron, UTC; deleted_at: rows are marked, never deleted.';
COMMENT ON TABLE walwarden.job IS 'Backups, restores and drills. fence: number of the claim; lease_until: when another node may claim it.';
COMMENT ON TABLE walwarden.job_state IS 'The states of the two job machines. Built in, immutable.';
COMMENT ON TABLE walwarden.job_transition IS 'The allowed transitions of jobs, who makes them (api, runner, claim, lease) and the audit entry each leaves. Built in, immutable.';
COMMENT ON TABLE walwarden.evidence IS 'What nodes found out about backups: manifest, integrity verification, and the span of time that each can be restored to.';
COMMENT ON TABLE walwarden.idempotency_key IS 'Answers of REST v1 to mutations, given again under the same key for walwarden.idempotency_retention. Hashes of key and request only.';
COMMENT ON TABLE walwarden.verification IS 'The last stored verification of each audit chain.';
COMMENT ON TABLE walwarden.rest_operation IS 'REST v1: method, path, scope and status of each operation. Built in, immutable; docs/rest-v1.md is made of it.';
COMMENT ON TABLE walwarden.rest_schema IS 'REST v1: JSON Schemas of requests and answers. Built in, immutable.';
COMMENT ON TABLE walwarden.rest_error IS 'REST v1: the statuses of 400 and more and their codes. Built in, immutable.';
COMMENT ON TYPE walwarden.rest_request IS 'A request of REST v1, as handlers get it. Internal.';
COMMENT ON TYPE walwarden.rest_item IS 'An item of a list of REST v1 with its place in the order. Internal.';
COMMENT ON TABLE walwarden.audit_entry IS 'The audit chains, one for each organisation and one of the system (org_id all zeros). body is the canonical text that is hashed; docs/audit-chain.md specifies it. Nobody updates or deletes.';
COMMENT ON VIEW walwarden.token_list IS 'The tokens that the caller may see, of all organisations, newest first. state: active, inactive, disabled, expired or revoked. Example: SELECT name, state FROM walwarden.token_list;';
COMMENT ON VIEW walwarden.stat_auth IS 'Attempts to authenticate since the server''s start, of all databases together. outcome: accepted or refused; reason: active for accepted ones, else why; malformed: NULL, no token''s form, half a pair, or two different credentials in one request. introspect_token() does not count. Empty without preload. For operators. Example: SELECT reason, count FROM walwarden.stat_auth WHERE outcome = ''refused'';';
COMMENT ON TYPE walwarden.listed_token IS 'A row of list_tokens() and token_list. kind: api, node or legacy; visibility: private or shared; owner, created_by, revoked_by: a subject, else a role of the server; scopes: as issued, {} for a token with a role; effective_scopes: what it may do now, {} unless it is active; state: active, inactive, disabled, expired or revoked.';

-- Of columns, what name and type do not say: units, and what NULL means.
COMMENT ON COLUMN walwarden.audit_entry.seq IS '1, 2, 3 ... in each chain, without a gap';
COMMENT ON COLUMN walwarden.audit_entry.body IS 'canonical JSON, at most 65,536 bytes';
COMMENT ON COLUMN walwarden.audit_entry.prev_hash IS '32 bytes: hash of the entry before';
COMMENT ON COLUMN walwarden.audit_entry.hash IS '32 bytes: SHA-256 of hex(prev_hash) and body';
COMMENT ON COLUMN walwarden.credential.fingerprint IS '32 bytes: SHA-256 of the value';
COMMENT ON COLUMN walwarden.credential.valid_until IS 'NULL: as long as the token';
COMMENT ON COLUMN walwarden.credential.org_id IS 'NULL: there is no such token';
COMMENT ON COLUMN walwarden.credential.stopped IS 'disabled, revoked or removed; NULL: none of these';
COMMENT ON COLUMN walwarden.database.rpo_seconds IS 'seconds; NULL: no recovery point objective';
COMMENT ON COLUMN walwarden.database.rto_seconds IS 'seconds; NULL: no recovery time objective';
COMMENT ON COLUMN walwarden.destination.retention_floor_days IS 'days';
COMMENT ON COLUMN walwarden.evidence.fence IS 'the claim that recorded it';
COMMENT ON COLUMN walwarden.evidence.manifest IS 'as the node recorded it, at most 16 KiB with the rest';
COMMENT ON COLUMN walwarden.idempotency_key.key_hash IS '32 bytes: SHA-256';
COMMENT ON COLUMN walwarden.idempotency_key.request_hash IS '32 bytes: SHA-256';
COMMENT ON COLUMN walwarden.idempotency_key.body IS 'the stored answer; NULL: it had no body';
COMMENT ON COLUMN walwarden.job.attempt IS 'claims so far';
COMMENT ON COLUMN walwarden.job.max_attempts IS 'claims, the first included';
COMMENT ON COLUMN walwarden.job.fence IS 'number of the last claim';
COMMENT ON COLUMN walwarden.job.lease IS '1 second to 1 hour: what each report renews it by';
COMMENT ON COLUMN walwarden.job.progress IS 'percent (0 to 100), bytesDone, bytesTotal (bytes), phase';
COMMENT ON COLUMN walwarden.job.artifact IS 'of a completed backup: name, sizeBytes (bytes), checksumSha256 (hex)';
COMMENT ON COLUMN walwarden.job.validation IS 'of a completed restore: result, checks';
COMMENT ON COLUMN walwarden.job.error IS 'of a failed job: class, message, retryable';
COMMENT ON COLUMN walwarden.job.first_seq IS 'seq of its first entry';
COMMENT ON COLUMN walwarden.org.retention IS '0 to 3650 days, in whole seconds';
COMMENT ON COLUMN walwarden.rest_error.status IS 'HTTP status';
COMMENT ON COLUMN walwarden.rest_operation.success_status IS 'HTTP status';
COMMENT ON COLUMN walwarden.rest_operation.depth IS 'slashes of the path';
COMMENT ON COLUMN walwarden.rest_operation.parameter_at IS 'place of the parameter, counted in slashes from 1';
COMMENT ON COLUMN walwarden.rest_schema.schema IS 'JSON Schema 2020-12';
COMMENT ON COLUMN walwarden.stat_auth.count IS 'attempts since the server started';
COMMENT ON COLUMN walwarden.token.expires_at IS 'NULL: never';
COMMENT ON COLUMN walwarden.token.scopes IS 'NULL: of a pair, its owner''s role; {}: none, or those of role';
COMMENT ON COLUMN walwarden.token_usage.last_used_at IS 'NULL: never';
COMMENT ON COLUMN walwarden.verification.entries IS 'entries that were there';
COMMENT ON COLUMN walwarden.verification.head_hash IS 'lower-case hex: hash of the last';
COMMENT ON COLUMN walwarden.verification.first_bad_seq IS 'seq of the first finding; NULL: none, or none of one entry';

DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT a.attrelid
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'walwarden'::regnamespace AND c.relkind = 'r' AND a.attname = 'audit_seq'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.audit_seq IS %L', relation, 'seq of the entry that describes the row');
    END LOOP;
END
$$;
