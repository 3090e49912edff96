-- REST API v1 as data, in rest_error, rest_reason, rest_operation and json_schema. The router, the
-- OpenAPI document and the reference page all read these tables; the API is defined
-- nowhere else.

CREATE TABLE walwarden_internal.rest_error (
    status  integer PRIMARY KEY,
    code    text NOT NULL UNIQUE,
    meaning text NOT NULL
);

INSERT INTO walwarden_internal.rest_error (status, code, meaning) VALUES
    (400, 'invalid_request',        'The request is malformed. field says where, and reason says why.'),
    (401, 'unauthorized',           'The token is missing, malformed, inactive, expired or revoked; or the session is, or has ended.'),
    (403, 'forbidden',              'The token or the person is known, but does not hold requiredScope, or may not do this. nextAction or reason says more.'),
    (404, 'not_found',              'The path does not exist, or the token''s organisation has no such resource.'),
    (405, 'method_not_allowed',     'The path does not support this method. The header Allow lists the methods it supports.'),
    (409, 'conflict',               'The request conflicts with the state of the resource or with an earlier request under the same key. reason says which.'),
    (412, 'precondition_failed',    'The resource is not the one that If-Match describes.'),
    (413, 'payload_too_large',      'The body is larger than 64 KiB, or the response would be larger than 4 MiB.'),
    (414, 'uri_too_long',           'The request line is too long.'),
    (415, 'unsupported_media_type', 'The Content-Type of the body is not application/json, or the body is compressed.'),
    (429, 'rate_limited',           'Too many requests. The header Retry-After says how many seconds to wait.'),
    (431, 'headers_too_large',      'The header fields are too large.'),
    (500, 'internal',               'Something failed on the server. Its log has the details under requestId.'),
    (503, 'unavailable',            'The service is unavailable: a lock could not be acquired in time, the database is down, or it is a read-only standby.');
COMMENT ON TABLE walwarden_internal.rest_error IS 'REST v1: the error statuses (400 and above) and their codes. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.rest_error.status IS 'HTTP status';

-- Why a request is refused, for programs. Whoever refuses one gives the reason; the status
-- follows from it. The proxy gives reasons too (postgrest/nginx.conf).
CREATE TABLE walwarden_internal.rest_reason (
    reason  text COLLATE "C" PRIMARY KEY CHECK (reason ~ '^[a-z_]+$'),
    status  integer NOT NULL REFERENCES walwarden_internal.rest_error,
    meaning text NOT NULL
);

INSERT INTO walwarden_internal.rest_reason (reason, status, meaning) VALUES
    -- by the proxy
    ('malformed_request',       400, 'The request cannot be parsed as HTTP.'),
    ('token_in_url',            400, 'The address contains a token. Treat the token as disclosed, and send tokens in a header field.'),
    ('foreign_bytes',           400, 'The path, the query or a header field contains a byte that is not visible ASCII.'),
    -- by the router
    ('unknown_parameter',       400, 'The operation has no such query parameter.'),
    ('bad_cursor',              400, 'The cursor is not one of this list.'),
    ('duplicate',               400, 'A query parameter or an item of an array is given twice.'),
    ('unsupported_condition',   400, 'The operation does not support the condition, and would ignore it.'),
    ('missing',                 400, 'The field is missing.'),
    ('malformed',               400, 'The field does not have the form that it must have.'),
    ('out_of_range',            400, 'The field is too small, too large, too short or too long.'),
    -- by the schema of a body
    ('malformed_json',          400, 'The body is not JSON, or not JSON that this API accepts. position says where.'),
    ('duplicate_key',           400, 'A key occurs twice in an object of the body.'),
    ('wrong_type',              400, 'The field has another type.'),
    ('unknown_field',           400, 'The body has no such field.'),
    ('unknown_value',           400, 'The field does not have one of its values.'),
    ('empty',                   400, 'The body changes nothing.'),
    ('secret',                  400, 'The field contains a token or a password. Treat it as disclosed.'),
    ('invalid_value',           400, 'A value is not acceptable. message says which.'),
    ('token_missing',           401, 'The request has no token.'),
    ('token_refused',           401, 'The token is malformed, unknown, inactive, expired or revoked, or there are two of them.'),
    ('unauthenticated',         401, 'The request has no identity.'),
    ('session_refused',         401, 'The session is unknown, has ended, expired or was idle for too long, or the request has a token or another session beside it.'),
    ('cross_site',              403, 'A change with a session, or signing in or out, that another site may have made a browser send, or that lacks its idempotency key or its media type.'),
    ('token_path',              403, 'The path is for tokens. A person finds it below /orgs/{org}, if it is for people too.'),
    ('person_path',             403, 'The path is for people who signed in.'),
    ('not_permitted',           403, 'The caller may not do this.'),
    ('scope_missing',           403, 'The token, or the role of the person, does not hold requiredScope.'),
    ('node_token',              403, 'The token is of a node, which cannot use this API.'),
    ('no_such_path',            404, 'The path does not exist.'),
    ('no_such_organisation',    404, 'There is no such organisation, or the person is no active member of it.'),
    ('no_such_object',          404, 'Something that the request names does not exist, such as a role.'),
    ('no_such_resource',        404, 'The organisation has no such resource.'),
    ('method_not_supported',    405, 'The path does not support this method.'),
    ('request_in_progress',     409, 'An earlier request with this key has not finished. Repeat the request with the same key.'),
    ('idempotency_key_reused',  409, 'The key was used for a different request.'),
    ('name_taken',              409, 'Another resource has the name.'),
    ('destination_in_use',      409, 'Databases or unfinished jobs use the destination.'),
    ('destination_deleted',     409, 'The destination of the backup was deleted.'),
    ('no_destination',          409, 'The database has no destination.'),
    ('retention_below_floor',   409, 'The destination keeps backups for longer than retentionDays.'),
    ('job_active',              409, 'The database has unfinished jobs.'),
    ('backup_already_active',   409, 'backupJobId, a backup of the database, has not finished.'),
    ('restore_active',          409, 'restoreJobId, a restore in place of the database or the target, has not finished.'),
    ('backup_not_completed',    409, 'The backup has state, and only a completed backup can be restored.'),
    ('backup_expiring',         409, 'The backup is about to expire.'),
    ('already_there',           409, 'Another one has what the request gives, such as the subject of a member.'),
    ('wrong_state',             409, 'The state of the token, the member or the organisation, or its plan, does not allow this.'),
    ('limit_reached',           409, 'There are too many already.'),
    ('invalid_state',           409, 'The job has state, in which this is not possible.'),
    ('no_checkpoint',           409, 'No checkpoint covers sinceSize entries.'),
    ('tag_differs',             412, 'If-Match has no tag of the resource as it is now.'),
    ('body_too_large',          413, 'The body is larger than 64 KiB.'),
    ('bundle_too_large',        413, 'The response would be larger than 4 MiB.'),
    ('uri_too_long',            414, 'The request line is too long.'),
    ('not_json',                415, 'The Content-Type of the body is not application/json.'),
    ('encoded_body',            415, 'The body is compressed.'),
    ('rate_limited',            429, 'The token or the client''s address has reached its rate limit.'),
    ('headers_too_large',       431, 'The header fields are too large.'),
    ('internal_error',          500, 'Something failed on the server.'),
    ('busy',                    503, 'A lock could not be acquired in time, or the server lacks resources.'),
    ('read_only',               503, 'The transaction cannot write.'),
    ('standby',                 503, 'The server is a standby: it cannot write, or it is too far behind its primary.'),
    ('service_down',            503, 'The proxy does not reach the database.');
COMMENT ON TABLE walwarden_internal.rest_reason IS 'REST v1: the reasons of errors and their statuses. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.rest_reason.status IS 'HTTP status';

-- One row per operation; GET also serves HEAD.
-- request: the schema of the body. response: the schema of the response, or of one item
-- of list_field. location: a template filled from fields of the response. caller: token; person
-- (who signed in); any of the two; anyone for an operation that needs neither; or sso for a
-- person with a JWT that is not theirs to send, outside of the root. A person uses
-- an operation for any caller in an organisation, under /orgs/{org}. The path of an operation
-- that is there alone has this prefix; its location has not. repeated: the reason of the 409
-- that answers a repeated request, if the response has a secret, which is stored nowhere.
-- action: what the person must be permitted to do, as permission has it, on some target; the
-- handler checks on which. Before the body is read, and before an earlier response is returned.
-- locks_org: whether a change holds the lock of the organisation. If not, it changes nothing that
-- others change, and one such request of an organisation is served at a time.
-- tag: how the entity tag of the response is found: body, from its bytes; chain, the same, and
-- it is remembered as long as src/rest/tag.c can prove that the bytes do not change; NULL, it
-- has none, and nobody keeps it.
CREATE TABLE walwarden_internal.rest_operation (
    method         text COLLATE "C" NOT NULL CHECK (method IN ('GET', 'POST', 'PATCH', 'DELETE')),
    path           text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" PRIMARY KEY,
    required_scope text COLLATE "C" REFERENCES walwarden_internal.scope,
    success_status integer NOT NULL,
    summary        text NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('alpha', 'beta')),
    caller         text COLLATE "C" NOT NULL DEFAULT 'any' CHECK (caller IN ('anyone', 'token', 'person', 'any', 'sso')),
    request        text COLLATE "C" REFERENCES walwarden_internal.json_schema CHECK ((request IS NULL) = (method = 'GET')),
    response       text COLLATE "C" REFERENCES walwarden_internal.json_schema CHECK ((response IS NULL) = (success_status IN (204, 303))),
    list_field     text,
    location       text,
    tag            text COLLATE "C" CHECK (tag IN ('body', 'chain')) CHECK (tag IS NULL OR response IS NOT NULL),
    -- used by the router: the path with a wildcard for its parameter, the number of
    -- slashes, the position of the parameter, all without the prefix; the function to call;
    -- whether it needs the prefix, and an idempotency key
    template       text COLLATE "C" NOT NULL GENERATED ALWAYS AS (regexp_replace(regexp_replace(path, '^/orgs/[{]org[}]', ''), '[{][^}]*[}]', '%')) STORED,
    depth          integer NOT NULL GENERATED ALWAYS AS (length(regexp_replace(path, '^/orgs/[{]org[}]', '')) - length(replace(regexp_replace(path, '^/orgs/[{]org[}]', ''), '/', ''))) STORED,
    parameter      text GENERATED ALWAYS AS (substring(regexp_replace(path, '^/orgs/[{]org[}]', ''), '[{]([^}]*)[}]')) STORED,
    parameter_at   integer GENERATED ALWAYS AS (length(split_part(regexp_replace(path, '^/orgs/[{]org[}]', ''), '{', 1)) - length(replace(split_part(regexp_replace(path, '^/orgs/[{]org[}]', ''), '{', 1), '/', '')) + 1) STORED,
    handler        text NOT NULL GENERATED ALWAYS AS ('rest_' || lower(regexp_replace(operation, '([A-Z])', '_' || chr(92) || '1', 'g'))) STORED,
    in_org         boolean NOT NULL GENERATED ALWAYS AS (path ~ '^/orgs/[{]org[}]') STORED,
    takes_key      boolean NOT NULL GENERATED ALWAYS AS (request IS NOT NULL AND caller <> 'anyone' AND path <> '/session') STORED,
    repeated       text COLLATE "C" REFERENCES walwarden_internal.rest_reason,
    action         text COLLATE "C" CHECK (action IS NULL OR (caller = 'person' AND path ~ '^/orgs/[{]org[}]')),
    locks_org      boolean NOT NULL DEFAULT true,
    UNIQUE (method, path),
    CHECK (caller <> 'anyone' OR required_scope IS NULL),
    CHECK (tag <> 'chain' OR (method = 'GET' AND caller IN ('token', 'any')))
);

INSERT INTO walwarden_internal.rest_operation (method, path, operation, required_scope, success_status, summary, stage, request, response, list_field, location, tag) VALUES
    ('GET',    '/databases',                               'listDatabases',          'databases:read',     200, 'List protected databases', 'alpha', NULL, 'Database', 'databases', NULL, 'chain'),
    ('GET',    '/databases/{databaseId}',                  'getDatabase',            'databases:read',     200, 'Read a protected database', 'alpha', NULL, 'Database', NULL, NULL, 'chain'),
    ('GET',    '/destinations',                            'listDestinations',       'destinations:read',  200, 'List backup destinations', 'alpha', NULL, 'Destination', 'destinations', NULL, 'chain'),
    ('GET',    '/destinations/{destinationId}',            'getDestination',         'destinations:read',  200, 'Read a backup destination', 'alpha', NULL, 'Destination', NULL, NULL, 'chain'),
    ('GET',    '/databases/{databaseId}/backups',          'listDatabaseBackups',    'databases:read',     200, 'List the backup jobs of a database', 'alpha', NULL, 'Backup', 'backups', NULL, 'chain'),
    ('POST',   '/databases/{databaseId}/backups',          'triggerBackup',          'backups:trigger',    202, 'Queue a backup of a database', 'alpha', 'BackupRequest', 'BackupAccepted', NULL, '/backups/{backupJobId}', NULL),
    ('GET',    '/backups/{backupJobId}',                   'getBackup',              'databases:read',     200, 'Read a backup job', 'alpha', NULL, 'Backup', NULL, NULL, 'chain'),
    ('GET',    '/evidence',                                'listEvidence',           'evidence:read',      200, 'List the evidence of backups', 'alpha', NULL, 'Evidence', 'evidence', NULL, 'chain'),
    ('GET',    '/evidence/{backupJobId}',                  'getEvidence',            'evidence:read',      200, 'Read the evidence of a backup', 'alpha', NULL, 'Evidence', NULL, NULL, 'chain'),
    ('POST',   '/restores',                                'createRestore',          'restores:write',     202, 'Queue a restore or a restore drill', 'alpha', 'RestoreRequest', 'RestoreAccepted', NULL, '/restores/{restoreJobId}', NULL),
    ('GET',    '/restores/{restoreJobId}',                 'getRestore',             'restores:read',      200, 'Read a restore job', 'alpha', NULL, 'Restore', NULL, NULL, 'chain'),
    ('GET',    '/databases/{databaseId}/recovery/summary', 'getRecoverySummary',     'databases:read',     200, 'Summarise what can be restored of a database', 'alpha', NULL, 'RecoverySummary', NULL, NULL, NULL),
    ('GET',    '/databases/{databaseId}/recovery/candidate', 'getRecoveryCandidate', 'databases:read',     200, 'Show the backup that a restore would start from', 'alpha', NULL, 'RecoveryCandidate', NULL, NULL, NULL),
    ('GET',    '/recovery/windows/{windowId}/proof',       'getRecoveryWindowProof', 'databases:read',     200, 'Show the evidence behind a recovery window', 'alpha', NULL, 'RecoveryProof', NULL, NULL, NULL),

    ('POST',   '/databases',                               'createDatabase',         'databases:write',    201, 'Protect a database', 'beta', 'DatabaseCreate', 'Database', NULL, '/databases/{id}', 'body'),
    ('PATCH',  '/databases/{databaseId}',                  'updateDatabase',         'databases:write',    200, 'Change a protected database', 'beta', 'DatabaseUpdate', 'Database', NULL, NULL, 'body'),
    ('DELETE', '/databases/{databaseId}',                  'deleteDatabase',         'databases:write',    204, 'Stop protecting a database', 'beta', 'Nothing', NULL, NULL, NULL, NULL),
    ('POST',   '/destinations',                            'createDestination',      'destinations:write', 201, 'Add a backup destination', 'beta', 'DestinationCreate', 'Destination', NULL, '/destinations/{id}', 'body'),
    ('PATCH',  '/destinations/{destinationId}',            'updateDestination',      'destinations:write', 200, 'Change a backup destination', 'beta', 'DestinationUpdate', 'Destination', NULL, NULL, 'body'),
    ('DELETE', '/destinations/{destinationId}',            'deleteDestination',      'destinations:write', 204, 'Remove a backup destination', 'beta', 'Nothing', NULL, NULL, NULL, NULL),
    ('POST',   '/backups/{backupJobId}/cancel',            'cancelBackup',           'backups:trigger',    202, 'Cancel a backup that has not finished', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}', NULL),
    ('POST',   '/backups/{backupJobId}/dismiss',           'dismissBackup',          'backups:trigger',    202, 'Dismiss a failed backup', 'beta', 'Nothing', 'BackupAccepted', NULL, '/backups/{backupJobId}', NULL),
    ('POST',   '/restores/{restoreJobId}/cancel',          'cancelRestore',          'restores:write',     202, 'Cancel a restore or drill that has not touched its target', 'beta', 'Nothing', 'RestoreAccepted', NULL, '/restores/{restoreJobId}', NULL),
    ('GET',    '/restores',                                'listRestores',           'restores:read',      200, 'List restores and drills', 'beta', NULL, 'Restore', 'restores', NULL, 'chain'),
    ('POST',   '/evidence/exports',                        'exportEvidence',         'evidence:export',    202, 'Export a bundle of evidence in the response', 'beta', 'EvidenceExportRequest', 'EvidenceExport', NULL, NULL, NULL),
    ('GET',    '/audit/entries',                           'listAuditEntries',       'audit:read',         200, 'List the audit chain of the organisation', 'beta', NULL, 'AuditEntry', 'entries', NULL, NULL),
    ('GET',    '/audit/verification',                      'getAuditVerification',   'audit:read',         200, 'Show the last stored verification of the audit chain', 'beta', NULL, 'AuditVerification', NULL, NULL, NULL),
    ('GET',    '/audit/recoverability',                    'listRecoverability',     'audit:read',         200, 'List what can be restored of each database', 'beta', NULL, 'Recoverability', 'databases', NULL, NULL),
    ('GET',    '/readiness',                               'getReadiness',           'readiness:read',     200, 'Show the readiness of the service', 'beta', NULL, 'Readiness', NULL, NULL, NULL);

INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response, tag) VALUES
    ('GET',    '/profile',                                 'getProfile',             'token',              200, 'Show the token, its organisation and its permissions', 'alpha', NULL, 'Profile', NULL),
    ('POST',   '/leaks',                                   'reportLeakedToken',      'anyone',             204, 'Report a leaked token, which is then revoked', 'beta', 'LeakReport', NULL, NULL),
    ('GET',    '/openapi.json',                            'getOpenApi',             'anyone',             200, 'Show this API as an OpenAPI 3.1 document', 'beta', NULL, 'OpenApi', 'body');
COMMENT ON TABLE walwarden_internal.rest_operation IS 'REST v1: method, path, scope and status of each operation. Built in, immutable. docs/rest-v1.md is generated from it.';
COMMENT ON COLUMN walwarden_internal.rest_operation.success_status IS 'HTTP status';
COMMENT ON COLUMN walwarden_internal.rest_operation.caller IS 'token, person (who signed in), any of the two; anyone: without either; or sso: with a JWT that the OIDC proxy hands over';
COMMENT ON COLUMN walwarden_internal.rest_operation.tag IS 'how the ETag of the response is found; NULL for none';
COMMENT ON COLUMN walwarden_internal.rest_operation.repeated IS 'the reason of a 409 instead of the stored response; NULL for the response';
COMMENT ON COLUMN walwarden_internal.rest_operation.action IS 'an action of permission, which the person may do on some target; NULL if every member may';
COMMENT ON COLUMN walwarden_internal.rest_operation.locks_org IS 'whether a change holds the lock of the organisation';
COMMENT ON COLUMN walwarden_internal.rest_operation.in_org IS 'whether it exists only under /orgs/{org}';
COMMENT ON COLUMN walwarden_internal.rest_operation.depth IS 'number of slashes in the path, without /orgs/{org}';
COMMENT ON COLUMN walwarden_internal.rest_operation.parameter_at IS 'position of the parameter, counted in slashes from 1';

-- Query parameters of a list, beside limit and cursor.
CREATE TABLE walwarden_internal.rest_filter (
    operation   text COLLATE "C" NOT NULL REFERENCES walwarden_internal.rest_operation,
    name        text COLLATE "C" NOT NULL,
    description text NOT NULL,
    schema      jsonb NOT NULL,
    PRIMARY KEY (operation, name)
);
COMMENT ON TABLE walwarden_internal.rest_filter IS 'REST v1: the query parameters of lists, beside limit and cursor. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.rest_filter.schema IS 'JSON Schema 2020-12 of the value, which is a string';

INSERT INTO walwarden_internal.rest_filter (operation, name, description, schema) VALUES
    ('listAuditEntries', 'kind',   'Only entries of this kind, or of a group of kinds, which ends with a dot.', '{"type": "string", "minLength": 1, "maxLength": 100, "examples": ["token."]}'),
    ('listAuditEntries', 'actor',  'Only what this actor did: the id of a member, token or session, a server role or login, or system. An owner or admin can give the subject of a member or the handle of a token instead.', '{"type": "string", "minLength": 1, "maxLength": 255, "examples": ["0b6f5a3e-8c1d-4e2f-9a7b-3c4d5e6f7081"]}'),
    ('listAuditEntries', 'object', 'Only entries about this object: a type, a colon and an id.', '{"type": "string", "minLength": 1, "maxLength": 200, "examples": ["token:0b6f5a3e-8c1d-4e2f-9a7b-3c4d5e6f7081"]}'),
    ('listAuditEntries', 'since',  'Only entries at or after this time.', '{"type": "string", "format": "date-time", "examples": ["2026-01-01T00:00:00Z"]}'),
    ('listAuditEntries', 'until',  'Only entries before this time.', '{"type": "string", "format": "date-time", "examples": ["2027-01-01T00:00:00Z"]}'),
    ('listAuditEntries', 'order',  'If omitted: oldest, which comes first.', '{"type": "string", "enum": ["oldest", "newest"], "examples": ["newest"]}');

-- What a refusal of an inner function is over HTTP: of refuse(), and of nothing else, because an
-- SQLSTATE of the server is no answer to the client. Those of a lock or a conflict are 503 in
-- any case: see rest_error_response().
CREATE TABLE walwarden_internal.rest_refusal (
    sqlstate text COLLATE "C" PRIMARY KEY,
    reason   text COLLATE "C" NOT NULL REFERENCES walwarden_internal.rest_reason
);

INSERT INTO walwarden_internal.rest_refusal (sqlstate, reason) VALUES
    ('22023', 'invalid_value'),
    ('28000', 'unauthenticated'),
    ('42501', 'not_permitted'),
    ('42704', 'no_such_object'),
    ('23505', 'already_there'),
    ('55000', 'wrong_state'),
    ('53400', 'limit_reached');
COMMENT ON TABLE walwarden_internal.rest_refusal IS 'REST v1: the reason of a refusal by its SQLSTATE. Built in, immutable.';
