-- The audit chain: one table, one appending trigger, one CHECK. docs/audit-chain.md
-- specifies the bytes.

-- True if hash is SHA-256(hex(prev_hash) || body), body is canonical and has at most 64 KiB,
-- the columns agree with body, and kind is lower-case words separated by dots, with at most
-- 100 characters. New and restored rows must both satisfy it. It is a single CHECK because
-- the server parses the text of each CHECK again for every statement.
CREATE FUNCTION walwarden_internal.audit_entry_is_valid(
        org_id uuid, seq bigint, at timestamptz, kind text, job_id uuid,
        body text, prev_hash bytea, hash bytea) RETURNS boolean
    LANGUAGE C IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'walwarden_audit_entry_is_valid';

-- The object of an entry as its body writes it, {"id":"...","type":"..."}; the token of an
-- entry that changes no object but names one, such as token.revealed_for_owner. NULL if there
-- is neither, or if body is not canonical.
CREATE FUNCTION walwarden_internal.entry_object(body text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'walwarden_entry_object';

-- No foreign key: the system chain (org uuid all zeros) has no row in org, and entries
-- outlive the rows that they describe.
CREATE TABLE walwarden_internal.audit_entry (
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
    CONSTRAINT audit_entry_is_valid
        CHECK (walwarden_internal.audit_entry_is_valid(org_id, seq, at, kind, job_id, body, prev_hash, hash))
);

-- For searches, from the newest entry on. These two beside the key and no more, because
-- every append pays for them.
CREATE INDEX audit_entry_by_kind ON walwarden_internal.audit_entry (org_id, kind, seq);
CREATE INDEX audit_entry_by_object ON walwarden_internal.audit_entry (org_id, walwarden_internal.entry_object(body), seq);

-- verification is not dumped, because it is about another database
SELECT pg_extension_config_dump('walwarden_internal.audit_entry', '');
COMMENT ON TABLE walwarden_internal.audit_entry IS 'The audit chains: one per organisation, and one for the system (org_id all zeros). body is the canonical text that is hashed, as specified in docs/audit-chain.md. Entries cannot be updated or deleted.';

-- Comments on columns give what name and type do not say: units, and the meaning of NULL.
COMMENT ON COLUMN walwarden_internal.audit_entry.seq IS '1, 2, 3 ... in each chain, without gaps';
COMMENT ON COLUMN walwarden_internal.audit_entry.body IS 'canonical JSON, at most 65,536 bytes';
COMMENT ON COLUMN walwarden_internal.audit_entry.prev_hash IS '32 bytes: hash of the previous entry';
COMMENT ON COLUMN walwarden_internal.audit_entry.hash IS '32 bytes: SHA-256 of hex(prev_hash) and body';

CREATE FUNCTION walwarden_internal.audit_append() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_audit_append';

-- Call this before hashes that were read leave the server. It makes sure that they are
-- durable, because walwarden.early_lock_release makes them visible before. In a STABLE
-- function the call may come first, because its snapshot was taken before.
CREATE FUNCTION walwarden_internal.flush_audit() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_flush_audit';

-- The only ways in which this extension writes entries are append_body() and append_bodies().
-- Call them as late as possible, because the chain is locked from here to the end of the
-- transaction.
CREATE FUNCTION walwarden_internal.append_body(org_id uuid, kind text, job_id uuid, payload text) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_append_body';

-- Appends entries in this order, in one statement. Returns the seq of each.
CREATE FUNCTION walwarden_internal.append_bodies(org_id uuid, kinds text[], payloads text[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    appended bigint[];
BEGIN
    WITH entry AS (
        INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
        SELECT org_id, n.kind, n.payload
          FROM unnest(kinds, payloads) WITH ORDINALITY AS n(kind, payload, place)
         ORDER BY n.place
        RETURNING audit_entry.seq
    )
    SELECT array_agg(e.seq ORDER BY e.seq) INTO appended FROM entry AS e;
    RETURN appended;
END
$$;

CREATE FUNCTION walwarden_internal.append(org_id uuid, kind text, payload jsonb, job_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE sql
    RETURN walwarden_internal.append_body(org_id, kind, job_id, payload::text);

-- The org uuid of the system chain.
CREATE FUNCTION walwarden_internal.system_org() RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00000000-0000-0000-0000-000000000000'::uuid;

-- Adds members that later versions introduced to an image, as far as they are not null. So
-- the images of existing rows stay equal to those in their entries.
CREATE FUNCTION walwarden_internal.with_later(image jsonb, later jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN image || jsonb_strip_nulls(later);

-- The payload of an entry that describes a row, with the images before and after the change.
CREATE FUNCTION walwarden_internal.change(actor jsonb, type text, id text, before jsonb, after jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'actor', actor,
        'object', jsonb_build_object('type', type, 'id', id),
        'before', before,
        'after', after);
