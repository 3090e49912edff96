-- The prose of the OpenAPI document: what rest_operation and json_schema leave unsaid.

CREATE TABLE walwarden_internal.rest_description (
    subject     text COLLATE "C" NOT NULL CHECK (subject IN ('operation', 'parameter', 'tag')),
    name        text COLLATE "C" NOT NULL,
    description text NOT NULL,
    PRIMARY KEY (subject, name)
);

-- A tag is the first part of the paths of its operations, within the organisation.
INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('tag', 'audit',        'The audit chain of the organisation, and what auditors ask of it.'),
    ('tag', 'backups',      'Backup jobs.'),
    ('tag', 'databases',    'Protected databases, their backups, and what can be restored of them.'),
    ('tag', 'destinations', 'Places where backups are stored.'),
    ('tag', 'evidence',     'The results of the checks of backups, as nodes recorded them.'),
    ('tag', 'leaks',        'Reports of tokens that have become public.'),
    ('tag', 'openapi',      'This document.'),
    ('tag', 'profile',      'The token that makes the request.'),
    ('tag', 'readiness',    'The health of the service.'),
    ('tag', 'recovery',     'The evidence behind what can be restored.'),
    ('tag', 'restores',     'Restores, and drills, which are restores run as a test.');

INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('parameter', 'databaseId',    'The id of a database.'),
    ('parameter', 'destinationId', 'The id of a destination.'),
    ('parameter', 'backupJobId',   'The id of a backup job.'),
    ('parameter', 'restoreJobId',  'The id of a restore or drill.'),
    ('parameter', 'windowId',      'The id of a recovery window, from the recovery summary of its database.');

INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('operation', 'getProfile',             'Needs no scope, so it tells whether a token works and what it may do.'),
    ('operation', 'listDatabases',          'Newest first.'),
    ('operation', 'getDatabase',            'Shows the state of its newest backup too, and whether a restore could start from verified evidence.'),
    ('operation', 'listDestinations',       'Newest first.'),
    ('operation', 'getDestination',         'Shows the result of its last check by a node too.'),
    ('operation', 'listDatabaseBackups',    'In any state, newest first.'),
    ('operation', 'triggerBackup',          'A node then makes it. A database has one active backup at a time, and none while it is restored in place.'),
    ('operation', 'getBackup',              'Read it until done is true.'),
    ('operation', 'listEvidence',           'The current evidence of each backup, newest first.'),
    ('operation', 'getEvidence',            'The status is 404 until a node has recorded some.'),
    ('operation', 'createRestore',          'A node then runs it. The description of RestoreRequest says which fields depend on mode.'),
    ('operation', 'getRestore',             'Read it until done is true.'),
    ('operation', 'getRecoverySummary',     'The summary lists the windows of time that verified backups cover. It is empty for a database without backups.'),
    ('operation', 'getRecoveryCandidate',   'The restore would reach the latest possible point. candidate is null if no backup has verified evidence.'),
    ('operation', 'getRecoveryWindowProof', 'The proof also says what is not claimed.'),
    ('operation', 'createDatabase',         'Backups of it can be queued at once, and are by its schedule.'),
    ('operation', 'updateDatabase',         'Changes only the fields that the body contains.'),
    ('operation', 'deleteDatabase',         'Fails with 409 if the database has unfinished jobs.'),
    ('operation', 'createDestination',      'Nodes need the credential that credentialRef names.'),
    ('operation', 'updateDestination',      'Changes only the fields that the body contains.'),
    ('operation', 'deleteDestination',      'Fails with 409 if a database or an unfinished job uses the destination.'),
    ('operation', 'cancelBackup',           'The backup may be queued, claimed or running. Its node learns of it with the next heartbeat.'),
    ('operation', 'dismissBackup',          'The state dismissed is final, and says that somebody has seen the failure.'),
    ('operation', 'cancelRestore',          'Its node learns of it with the next heartbeat.'),
    ('operation', 'listRestores',           'In any state, newest first.'),
    ('operation', 'exportEvidence',         'walwarden-verify judges the bundle without this server. The audit chain records the export.'),
    ('operation', 'listAuditEntries',       'With the text that is hashed. A page with a filter for an actor, or for many kinds of applications, can have fewer entries than limit, even none, although hasMore is true: one request reads about 20,000 entries. Pass nextCursor on with the same filters.'),
    ('operation', 'getAuditVerification',   'Shows its age too. lastRun is null if there has been none.'),
    ('operation', 'listRecoverability',     'Newest database first.'),
    ('operation', 'getReadiness',           'The status is 200 even if a check fails.'),
    ('operation', 'reportLeakedToken',      'The response is the same for every text, so it reveals nothing about tokens.'),
    ('operation', 'getOpenApi',             'It is made of the same rows as the API, and describes the version that serves it.');
COMMENT ON TABLE walwarden_internal.rest_description IS 'REST v1: descriptions of tags, parameters and operations in the OpenAPI document. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.rest_description.name IS 'a tag, the name of a parameter, or an operation';
