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

-- And on what only this extension's functions read: dumps and \d+ show it too.

COMMENT ON TYPE walwarden.caller IS 'Who calls a door. Internal.';
COMMENT ON TABLE walwarden._standing_signal IS 'Never holds a row: its invalidation tells every backend that what it remembers of tokens is old.';
COMMENT ON VIEW walwarden._described IS 'Every row that a chain describes: the chain, the entry that last described it, and its state as entries hash it. Both verifiers compare with it.';
COMMENT ON VIEW walwarden._protecting_trigger IS 'The triggers that append to the chain, refuse changes and signal them, as they have to be. Both verifiers compare the server with it.';
COMMENT ON VIEW walwarden._token_overview IS 'Every token, resolved as authenticate() would; token_list shows a caller''s part of it.';
COMMENT ON VIEW walwarden._ended_token IS 'Tokens that ended and are neither revoked nor removed, and since when; maintenance records and removes them.';
COMMENT ON VIEW walwarden._telling_restore IS 'Restores and drills that say whether their backup can be restored.';
COMMENT ON VIEW walwarden._current_evidence IS 'Evidence of the claim that holds or completed its backup.';
COMMENT ON VIEW walwarden._standing_evidence IS 'Evidence that claims of recovery rest on: verified, still there, and not refuted.';
COMMENT ON VIEW walwarden._shown_destination IS 'Destinations as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_database IS 'Databases as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_backup IS 'Backups as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_restore IS 'Restores and drills as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_evidence IS 'Evidence as REST v1 shows it.';
