-- Monitoring views for operators and monitors: counts of tokens and jobs, and the stored
-- verdicts of the chains. A reader never makes the server count: maintenance stores the
-- counts of each organisation in one row, and the views read these rows. No view shows a
-- token, a member or a job by itself.

-- The counts of an organisation. valid_until: when they change by the clock alone, at most a
-- day later, because no entry records the first use of a token.
CREATE TABLE walwarden_internal.org_summary (
    org_id      uuid NOT NULL,
    as_of       timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    head_seq    bigint NOT NULL,
    tokens      jsonb NOT NULL,
    jobs        jsonb NOT NULL,
    PRIMARY KEY (org_id) INCLUDE (as_of, valid_until, head_seq)     -- for orgs_to_count(), by the index alone
);
-- not dumped, because maintenance counts again
COMMENT ON TABLE walwarden_internal.org_summary IS 'The last counts of tokens and jobs of each organisation, by maintenance. The chain does not describe it.';
COMMENT ON COLUMN walwarden_internal.org_summary.head_seq IS 'seq of the last entry when it was counted';
COMMENT ON COLUMN walwarden_internal.org_summary.tokens IS 'an array with the rows of stat_tokens';
COMMENT ON COLUMN walwarden_internal.org_summary.jobs IS 'an array with the rows of stat_jobs';

-- The number of tokens of an organisation by state, as authenticate() would find them, and
-- when one of the numbers changes by the clock alone. The organisation, its owner and these
-- columns decide the state of a token, so that one token is asked for all that share them: the
-- last to expire, because the others may expire while they are counted.
CREATE FUNCTION walwarden_internal.count_tokens(org_id uuid, now timestamptz, OUT counts jsonb, OUT valid_until timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan     -- organisations differ in size
    SET work_mem = '4MB'                        -- enough for the groups without temporary files
AS $$
DECLARE
    week CONSTANT interval := '168 hours';
BEGIN
    WITH alike AS (
        SELECT e.ending, right(max(lpad(coalesce(extract(epoch FROM t.expires_at), 1e14)::bigint::text, 15, '0') || t.id), 36)::uuid AS example, count(*) AS tokens, min(t.expires_at) AS expires_at,
               count(*) FILTER (WHERE coalesce(u.last_used_at, (walwarden_internal.current_usage(t.id, NULL)).last_used_at) IS NULL) AS never_used
          FROM walwarden_internal.token AS t
          LEFT JOIN walwarden_internal.token_usage AS u ON u.token_id = t.id
         CROSS JOIN LATERAL (SELECT CASE WHEN t.expires_at <= now THEN 'past' WHEN t.expires_at <= now + week THEN 'soon' ELSE 'later' END) AS e(ending)
         WHERE t.org_id = count_tokens.org_id AND t.removed_at IS NULL
         GROUP BY t.stopped, t.owner_id, e.ending
    ), counted AS (
        SELECT k.state, sum(a.tokens) AS tokens, sum(a.never_used) AS never_used,
               sum(a.tokens) FILTER (WHERE a.ending = 'soon' AND k.lives) AS expiring_7d,
               min(CASE WHEN k.lives THEN a.expires_at - CASE a.ending WHEN 'later' THEN week ELSE '0' END END) AS changes_at
          FROM alike AS a
         CROSS JOIN LATERAL (SELECT f.state, f.state NOT IN ('expired', 'revoked')
                              FROM (SELECT walwarden_internal.state(t) FROM walwarden_internal.token AS t WHERE t.id = a.example OFFSET 0) AS f(state)) AS k(state, lives)
         GROUP BY k.state
    )
    SELECT jsonb_agg(jsonb_build_object('state', s.state, 'tokens', coalesce(c.tokens, 0),
                                        'expiring_7d', coalesce(c.expiring_7d, 0), 'never_used', coalesce(c.never_used, 0))),
           min(c.changes_at)
      INTO counts, valid_until
      FROM (SELECT DISTINCT f.from_state FROM walwarden_internal.token_transition AS f WHERE f.from_state <> 'none') AS s(state)
      LEFT JOIN counted AS c ON c.state = s.state;
END
$$;

-- The number of jobs of an organisation by kind and state, and when the next lease expires.
-- An expired one is counted again at once: no entry says that its node has renewed it.
CREATE FUNCTION walwarden_internal.count_jobs(org_id uuid, now timestamptz, OUT counts jsonb, OUT valid_until timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    WITH counted AS (   -- by the index alone
        SELECT j.kind, j.state, count(*) AS jobs
          FROM walwarden_internal.job AS j
         WHERE j.org_id = count_jobs.org_id
         GROUP BY j.kind, j.state
    ), open AS (
        SELECT j.kind, j.state,
               min(j.queued_at) FILTER (WHERE j.state = 'queued') AS oldest_queued_at,
               count(*) FILTER (WHERE j.lease_until <= now) AS expired_leases,
               min(greatest(j.lease_until, now)) FILTER (WHERE j.lease_until IS NOT NULL) AS changes_at
          FROM walwarden_internal.job AS j
         WHERE j.org_id = count_jobs.org_id AND NOT j.done
         GROUP BY j.kind, j.state
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object('kind', c.kind, 'state', c.state, 'jobs', c.jobs,
                                                 'oldest_queued_at', o.oldest_queued_at, 'expired_leases', coalesce(o.expired_leases, 0))), '[]'),
           min(o.changes_at)
      INTO counts, valid_until
      FROM counted AS c
      LEFT JOIN open AS o ON o.kind = c.kind AND o.state = c.state;
END
$$;

-- The organisations to count: an entry was appended since, or the counts change by the clock.
-- Counting reads every token of an organisation. If there are more than 10,000, it waits a
-- millisecond for each further one, so that it takes a small part of the time. A count from
-- the future is one from before the clock went back.
CREATE FUNCTION walwarden_internal.orgs_to_count() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.id
      FROM walwarden_internal.org AS o
      LEFT JOIN walwarden_internal.org_summary AS s ON s.org_id = o.id
     WHERE s.org_id IS NULL OR s.as_of > clock_timestamp()
        OR (s.valid_until <= clock_timestamp()
            OR s.head_seq IS DISTINCT FROM (SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = o.id ORDER BY e.seq DESC LIMIT 1))
           AND (SELECT f.as_of + interval '1 ms' * greatest((SELECT sum(c.tokens) FROM jsonb_to_recordset(f.tokens) AS c(tokens bigint)) - 10000, 0) <= clock_timestamp()
                  FROM walwarden_internal.org_summary AS f WHERE f.org_id = o.id)
     ORDER BY o.id
$$;

-- Counts the tokens and jobs of an organisation. One statement, so that the counts are of the
-- entries up to head_seq.
CREATE FUNCTION walwarden_internal.store_summary(org_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO walwarden_internal.org_summary AS s (org_id, as_of, valid_until, head_seq, tokens, jobs)
    SELECT store_summary.org_id, now, least(t.valid_until, j.valid_until, now + interval '24 hours'),
           coalesce((SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = store_summary.org_id ORDER BY e.seq DESC LIMIT 1), 0),
           t.counts, j.counts
      FROM walwarden_internal.count_tokens(store_summary.org_id, now) AS t, walwarden_internal.count_jobs(store_summary.org_id, now) AS j
        ON CONFLICT ON CONSTRAINT org_summary_pkey DO UPDATE
       SET as_of = EXCLUDED.as_of, valid_until = EXCLUDED.valid_until, head_seq = EXCLUDED.head_seq, tokens = EXCLUDED.tokens, jobs = EXCLUDED.jobs;
END
$$;

CREATE FUNCTION walwarden_internal.stat_tokens()
    RETURNS TABLE (org text, state text, tokens bigint, expiring_7d bigint, never_used bigint, as_of timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY
        SELECT o.slug, c.state, c.tokens, c.expiring_7d, c.never_used, s.as_of
          FROM walwarden_internal.org_summary AS s
          JOIN walwarden_internal.org AS o ON o.id = s.org_id
         CROSS JOIN LATERAL jsonb_to_recordset(s.tokens) AS c(state text, tokens bigint, expiring_7d bigint, never_used bigint)
         ORDER BY o.slug, c.state;
END
$$;

CREATE FUNCTION walwarden_internal.stat_jobs()
    RETURNS TABLE (org text, kind text, state text, jobs bigint, oldest_queued_at timestamptz, expired_leases bigint, as_of timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY
        SELECT o.slug, c.kind, c.state, c.jobs, c.oldest_queued_at, c.expired_leases, s.as_of
          FROM walwarden_internal.org_summary AS s
          JOIN walwarden_internal.org AS o ON o.id = s.org_id
         CROSS JOIN LATERAL jsonb_to_recordset(s.jobs) AS c(kind text, state text, jobs bigint, oldest_queued_at timestamptz, expired_leases bigint)
         ORDER BY o.slug, c.kind, c.state;
END
$$;

CREATE FUNCTION walwarden_internal.stat_chains()
    RETURNS TABLE (org text, entries bigint, head_seq bigint, ok boolean, verified_at timestamptz, age_seconds bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY
        SELECT k.name, v.entries,
               coalesce((SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = k.org_id ORDER BY e.seq DESC LIMIT 1), 0),
               v.ok, v.finished_at, floor(extract(epoch FROM clock_timestamp() - v.finished_at))::bigint
          FROM walwarden_internal.chains() AS k
          LEFT JOIN walwarden_internal.verification AS v ON v.org_id = k.org_id;
END
$$;

CREATE FUNCTION walwarden_internal.stat_alarms()
    RETURNS TABLE (org text, node text, seq bigint, reported_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY
        SELECT o.slug, n.name, a.seq, a.reported_at
          FROM walwarden_internal.alarm AS a
          JOIN walwarden_internal.node AS n ON n.id = a.node_id
          JOIN walwarden_internal.org AS o ON o.id = a.org_id
         WHERE a.accepted_at IS NULL
         ORDER BY a.reported_at;
END
$$;

CREATE FUNCTION walwarden_internal.stat_tokens_door()
    RETURNS TABLE (org text, state text, tokens bigint, expiring_7d bigint, never_used bigint, as_of timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_tokens_door() IS
'The door behind the view stat_tokens. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT org, tokens FROM walwarden.stat_tokens WHERE state = ''active'';';

CREATE FUNCTION walwarden_internal.stat_jobs_door()
    RETURNS TABLE (org text, kind text, state text, jobs bigint, oldest_queued_at timestamptz, expired_leases bigint, as_of timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_jobs_door() IS
'The door behind the view stat_jobs. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT org, kind, jobs FROM walwarden.stat_jobs WHERE state = ''queued'';';

CREATE FUNCTION walwarden_internal.stat_chains_door()
    RETURNS TABLE (org text, entries bigint, head_seq bigint, ok boolean, verified_at timestamptz, age_seconds bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_chains_door() IS
'The door behind the view stat_chains. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT org, ok, verified_at FROM walwarden.stat_chains WHERE ok IS NOT TRUE;';

CREATE VIEW walwarden.stat_tokens AS
    SELECT * FROM walwarden_internal.stat_tokens_door();
COMMENT ON VIEW walwarden.stat_tokens IS 'The number of tokens of each organisation in each state, as counted by maintenance. An organisation is counted again after each change, and at least once a day; if it has many tokens, less often. An organisation that was not counted yet has no rows. For operators and monitors; other readers fail with 42501. Example: SELECT org, tokens FROM walwarden.stat_tokens WHERE state = ''active'';';
COMMENT ON COLUMN walwarden.stat_tokens.org IS 'the slug of the organisation';
COMMENT ON COLUMN walwarden.stat_tokens.state IS 'as in token_list; each organisation has a row for every state';
COMMENT ON COLUMN walwarden.stat_tokens.tokens IS 'number of tokens in this state';
COMMENT ON COLUMN walwarden.stat_tokens.expiring_7d IS 'number of these that expire within 7 days after as_of';
COMMENT ON COLUMN walwarden.stat_tokens.never_used IS 'number of these that nobody had used up to as_of';
COMMENT ON COLUMN walwarden.stat_tokens.as_of IS 'when maintenance counted them';

CREATE VIEW walwarden.stat_jobs AS
    SELECT * FROM walwarden_internal.stat_jobs_door();
COMMENT ON VIEW walwarden.stat_jobs IS 'The number of jobs of each organisation by kind and state, as counted by maintenance, together with the tokens of stat_tokens. For operators and monitors; other readers fail with 42501. Example: SELECT org, kind, jobs FROM walwarden.stat_jobs WHERE state = ''queued'';';
COMMENT ON COLUMN walwarden.stat_jobs.org IS 'the slug of the organisation';
COMMENT ON COLUMN walwarden.stat_jobs.kind IS 'backup, restore, drill, or expire: the deletion of a backup whose retention is over';
COMMENT ON COLUMN walwarden.stat_jobs.state IS 'a state of the job, as listed in job_state; without a row, no job is in it';
COMMENT ON COLUMN walwarden.stat_jobs.jobs IS 'number of jobs in this state';
COMMENT ON COLUMN walwarden.stat_jobs.oldest_queued_at IS 'when the oldest of them was queued; NULL in other states than queued';
COMMENT ON COLUMN walwarden.stat_jobs.expired_leases IS 'number of these whose lease had expired at as_of, although maintenance ends such leases before it counts';
COMMENT ON COLUMN walwarden.stat_jobs.as_of IS 'when maintenance counted them';

CREATE VIEW walwarden.stat_chains AS
    SELECT * FROM walwarden_internal.stat_chains_door();
COMMENT ON VIEW walwarden.stat_chains IS 'Each audit chain with its length and the last verdict that maintenance stored. For operators and monitors; other readers fail with 42501. Example: SELECT org, ok, verified_at FROM walwarden.stat_chains WHERE ok IS NOT TRUE;';
COMMENT ON COLUMN walwarden.stat_chains.org IS 'the slug of the organisation, or _system';
COMMENT ON COLUMN walwarden.stat_chains.entries IS 'number of entries that were verified; NULL if none has been stored';
COMMENT ON COLUMN walwarden.stat_chains.head_seq IS 'seq of the last entry now; 0 if there is none';
COMMENT ON COLUMN walwarden.stat_chains.ok IS 'the last verdict; NULL if none has been stored';
COMMENT ON COLUMN walwarden.stat_chains.verified_at IS 'when the last verification finished';
COMMENT ON COLUMN walwarden.stat_chains.age_seconds IS 'seconds since then';

CREATE FUNCTION walwarden_internal.stat_alarms_door()
    RETURNS TABLE (org text, node text, seq bigint, reported_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_alarms_door() IS
'The door behind the view stat_alarms. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT org, node FROM walwarden.stat_alarms;';

CREATE VIEW walwarden.stat_alarms AS
    SELECT * FROM walwarden_internal.stat_alarms_door();
COMMENT ON VIEW walwarden.stat_alarms IS 'The nodes that have found another audit chain than the one that they know, as reported with report_alarm(), until an operator calls accept_history(). For operators and monitors; other readers fail with 42501. Example: SELECT org, node FROM walwarden.stat_alarms;';
COMMENT ON COLUMN walwarden.stat_alarms.org IS 'the slug of the organisation';
COMMENT ON COLUMN walwarden.stat_alarms.node IS 'the name of the node';
COMMENT ON COLUMN walwarden.stat_alarms.seq IS 'an entry that differs: the one that the node reported';
COMMENT ON COLUMN walwarden.stat_alarms.reported_at IS 'when the node reported it';

-- Shows what this process is doing, until its transaction ends or it verifies a chain.
CREATE FUNCTION walwarden_internal.show_progress(what text, org_id uuid) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_show_progress';

-- What processes in this database are doing. Nothing without preload.
CREATE FUNCTION walwarden_internal.progress() RETURNS TABLE (pid integer, what text, org_id uuid, done bigint, total bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_progress';

CREATE FUNCTION walwarden_internal.stat_progress()
    RETURNS TABLE (pid integer, what text, org text, done bigint, total bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY
        SELECT p.pid, p.what,
               CASE WHEN p.org_id = walwarden_internal.system_org() THEN '_system' ELSE coalesce(o.slug, p.org_id::text) END,
               p.done, p.total
          FROM walwarden_internal.progress() AS p
          LEFT JOIN walwarden_internal.org AS o ON o.id = p.org_id
         ORDER BY p.pid;
END
$$;

CREATE FUNCTION walwarden_internal.stat_progress_door()
    RETURNS TABLE (pid integer, what text, org text, done bigint, total bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_progress_door() IS
'The door behind the view stat_progress. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT org, what, done, total FROM walwarden.stat_progress;';

CREATE VIEW walwarden.stat_progress AS
    SELECT * FROM walwarden_internal.stat_progress_door();
COMMENT ON VIEW walwarden.stat_progress IS 'What the processes in this database are verifying, and the step of maintenance that they are running. Empty without preload. For operators and monitors; other readers fail with 42501. Example: SELECT org, what, done, total FROM walwarden.stat_progress;';
COMMENT ON COLUMN walwarden.stat_progress.pid IS 'the process, as in pg_stat_activity';
COMMENT ON COLUMN walwarden.stat_progress.what IS 'verification: entries, then verification: rows; or maintenance: and the name of the step';
COMMENT ON COLUMN walwarden.stat_progress.org IS 'the slug of the organisation, or _system; NULL for a step that is about all';
COMMENT ON COLUMN walwarden.stat_progress.done IS 'number of entries or rows that have been read, in steps of 256; NULL for a step of maintenance';
COMMENT ON COLUMN walwarden.stat_progress.total IS 'number of entries, or the expected number of rows; NULL for a step of maintenance';
