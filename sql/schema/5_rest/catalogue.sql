-- REST API v1 as data, in rest_error, rest_operation and json_schema. The router, the
-- OpenAPI document and the reference page all read these tables; the API is defined
-- nowhere else.

CREATE TABLE walwarden_internal.rest_error (
    status  integer PRIMARY KEY,
    code    text NOT NULL UNIQUE,
    meaning text NOT NULL
);

INSERT INTO walwarden_internal.rest_error (status, code, meaning) VALUES
    (400, 'invalid_request',        'The request is malformed. field says where, and reason says why.'),
    (401, 'unauthorized',           'The token is missing, malformed, inactive, expired or revoked.'),
    (403, 'forbidden',              'The token is valid but does not hold requiredScope. nextAction says what to do.'),
    (404, 'not_found',              'The path does not exist, or the token''s organisation has no such resource.'),
    (405, 'method_not_allowed',     'The path does not support this method. The header Allow lists the methods it supports.'),
    (409, 'conflict',               'The request conflicts with the state of the resource or with an earlier request under the same key. reason says which.'),
    (413, 'payload_too_large',      'The body is larger than 64 KiB, or the response would be larger than 4 MiB.'),
    (414, 'uri_too_long',           'The request line is too long.'),
    (415, 'unsupported_media_type', 'The Content-Type of the body is not application/json.'),
    (429, 'rate_limited',           'Too many requests. The header Retry-After says how many seconds to wait.'),
    (431, 'headers_too_large',      'The header fields are too large.'),
    (500, 'internal',               'Something failed on the server. Its log has the details under requestId.'),
    (503, 'unavailable',            'The service is unavailable: a lock could not be acquired in time, the database is down, or it is a read-only standby.');
COMMENT ON TABLE walwarden_internal.rest_error IS 'REST v1: the error statuses (400 and above) and their codes. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.rest_error.status IS 'HTTP status';

-- One row per operation; GET also serves HEAD.
-- request: the schema of the body. response: the schema of the response, or of one item
-- of list_field. location: a template filled from fields of the response. caller: token, or
-- anyone for an operation that needs no token; it then takes no idempotency key either.
CREATE TABLE walwarden_internal.rest_operation (
    method         text COLLATE "C" NOT NULL CHECK (method IN ('GET', 'POST', 'PATCH', 'DELETE')),
    path           text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" PRIMARY KEY,
    required_scope text COLLATE "C" REFERENCES walwarden_internal.scope,
    success_status integer NOT NULL,
    summary        text NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('alpha', 'beta')),
    caller         text COLLATE "C" NOT NULL DEFAULT 'token' CHECK (caller IN ('anyone', 'token')),
    request        text COLLATE "C" REFERENCES walwarden_internal.json_schema CHECK ((request IS NULL) = (method = 'GET')),
    response       text COLLATE "C" REFERENCES walwarden_internal.json_schema CHECK ((response IS NULL) = (success_status = 204)),
    list_field     text,
    location       text,
    -- used by the router: the path with a wildcard for its parameter, the number of
    -- slashes, the position of the parameter, the function to call
    template       text COLLATE "C" NOT NULL GENERATED ALWAYS AS (regexp_replace(path, '[{][^}]*[}]', '%')) STORED,
    depth          integer NOT NULL GENERATED ALWAYS AS (length(path) - length(replace(path, '/', ''))) STORED,
    parameter      text GENERATED ALWAYS AS (substring(path, '[{]([^}]*)[}]')) STORED,
    parameter_at   integer GENERATED ALWAYS AS (length(split_part(path, '{', 1)) - length(replace(split_part(path, '{', 1), '/', '')) + 1) STORED,
    handler        text NOT NULL GENERATED ALWAYS AS ('rest_' || lower(regexp_replace(operation, '([A-Z])', '_' || chr(92) || '1', 'g'))) STORED,
    UNIQUE (method, path),
    CHECK (caller = 'token' OR required_scope IS NULL)
);

INSERT INTO walwarden_internal.rest_operation (method, path, operation, required_scope, success_status, summary, stage, request, response, list_field, location) VALUES
    ('GET',    '/profile',                                 'getProfile',             NULL,                 200, 'Show the token, its organisation and its permissions', 'alpha', NULL, 'Profile', NULL, NULL),
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
    ('GET',    '/databases/{databaseId}/recovery/summary', 'getRecoverySummary',     'databases:read',     200, 'Summarise what can be restored of a database', 'alpha', NULL, 'RecoverySummary', NULL, NULL),
    ('GET',    '/databases/{databaseId}/recovery/candidate', 'getRecoveryCandidate', 'databases:read',     200, 'Show the backup that a restore would start from', 'alpha', NULL, 'RecoveryCandidate', NULL, NULL),
    ('GET',    '/recovery/windows/{windowId}/proof',       'getRecoveryWindowProof', 'databases:read',     200, 'Show the evidence behind a recovery window', 'alpha', NULL, 'RecoveryProof', NULL, NULL),

    ('POST',   '/databases',                               'createDatabase',         'databases:write',    201, 'Protect a database', 'beta', 'DatabaseCreate', 'Database', NULL, '/databases/{id}'),
    ('PATCH',  '/databases/{databaseId}',                  'updateDatabase',         'databases:write',    200, 'Change a protected database', 'beta', 'DatabaseUpdate', 'Database', NULL, NULL),
    ('DELETE', '/databases/{databaseId}',                  'deleteDatabase',         'databases:write',    204, 'Stop protecting a database', 'beta', 'Nothing', NULL, NULL, NULL),
    ('POST',   '/destinations',                            'createDestination',      'destinations:write', 201, 'Add a backup destination', 'beta', 'DestinationCreate', 'Destination', NULL, '/destinations/{id}'),
    ('PATCH',  '/destinations/{destinationId}',            'updateDestination',      'destinations:write', 200, 'Change a backup destination', 'beta', 'DestinationUpdate', 'Destination', NULL, NULL),
    ('DELETE', '/destinations/{destinationId}',            'deleteDestination',      'destinations:write', 204, 'Remove a backup destination', 'beta', 'Nothing', NULL, NULL, NULL),
    ('POST',   '/backups/{backupJobId}/cancel',            'cancelBackup',           'backups:trigger',    202, 'Cancel a backup that has not finished', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}'),
    ('POST',   '/backups/{backupJobId}/dismiss',           'dismissBackup',          'backups:trigger',    202, 'Dismiss a failed backup', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}'),
    ('POST',   '/restores/{restoreJobId}/cancel',          'cancelRestore',          'restores:write',     202, 'Cancel a restore or drill that has not touched its target', 'beta', 'Nothing', 'RestoreAccepted', NULL, '/restores/{restoreJobId}'),
    ('GET',    '/restores',                                'listRestores',           'restores:read',      200, 'List restores and drills', 'beta', NULL, 'Restore', 'restores', NULL),
    ('POST',   '/evidence/exports',                        'exportEvidence',         'evidence:export',    202, 'Export a bundle of evidence in the response', 'beta', 'EvidenceExportRequest', 'EvidenceExport', NULL, NULL),
    ('GET',    '/audit/entries',                           'listAuditEntries',       'audit:read',         200, 'List the audit chain of the organisation', 'beta', NULL, 'AuditEntry', 'entries', NULL),
    ('GET',    '/audit/verification',                      'getAuditVerification',   'audit:read',         200, 'Show the last stored verification of the audit chain', 'beta', NULL, 'AuditVerification', NULL, NULL),
    ('GET',    '/audit/recoverability',                    'listRecoverability',     'audit:read',         200, 'List what can be restored of each database', 'beta', NULL, 'Recoverability', 'databases', NULL),
    ('GET',    '/readiness',                               'getReadiness',           'readiness:read',     200, 'Show the readiness of the service', 'beta', NULL, 'Readiness', NULL, NULL);

INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response) VALUES
    ('POST',   '/leaks',                                   'reportLeakedToken',      'anyone',             204, 'Report a leaked token, which is then revoked', 'beta', 'LeakReport', NULL),
    ('GET',    '/openapi.json',                            'getOpenApi',             'anyone',             200, 'Show this API as an OpenAPI 3.1 document', 'beta', NULL, 'OpenApi');
COMMENT ON TABLE walwarden_internal.rest_operation IS 'REST v1: method, path, scope and status of each operation. Built in, immutable. docs/rest-v1.md is generated from it.';
COMMENT ON COLUMN walwarden_internal.rest_operation.success_status IS 'HTTP status';
COMMENT ON COLUMN walwarden_internal.rest_operation.caller IS 'token; or anyone: without a token';
COMMENT ON COLUMN walwarden_internal.rest_operation.depth IS 'number of slashes in the path';
COMMENT ON COLUMN walwarden_internal.rest_operation.parameter_at IS 'position of the parameter, counted in slashes from 1';
