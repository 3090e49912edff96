-- What the doors are measured against: the same rows, into tables with the same columns
-- and indexes, without triggers, CHECK and foreign keys, by one function. And what they are
-- measured with: a member with a server role, a node, and jobs for it.

CREATE TABLE bench.bare_entry (LIKE walwarden_internal.audit_entry INCLUDING INDEXES);
CREATE TABLE bench.bare_token (LIKE walwarden_internal.token INCLUDING INDEXES);
CREATE TABLE bench.bare_usage (LIKE walwarden_internal.token_usage INCLUDING INDEXES);
CREATE TABLE bench.bare_credential (LIKE walwarden_internal.credential INCLUDING INDEXES);
CREATE TABLE bench.bare_job (LIKE walwarden_internal.job INCLUDING INDEXES);
CREATE SEQUENCE bench.bare_seq;

-- Entries as the doors write them, one of each kind, to be written again.
CREATE TABLE bench.sample (kind text PRIMARY KEY, body text NOT NULL);

CREATE FUNCTION bench.bare_append(body text) RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    appended bigint := nextval('bench.bare_seq');
BEGIN
    INSERT INTO bench.bare_entry (org_id, seq, at, kind, body, prev_hash, hash)
    VALUES (bench.org_id(2), appended, clock_timestamp(), 'app.bench', body, sha256(int8send(appended)), '\x00');
    RETURN appended;
END
$$;

CREATE FUNCTION bench.bare_issue(body text) RETURNS uuid
    LANGUAGE plpgsql
AS $$
DECLARE
    appended bigint := nextval('bench.bare_seq');
    made uuid := gen_random_uuid();
    at timestamptz := clock_timestamp();
BEGIN
    INSERT INTO bench.bare_entry (org_id, seq, at, kind, body, prev_hash, hash)
    VALUES (bench.org_id(2), appended, at, 'token.issued', body, sha256(int8send(appended)), '\x00');
    INSERT INTO bench.bare_token (id, org_id, name, kind, scopes, created_at, created_by, audit_seq, key_name)
    VALUES (made, bench.org_id(2), 'bench', 'api', '{databases:read}', at, 'postgres', appended, 'bench');
    INSERT INTO bench.bare_usage (token_id) VALUES (made);
    INSERT INTO bench.bare_credential (fingerprint, token_id, kind, created_at, audit_seq, org_id, token_kind, scopes, slot)
    VALUES (sha256(uuid_send(made)), made, 'bearer', at, appended, bench.org_id(2), 'api', '{databases:read}', 0);
    RETURN made;
END
$$;

CREATE FUNCTION bench.bare_revoke(body text, wanted uuid) RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    appended bigint := nextval('bench.bare_seq');
    now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO bench.bare_entry (org_id, seq, at, kind, body, prev_hash, hash)
    VALUES (bench.org_id(2), appended, now, 'token.revoked', body, sha256(int8send(appended)), '\x00');
    UPDATE bench.bare_token SET revoked_at = now, revoked_by = 'postgres', revoked_reason = 'bench', audit_seq = appended, stopped = 'revoked' WHERE id = wanted;
    UPDATE bench.bare_credential SET stopped = 'revoked' WHERE token_id = wanted;
    RETURN true;
END
$$;

CREATE FUNCTION bench.bare_renew(body text, wanted uuid) RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    appended bigint := nextval('bench.bare_seq');
    now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO bench.bare_entry (org_id, seq, at, kind, body, prev_hash, hash)
    VALUES (bench.org_id(2), appended, now, 'token.renewed', body, sha256(int8send(appended)), '\x00');
    UPDATE bench.bare_token SET lifetime_from = now, audit_seq = appended WHERE id = wanted;
    UPDATE bench.bare_credential SET valid_until = now + interval '1 hour' WHERE token_id = wanted AND valid_until IS NULL;
    INSERT INTO bench.bare_credential (fingerprint, token_id, kind, created_at, audit_seq, org_id, token_kind, scopes, slot)
    VALUES (sha256(int8send(appended)), wanted, 'bearer', now, appended, bench.org_id(2), 'api', '{databases:read,backups:trigger}', 1);
    RETURN true;
END
$$;

-- The columns of list_tokens() that are columns of tables, newest first.
CREATE FUNCTION bench.bare_page() RETURNS TABLE (
        id uuid, name text, fingerprint bytea, kind text, owner text, role text, scopes text[], created_at timestamptz, created_by text,
        expires_at timestamptz, last_used_at timestamptz, disabled_at timestamptz, disabled_reason text, revoked_at timestamptz, revoked_by text, revoked_reason text,
        valid_until timestamptz, labels jsonb, networks cidr[], rate_limit integer, last_used_from inet, uses bigint, refusals bigint, last_refused_at timestamptz, last_refused_reason text)
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN QUERY
        SELECT t.id, t.name, c.fingerprint, t.kind, m.subject, t.role, t.scopes, t.created_at, t.created_by,
               t.expires_at, u.last_used_at, t.disabled_at, t.disabled_reason, t.revoked_at, t.revoked_by, t.revoked_reason,
               c.valid_until, t.labels, t.networks, t.rate_limit, u.last_used_from, u.uses, u.refusals, u.last_refused_at, u.last_refused_reason
          FROM (SELECT * FROM walwarden_internal.token AS p WHERE p.org_id = bench.org_id(1) ORDER BY p.created_at DESC, p.id DESC LIMIT 100) AS t
          LEFT JOIN walwarden_internal.member AS m ON m.id = t.owner_id
          LEFT JOIN walwarden_internal.token_usage AS u ON u.token_id = t.id
          LEFT JOIN LATERAL (SELECT * FROM walwarden_internal.credential AS p WHERE p.token_id = t.id AND p.valid_until IS NULL OFFSET 0) AS c ON true
         ORDER BY t.created_at DESC, t.id DESC;
END
$$;

-- An admin of org-2, by a server role; and a node of org-3, with something to do.
CREATE ROLE bench_admin;
CREATE ROLE bench_node;
GRANT USAGE ON SCHEMA bench TO bench_node;
GRANT SELECT, UPDATE ON bench.bare_job TO bench_node;
SELECT walwarden.add_member('org-2', 'admin@bench', 'admin', 'bench_admin'), walwarden.grant_runner('bench_node') \g /dev/null

CREATE TABLE bench.node_token AS
    SELECT token FROM walwarden.issue_token('org-3', 'node', kind => 'node');
GRANT SELECT ON bench.node_token TO bench_node;
BEGIN;
SELECT walwarden.authenticate(token) FROM bench.node_token \g /dev/null
SET ROLE bench_node;
SELECT walwarden.register_node('bench', '1') \g /dev/null
RESET ROLE;
COMMIT;

INSERT INTO walwarden_internal.destination (org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq)
SELECT bench.org_id(3), 'bench', 's3', 's3://bench/backups', 7, now(), now(), 1;
INSERT INTO walwarden_internal.database (org_id, name, engine, connection_ref, destination_id, created_at, updated_at, audit_seq)
SELECT d.org_id, 'bench ' || i, 'postgresql', 'bench', d.id, now(), now(), 1 FROM walwarden_internal.destination AS d, generate_series(1, 4000) AS i
 WHERE d.org_id = bench.org_id(3);
INSERT INTO walwarden_internal.job (org_id, kind, database_id, destination_id, type, trigger, state, done, attempt, max_attempts, fence, queued_at, first_seq, audit_seq)
SELECT d.org_id, 'backup', d.id, d.destination_id, 'full', 'schedule', 'queued', false, 0, 4, 0, now(), 1, 1 FROM walwarden_internal.database AS d
 WHERE d.org_id = bench.org_id(3);

INSERT INTO bench.bare_token OVERRIDING USER VALUE SELECT * FROM walwarden_internal.token;
INSERT INTO bench.bare_credential SELECT * FROM walwarden_internal.credential;
INSERT INTO bench.bare_job SELECT * FROM walwarden_internal.job;
