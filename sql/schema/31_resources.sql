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
