-- The audit chain: one table, one appending trigger, one CHECK. The bytes are
-- specified in docs/audit-chain.md.

-- True when hash is SHA-256(hex(prev_hash) || body), body is canonical and has at
-- most 64 KiB, the columns equal what body says, and kind is lower-case words with
-- dots between them, of at most 100 characters. Restored rows and new ones meet it
-- alike. It is one CHECK because the server reads the text of each one anew for
-- every statement.
CREATE FUNCTION walwarden._audit_entry_holds(
        org_id uuid, seq bigint, at timestamptz, kind text, job_id uuid,
        body text, prev_hash bytea, hash bytea) RETURNS boolean
    LANGUAGE C IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'walwarden_audit_entry_holds';

-- No foreign key: the system chain (org uuid all zeros) has no org row, and
-- entries outlive what they describe.
CREATE TABLE walwarden.audit_entry (
    org_id    uuid NOT NULL,
    seq       bigint NOT NULL,
    at        timestamptz NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    job_id    uuid,
    body      text NOT NULL,
    prev_hash bytea NOT NULL,
    hash      bytea NOT NULL,
    PRIMARY KEY (org_id, seq),
    UNIQUE (org_id, prev_hash),
    CONSTRAINT audit_entry_holds
        CHECK (walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash))
);

CREATE FUNCTION walwarden._audit_append() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_audit_append';

CREATE FUNCTION walwarden._refuse_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_refuse_change';

-- Hashes that were read leave the server after a call of this, which makes sure
-- that they are durable: under walwarden.early_lock_release they may be seen before.
-- In a STABLE function it may come first: the snapshot was taken before.
CREATE FUNCTION walwarden._settle_audit() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_settle_audit';

-- The one way in which this extension writes an entry. Called as late as the
-- change allows: from here to the end of the transaction the chain is locked.
CREATE FUNCTION walwarden._append(org_id uuid, kind text, payload jsonb, job_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    appended bigint;
BEGIN
    INSERT INTO walwarden.audit_entry (org_id, kind, job_id, body)
    VALUES (org_id, kind, job_id, payload::text)
    RETURNING audit_entry.seq INTO appended;
    RETURN appended;
END
$$;

-- Times in payloads: UTC with microseconds, whatever TimeZone and DateStyle are.
-- What no payload holds, infinity and years before the first, is told apart.
CREATE FUNCTION walwarden._iso(at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN isfinite(at)
                    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                         || CASE WHEN at < '0001-01-01 00:00:00+00' THEN ' BC' ELSE '' END
                    ELSE at::text END;
    END;

-- The org uuid of the system chain.
CREATE FUNCTION walwarden._system_org() RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00000000-0000-0000-0000-000000000000'::uuid;
