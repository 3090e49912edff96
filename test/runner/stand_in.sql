-- A stand-in control database: the runner protocol without the extension. It answers what a
-- test puts into its tables, also what the real one never would, and keeps every call.
CREATE SCHEMA walwarden;

CREATE TABLE walwarden.token (token text PRIMARY KEY, node text);
CREATE TABLE walwarden.call (seq bigserial, at timestamptz DEFAULT clock_timestamp(), name text, arguments jsonb);
CREATE TABLE walwarden.job (
    id text PRIMARY KEY, kind text, fence bigint DEFAULT 0, state text DEFAULT 'queued', attempt int DEFAULT 0,
    job jsonb DEFAULT '{}', error jsonb, lease interval, lease_until timestamptz, claimed_by text);

-- The chain, and the alarms of the node.
CREATE TABLE walwarden.entry (seq bigint PRIMARY KEY, hash text);
CREATE TABLE walwarden.alarm (seq bigint, known text, seen text, accepted bigint);
INSERT INTO walwarden.entry SELECT n, encode(sha256(n::text::bytea), 'hex') FROM generate_series(1, 5) AS n;

-- What a test wants to be refused: the name of a function and an SQLSTATE.
CREATE TABLE walwarden.refusal (name text, state text);

CREATE FUNCTION walwarden.authenticate(token text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.token AS t WHERE t.token = $1) THEN
        RAISE 'the token is not valid' USING ERRCODE = '28000';
    END IF;
    PERFORM set_config('stand_in.token', token, true);
    RETURN token;
END
$$;

-- What every function of the protocol begins with. A call without arguments is not kept.
CREATE FUNCTION walwarden.called(name text, arguments jsonb, registered boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    refused text := (SELECT r.state FROM walwarden.refusal AS r WHERE r.name = $1);
BEGIN
    IF coalesce(current_setting('stand_in.token', true), '') = '' THEN
        RAISE 'the transaction has no identity' USING ERRCODE = '28000';
    ELSIF refused IS NOT NULL THEN
        RAISE 'refused by the test' USING ERRCODE = refused;
    ELSIF registered AND NOT EXISTS (SELECT FROM walwarden.token AS t WHERE t.token = current_setting('stand_in.token') AND t.node IS NOT NULL) THEN
        RAISE 'the token has not registered a node' USING ERRCODE = '55000';
    END IF;
    IF $2 IS NOT NULL THEN
        INSERT INTO walwarden.call (name, arguments) VALUES ($1, $2);
    END IF;
END
$$;

CREATE FUNCTION walwarden.current_org_id() RETURNS uuid LANGUAGE sql AS $$ SELECT '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0001'::uuid $$;
CREATE FUNCTION walwarden.current_org() RETURNS text LANGUAGE sql AS $$ SELECT 'acme' $$;

-- The node that the token registered last.
CREATE FUNCTION walwarden.current_node() RETURNS text LANGUAGE sql AS $$ SELECT t.node FROM walwarden.token AS t WHERE t.token = current_setting('stand_in.token') $$;

CREATE FUNCTION walwarden.register_node(name text, version text, public_key text DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('register_node', jsonb_build_object('name', $1, 'version', $2, 'publicKey', $3), false);
    UPDATE walwarden.token AS t SET node = $1 WHERE t.token = current_setting('stand_in.token');
    RETURN '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0002';
END
$$;

CREATE FUNCTION walwarden.claim_job(kinds text[], lease interval DEFAULT '60 s', connections text[] DEFAULT NULL,
        OUT job_id text, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    j walwarden.job;
BEGIN
    -- polls are not kept: there are many
    PERFORM walwarden.called('claim_job', '{}');
    DELETE FROM walwarden.call WHERE name = 'claim_job';
    -- as the extension does: a claim ends what has expired
    UPDATE walwarden.job SET state = 'queued', fence = fence + 1, lease_until = NULL
     WHERE lease_until <= clock_timestamp() AND state NOT IN ('completed', 'failed');
    SELECT * INTO j FROM walwarden.job AS f
     WHERE f.state = 'queued' AND (f.kind = ANY ($1) OR f.kind <> ALL ('{backup,restore,drill,expire}'))
     ORDER BY f.id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE walwarden.job AS f SET state = 'claimed', fence = f.fence + 1, attempt = f.attempt + 1, lease = $2, lease_until = clock_timestamp() + $2, claimed_by = walwarden.current_node()
     WHERE f.id = j.id RETURNING * INTO j;
    INSERT INTO walwarden.call (name, arguments) VALUES ('claimed', jsonb_build_object('id', j.id, 'connections', $3));
    RETURN QUERY SELECT j.id, j.kind, j.fence, j.lease_until, j.job || jsonb_build_object('attempt', j.attempt);
END
$$;

CREATE FUNCTION walwarden.held_jobs(OUT job_id text, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM walwarden.called('held_jobs', '{}');
    RETURN QUERY SELECT j.id, j.kind, j.fence, j.lease_until, j.job || jsonb_build_object('attempt', j.attempt)
                   FROM walwarden.job AS j WHERE j.state NOT IN ('queued', 'completed', 'failed') AND coalesce(j.claimed_by, walwarden.current_node()) = walwarden.current_node() ORDER BY j.id;
END
$$;

-- Locks the job of a holder, renews its lease, and moves it.
CREATE FUNCTION walwarden.move(job_id text, fence bigint, state text, error jsonb DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    j walwarden.job;
BEGIN
    SELECT * INTO j FROM walwarden.job AS f WHERE f.id = $1 FOR UPDATE;
    IF j.id IS NULL THEN
        RAISE 'job does not exist' USING ERRCODE = '42704';
    ELSIF j.fence <> $2 OR j.state = 'queued' OR (j.state IN ('completed', 'failed') AND j.state IS DISTINCT FROM $3) THEN
        RAISE 'job is not held by this claim' USING ERRCODE = '55000';
    END IF;
    UPDATE walwarden.job AS f
       SET state = coalesce($3, f.state), error = coalesce($4, f.error), lease_until = clock_timestamp() + f.lease,
           fence = CASE $3 WHEN 'queued' THEN f.fence + 1 ELSE f.fence END
     WHERE f.id = $1;
    RETURN j.state IS DISTINCT FROM $3;
END
$$;

CREATE FUNCTION walwarden.heartbeat_job(job_id uuid, fence bigint, progress jsonb DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('heartbeat_job', progress);
    RETURN walwarden.move(job_id::text, fence, NULL);
END
$$;

CREATE FUNCTION walwarden.report_job(job_id uuid, fence bigint, state text, detail jsonb DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('report_job', jsonb_build_object('state', $3, 'detail', $4));
    RETURN walwarden.move(job_id::text, fence, state, detail -> 'error');
END
$$;

CREATE FUNCTION walwarden.record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('record_evidence', evidence);
    RETURN walwarden.move(job_id::text, fence, NULL);
END
$$;

CREATE FUNCTION walwarden.release_job(job_id uuid, fence bigint, not_before timestamptz DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('release_job', '{}');
    RETURN walwarden.move(job_id::text, fence, 'queued');
END
$$;

CREATE FUNCTION walwarden.report_destination(destination_id uuid, ok boolean, detail jsonb DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('report_destination', jsonb_build_object('ok', ok, 'detail', detail));
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.chain_hashes(after_seq bigint, max_rows integer) RETURNS TABLE (seq bigint, hash text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM walwarden.called('chain_hashes', NULL);
    RETURN QUERY SELECT e.seq, e.hash FROM walwarden.entry AS e WHERE e.seq > after_seq ORDER BY e.seq LIMIT max_rows;
END
$$;

CREATE FUNCTION walwarden.publish_checkpoint(note text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.called('publish_checkpoint', to_jsonb(note));
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.report_alarm(seq bigint, known_hash text, seen_hash text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    a walwarden.alarm;
BEGIN
    PERFORM walwarden.called('report_alarm', jsonb_build_object('seq', $1, 'known', $2, 'seen', $3));
    SELECT * INTO a FROM walwarden.alarm AS f WHERE (f.seq, f.known) = ($1, $2) AND f.seen IS NOT DISTINCT FROM $3;
    IF NOT FOUND THEN
        INSERT INTO walwarden.alarm VALUES ($1, $2, $3);
    END IF;
    RETURN a.accepted;
END
$$;
