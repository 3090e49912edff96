-- What walwarden does, in ten steps. Run by test/run demo.
\set QUIET on
\set SHOW_CONTEXT never
\pset footer off
\pset null '-'
SET client_min_messages = warning;
CREATE ROLE ann;
CREATE ROLE mallory;
\set ECHO queries

\echo
\echo == 1. An extension, an organisation, two members
CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme', 'Acme Ltd');
SELECT walwarden.add_member('acme', 'ann@acme.example', 'owner', 'ann');
SELECT walwarden.add_member('acme', 'bob@acme.example', 'member');

\echo == 2. Ann issues a token; its plaintext is shown once
SET ROLE ann;
SELECT token_id, token, scopes FROM walwarden.issue_token('acme', 'ci', ARRAY['databases:read', 'backups:trigger'], now() + interval '90 days')
\gset
\echo token: :token
RESET ROLE;
\echo
\echo == 3. The database stores only a SHA-256 fingerprint, the same that pgcrypto computes
SELECT encode(fingerprint, 'hex') AS stored, fingerprint = digest(:'token', 'sha256') AS "is SHA-256" FROM walwarden_internal.credential;

\echo == 4. mallory, a role without rights, authenticates with the token, in one transaction
BEGIN;
SET LOCAL ROLE mallory;
SELECT walwarden.authenticate(:'token');
SELECT walwarden.current_org(), walwarden.has_scope('databases:read') AS may_read, walwarden.has_scope('databases:write') AS may_write;
\echo == 5. The token does not hold this scope, so the call fails
SELECT walwarden.require_scope('databases:write');
ROLLBACK;

\echo
\echo == 6. mallory has no rights, so she cannot issue a token or read the tables
SET ROLE mallory;
SELECT walwarden.issue_token('acme', 'forged');
SELECT fingerprint FROM walwarden_internal.credential;
RESET ROLE;

\echo
\echo == 7. Ann revokes the token; authenticate() then rejects it
SET ROLE ann;
SELECT walwarden.revoke_token(:'token_id', 'demo is over');
SELECT walwarden.authenticate(:'token');
SELECT name, fingerprint_handle, scopes, state, created_by, revoked_by FROM walwarden.list_tokens('acme');

\echo == 8. Each change is an entry of the audit chain
SELECT seq, kind, body::jsonb #>> '{payload,actor,kind}' AS by, left(encode(prev_hash, 'hex'), 12) AS prev_hash, left(encode(hash, 'hex'), 12) AS hash FROM walwarden.list_audit('acme');

\echo == 9. Verification, in C and in plain SQL
RESET ROLE;
SELECT org, entries, left(head_hash, 12) AS head, ok FROM walwarden.verify_audit_chain();
SELECT org, entries, left(head_hash, 12) AS head, ok FROM walwarden.verify_audit_chain_sql();

\echo == 10. A superuser tampers with entry 3: bob becomes an owner who was always there
UPDATE walwarden_internal.audit_entry SET body = replace(body, '"role":"member"', '"role":"owner"') WHERE seq = 3;
\echo
\echo A trigger rejects the change. The superuser disables the trigger and drops the CHECK:
ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER refuse_change, DROP CONSTRAINT audit_entry_is_valid;
UPDATE walwarden_internal.audit_entry SET body = replace(body, '"role":"member"', '"role":"owner"') WHERE seq = 3 RETURNING seq, kind;
SELECT org, entries, ok, first_bad_seq, reason FROM walwarden.verify_audit_chain('acme');
