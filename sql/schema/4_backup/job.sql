-- Jobs: how they are created and change state, and the SQL protocol that nodes use.

-- The only function that changes the state of a job. Appends an entry and stores j in place
-- of was, if job_transition has this transition for moved_by. verb: the second word of the
-- event, where a transition has several. Returns the row as stored, or NULL if there is
-- no such transition. The caller must hold the lock on the row.
CREATE FUNCTION walwarden_internal.move_job(actor jsonb, moved_by text, was walwarden_internal.job, j walwarden_internal.job, verb text DEFAULT NULL) RETURNS walwarden_internal.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
BEGIN
    SELECT t.event, s.done INTO event, j.done
      FROM walwarden_internal.job_transition AS t
      JOIN walwarden_internal.job_state AS s ON s.machine = t.machine AND s.state = t.to_state
     WHERE t.machine = j.kind AND t.from_state IS NOT DISTINCT FROM was.state AND t.to_state = j.state
       AND t.moved_by = move_job.moved_by
       AND (verb IS NULL OR split_part(t.event, '.', 2) = verb);
    IF event IS NULL THEN
        RETURN NULL;
    END IF;
    IF j.done THEN
        j.finished_at := coalesce(j.finished_at, clock_timestamp());
        j.lease_until := NULL;
    END IF;
    IF was.id IS NOT NULL AND (j.state = 'queued' OR moved_by = 'lease') THEN
        -- taken from its node, which has another fence
        j.fence := was.fence + 1;
        j.claimed_by := NULL;
        j.lease := NULL;
        j.lease_until := NULL;
    END IF;
    IF was.id IS NOT NULL AND j.state = 'queued' THEN
        -- reports of an earlier attempt do not belong to the next one
        j.claimed_at := NULL;
        j.started_at := NULL;
        j.progress := NULL;
        j.artifact := NULL;
        j.validation := NULL;
    END IF;
    j.audit_seq := walwarden_internal.append(j.org_id, event,
        walwarden_internal.change(actor, 'job', j.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden_internal.job_image(was) END, walwarden_internal.job_image(j)), j.id);
    IF was.id IS NULL THEN
        j.first_seq := j.audit_seq;
        INSERT INTO walwarden_internal.job SELECT j.*;
    ELSE
        UPDATE walwarden_internal.job AS f
           SET state = j.state, done = j.done, attempt = j.attempt, fence = j.fence, claimed_by = j.claimed_by,
               lease = j.lease, lease_until = j.lease_until, progress = j.progress,
               artifact = j.artifact, validation = j.validation, error = j.error, not_before = j.not_before,
               claimed_at = j.claimed_at, started_at = j.started_at, finished_at = j.finished_at, audit_seq = j.audit_seq
         WHERE f.id = j.id;
    END IF;
    RETURN j;
END
$$;

-- A new job. trigger: api or schedule. requested_by: the token that asks for it, if one does.
-- The caller fills in the rest.
CREATE FUNCTION walwarden_internal.new_job(org_id uuid, kind text, trigger text, requested_by uuid DEFAULT NULL) RETURNS walwarden_internal.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden_internal.job;
BEGIN
    j.id := gen_random_uuid();
    j.org_id := org_id;
    j.kind := kind;
    j.trigger := trigger;
    j.state := 'queued';
    j.attempt := 0;
    j.max_attempts := 4;
    j.fence := 0;
    j.requested_by := requested_by;
    j.queued_at := clock_timestamp();
    RETURN j;
END
$$;

-- The active job beside which no other may back a database up or overwrite it: the one that
-- job_exclusive_key allows. All columns are NULL if there is none.
CREATE FUNCTION walwarden_internal.exclusive_job(database_id uuid) RETURNS walwarden_internal.job
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden_internal.job;
BEGIN
    SELECT * INTO j FROM walwarden_internal.job AS f WHERE f.database_id = $1 AND (f.kind = 'backup' OR f.mode = 'in_place') AND NOT f.done;
    RETURN j;
END
$$;

-- Ends every job of an organisation that is not done, and returns how many it ended. The
-- caller must hold the lock of the organisation, and not yet that of its chain: a node holds
-- the row of its job while it waits for the chain.
CREATE FUNCTION walwarden_internal.end_jobs(actor jsonb, org_id uuid, reason text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.job;
    j walwarden_internal.job;
    ended integer := 0;
BEGIN
    PERFORM FROM walwarden_internal.job AS f WHERE f.org_id = end_jobs.org_id AND NOT f.done ORDER BY f.id FOR NO KEY UPDATE;
    FOR was IN SELECT f.* FROM walwarden_internal.job AS f WHERE f.org_id = end_jobs.org_id AND NOT f.done ORDER BY f.id LOOP
        j := was;
        SELECT t.to_state INTO STRICT j.state
          FROM walwarden_internal.job_transition AS t
         WHERE t.machine = was.kind AND t.from_state = was.state AND t.moved_by = 'close';
        j.error := jsonb_build_object('class', 'closed', 'message', reason, 'retryable', false);
        PERFORM walwarden_internal.move_job(actor, 'close', was, j);
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;

-- Ends the leases of an organisation that have expired, at most so many, and returns how many
-- it ended: the job is queued again if it may be and has attempts left. Skips a job that
-- somebody is working on at this moment.
CREATE FUNCTION walwarden_internal.end_leases(org_id uuid, batch integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
    was walwarden_internal.job;
    j walwarden_internal.job;
    ended integer := 0;
BEGIN
    FOR was IN SELECT f.* FROM walwarden_internal.job AS f
                WHERE f.org_id = end_leases.org_id AND f.claimed_by IS NOT NULL AND NOT f.done AND f.lease_until <= now
                ORDER BY f.lease_until, f.id
                LIMIT batch FOR NO KEY UPDATE SKIP LOCKED LOOP
        j := was;
        SELECT t.to_state INTO STRICT j.state
          FROM walwarden_internal.job_transition AS t
         WHERE t.machine = was.kind AND t.from_state = was.state AND t.moved_by = 'lease'
           AND (t.to_state <> 'queued' OR was.attempt < was.max_attempts)
         ORDER BY t.to_state = 'queued' DESC
         LIMIT 1;
        j.error := jsonb_build_object('class', 'lease_expired', 'retryable', j.state <> 'timed_out', 'blames', 'node',
                                      'message', format('the lease of attempt %s of %s expired', was.attempt, was.max_attempts));
        PERFORM walwarden_internal.move_job(walwarden_internal.actor('system'), 'lease', was, j);
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;

-- Organisations with leases that have expired.
CREATE FUNCTION walwarden_internal.orgs_with_expired_leases() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT j.org_id FROM walwarden_internal.job AS j
     WHERE j.claimed_by IS NOT NULL AND NOT j.done AND j.lease_until <= clock_timestamp()
     ORDER BY j.org_id      -- in which order their locks are acquired
$$;

-- The runner protocol.

-- Requires the identity of a node, in a role authorised with grant_runner(). Returns the
-- organisation of the identity.
CREATE FUNCTION walwarden_internal.require_runner(c walwarden_internal.caller) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden_internal.is_granted(c.role, '{runner}') THEN
        PERFORM walwarden_internal.refuse('42501', format('permission denied for %s', c.door),
            coalesce(walwarden_internal.confirm_hint(c), 'Ask a superuser to authorise this role with walwarden.grant_runner().'));
    ELSIF walwarden.current_token_id() IS NULL THEN
        PERFORM walwarden_internal.refuse('28000', 'the transaction has no identity',
            'Call walwarden.authenticate() first, in the same transaction.');
    ELSIF NOT walwarden_internal.speaks_for_node() THEN
        PERFORM walwarden_internal.refuse('42501', 'the token is not a node token',
            'Use a token of kind node, or one with the role deploy that is shared or whose owner may have nodes. Scopes do not open the runner protocol.');
    END IF;
    RETURN walwarden.current_org_id();
END
$$;

-- Refuses JSON from a node that is too large, before anything else is done with it. In bytes,
-- because an entry holds it twice, in the images before and after.
CREATE FUNCTION walwarden_internal.check_report_size(what text, INOUT value jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(value::text) > 16384 THEN
        PERFORM walwarden_internal.refuse('22023', format('%s is too long', what),
            'Give at most 16 KiB of JSON. docs/runner-protocol.md has examples.');
    END IF;
END
$$;

-- Checks JSON from a node against a schema.
CREATE FUNCTION walwarden_internal.check_report(what text, schema text, INOUT value jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
    canonical record;
BEGIN
    value := walwarden_internal.check_report_size(what, value);
    IF value IS NULL THEN
        problem := what || ' is missing';
    ELSE
        problem := walwarden_internal.schema_problem(schema, value, what) ->> 'message';
        IF problem IS NULL THEN
            canonical := walwarden_internal.canonical_json(convert_to(value::text, 'UTF8'));
            problem := what || ' is not acceptable JSON: ' || canonical.error;
        END IF;
    END IF;
    IF problem IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', problem,
            format('Give at most 16 KiB of JSON that matches the schema %s, with integers only. docs/runner-protocol.md has examples.', schema));
    END IF;
END
$$;

-- Locks and returns the job for the node that holds it. Any node of the organisation that
-- knows the fence gets a completed job, so that it can be verified again.
CREATE FUNCTION walwarden_internal.held_job(c walwarden_internal.caller, job_id uuid, fence bigint) RETURNS walwarden_internal.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    runner_org uuid := walwarden_internal.require_runner(c);
    node walwarden_internal.node := walwarden_internal.current_node();
    j walwarden_internal.job;
BEGIN
    IF walwarden_internal.index_has('job_of_org', runner_org, job_id) THEN
        SELECT * INTO j FROM walwarden_internal.job AS f WHERE f.id = job_id FOR NO KEY UPDATE;
    END IF;
    IF j.id IS NULL THEN
        PERFORM walwarden_internal.refuse('42704', format('job %s does not exist', coalesce(job_id::text, 'NULL')),
            'Use the job_id that walwarden.claim_job() returned.');
    ELSIF j.fence IS DISTINCT FROM fence
          OR ((node.id IS NULL OR j.claimed_by IS DISTINCT FROM node.id) AND j.state <> 'completed') THEN
        PERFORM walwarden_internal.refuse('55000', format('job %s is held by another claim', job_id),
            'Stop working on it. Its lease ended, it was given back, or another node claimed it; the fence is then higher.');
    END IF;
    PERFORM walwarden_internal.see_node(node);
    RETURN j;
END
$$;

CREATE FUNCTION walwarden_internal.refuse_job_state(j walwarden_internal.job, wanted text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.refuse('55000', format('job %s is %s and cannot %s', j.id, j.state, wanted),
        CASE WHEN j.done THEN 'Stop working on it: the job has ended.'
                    ELSE 'The next states are: ' || coalesce((SELECT string_agg(t.to_state, ', ' ORDER BY t.to_state)
                                                            FROM walwarden_internal.job_transition AS t
                                                           WHERE t.machine = j.kind AND t.from_state = j.state AND t.moved_by = 'runner'
                                                             AND split_part(t.event, '.', 2) = t.to_state), 'none') || '.' END);
END
$$;

-- A job as its node gets it: with everything that it needs to run it.
CREATE FUNCTION walwarden_internal.job_for_node(j walwarden_internal.job) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    image jsonb := walwarden_internal.job_image(j);
    d walwarden_internal.database;
    to_use walwarden_internal.destination;
    b walwarden_internal.job;
BEGIN
    SELECT * INTO d FROM walwarden_internal.database AS f WHERE f.id = j.database_id;
    SELECT * INTO to_use FROM walwarden_internal.destination AS f WHERE f.id = j.destination_id;
    IF j.backup_job_id IS NOT NULL THEN
        SELECT * INTO b FROM walwarden_internal.job AS f WHERE f.id = j.backup_job_id;
    END IF;
    image := image || jsonb_build_object(
        'database', CASE WHEN d.id IS NOT NULL THEN walwarden_internal.database_image(d) END,
        'destination', CASE WHEN to_use.id IS NOT NULL THEN walwarden_internal.destination_image(to_use) END,
        'backup', CASE WHEN b.id IS NOT NULL THEN walwarden_internal.job_image(b) END);
    RETURN CASE WHEN j.kind = 'expire' THEN image || jsonb_build_object('artifact', b.artifact) ELSE image END;
END
$$;

CREATE FUNCTION walwarden_internal.claim_job(
        kinds text[], lease interval, connections text[],
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- one for each connections would take longer than the search
AS $$
#variable_conflict use_column
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    runner_org uuid := walwarden_internal.require_runner(c);
    node walwarden_internal.node := walwarden_internal.require_node();
    known text[] := ARRAY(SELECT DISTINCT s.machine FROM walwarden_internal.job_state AS s ORDER BY s.machine);
    wanted text[] := kinds;
    span numeric := walwarden_internal.exact_seconds(lease);
    was walwarden_internal.job;
    j walwarden_internal.job;
BEGIN
    IF wanted IS NULL OR cardinality(wanted) NOT BETWEEN 1 AND cardinality(known) OR NOT wanted <@ known THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid job kinds',
            format('Give an array with one or more of %s.', array_to_string(known, ', ')));
    ELSIF span IS NULL OR span NOT BETWEEN 1 AND 3600 THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid lease',
            'Give an interval from 1 second to 1 hour, without months or years. Renew the lease with walwarden.heartbeat_job().');
    ELSIF cardinality(connections) > 1000 OR EXISTS (SELECT FROM unnest(connections) AS n WHERE n IS NULL) THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid connections',
            'Give an array with the names of at most 1000 connections, or NULL for jobs of every connection.');
    END IF;
    PERFORM walwarden_internal.see_node(node);
    PERFORM walwarden_internal.end_leases(runner_org, 50);      -- also without maintenance
    PERFORM walwarden_internal.poll_schedules(runner_org);

    SELECT f.* INTO was
      FROM walwarden_internal.job AS f
     WHERE f.org_id = runner_org AND NOT f.done AND f.state = 'queued' AND f.kind = ANY (wanted)
       AND (f.not_before IS NULL OR f.not_before <= clock_timestamp())
       AND (f.kind <> 'expire' OR walwarden_internal.is_expendable(f.backup_job_id))
       -- a backup needs the connection of its database, a restore the section of its target
       AND CASE WHEN connections IS NULL THEN true
                WHEN f.kind = 'backup' THEN EXISTS (SELECT FROM walwarden_internal.database AS d WHERE d.id = f.database_id AND d.connection_ref = ANY (connections))
                WHEN f.target IS NOT NULL THEN split_part(f.target, '/', 1) = ANY (connections)
                ELSE true END
     ORDER BY f.queued_at, f.id
     LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    j := was;
    j.state := 'claimed';
    j.attempt := was.attempt + 1;
    j.fence := was.fence + 1;
    j.claimed_by := node.id;
    j.claimed_at := clock_timestamp();
    j.not_before := NULL;
    j.error := NULL;
    j.lease := walwarden_internal.span(span);
    j.lease_until := walwarden_internal.later(j.claimed_at, span);
    j := walwarden_internal.move_job(walwarden_internal.actor('token', c), 'runner', was, j);

    job_id := j.id;
    kind := j.kind;
    fence := j.fence;
    lease_until := j.lease_until;
    job := walwarden_internal.job_for_node(j);
    RETURN NEXT;
END
$$;

CREATE FUNCTION walwarden_internal.held_jobs(
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    runner_org uuid := walwarden_internal.require_runner(walwarden_internal.caller());
    node walwarden_internal.node := walwarden_internal.require_node();
BEGIN
    RETURN QUERY
        SELECT f.id, f.kind, f.fence, f.lease_until, walwarden_internal.job_for_node(f)
          FROM walwarden_internal.job AS f
         WHERE f.org_id = runner_org AND f.claimed_by = node.id AND NOT f.done
         ORDER BY f.claimed_at, f.id;
END
$$;

CREATE FUNCTION walwarden_internal.release_job(job_id uuid, fence bigint, not_before timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.job := walwarden_internal.held_job(c, job_id, fence);
    j walwarden_internal.job := was;
BEGIN
    IF NOT isfinite(not_before) OR not_before > walwarden_internal.later(clock_timestamp(), 86400) THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid not_before',
            'Give a time at most 24 hours from now, or NULL so that the job can be claimed at once.');
    END IF;
    j.state := 'queued';
    j.attempt := was.attempt - 1;
    j.not_before := not_before;
    IF (walwarden_internal.move_job(walwarden_internal.actor('token', c), 'runner', was, j, 'released')).id IS NULL THEN
        PERFORM walwarden_internal.refuse_job_state(was, 'be given back');
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.heartbeat_job(job_id uuid, fence bigint, progress jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden_internal.job := walwarden_internal.held_job(walwarden_internal.caller(), job_id, fence);
BEGIN
    IF progress IS NOT NULL THEN
        progress := walwarden_internal.check_report('progress', 'Progress', progress);
    END IF;
    IF j.done THEN
        PERFORM walwarden_internal.refuse_job_state(j, 'be worked on');
    END IF;
    UPDATE walwarden_internal.job AS f
       SET lease_until = walwarden_internal.later(clock_timestamp(), walwarden_internal.seconds(f.lease)),
           progress = coalesce(heartbeat_job.progress, f.progress)
     WHERE f.id = j.id;
    RETURN true;
END
$$;

-- Text from a program, made fit to store: on one line, and withheld if it contains a secret.
-- A report must not fail because of the wording of an error.
CREATE FUNCTION walwarden_internal.plain_text(value jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN CASE WHEN jsonb_typeof(value) <> 'string' THEN value
                WHEN walwarden_internal.holds_secret(value #>> '{}') THEN '"(withheld: it contained a token or a password)"'
                ELSE to_jsonb(btrim(regexp_replace(value #>> '{}', walwarden_internal.hidden_character() || '+', ' ', 'g'))) END;

CREATE FUNCTION walwarden_internal.plain_report(detail jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    checks integer := CASE jsonb_typeof(detail #> '{validation,checks}') WHEN 'array' THEN jsonb_array_length(detail #> '{validation,checks}') ELSE 0 END;
    path text[] := '{error,message}';
BEGIN
    -- the message first, then the detail of one check after the other: each round names what the next one is about
    FOR i IN 0 .. checks LOOP
        IF detail #> path IS NOT NULL THEN
            detail := jsonb_set(detail, path, walwarden_internal.plain_text(detail #> path));
        END IF;
        path := ARRAY['validation', 'checks', i::text, 'detail'];
    END LOOP;
    RETURN detail;
END
$$;

CREATE FUNCTION walwarden_internal.report_job(job_id uuid, fence bigint, state text, detail jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- in seconds, until the second attempt and later ones
    pauses CONSTANT integer[] := '{60,300,900}';
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.job := walwarden_internal.held_job(c, job_id, fence);
    j walwarden_internal.job := was;
    foreign_part text := CASE WHEN was.kind = 'backup' OR (was.kind = 'expire' AND detail -> 'validation' <> 'null') THEN 'validation' ELSE 'artifact' END;
    missing text;
BEGIN
    detail := walwarden_internal.check_report_size('detail', detail);
    IF NOT EXISTS (SELECT FROM walwarden_internal.job_state AS s WHERE s.machine = was.kind AND s.state = report_job.state) THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown state %s for a %s', walwarden_internal.shown(state), was.kind),
            'Use one of these states: ' || (SELECT string_agg(s.state, ', ' ORDER BY s.state) FROM walwarden_internal.job_state AS s WHERE s.machine = was.kind) || '.');
    END IF;
    detail := walwarden_internal.plain_report(coalesce(detail, '{}'));
    detail := walwarden_internal.check_report('detail', 'JobReport', detail);
    IF state = was.state THEN
        -- a repeated report
        UPDATE walwarden_internal.job AS f
           SET lease_until = walwarden_internal.later(clock_timestamp(), walwarden_internal.seconds(f.lease))
         WHERE f.id = was.id AND NOT f.done;
        RETURN false;
    ELSIF NOT EXISTS (SELECT FROM walwarden_internal.job_transition AS t
                       WHERE t.machine = was.kind AND t.from_state = was.state AND t.to_state = report_job.state AND t.moved_by = 'runner'
                         AND split_part(t.event, '.', 2) = t.to_state) THEN
        PERFORM walwarden_internal.refuse_job_state(was, 'become ' || state);
    END IF;

    j.state := state;
    j.artifact := coalesce(nullif(detail -> 'artifact', 'null'), j.artifact);
    j.validation := coalesce(nullif(detail -> 'validation', 'null'), j.validation);
    j.error := CASE WHEN state = 'failed' THEN '{"blames": "node"}' || nullif(detail -> 'error', 'null') END;
    j.started_at := coalesce(j.started_at, clock_timestamp());
    j.lease_until := walwarden_internal.later(clock_timestamp(), walwarden_internal.seconds(j.lease));
    missing := CASE
        WHEN state = 'failed' AND j.error IS NULL THEN 'error'
        WHEN state = 'completed' AND j.kind = 'backup' AND j.artifact IS NULL THEN 'artifact'
        WHEN state = 'completed' AND j.kind IN ('restore', 'drill') AND j.validation IS NULL THEN 'validation' END;
    IF missing IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('a %s in state %s needs detail.%s', j.kind, state, missing),
            'Report the outcome in detail. docs/runner-protocol.md has examples.');
    ELSIF nullif(detail -> foreign_part, 'null') IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('%s %s has no %s', CASE j.kind WHEN 'expire' THEN 'an' ELSE 'a' END, j.kind, foreign_part),
            'Report an artifact for a backup, a validation for a restore or drill, and neither for an expire.');
    ELSIF state = 'completed' AND (j.validation ->> 'result' = 'failed' OR j.validation -> 'checks' @> '[{"result": "failed"}]') THEN
        PERFORM walwarden_internal.refuse('22023', format('a %s whose validation failed cannot be completed', j.kind),
            'Report it as failed, with "blames": "backup" if the backup is at fault.');
    END IF;
    IF j.error -> 'retryable' = 'true' AND was.attempt < was.max_attempts THEN
        j.state := 'queued';
        j.not_before := walwarden_internal.later(clock_timestamp(), pauses[least(was.attempt, cardinality(pauses))]);
        IF (walwarden_internal.move_job(walwarden_internal.actor('token', c), 'runner', was, j, 'retried')).id IS NOT NULL THEN
            RETURN true;
        END IF;
        j.state := state;
        j.not_before := NULL;
    ELSIF state = 'completed' AND j.kind = 'backup' THEN
        PERFORM walwarden_internal.require_evidence(j);
    ELSIF state = 'completed' AND j.kind = 'expire' THEN
        PERFORM walwarden_internal.expire_backup(walwarden_internal.actor('token', c), j);
    END IF;
    PERFORM walwarden_internal.move_job(walwarden_internal.actor('token', c), 'runner', was, j, state);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.claim_job(
        kinds text[], lease interval DEFAULT '60 s', connections text[] DEFAULT NULL,
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE C ROWS 1 AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.claim_job(text[], interval, text[]) IS
'Claims the oldest queued job of the identity''s organisation for the node. First it ends leases of the organisation that have expired. Returns no row if there is no job to claim. kinds: one or more of backup, drill, expire and restore. lease: 1 second to 1 hour; renew it with heartbeat_job(). connections: the connections that the node has, at most 1000; the call then skips backups of databases with another connectionRef, and restores and drills whose target names another section (the part before the first slash). NULL claims jobs of every connection. job is a JSON object with what the node needs to run the job, in the fields of REST v1. Pass fence to every further call; it is rejected once the job was taken from the node. A job that another node is claiming is skipped. The call waits for the organisation''s chain, so make one call per transaction and commit at once. For nodes that called register_node(), in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 55000 if the token has not registered a node, 22023 if kinds, lease or connections is invalid, 55P03 if the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT * FROM walwarden.claim_job(''{backup}'', connections => ''{orders-primary}'');';

CREATE FUNCTION walwarden.held_jobs(
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE C STABLE ROWS 10 AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.held_jobs() IS
'Lists the jobs that the node holds, with the columns of claim_job(), in the order in which it claimed them. For a node that starts again, or that did not get the answer of claim_job(). A job whose lease has expired is listed until somebody ends the lease. For nodes that called register_node(), in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 55000 if the token has not registered a node. Example: SELECT job_id, fence FROM walwarden.held_jobs();';

CREATE FUNCTION walwarden.release_job(job_id uuid, fence bigint, not_before timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.release_job(uuid, bigint, timestamptz) IS
'Gives a job back, so that it is queued again and every node may claim it. The attempt does not count. Returns true. fence: as returned by claim_job(). not_before: no node claims the job earlier; at most 24 hours from now, NULL for at once. A restore that has begun to write to its target (restoring and later) cannot be given back. For the node that holds the job. Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 42704 if the job does not exist, 55000 if the node no longer holds the job or its state does not allow it, 22023 if not_before is invalid, 55P03 if the row or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.release_job($1, $2, now() + interval ''5 minutes'');';

CREATE FUNCTION walwarden.heartbeat_job(job_id uuid, fence bigint, progress jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.heartbeat_job(uuid, bigint, jsonb) IS
'Renews the lease of a claimed job and stores its progress. Returns true. fence: as returned by claim_job(). progress: {"percent","bytesDone","bytesTotal","phase"}, each optional: 0 to 100, bytes, bytes, 1 to 100 characters; NULL keeps the stored progress. For the node that holds the job. Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 42704 if the job does not exist, 55000 if the node no longer holds the job or it has ended (stop working on it), 22023 if progress is invalid, 55P03 if the row is locked for too long. Example: SELECT walwarden.heartbeat_job($1, $2, ''{"percent":40}'');';

CREATE FUNCTION walwarden.report_job(job_id uuid, fence bigint, state text, detail jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_job(uuid, bigint, text, jsonb) IS
'Moves a claimed job to its next state and renews its lease. Returns false if the job is already in that state. state: a next state of the job, as listed in job_transition. detail: {"artifact":{"name","sizeBytes","checksumSha256"}} for a completed backup, {"validation":{"result","checks":[{"name","result","detail"}],"measured":{"fetchSeconds","restoreSeconds","checkSeconds"}}} for a completed restore or drill, {"error":{"class","message","retryable","blames"}} for a failed job. A retryable failure queues the job again while attempts are left, 1, 5 and then 15 minutes later; a restore that has begun to write to its target (restoring and later) fails all the same. blames: backup, target or node (the default); backup refutes the evidence of the backup until a later restore or drill passes. Sizes are in bytes, measured times in seconds, checksums in lower-case hex; a result is passed, failed or not_run. A backup completes only after record_evidence() in the same claim, with a manifest that names the checksum of the artifact. For the node that holds the job. Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 42704 if the job does not exist, 55000 if the node no longer holds the job or it has no such transition, or if a completed backup has no evidence, 22023 if state or detail is invalid or the evidence is about another artifact, 55P03 if the row or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_job($1, $2, ''running'');';
