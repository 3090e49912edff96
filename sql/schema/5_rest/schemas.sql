-- The schemas of requests and responses of REST v1.

INSERT INTO walwarden_internal.json_schema (name, schema) VALUES
-- Responses may gain fields, so only the schemas of requests are closed.

('Profile', '{
  "description": "The token, its organisation and its permissions.",
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
      "scopes": {"description": "The scopes as issued; empty for a token with a role, null for a legacy token.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read", "backups:trigger"]]},
      "effectiveScopes": {"description": "The scopes that the token holds now; null for a legacy token.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read", "backups:trigger"]]},
      "expiresAt": {"type": ["string", "null"], "format": "date-time"}}},
    "apiVersion": {"type": "string", "enum": ["v1"], "examples": ["v1"]},
    "server": {"type": "object", "required": ["walwarden", "postgresql"], "properties": {
      "walwarden": {"type": "string", "examples": ["0.3.0"]},
      "postgresql": {"type": "string", "examples": ["15.10"]}}}
  }}'),

('PageInfo', '{
  "type": "object",
  "required": ["nextCursor", "hasMore"],
  "properties": {
    "nextCursor": {"description": "Opaque; pass it as cursor to get the next page.", "type": ["string", "null"], "examples": [null]},
    "hasMore": {"type": "boolean", "examples": [false]}
  }}'),

('Objectives', '{
  "description": "Recovery objectives.",
  "type": "object", "required": ["rpoSeconds", "rtoSeconds"],
  "properties": {
    "rpoSeconds": {"description": "Recovery point objective: how much data may be lost, in seconds.", "type": ["integer", "null"], "examples": [86400]},
    "rtoSeconds": {"description": "Recovery time objective: how long a restore may take, in seconds.", "type": ["integer", "null"], "examples": [3600]}
  }}'),

('Database', '{
  "description": "A protected database.",
  "type": "object",
  "required": ["id", "name", "engine", "method", "postgresVersion", "connectionRef", "destinationId", "schedule", "nextBackupAt", "retentionDays", "drillSchedule", "nextDrillAt", "objectives", "state", "lastBackup", "readiness", "createdAt", "updatedAt"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["orders"]},
    "engine": {"type": "string", "enum": ["postgresql"], "examples": ["postgresql"]},
    "method": {"description": "How backups are made: pg_dump of the database, or pg_basebackup of its cluster.", "type": "string", "enum": ["pg_dump", "pg_basebackup"], "examples": ["pg_dump"]},
    "postgresVersion": {"type": ["string", "null"], "examples": ["15"]},
    "connectionRef": {"description": "The name of a connection that the node knows; never a connection string.", "type": "string", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid"},
    "schedule": {"description": "When backups are queued: a five-field cron expression, UTC.", "type": ["string", "null"], "examples": ["0 3 * * *"]},
    "nextBackupAt": {"description": "When schedule is due next; null without a schedule.", "type": ["string", "null"], "format": "date-time"},
    "retentionDays": {"description": "For how many days a backup is kept after it finished; null for retentionFloorDays of its destination.", "type": ["integer", "null"], "examples": [30]},
    "drillSchedule": {"description": "When drills of the newest verified backup are queued: a five-field cron expression, UTC.", "type": ["string", "null"], "examples": ["0 12 1 * *"]},
    "nextDrillAt": {"description": "When drillSchedule is due next; null without one.", "type": ["string", "null"], "format": "date-time"},
    "objectives": {"$ref": "#/components/schemas/Objectives"},
    "state": {"description": "protected if the last finished backup completed, failing if it failed, unprotected if there is none.", "type": "string", "enum": ["unprotected", "protected", "failing"], "examples": ["unprotected"]},
    "lastBackup": {"description": "The newest backup job, in any state.", "type": ["object", "null"], "required": ["backupJobId", "state", "queuedAt", "finishedAt"], "properties": {
      "backupJobId": {"type": "string", "format": "uuid"},
      "state": {"type": "string", "examples": ["completed"]},
      "queuedAt": {"type": "string", "format": "date-time"},
      "finishedAt": {"type": ["string", "null"], "format": "date-time"}}},
    "readiness": {"description": "Whether a restore could start from verified evidence now.", "type": "object", "required": ["verdict", "recoverableTo", "rpoMet"], "properties": {
      "verdict": {"description": "ready if there is verified evidence, otherwise unproven.", "type": "string", "enum": ["ready", "unproven"], "examples": ["unproven"]},
      "recoverableTo": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
      "rpoMet": {"description": "Whether recoverableTo is within the recovery point objective; null if either is missing.", "type": ["boolean", "null"], "examples": [null]}}},
    "createdAt": {"type": "string", "format": "date-time"},
    "updatedAt": {"type": "string", "format": "date-time"}
  }}'),

('Destination', '{
  "description": "A place where backups are stored.",
  "type": "object",
  "required": ["id", "name", "provider", "uri", "region", "credentialRef", "retentionFloorDays", "state", "lastReport", "createdAt"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["offsite"]},
    "provider": {"type": "string", "enum": ["local", "s3", "minio", "gcs", "wasabi", "b2"], "examples": ["s3"]},
    "uri": {"type": "string", "examples": ["s3://acme-backups/prod"]},
    "region": {"type": ["string", "null"], "examples": ["eu-central-1"]},
    "credentialRef": {"description": "The name of a credential that the node knows; never the credential itself.", "type": ["string", "null"], "examples": ["s3-writer"]},
    "retentionFloorDays": {"description": "For how many days each backup here is kept at least.", "type": "integer", "examples": [30]},
    "state": {"description": "verified or failing as a node last reported, with the present region and credentialRef. Without such a report: failing if the last finished backup to it, or its verification, failed; verified if that backup is verified; otherwise unverified.", "type": "string", "enum": ["unverified", "verified", "failing"], "examples": ["unverified"]},
    "lastReport": {"description": "The last report of a node that tried to write, read and delete there; null if there is none for the present region and credentialRef.", "type": ["object", "null"], "required": ["ok", "at", "detail"], "examples": [null], "properties": {
      "ok": {"type": "boolean", "examples": [true]},
      "at": {"type": "string", "format": "date-time"},
      "detail": {"type": ["object", "null"], "examples": [null], "properties": {
        "class": {"type": "string", "examples": ["access_denied"]},
        "message": {"type": "string", "examples": ["the bucket does not accept the key"]}}}}},
    "createdAt": {"type": "string", "format": "date-time"}
  }}'),

('Progress', '{
  "description": "How far the work on a job has come, as its node last reported; null if it has not.",
  "type": ["object", "null"],
  "properties": {
    "percent": {"type": "integer", "minimum": 0, "maximum": 100, "examples": [40]},
    "bytesDone": {"type": "integer", "minimum": 0},
    "bytesTotal": {"type": "integer", "minimum": 0},
    "phase": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["copying"]}
  }}'),

('Backup', '{
  "description": "A backup job.",
  "type": "object",
  "required": ["id", "databaseId", "destinationId", "type", "trigger", "reason", "state", "attempt", "maxAttempts", "progress", "artifact", "error", "queuedAt", "notBefore", "claimedAt", "startedAt", "finishedAt", "done"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "destinationId": {"type": "string", "format": "uuid"},
    "type": {"type": "string", "enum": ["full"], "examples": ["full"]},
    "trigger": {"description": "What asked for the backup: a request, or the schedule of the database.", "type": "string", "enum": ["api", "schedule"], "examples": ["api"]},
    "reason": {"type": ["string", "null"], "examples": ["before the upgrade"]},
    "state": {"type": "string", "enum": ["queued", "claimed", "running", "finalizing", "completed", "failed", "cancelled", "dismissed", "expired"], "examples": ["queued"]},
    "attempt": {"description": "How many times a node has claimed the job, without claims that it gave back.", "type": "integer", "examples": [0]},
    "maxAttempts": {"type": "integer", "examples": [4]},
    "progress": {"$ref": "#/components/schemas/Progress", "examples": [null]},
    "artifact": {"$ref": "#/components/schemas/Artifact", "examples": [null]},
    "error": {"description": "Why the last attempt failed. A queued job with an error is tried again.", "$ref": "#/components/schemas/JobError", "examples": [null]},
    "queuedAt": {"type": "string", "format": "date-time"},
    "notBefore": {"description": "No node claims the queued job earlier.", "type": ["string", "null"], "format": "date-time", "examples": [null]},
    "claimedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "startedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "finishedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "done": {"description": "Whether work on the job has ended.", "type": "boolean", "examples": [false]}
  }}'),

('BackupAccepted', '{
  "type": "object",
  "required": ["backupJobId", "job"],
  "properties": {
    "backupJobId": {"type": "string", "format": "uuid"},
    "job": {"$ref": "#/components/schemas/Backup"}
  }}'),

('Restore', '{
  "description": "A restore, or a drill, which is a restore run as a test.",
  "type": "object",
  "required": ["id", "databaseId", "kind", "mode", "backupJobId", "target", "state", "attempt", "maxAttempts", "progress", "validation", "error", "timings", "done"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
    "mode": {"type": "string", "enum": ["new_database", "in_place", "new_cluster"], "examples": ["new_database"]},
    "backupJobId": {"type": "string", "format": "uuid"},
    "target": {"description": "The name of the target; never a connection string.", "type": "string", "examples": ["drill-host/orders_drill"]},
    "state": {"type": "string", "enum": ["queued", "claimed", "downloading", "verifying", "manifest_verified", "restoring", "finalizing", "completed", "failed", "timed_out", "cancelled"], "examples": ["queued"]},
    "attempt": {"type": "integer", "examples": [0]},
    "maxAttempts": {"type": "integer", "examples": [4]},
    "progress": {"$ref": "#/components/schemas/Progress", "examples": [null]},
    "validation": {"$ref": "#/components/schemas/Validation", "examples": [null]},
    "error": {"description": "Why the last attempt failed. A queued job with an error is tried again.", "$ref": "#/components/schemas/JobError", "examples": [null]},
    "timings": {"type": "object", "required": ["queuedAt", "notBefore", "claimedAt", "startedAt", "finishedAt"], "properties": {
      "queuedAt": {"type": "string", "format": "date-time"},
      "notBefore": {"description": "No node claims the queued job earlier.", "type": ["string", "null"], "format": "date-time", "examples": [null]},
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

('Evidence', '{
  "description": "The result of a node''s check of a backup, and the entries of the audit chain that record it.",
  "type": "object",
  "required": ["backupJobId", "databaseId", "state", "manifest", "integrityVerification", "recoverableFrom", "recoverableTo", "recordedAt", "publicKey", "fence", "auditSeq", "audit"],
  "properties": {
    "backupJobId": {"type": "string", "format": "uuid"},
    "databaseId": {"type": "string", "format": "uuid"},
    "state": {"type": "string", "enum": ["verified", "failed", "unverified"], "examples": ["verified"]},
    "manifest": {"description": "The manifest as the node recorded it.", "type": "object", "additionalProperties": true, "examples": [{"files": 1204, "wal": 3}]},
    "integrityVerification": {"$ref": "#/components/schemas/IntegrityVerification"},
    "recoverableFrom": {"type": "string", "format": "date-time"},
    "recoverableTo": {"type": "string", "format": "date-time"},
    "recordedAt": {"description": "When evidence was first recorded for this attempt.", "type": "string", "format": "date-time"},
    "publicKey": {"description": "The Ed25519 key, in base64, with which the server verified the signature of the manifest; null if the manifest is not signed.", "type": ["string", "null"], "examples": ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]},
    "fence": {"description": "The claim that made the backup, as in the manifest of walwarden-runner.", "type": "integer", "examples": [1]},
    "auditSeq": {"description": "The entry of the audit chain that records this evidence, with the same manifest.", "type": "integer", "examples": [17]},
    "audit": {"description": "The first and the last entry of the job in the audit chain; headHash is the hash of the last.", "type": "object", "required": ["firstSeq", "lastSeq", "headHash"], "properties": {
      "firstSeq": {"type": "integer", "examples": [12]},
      "lastSeq": {"type": "integer", "examples": [18]},
      "headHash": {"type": "string", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}}}
  }}'),

('EvidenceExport', '{
  "description": "A bundle of evidence, which can be verified without this server. packageSha256 is the SHA-256 of what sha256sum prints of the files, in the order of their paths; entry auditSeq of the chain records it.",
  "type": "object",
  "required": ["exportId", "exportedAt", "files", "packageSha256", "auditSeq"],
  "properties": {
    "exportId": {"type": "string", "format": "uuid"},
    "exportedAt": {"type": "string", "format": "date-time"},
    "files": {"description": "In the order of their paths, as bytes.", "type": "array", "items": {"type": "object", "required": ["path", "text"], "properties": {
      "path": {"type": "string", "pattern": "^(chain[.]tsv|checkpoint|consistency|proofs/[1-9][0-9]*|backups/[0-9a-f-]{36}[.]manifest[.]json)$", "examples": ["chain.tsv"]},
      "text": {"description": "The contents of the file, in UTF-8.", "type": "string"}}}},
    "packageSha256": {"type": "string", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]},
    "auditSeq": {"type": "integer", "examples": [19]}
  }}'),

('RecoveryWindow', '{
  "description": "A span of time. Every point in it can be restored from verified backups.",
  "type": "object",
  "required": ["windowId", "from", "to"],
  "properties": {
    "windowId": {"type": "string", "format": "uuid"},
    "from": {"type": "string", "format": "date-time"},
    "to": {"type": "string", "format": "date-time"}
  }}'),

('RecoverySummary', '{
  "description": "What can be restored according to the evidence. Without verified evidence the verdict is unproven and there are no windows.",
  "type": "object",
  "required": ["databaseId", "verdict", "windows", "lastVerifiedAt", "backups"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "verdict": {"type": "string", "enum": ["proven", "unproven"], "examples": ["proven"]},
    "windows": {"description": "Newest first, at most 100.", "type": "array", "items": {"$ref": "#/components/schemas/RecoveryWindow"}},
    "lastVerifiedAt": {"type": ["string", "null"], "format": "date-time"},
    "backups": {"description": "Completed backups by the result of their check. The windows also depend on whether a restore refuted that result, and on whether the destination still exists.", "type": "object", "required": ["completed", "verified", "failedVerification", "withoutEvidence"], "properties": {
      "completed": {"type": "integer", "examples": [1]},
      "verified": {"type": "integer", "examples": [1]},
      "failedVerification": {"type": "integer", "examples": [0]},
      "withoutEvidence": {"type": "integer", "examples": [0]}}}
  }}'),

('RecoveryCandidate', '{
  "description": "The backup that a restore to the latest possible point would start from now; null if no backup has verified evidence.",
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
  "description": "The evidence behind a recovery window. proven: verified evidence covers all of it. refuted: its first backup failed verification, or a restore of that backup failed and blames the backup. unproven: neither. A refuted backup is no longer part of any window.",
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
      "lastRestore": {"description": "The last finished restore or drill of this backup.", "type": ["object", "null"], "required": ["restoreJobId", "kind", "state", "validation", "measured", "withinRto", "finishedAt"], "properties": {
        "restoreJobId": {"type": "string", "format": "uuid"},
        "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
        "state": {"type": "string", "enum": ["completed", "failed", "timed_out"], "examples": ["completed"]},
        "validation": {"anyOf": [{"type": "string", "enum": ["passed", "failed", "not_run"]}, {"type": "null"}], "examples": ["passed"]},
        "measured": {"description": "How long it took, in seconds, as the node measured it.", "type": ["object", "null"], "required": ["fetchSeconds", "restoreSeconds", "checkSeconds"], "properties": {
          "fetchSeconds": {"type": "integer", "examples": [40]},
          "restoreSeconds": {"type": "integer", "examples": [310]},
          "checkSeconds": {"type": "integer", "examples": [25]}}},
        "withinRto": {"description": "Whether the sum of the measured seconds is within the recovery time objective of the database, rtoSeconds; null if the database has none, or if the restore did not pass or was not measured.", "type": ["boolean", "null"], "examples": [true]},
        "finishedAt": {"type": "string", "format": "date-time"}}},
      "auditSeq": {"description": "The entry of the audit chain that records the evidence.", "type": "integer", "examples": [17]}}}},
    "notClaimed": {"type": "array", "items": {"type": "string"}, "examples": [["That the destination still holds the artifacts: each was last checked at its checkedAt."]]}
  }}'),

('AuditEntry', '{
  "description": "An entry of the organisation''s audit chain. hash is the SHA-256 of prevHash in hex followed by body; payload is part of body.",
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
  "description": "The last stored verification of the organisation''s chain; lastRun is null if none has run yet. checkpoint is null if no node has published one.",
  "type": "object",
  "required": ["lastRun", "ageSeconds", "checkpoint"],
  "properties": {
    "lastRun": {"type": ["object", "null"], "required": ["finishedAt", "ok", "entries", "headHash", "firstBadSeq", "reason"], "properties": {
      "finishedAt": {"type": "string", "format": "date-time"},
      "ok": {"type": "boolean", "examples": [true]},
      "entries": {"type": "integer", "examples": [19]},
      "headHash": {"type": "string"},
      "firstBadSeq": {"type": ["integer", "null"], "examples": [null]},
      "reason": {"type": ["string", "null"], "examples": [null]}}},
    "ageSeconds": {"type": ["integer", "null"], "examples": [3600]},
    "checkpoint": {"description": "The largest signed checkpoint that a node has published: the number of entries, and the root of their RFC 6962 tree in base64, as the node computed it.", "type": ["object", "null"], "required": ["size", "root", "node", "at", "ageSeconds"], "properties": {
      "size": {"type": "integer", "examples": [18]},
      "root": {"type": "string", "examples": ["NcFqE0Y6BKVGkzPWsWq/60w2dDDtEIwl7zuJLwr1tKg="]},
      "node": {"type": "string", "examples": ["node-1"]},
      "at": {"type": "string", "format": "date-time"},
      "ageSeconds": {"type": "integer", "examples": [60]}}}
  }}'),

('Recoverability', '{
  "description": "What can be restored of one database according to verified evidence, for auditors.",
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
  "description": "status is ready unless a check fails. audit_verified fails if the last verification found something; leases_renewed, if nodes let the leases of jobs expire; nodes_seen, if jobs wait and no node has called for 5 minutes; history_kept, if a node has found another chain than the one that it knows, until an operator accepts it. queue_served warns of jobs that have been queued for more than 15 minutes.",
  "type": "object",
  "required": ["status", "checks", "server"],
  "properties": {
    "status": {"type": "string", "enum": ["ready", "degraded"], "examples": ["ready"]},
    "checks": {"type": "array", "items": {"type": "object", "required": ["name", "status", "detail"], "properties": {
      "name": {"type": "string", "enum": ["database_writable", "audit_verified", "queue_served", "leases_renewed", "nodes_seen", "schedules_kept", "history_kept"], "examples": ["audit_verified"]},
      "status": {"type": "string", "enum": ["pass", "warn", "fail"], "examples": ["pass"]},
      "detail": {"type": "string", "examples": ["verified 3600 seconds ago"]}}}},
    "server": {"type": "object", "required": ["walwarden", "postgresql", "standby"], "properties": {
      "walwarden": {"type": "string", "examples": ["0.3.0"]},
      "postgresql": {"type": "string", "examples": ["15.10"]},
      "standby": {"type": "boolean", "examples": [false]}}}
  }}'),

('ApiError', '{
  "description": "The body of every error response, from the API and from the proxy.",
  "type": "object",
  "required": ["error"],
  "properties": {
    "error": {"type": "object", "required": ["code", "message", "requestId"], "properties": {
      "code": {"type": "string", "enum": ["invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed", "conflict", "precondition_failed", "payload_too_large", "uri_too_long", "unsupported_media_type", "rate_limited", "headers_too_large", "internal", "unavailable"], "examples": ["invalid_request"]},
      "message": {"type": "string", "examples": ["name is missing"]},
      "requestId": {"type": "string", "examples": ["5f0c2f6f0d1c4bb1a3a7c2d4e5f60718"]},
      "requiredScope": {"description": "With forbidden: the scope that the token does not hold; null if the token cannot use this API at all.", "type": ["string", "null"]},
      "nextAction": {"description": "What to do about the error.", "type": "string"},
      "field": {"description": "The part of the request that caused the error.", "type": "string"},
      "reason": {"description": "The reason, for programs: one of x-reasons of the response. There may be further ones.", "type": "string", "examples": ["missing"]},
      "position": {"description": "The byte of the body at which the JSON is malformed.", "type": "integer"},
      "state": {"description": "The state of the conflicting job.", "type": "string"},
      "tokenId": {"description": "The token that an earlier request with this key made or renewed.", "type": "string", "format": "uuid"},
      "backupJobId": {"description": "The conflicting backup.", "type": "string", "format": "uuid"},
      "restoreJobId": {"description": "The conflicting restore.", "type": "string", "format": "uuid"}}}
  }}'),

('OpenApi', '{"description": "This document.", "type": "object", "additionalProperties": true}'),

-- Requests. A field has no default here, although the handler has one: generators would make
-- such a field required. x-rules: what a field has to be if others have certain values.

('ObjectivesRequest', '{
  "description": "Recovery objectives; null clears one.",
  "type": "object", "additionalProperties": false,
  "properties": {
    "rpoSeconds": {"description": "Recovery point objective: how much data may be lost, in seconds.", "type": ["integer", "null"], "minimum": 1, "maximum": 315360000, "examples": [86400]},
    "rtoSeconds": {"description": "Recovery time objective: how long a restore may take, in seconds.", "type": ["integer", "null"], "minimum": 1, "maximum": 315360000, "examples": [3600]}
  }}'),

('DatabaseCreate', '{
  "type": "object", "additionalProperties": false,
  "required": ["name", "connectionRef"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["orders"]},
    "engine": {"description": "If omitted: postgresql.", "type": "string", "enum": ["postgresql"], "examples": ["postgresql"]},
    "method": {"description": "If omitted: pg_dump.", "type": "string", "enum": ["pg_dump", "pg_basebackup"], "examples": ["pg_dump"]},
    "postgresVersion": {"type": ["string", "null"], "pattern": "^[1-9][0-9]([.][0-9]{1,2})?$", "examples": ["15"]},
    "connectionRef": {"type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid", "x-required-scope": "destinations:write"},
    "schedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["0 3 * * *"]},
    "retentionDays": {"type": ["integer", "null"], "minimum": 1, "maximum": 36500, "examples": [30]},
    "drillSchedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["0 12 1 * *"]},
    "objectives": {"$ref": "#/components/schemas/ObjectivesRequest"}
  }}'),

('DatabaseUpdate', '{
  "description": "Omitted fields stay as they are; null clears a field that allows it. schedule and drillSchedule are due again from now on, even if they stay as they are.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["orders"]},
    "method": {"type": "string", "enum": ["pg_dump", "pg_basebackup"], "examples": ["pg_basebackup"]},
    "postgresVersion": {"type": ["string", "null"], "pattern": "^[1-9][0-9]([.][0-9]{1,2})?$", "examples": ["16"]},
    "connectionRef": {"type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", "examples": ["orders-primary"]},
    "destinationId": {"type": ["string", "null"], "format": "uuid", "x-required-scope": "destinations:write"},
    "schedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["30 2 * * 0"]},
    "retentionDays": {"type": ["integer", "null"], "minimum": 1, "maximum": 36500, "examples": [30]},
    "drillSchedule": {"type": ["string", "null"], "format": "cron", "maxLength": 100, "examples": ["0 12 1 * *"]},
    "objectives": {"$ref": "#/components/schemas/ObjectivesRequest"}
  }}'),

('DestinationCreate', '{
  "type": "object", "additionalProperties": false,
  "required": ["name", "provider", "uri"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["offsite"]},
    "provider": {"type": "string", "enum": ["local", "s3", "minio", "gcs", "wasabi", "b2"], "examples": ["s3"]},
    "uri": {"description": "A directory or a bucket and a prefix: file: for local, s3: for s3, gs: for gcs, and s3: or the name of the provider for the others. No segment of the path begins with a dot.", "type": "string", "maxLength": 500, "pattern": "^(file://(/[A-Za-z0-9_][A-Za-z0-9._~-]*)+|(s3|minio|wasabi|gs|gcs|b2)://[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._~-]*)*)/?$", "examples": ["s3://acme-backups/prod"]},
    "region": {"type": ["string", "null"], "pattern": "^[a-z0-9][a-z0-9-]{0,49}$", "examples": ["eu-central-1"]},
    "credentialRef": {"type": ["string", "null"], "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "examples": ["s3-writer"]},
    "retentionFloorDays": {"description": "If omitted: 0.", "type": "integer", "minimum": 0, "maximum": 36500, "examples": [30]}
  }}'),

('DestinationUpdate', '{
  "description": "Omitted fields stay as they are; null clears a field that allows it. provider and uri never change, because backups are stored there.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["offsite"]},
    "region": {"type": ["string", "null"], "pattern": "^[a-z0-9][a-z0-9-]{0,49}$", "examples": ["eu-central-1"]},
    "credentialRef": {"type": ["string", "null"], "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "examples": ["s3-writer-2"]},
    "retentionFloorDays": {"type": "integer", "minimum": 0, "maximum": 36500, "examples": [60]}
  }}'),

('BackupRequest', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "type": {"description": "If omitted: full.", "type": "string", "enum": ["full"], "examples": ["full"]},
    "destinationId": {"description": "Used instead of the database''s own destination.", "type": "string", "format": "uuid", "x-required-scope": "destinations:write"},
    "reason": {"type": "string", "minLength": 1, "maxLength": 500, "examples": ["before the upgrade"]}
  }}'),

('RestoreRequest', '{
  "description": "With mode in_place, kind is restore, confirmDestructive is true, and target is SECTION. With another mode, target is SECTION/NAME; a drill may omit /NAME.",
  "type": "object", "additionalProperties": false,
  "required": ["databaseId", "backupJobId", "kind", "mode", "target"],
  "properties": {
    "databaseId": {"type": "string", "format": "uuid"},
    "backupJobId": {"description": "A completed backup of this database.", "type": "string", "format": "uuid"},
    "kind": {"type": "string", "enum": ["restore", "drill"], "examples": ["drill"]},
    "mode": {"type": "string", "enum": ["new_database", "in_place", "new_cluster"], "examples": ["new_database"]},
    "target": {"description": "Never a connection string. SECTION is a target that the node knows. A restore in place overwrites its database: give SECTION. Another restore makes something new: give SECTION/NAME, where NAME is the new database, or the directory of the new cluster. A drill takes either, because nothing is left of it.", "type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]{0,62})?$", "examples": ["drill-host/orders_drill"]},
    "confirmDestructive": {"description": "Must be true for mode in_place, which overwrites data.", "type": "boolean", "examples": [false]}
  },
  "x-rules": [
    {"when": {"mode": "in_place"}, "field": "confirmDestructive", "must": {"const": true}, "nextAction": "A restore in place overwrites its target. Send confirmDestructive: true if that is what you want."},
    {"when": {"mode": "in_place"}, "field": "kind", "must": {"const": "restore"}, "nextAction": "A drill overwrites nothing. Send mode new_database or new_cluster."},
    {"when": {"mode": "in_place"}, "field": "target", "must": {"pattern": "^[^/]+$"}, "nextAction": "A restore in place overwrites the target itself. Send SECTION, without /NAME."},
    {"when": {"mode": "new_database", "kind": "restore"}, "field": "target", "must": {"pattern": "^[^/]+/[^/]+$"}, "nextAction": "Name the new database: send SECTION/NAME."},
    {"when": {"mode": "new_cluster", "kind": "restore"}, "field": "target", "must": {"pattern": "^[^/]+/[^/]+$"}, "nextAction": "Name the directory of the new cluster: send SECTION/NAME."}
  ]}'),

('EvidenceExportRequest', '{
  "type": "object", "additionalProperties": false,
  "required": ["backupJobIds"],
  "properties": {
    "backupJobIds": {"type": "array", "minItems": 1, "maxItems": 100, "uniqueItems": true, "items": {"type": "string", "format": "uuid"}},
    "sinceSize": {"description": "The size of an older checkpoint that you have kept: the bundle then proves that the chain begins with its entries.", "type": "integer", "minimum": 1, "maximum": 9007199254740991}
  }}'),

('LeakReport', '{
  "type": "object", "additionalProperties": false,
  "required": ["token"],
  "properties": {
    "token": {"description": "The plaintext of a token, or uuid:secret of a legacy credential. It is neither stored nor logged.", "type": "string", "maxLength": 1024, "writeOnly": true, "x-secret": true, "examples": ["wal_<64 hex digits>"]},
    "source": {"description": "Where the token was found, without the token itself. It is kept in the audit chain.", "type": "string", "minLength": 1, "maxLength": 400, "examples": ["github.com/acme/app, config.yaml"]}
  }}'),

('Nothing', '{"description": "No body, or an empty object.", "type": "object", "additionalProperties": false, "properties": {}}');
