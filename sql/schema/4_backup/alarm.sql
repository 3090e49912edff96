-- Alarms: a node that follows the chain found another history than the one that it knows. An
-- alarm stops nothing in the database. The node stops by itself, until an operator accepts.

-- The last alarm of each node.
CREATE TABLE walwarden_internal.alarm (
    node_id     uuid PRIMARY KEY REFERENCES walwarden_internal.node,
    org_id      uuid NOT NULL REFERENCES walwarden_internal.org,
    seq         bigint NOT NULL,
    known_hash  text COLLATE "C" NOT NULL,
    seen_hash   text COLLATE "C",
    reported_at timestamptz NOT NULL,
    accepted_at timestamptz,
    audit_seq   bigint NOT NULL
);
CREATE INDEX alarm_by_org ON walwarden_internal.alarm (org_id);
SELECT pg_extension_config_dump('walwarden_internal.alarm', '');
COMMENT ON TABLE walwarden_internal.alarm IS 'The last alarm of each node, as recorded by report_alarm() and accept_history().';
COMMENT ON COLUMN walwarden_internal.alarm.seq IS 'the entry at which the history of the node and the chain differ';
COMMENT ON COLUMN walwarden_internal.alarm.known_hash IS 'the hash of this entry that the node knows, in hex';
COMMENT ON COLUMN walwarden_internal.alarm.seen_hash IS 'the hash that the node found instead, in hex; NULL if it found no entry';
COMMENT ON COLUMN walwarden_internal.alarm.accepted_at IS 'when an operator accepted the history; NULL until then';

CREATE FUNCTION walwarden_internal.alarm_image(a walwarden_internal.alarm) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'nodeId', a.node_id, 'seq', a.seq, 'knownHash', a.known_hash, 'seenHash', a.seen_hash,
        'reportedAt', walwarden_internal.iso(a.reported_at), 'acceptedAt', walwarden_internal.iso(a.accepted_at));

-- Repeated, an alarm changes nothing, so that a node can report it until it is accepted: the
-- answer is true to the database that the node speaks to now, which may be an older copy.
CREATE FUNCTION walwarden_internal.report_alarm(seq bigint, known_hash text, seen_hash text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    runner_org uuid := walwarden_internal.require_runner(c);
    n walwarden_internal.node := walwarden_internal.require_node();
    was walwarden_internal.alarm;
    a walwarden_internal.alarm;
BEGIN
    -- numbers in entries are that small
    IF seq IS NULL OR seq NOT BETWEEN 1 AND 9007199254740991 THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid seq',
            'Give the seq of the entry that differs: 1 or more.');
    ELSIF known_hash IS NULL OR known_hash !~ '^[0-9a-f]{64}$' OR seen_hash !~ '^[0-9a-f]{64}$' THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid hash',
            'Give 64 lower-case hex digits; NULL as seen_hash if there is no such entry.');
    ELSIF known_hash = seen_hash THEN
        PERFORM walwarden_internal.refuse('22023', 'the two hashes are the same',
            'Report an alarm only for an entry that is missing, or has another hash than the node knows.');
    END IF;
    PERFORM walwarden_internal.see_node(n);
    SELECT * INTO was FROM walwarden_internal.alarm AS f WHERE f.node_id = n.id;
    IF (was.seq, was.known_hash, was.seen_hash) IS DISTINCT FROM (seq, known_hash, seen_hash) THEN
        PERFORM walwarden_internal.acquire_org_lock(runner_org);
        PERFORM walwarden_internal.require_open(runner_org);
        SELECT * INTO was FROM walwarden_internal.alarm AS f WHERE f.node_id = n.id FOR NO KEY UPDATE;
    END IF;
    IF (was.seq, was.known_hash, was.seen_hash) IS NOT DISTINCT FROM (seq, known_hash, seen_hash) THEN
        RETURN CASE WHEN was.accepted_at IS NOT NULL THEN was.audit_seq END;
    END IF;

    a.node_id := n.id;
    a.org_id := runner_org;
    a.seq := seq;
    a.known_hash := known_hash;
    a.seen_hash := seen_hash;
    a.reported_at := clock_timestamp();
    a.audit_seq := walwarden_internal.append(runner_org, 'audit.alarm',
        walwarden_internal.change(walwarden_internal.actor('token', c), 'alarm', n.id::text,
                          CASE WHEN was.node_id IS NOT NULL THEN walwarden_internal.alarm_image(was) END, walwarden_internal.alarm_image(a)));
    INSERT INTO walwarden_internal.alarm AS f SELECT a.*
        ON CONFLICT ON CONSTRAINT alarm_pkey DO UPDATE
       SET seq = a.seq, known_hash = a.known_hash, seen_hash = a.seen_hash, reported_at = a.reported_at, accepted_at = NULL, audit_seq = a.audit_seq;
    RETURN NULL;
END
$$;

-- The checkpoint of the node is of the other history. It goes, because the node could not
-- publish a smaller one; the entry keeps it.
CREATE FUNCTION walwarden_internal.accept_history(org text, node text, reason text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    o walwarden_internal.org := walwarden_internal.lock_org(walwarden_internal.caller(), org, 'history.accept', 'any');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    n walwarden_internal.node;
    was walwarden_internal.alarm;
    a walwarden_internal.alarm;
    note text;
BEGIN
    PERFORM walwarden_internal.check_text('reason', reason, 500);
    SELECT * INTO n FROM walwarden_internal.node AS f WHERE f.org_id = o.id AND f.name = node FOR NO KEY UPDATE;
    IF n.id IS NULL THEN
        PERFORM walwarden_internal.refuse('42704', format('node %s does not exist', walwarden_internal.shown(node)),
            'To see the nodes, run SELECT name FROM walwarden.list_nodes(org).');
    END IF;
    SELECT * INTO was FROM walwarden_internal.alarm AS f WHERE f.node_id = n.id FOR NO KEY UPDATE;
    IF was.node_id IS NULL OR was.accepted_at IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('55000', format('node %s has no alarm', walwarden_internal.shown(node)),
            'Accept a history after the node has reported an alarm, once you know what happened. An alarm is accepted once.');
    END IF;
    DELETE FROM walwarden_internal.checkpoint AS f WHERE f.node_id = n.id RETURNING f.note INTO note;
    a := was;
    a.accepted_at := clock_timestamp();
    a.audit_seq := walwarden_internal.append(o.id, 'audit.history_accepted',
        walwarden_internal.change(walwarden_internal.actor('caller', c, o.id), 'alarm', n.id::text,
                          walwarden_internal.alarm_image(was), walwarden_internal.alarm_image(a))
        || jsonb_build_object('reason', reason, 'checkpoint', note));
    UPDATE walwarden_internal.alarm AS f SET accepted_at = a.accepted_at, audit_seq = a.audit_seq WHERE f.node_id = n.id;
    RETURN a.audit_seq;
END
$$;

CREATE FUNCTION walwarden.report_alarm(seq bigint, known_hash text, seen_hash text) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_alarm(bigint, text, text) IS
'Reports that the chain of the identity''s organisation is not the one that the node knows. seq: the entry at which they differ. known_hash: its hash, as the node knows it, 64 lower-case hex digits. seen_hash: the hash that the chain has instead, or NULL if the entry is missing. Appends an entry audit.alarm, unless it repeats the node''s last alarm. Returns NULL until an operator accepts the history with accept_history(), and then the seq of the entry audit.history_accepted: a node stops working on jobs, and repeats the report until it returns a seq. Stops nothing else; GET /readiness reports it. For node tokens, in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 22023 if seq or a hash is invalid, 55000 if the token has no node or the organisation is closed, 55P03 if the organisation or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_alarm(7, repeat(''0a'', 32), NULL);';

CREATE FUNCTION walwarden.accept_history(org text, node text, reason text) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.accept_history(text, text, text) IS
'Accepts the present chain of an organisation for a node that has reported an alarm: the node then follows the chain anew and works again. Call it only once you know what happened to the chain, for example that a backup of this database was restored. Appends an entry audit.history_accepted with the reason. Removes the node''s last checkpoint, which was of the other history; the entry keeps it. node: the name of the node. reason: 1 to 500 characters. Returns the seq of the entry. For operators. Errors: 42501 if the caller lacks permission, 42704 if the organisation or the node does not exist, 22023 if the reason is invalid, 55000 if the node has no alarm that is not accepted, or the organisation is closed, 55P03 if the organisation or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.accept_history(''acme'', ''node-1'', ''restored from the backup of last night'');';
