-- The rows that this wing adds to tables of lower wings, and its audited rows.

INSERT INTO walwarden_internal.guard
SELECT g.* FROM unnest('{job_state,job_transition}'::name[]) AS c(relation), walwarden_internal.catalogue_guards(c.relation) AS g;

-- The audited rows of this wing, each with its chain, its entry and its image.
CREATE VIEW walwarden_internal.backup_audited_row AS
    SELECT n.org_id, 'node' AS type, n.id AS key, n.id::text AS id, n.audit_seq, NULL::bigint AS first_seq, walwarden_internal.node_image(n) AS image
      FROM walwarden_internal.node AS n
    UNION ALL
    SELECT t.org_id, 'node_token', t.token_id, t.token_id::text, t.audit_seq, NULL, walwarden_internal.node_token_image(t)
      FROM walwarden_internal.node_token AS t
    UNION ALL
    SELECT a.org_id, 'alarm', a.node_id, a.node_id::text, a.audit_seq, NULL, walwarden_internal.alarm_image(a)
      FROM walwarden_internal.alarm AS a
    UNION ALL
    SELECT d.org_id, 'destination', d.id, d.id::text, d.audit_seq, NULL, walwarden_internal.destination_image(d)
      FROM walwarden_internal.destination AS d
    UNION ALL
    SELECT d.org_id, 'database', d.id, d.id::text, d.audit_seq, NULL, walwarden_internal.database_image(d)
      FROM walwarden_internal.database AS d
    UNION ALL
    SELECT j.org_id, 'job', j.id, j.id::text, j.audit_seq, coalesce(j.first_seq, 0), walwarden_internal.job_image(j)
      FROM walwarden_internal.job AS j
    UNION ALL
    SELECT e.org_id, 'evidence', e.backup_job_id, e.backup_job_id::text, e.audit_seq, NULL, walwarden_internal.evidence_image(e)
      FROM walwarden_internal.evidence AS e;
COMMENT ON VIEW walwarden_internal.backup_audited_row IS 'The audited rows of nodes, their tokens and alarms, destinations, databases, jobs and evidence.';

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('node.registered',           'org', 'a node registered its version and its token'),
    ('node.token_joined',         'org', 'a token began to speak for a node'),
    ('node.key_changed',          'org', 'a node registered another public key, or its first one'),
    ('audit.alarm',               'org', 'a node found another chain than the one that it knows'),
    ('audit.history_accepted',    'org', 'an operator accepted the present chain for a node that had reported an alarm'),
    ('destination.reported',      'org', 'a node reported that a destination works, or that it does not'),
    ('backup.queued',             'org', 'a backup was requested'),
    ('backup.claimed',            'org', 'a node claimed a backup'),
    ('backup.running',            'org', 'a node began a backup'),
    ('backup.finalizing',         'org', 'a node began to finish a backup'),
    ('backup.completed',          'org', 'a backup completed'),
    ('backup.failed',             'org', 'a backup failed'),
    ('backup.retried',            'org', 'a backup failed and was queued again'),
    ('backup.released',           'org', 'a node gave a backup back'),
    ('backup.lease_ended',        'org', 'the lease of a backup expired, and it was queued again'),
    ('backup.cancelled',          'org', 'a backup was cancelled'),
    ('backup.dismissed',          'org', 'a failed backup was dismissed'),
    ('backup.skipped',            'org', 'a scheduled backup was due, but an active job or a missing destination is in its way; once for each'),
    ('backup.expired',            'org', 'a backup expired: a node deleted its artifact'),
    ('drill.skipped',             'org', 'a scheduled drill was due, but another one is active or no backup is verified; once for each'),
    ('expire.queued',             'org', 'the retention of a backup was over'),
    ('expire.claimed',            'org', 'a node claimed the expiry of a backup'),
    ('expire.retried',            'org', 'the expiry of a backup failed and is tried again'),
    ('expire.released',           'org', 'a node gave the expiry of a backup back'),
    ('expire.lease_ended',        'org', 'the lease of the expiry of a backup expired, and it is queued again'),
    ('expire.completed',          'org', 'a node deleted the artifact of a backup'),
    ('expire.failed',             'org', 'the expiry of a backup failed, or the backup is needed after all'),
    ('evidence.recorded',         'org', 'a node recorded the evidence of a backup'),
    ('restore.triggered',         'org', 'a restore or a drill was requested'),
    ('restore.claimed',           'org', 'a node claimed a restore'),
    ('restore.downloading',       'org', 'a node began to download the backup'),
    ('restore.verifying',         'org', 'a node began to verify the backup'),
    ('restore.manifest_verified', 'org', 'a node found the backup to match its manifest'),
    ('restore.restoring',         'org', 'a node began to write to the target'),
    ('restore.finalizing',        'org', 'a node began to finish a restore'),
    ('restore.completed',         'org', 'a restore completed'),
    ('restore.failed',            'org', 'a restore failed'),
    ('restore.retried',           'org', 'a restore failed and was queued again'),
    ('restore.released',          'org', 'a node gave a restore back'),
    ('restore.lease_ended',       'org', 'the lease of a restore expired, and it was queued again'),
    ('restore.cancelled',         'org', 'a restore was cancelled'),
    ('restore.timed_out',         'org', 'a restore was writing to its target when its lease expired or the copy was closed');
