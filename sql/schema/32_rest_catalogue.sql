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
