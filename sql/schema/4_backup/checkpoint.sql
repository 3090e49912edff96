-- Checkpoints: how nodes follow the chain of their organisation. A node reads the hashes of
-- the entries, and signs how long the chain is and which root its tree has.

-- The newest checkpoint of each node. Not part of the described state: a checkpoint that
-- appended an entry would need another checkpoint.
CREATE TABLE walwarden_internal.checkpoint (
    node_id      uuid PRIMARY KEY REFERENCES walwarden_internal.node,
    org_id       uuid NOT NULL REFERENCES walwarden_internal.org,
    size         bigint NOT NULL,
    root         bytea NOT NULL,
    note         text NOT NULL,
    public_key   text COLLATE "C" NOT NULL,
    published_at timestamptz NOT NULL
);
CREATE INDEX checkpoint_by_org ON walwarden_internal.checkpoint (org_id, size);
SELECT pg_extension_config_dump('walwarden_internal.checkpoint', '');
COMMENT ON TABLE walwarden_internal.checkpoint IS 'The newest signed checkpoint of each node, as recorded by publish_checkpoint(). The chain does not describe it.';
COMMENT ON COLUMN walwarden_internal.checkpoint.size IS 'number of entries';
COMMENT ON COLUMN walwarden_internal.checkpoint.root IS '32 bytes: the root of the tree of the entries, as the node computed it';
COMMENT ON COLUMN walwarden_internal.checkpoint.note IS 'the signed note, as docs/audit-chain.md specifies it';
COMMENT ON COLUMN walwarden_internal.checkpoint.public_key IS 'the key, in base64, with which the signature was verified';

CREATE FUNCTION walwarden_internal.chain_hashes(after_seq bigint, max_rows integer) RETURNS TABLE (seq bigint, hash text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    runner_org uuid := walwarden_internal.require_runner(walwarden_internal.caller());
BEGIN
    IF max_rows IS NULL OR max_rows NOT BETWEEN 1 AND 10000 THEN
        PERFORM walwarden_internal.refuse('22023', 'max_rows is not between 1 and 10000',
            'Give the size of a page, and ask for the next one with the last seq that you got.');
    END IF;
    PERFORM walwarden_internal.check_after_seq(after_seq);
    PERFORM walwarden_internal.flush_audit();
    RETURN QUERY
        SELECT e.seq, encode(e.hash, 'hex')
          FROM walwarden_internal.audit_entry AS e
         WHERE e.org_id = runner_org AND e.seq > after_seq
         ORDER BY e.seq
         LIMIT max_rows;
END
$$;

CREATE FUNCTION walwarden_internal.publish_checkpoint(note text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    runner_org uuid := walwarden_internal.require_runner(walwarden_internal.caller());
    n walwarden_internal.node;
    was walwarden_internal.checkpoint;
    given record;
BEGIN
    PERFORM walwarden_internal.require_signatures();
    n := walwarden_internal.require_node();
    -- one publication of a node at a time, with the key that it has now
    SELECT * INTO n FROM walwarden_internal.node AS f WHERE f.id = n.id FOR NO KEY UPDATE;
    PERFORM walwarden_internal.require_open(runner_org);
    PERFORM walwarden_internal.see_node(n);
    IF n.public_key IS NULL THEN
        PERFORM walwarden_internal.refuse('55000', 'the node has no key',
            'Register the node with its public key: walwarden.register_node(name, version, public_key).');
    END IF;
    SELECT * INTO given FROM walwarden_internal.read_checkpoint(note, n.public_key);
    IF given.org_id IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid checkpoint',
            'Give a signed note of three lines, an empty line and one signature. docs/audit-chain.md specifies it.');
    ELSIF given.org_id <> runner_org THEN
        PERFORM walwarden_internal.refuse('22023', 'the checkpoint is of another organisation',
            'The first line is walwarden/ and the id of the organisation of the node.');
    ELSIF given.name <> n.name THEN
        PERFORM walwarden_internal.refuse('22023', 'the checkpoint is signed under another name',
            'Sign it under the name that the node has registered.');
    ELSIF NOT given.signed THEN
        PERFORM walwarden_internal.refuse('22023', 'the signature of the checkpoint does not verify with the key of the node',
            'Sign the first three lines with the key that the node has registered.');
    END IF;

    SELECT * INTO was FROM walwarden_internal.checkpoint AS f WHERE f.node_id = n.id;
    IF given.size < was.size THEN
        PERFORM walwarden_internal.refuse('55000', format('the node has published a checkpoint of %s entries already', was.size),
            'Publish only checkpoints that are larger. A chain never gets shorter.');
    ELSIF given.size = was.size AND given.root <> was.root THEN
        PERFORM walwarden_internal.refuse('55000', 'the node has published another root for the same entries',
            'Find out which of the two the chain has: entries never change.');
    ELSIF given.size > (SELECT coalesce(max(e.seq), 0) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = runner_org) THEN
        PERFORM walwarden_internal.refuse('55000', 'the checkpoint has more entries than the chain',
            'If the node has read these entries from this chain, they are lost: the database is an older copy, or somebody removed them.');
    ELSIF was.note = publish_checkpoint.note THEN
        RETURN false;
    END IF;
    INSERT INTO walwarden_internal.checkpoint AS f (node_id, org_id, size, root, note, public_key, published_at)
    VALUES (n.id, runner_org, given.size, given.root, publish_checkpoint.note, n.public_key, clock_timestamp())
        ON CONFLICT ON CONSTRAINT checkpoint_pkey DO UPDATE
       SET size = EXCLUDED.size, root = EXCLUDED.root, note = EXCLUDED.note, public_key = EXCLUDED.public_key, published_at = EXCLUDED.published_at;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.chain_hashes(after_seq bigint, max_rows integer) RETURNS TABLE (seq bigint, hash text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.chain_hashes(bigint, integer) IS
'Returns the hashes of the entries of the identity''s organisation after a seq, in their order, without the entries: what a node needs to follow the chain. hash: lower-case hex. max_rows: 1 to 10000. Everything that it returns is durable. For node tokens, in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 22023 if an argument is out of range. Example: SELECT * FROM walwarden.chain_hashes(0, 1000);';

CREATE FUNCTION walwarden.publish_checkpoint(note text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.publish_checkpoint(text) IS
'Stores a signed checkpoint of the organisation''s chain in place of the node''s last one: the number of entries, and the root of their tree. docs/audit-chain.md specifies the note. GET /audit/verification shows the largest checkpoint. Checks the form, the organisation, the signature with the key of the node, and that the number of entries is neither smaller than in the last checkpoint nor larger than the chain. Does not compute the root. Appends no entry. Returns whether anything changed. For node tokens of a node with a key, in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 0A000 if the server has no OpenSSL, 55000 if the token has no node, the node has no key, or the number of entries does not fit, 22023 if the checkpoint is malformed, of another organisation, or not signed by the node, 55P03 if the row is locked for too long. Example: SELECT walwarden.publish_checkpoint($1);';
