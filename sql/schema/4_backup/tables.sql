-- Destinations, protected databases, jobs and evidence. As in the tables of 3_token, rows
-- are marked instead of deleted, and audit_seq is the entry that describes the current state.

CREATE TABLE walwarden_internal.destination (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id               uuid NOT NULL REFERENCES walwarden_internal.org,
    name                 text NOT NULL,
    provider             text NOT NULL,
    uri                  text NOT NULL,
    region               text,
    credential_ref       text,
    retention_floor_days integer NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    deleted_at           timestamptz,
    audit_seq            bigint NOT NULL,
    reported_state       text COLLATE "C" CHECK (reported_state IN ('verified', 'failing')),
    reported_at          timestamptz,
    reported_detail      jsonb
);
-- for index_has()
CREATE UNIQUE INDEX destination_of_org ON walwarden_internal.destination (org_id, id);
CREATE UNIQUE INDEX destination_name_key ON walwarden_internal.destination (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX destination_by_org ON walwarden_internal.destination (org_id, created_at, id) WHERE deleted_at IS NULL;
SELECT pg_extension_config_dump('walwarden_internal.destination', '');
COMMENT ON TABLE walwarden_internal.destination IS 'Places where backups are stored. credential_ref: a name that nodes know. deleted_at: rows are marked, never deleted.';
COMMENT ON COLUMN walwarden_internal.destination.retention_floor_days IS 'days';
COMMENT ON COLUMN walwarden_internal.destination.reported_state IS 'by the last report of a node; NULL if there is none for the present region and credential';
COMMENT ON COLUMN walwarden_internal.destination.reported_at IS 'when the last report came; the chain does not describe it';
COMMENT ON COLUMN walwarden_internal.destination.reported_detail IS 'of the last report; the chain does not describe it';

CREATE TABLE walwarden_internal.database (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id           uuid NOT NULL REFERENCES walwarden_internal.org,
    name             text NOT NULL,
    engine           text NOT NULL,
    postgres_version text,
    connection_ref   text NOT NULL,
    destination_id   uuid REFERENCES walwarden_internal.destination,
    schedule         text,
    rpo_seconds      integer,
    rto_seconds      integer,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    deleted_at       timestamptz,
    audit_seq        bigint NOT NULL,
    method           text NOT NULL DEFAULT 'pg_dump' CHECK (method IN ('pg_dump', 'pg_basebackup')),
    retention_days   integer,
    drill_schedule   text,
    -- when the two schedules are due, and what was last recorded to be in their way; no entry
    -- describes these
    next_run_at      timestamptz,
    next_drill_at    timestamptz,
    run_hindered_by   text,
    drill_hindered_by text
);
CREATE UNIQUE INDEX database_name_key ON walwarden_internal.database (org_id, name) WHERE deleted_at IS NULL;
CREATE INDEX database_by_org ON walwarden_internal.database (org_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX database_next_run ON walwarden_internal.database (org_id, next_run_at) WHERE next_run_at IS NOT NULL;
CREATE INDEX database_next_drill ON walwarden_internal.database (org_id, next_drill_at) WHERE next_drill_at IS NOT NULL;
-- for maintenance: what is due in any organisation
CREATE INDEX database_due ON walwarden_internal.database (least(next_run_at, next_drill_at), org_id) WHERE least(next_run_at, next_drill_at) IS NOT NULL;
-- for verification, which reads deleted ones too
CREATE UNIQUE INDEX database_of_org ON walwarden_internal.database (org_id, id);
CREATE INDEX database_by_destination ON walwarden_internal.database (destination_id) WHERE deleted_at IS NULL;
SELECT pg_extension_config_dump('walwarden_internal.database', '');
COMMENT ON TABLE walwarden_internal.database IS 'Protected databases. connection_ref: a name that nodes know. schedule, drill_schedule: five-field cron expressions, in UTC. deleted_at: rows are marked, never deleted.';
COMMENT ON COLUMN walwarden_internal.database.rpo_seconds IS 'seconds; NULL for no recovery point objective';
COMMENT ON COLUMN walwarden_internal.database.rto_seconds IS 'seconds; NULL for no recovery time objective';
COMMENT ON COLUMN walwarden_internal.database.retention_days IS 'days; NULL for the floor of the destination';
COMMENT ON COLUMN walwarden_internal.database.next_run_at IS 'when the next backup is due; NULL without a schedule';
COMMENT ON COLUMN walwarden_internal.database.next_drill_at IS 'when the next drill is due; NULL without a schedule';
COMMENT ON COLUMN walwarden_internal.database.run_hindered_by IS 'the job for which entry backup.skipped was last appended, or no_destination; NULL once a backup was queued';
COMMENT ON COLUMN walwarden_internal.database.drill_hindered_by IS 'the same for drills and drill.skipped, or no_verified_backup';

-- The rows of job_transition are the state machines of jobs, one for each kind of job. Only
-- walwarden_internal.move_job() changes the state of a job. from_state: NULL for a new job.
-- moved_by: api (REST v1), schedule (of a database), runner (a node), lease (the lease
-- expired), expire (retention) or close (close_copy() or close_org() ended the job). event: its second word says what was done. A node reports a
-- state by its name; what it does otherwise has another event.
CREATE TABLE walwarden_internal.job_state (
    machine text COLLATE "C" NOT NULL,      -- a kind of job
    state   text COLLATE "C" NOT NULL,
    done    boolean NOT NULL,       -- work on the job has ended
    PRIMARY KEY (machine, state)
);

INSERT INTO walwarden_internal.job_state (machine, state, done)
SELECT m.machine, s.state, t.done
  FROM (VALUES
    ('{backup}',        '{queued,claimed,running,finalizing}', false),
    ('{backup}',        '{completed,failed,cancelled,dismissed}', true),
    ('{restore,drill}', '{queued,claimed,downloading,verifying,manifest_verified,restoring,finalizing}', false),
    ('{restore,drill}', '{completed,failed,cancelled,timed_out}', true)
       ) AS t(machines, states, done), unnest(t.machines::text[]) AS m(machine), unnest(t.states::text[]) AS s(state);
COMMENT ON TABLE walwarden_internal.job_state IS 'The states of jobs of each kind. Built in, immutable.';

CREATE TABLE walwarden_internal.job_transition (
    machine    text COLLATE "C" NOT NULL,
    from_state text COLLATE "C",
    to_state   text COLLATE "C" NOT NULL,
    moved_by   text COLLATE "C" NOT NULL CHECK (moved_by IN ('api', 'schedule', 'runner', 'lease', 'close', 'expire')),
    event      text COLLATE "C" NOT NULL,       -- kind of the audit entry
    UNIQUE NULLS NOT DISTINCT (machine, from_state, to_state, moved_by, event),
    FOREIGN KEY (machine, from_state) REFERENCES walwarden_internal.job_state,
    FOREIGN KEY (machine, to_state) REFERENCES walwarden_internal.job_state
);

INSERT INTO walwarden_internal.job_transition (machine, from_state, to_state, moved_by, event)
SELECT m.machine, f.state, t.to_state, t.moved_by, t.event
  FROM (VALUES
    ('{backup}',  '{NULL}',                       'queued',     'api',    'backup.queued'),
    ('{backup}',  '{queued}',                     'claimed',    'runner', 'backup.claimed'),
    ('{backup}',  '{claimed}',                    'running',    'runner', 'backup.running'),
    ('{backup}',  '{running}',                    'finalizing', 'runner', 'backup.finalizing'),
    ('{backup}',  '{finalizing}',                 'completed',  'runner', 'backup.completed'),
    ('{backup}',  '{claimed,running,finalizing}', 'failed',     'runner', 'backup.failed'),
    ('{backup}',  '{claimed,running,finalizing}', 'queued',     'runner', 'backup.retried'),
    ('{backup}',  '{claimed,running,finalizing}', 'queued',     'runner', 'backup.released'),
    ('{backup}',  '{claimed,running,finalizing}', 'queued',     'lease',  'backup.lease_ended'),
    ('{backup}',  '{claimed,running,finalizing}', 'failed',     'lease',  'backup.failed'),
    ('{backup}',  '{queued,claimed,running}',     'cancelled',  'api',    'backup.cancelled'),
    ('{backup}',  '{failed}',                     'dismissed',  'api',    'backup.dismissed'),
    ('{backup}',  '{queued,claimed,running,finalizing}', 'cancelled', 'close', 'backup.cancelled'),

    ('{restore,drill}', '{NULL}',              'queued',            'api',    'restore.triggered'),
    ('{restore,drill}', '{queued}',            'claimed',           'runner', 'restore.claimed'),
    ('{restore,drill}', '{claimed}',           'downloading',       'runner', 'restore.downloading'),
    ('{restore,drill}', '{downloading}',       'verifying',         'runner', 'restore.verifying'),
    ('{restore,drill}', '{verifying}',         'manifest_verified', 'runner', 'restore.manifest_verified'),
    ('{restore,drill}', '{manifest_verified}', 'restoring',         'runner', 'restore.restoring'),
    ('{restore,drill}', '{restoring}',         'finalizing',        'runner', 'restore.finalizing'),
    ('{restore,drill}', '{finalizing}',        'completed',         'runner', 'restore.completed'),
    ('{restore,drill}', '{claimed,downloading,verifying,manifest_verified,restoring,finalizing}', 'failed', 'runner', 'restore.failed'),
    -- a restore that has begun to write to its target is not begun again
    ('{restore,drill}', '{claimed,downloading,verifying,manifest_verified}', 'queued', 'runner', 'restore.retried'),
    ('{restore,drill}', '{claimed,downloading,verifying,manifest_verified}', 'queued', 'runner', 'restore.released'),
    ('{restore,drill}', '{claimed,downloading,verifying,manifest_verified}', 'queued', 'lease',  'restore.lease_ended'),
    ('{restore,drill}', '{claimed,downloading,verifying,manifest_verified}', 'failed', 'lease',  'restore.failed'),
    ('{restore}',       '{restoring,finalizing}', 'timed_out', 'lease', 'restore.timed_out'),
    -- a drill is, because it writes to a target that nobody else uses
    ('{drill}',         '{restoring,finalizing}', 'queued', 'runner', 'restore.retried'),
    ('{drill}',         '{restoring,finalizing}', 'queued', 'runner', 'restore.released'),
    ('{drill}',         '{restoring,finalizing}', 'queued', 'lease',  'restore.lease_ended'),
    ('{drill}',         '{restoring,finalizing}', 'failed', 'lease',  'restore.failed'),
    -- the target may be incomplete from restoring on
    ('{restore,drill}', '{queued,claimed,downloading,verifying,manifest_verified}', 'cancelled', 'api',   'restore.cancelled'),
    ('{restore,drill}', '{queued,claimed,downloading,verifying,manifest_verified}', 'cancelled', 'close', 'restore.cancelled'),
    ('{restore,drill}', '{restoring,finalizing}', 'timed_out', 'close', 'restore.timed_out')
       ) AS t(machines, from_states, to_state, moved_by, event), unnest(t.machines::text[]) AS m(machine), unnest(t.from_states::text[]) AS f(state);
COMMENT ON TABLE walwarden_internal.job_transition IS 'The allowed transitions of jobs, who makes them (api, schedule, runner, lease, close, expire), and the audit entry that each appends. Built in, immutable.';

-- Backups, restores, drills, and expiries of backups. A node with a lower fence has lost the job. progress, lease
-- and lease_until belong to the node that works on the job and are not part of its image.
CREATE TABLE walwarden_internal.job (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id         uuid NOT NULL REFERENCES walwarden_internal.org,
    kind           text COLLATE "C" NOT NULL CHECK (kind IN ('backup', 'restore', 'drill', 'expire')),
    database_id    uuid NOT NULL REFERENCES walwarden_internal.database,
    destination_id uuid NOT NULL REFERENCES walwarden_internal.destination,
    backup_job_id  uuid,       -- of a restore or an expiry; not a foreign key, because a dump could not order the rows
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
    claimed_by     uuid REFERENCES walwarden_internal.node,
    lease          interval,
    lease_until    timestamptz,
    progress       jsonb,
    artifact       jsonb,
    validation     jsonb,
    error          jsonb,
    requested_by   uuid REFERENCES walwarden_internal.token,
    queued_at      timestamptz NOT NULL,
    not_before     timestamptz,
    claimed_at     timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz,
    first_seq      bigint NOT NULL,
    audit_seq      bigint NOT NULL,
    FOREIGN KEY (kind, state) REFERENCES walwarden_internal.job_state,
    CHECK ((kind = 'backup') = (backup_job_id IS NULL AND mode IS NULL AND target IS NULL AND type IS NOT NULL)),
    CHECK (kind <> 'expire' OR (backup_job_id IS NOT NULL AND mode IS NULL AND target IS NULL)),
    -- a queued job has attempts left and belongs to no node
    CHECK (state <> 'queued' OR attempt < max_attempts),
    CHECK (state <> 'queued' OR claimed_by IS NULL)
);
-- nothing else while a database is backed up or overwritten
CREATE UNIQUE INDEX job_exclusive_key ON walwarden_internal.job (database_id) WHERE (kind = 'backup' OR mode = 'in_place') AND NOT done;
-- one restore at a time overwrites a target
CREATE UNIQUE INDEX job_active_in_place_key ON walwarden_internal.job (org_id, target) WHERE mode = 'in_place' AND NOT done;
-- for index_has()
CREATE UNIQUE INDEX job_of_org ON walwarden_internal.job (org_id, id);
-- for counting by the index alone
CREATE INDEX job_by_state ON walwarden_internal.job (org_id, kind, state);
CREATE INDEX job_open ON walwarden_internal.job (org_id, queued_at, id) WHERE NOT done;
-- not by lease_until, so that a heartbeat changes no index
CREATE INDEX job_held ON walwarden_internal.job (org_id, claimed_by) WHERE claimed_by IS NOT NULL AND NOT done;
CREATE INDEX job_backups_by_database ON walwarden_internal.job (database_id, queued_at, id) WHERE kind = 'backup';
CREATE INDEX job_backups_by_destination ON walwarden_internal.job (destination_id, finished_at) WHERE kind = 'backup';
-- one expiry of a backup at a time
CREATE UNIQUE INDEX job_active_expiry_key ON walwarden_internal.job (backup_job_id) WHERE kind = 'expire' AND NOT done;
-- backups that may expire, oldest first
CREATE INDEX job_kept_backups ON walwarden_internal.job (database_id, destination_id, finished_at) WHERE kind = 'backup' AND state = 'completed';
CREATE INDEX job_expiries_by_backup ON walwarden_internal.job (backup_job_id, finished_at) WHERE kind = 'expire';
CREATE INDEX job_restores_by_org ON walwarden_internal.job (org_id, queued_at, id) WHERE kind IN ('restore', 'drill');
CREATE INDEX job_restores_by_backup ON walwarden_internal.job (backup_job_id) WHERE kind IN ('restore', 'drill');
SELECT pg_extension_config_dump('walwarden_internal.job', '');
COMMENT ON TABLE walwarden_internal.job IS 'Backups, restores, drills, and expiries of backups. claimed_by: the node that holds the job, or ended it. lease_until: when maintenance or the next claim takes the job from this node.';
COMMENT ON COLUMN walwarden_internal.job.attempt IS 'number of claims so far, without those that were given back';
COMMENT ON COLUMN walwarden_internal.job.max_attempts IS 'maximum number of claims, including the first';
COMMENT ON COLUMN walwarden_internal.job.fence IS 'rises with each claim, and whenever the job is taken from its node';
COMMENT ON COLUMN walwarden_internal.job.lease IS '1 second to 1 hour; each report extends lease_until to this long from now';
COMMENT ON COLUMN walwarden_internal.job.progress IS 'percent (0 to 100), bytesDone, bytesTotal (bytes), phase';
COMMENT ON COLUMN walwarden_internal.job.artifact IS 'for a completed backup: name, sizeBytes (bytes), checksumSha256 (hex)';
COMMENT ON COLUMN walwarden_internal.job.validation IS 'for a completed restore or drill: result, checks';
COMMENT ON COLUMN walwarden_internal.job.error IS 'for a failed job, and until the next claim for one that is tried again: class, message, retryable, blames';
COMMENT ON COLUMN walwarden_internal.job.not_before IS 'of a queued job: no node may claim it earlier';
COMMENT ON COLUMN walwarden_internal.job.requested_by IS 'the token; NULL for what a person, a schedule or retention asks for';
COMMENT ON COLUMN walwarden_internal.job.first_seq IS 'seq of the first entry of the job';

-- The result of a node's check of a backup. With the WAL archived for it, the backup can be
-- restored to every point in time from recoverable_from to recoverable_to. fence: the claim
-- that recorded the evidence. Evidence from an earlier claim says nothing about the backup
-- that a later claim makes.
CREATE TABLE walwarden_internal.evidence (
    backup_job_id    uuid PRIMARY KEY REFERENCES walwarden_internal.job,
    org_id           uuid NOT NULL REFERENCES walwarden_internal.org,
    database_id      uuid NOT NULL REFERENCES walwarden_internal.database,
    fence            bigint NOT NULL,
    window_id        uuid NOT NULL UNIQUE,      -- the id of the window that begins with this evidence
    state            text COLLATE "C" NOT NULL CHECK (state IN ('verified', 'failed', 'unverified')),
    manifest         jsonb NOT NULL,
    result           text NOT NULL,
    checked_at       timestamptz,
    tool             text,
    recoverable_from timestamptz NOT NULL,
    recoverable_to   timestamptz NOT NULL CHECK (recoverable_to >= recoverable_from),
    recorded_at      timestamptz NOT NULL,
    recorded_by      uuid NOT NULL REFERENCES walwarden_internal.token,
    audit_seq        bigint NOT NULL,
    public_key       text COLLATE "C"
);
CREATE INDEX evidence_by_org ON walwarden_internal.evidence (org_id, recorded_at, backup_job_id);
CREATE INDEX evidence_verified ON walwarden_internal.evidence (database_id, recoverable_to) WHERE state = 'verified';
SELECT pg_extension_config_dump('walwarden_internal.evidence', '');
COMMENT ON TABLE walwarden_internal.evidence IS 'Results of the checks that nodes ran on backups: manifest, integrity verification, and the span of time that each backup can be restored to.';
COMMENT ON COLUMN walwarden_internal.evidence.fence IS 'the claim that recorded it';
COMMENT ON COLUMN walwarden_internal.evidence.manifest IS 'as the node recorded it; the whole report has at most 16 KiB';
COMMENT ON COLUMN walwarden_internal.evidence.public_key IS 'the key, in base64, with which the signature of the manifest was verified; NULL if it is not signed';

CREATE FUNCTION walwarden_internal.destination_image(d walwarden_internal.destination) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', d.id, 'name', d.name, 'provider', d.provider, 'uri', d.uri, 'region', d.region,
        'credentialRef', d.credential_ref, 'retentionFloorDays', d.retention_floor_days,
        'createdAt', walwarden_internal.iso(d.created_at), 'updatedAt', walwarden_internal.iso(d.updated_at),
        'deletedAt', walwarden_internal.iso(d.deleted_at)),
        jsonb_build_object('state', d.reported_state));

CREATE FUNCTION walwarden_internal.database_image(d walwarden_internal.database) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', d.id, 'name', d.name, 'engine', d.engine, 'postgresVersion', d.postgres_version,
        'connectionRef', d.connection_ref, 'destinationId', d.destination_id, 'schedule', d.schedule,
        'rpoSeconds', d.rpo_seconds, 'rtoSeconds', d.rto_seconds,
        'createdAt', walwarden_internal.iso(d.created_at), 'updatedAt', walwarden_internal.iso(d.updated_at),
        'deletedAt', walwarden_internal.iso(d.deleted_at)),
        jsonb_build_object('method', d.method, 'retentionDays', d.retention_days, 'drillSchedule', d.drill_schedule));

CREATE FUNCTION walwarden_internal.job_image(j walwarden_internal.job) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', j.id, 'kind', j.kind, 'databaseId', j.database_id, 'destinationId', j.destination_id,
        'backupJobId', j.backup_job_id, 'type', j.type, 'trigger', j.trigger, 'reason', j.reason,
        'mode', j.mode, 'target', j.target,
        'state', j.state, 'done', j.done, 'attempt', j.attempt, 'maxAttempts', j.max_attempts, 'fence', j.fence,
        'claimedBy', j.claimed_by, 'requestedBy', j.requested_by,
        'artifact', j.artifact, 'validation', j.validation, 'error', j.error,
        'queuedAt', walwarden_internal.iso(j.queued_at), 'claimedAt', walwarden_internal.iso(j.claimed_at),
        'startedAt', walwarden_internal.iso(j.started_at), 'finishedAt', walwarden_internal.iso(j.finished_at)),
        jsonb_build_object('notBefore', walwarden_internal.iso(j.not_before)));

CREATE FUNCTION walwarden_internal.evidence_image(e walwarden_internal.evidence) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'backupJobId', e.backup_job_id, 'databaseId', e.database_id, 'fence', e.fence, 'windowId', e.window_id,
        'state', e.state, 'manifest', e.manifest, 'result', e.result,
        'checkedAt', walwarden_internal.iso(e.checked_at), 'tool', e.tool,
        'recoverableFrom', walwarden_internal.iso(e.recoverable_from), 'recoverableTo', walwarden_internal.iso(e.recoverable_to),
        'recordedAt', walwarden_internal.iso(e.recorded_at), 'recordedBy', e.recorded_by),
        jsonb_build_object('publicKey', e.public_key));
