-- Spans are seconds, whatever the session's time zone; and a clock that steps does no harm.
-- There is no clock to set here (test/t/025_clock.pl sets one): instead, the last round is
-- put into the past, which is what a jump ahead looks like.
BEGIN;
SELECT no_plan();

-- the transitions of this zone are in November and December
\set zone 'AAA83:59BBB-83:59,J329/04:14:31,J364/0'
SELECT set_config('TimeZone', :'zone', true) \g /dev/null
SELECT isnt_empty($$SELECT t FROM generate_series('2026-11-01 00:00:00+00'::timestamptz, '2026-12-31 00:00:00+00', '1 hour') AS t
                     WHERE t + interval '7 days' <> walwarden_internal.later(t, 604800)$$, 'a day of the calendar is something else there');
SELECT is_empty($$SELECT t FROM generate_series('2026-11-01 00:00:00+00'::timestamptz, '2026-12-31 00:00:00+00', '1 hour') AS t
                   WHERE (t AT TIME ZONE 'UTC' + interval '7 days') AT TIME ZONE 'UTC' <> walwarden_internal.later(t, walwarden_internal.seconds('7 days'))$$, 'later() is the same as in UTC');
SELECT is(walwarden_internal.seconds(span), n::numeric, span::text)
  FROM (VALUES ('1 year 1 month 1 day 1 second'::interval, 396 * 86400 + 1), ('-1 mon 30 days 1 hour', 3600), ('12000 months -360000 days', 5000 * 86400),
               ('1.5 seconds', 1.5), ('0', 0), ('-25 hours', -90000), (NULL, NULL)) AS v(span, n);
SELECT is(walwarden_internal.exact_seconds(span), n::numeric, 'exactly ' || span::text)
  FROM (VALUES ('1 day -23 hours'::interval, 3600), ('1 mon', NULL), ('-1 mon 30 days 1 hour', NULL), ('12 mon -365 days', NULL), ('2 weeks', 14 * 86400)) AS v(span, n);
-- nothing else adds an interval to a time, or reads a setting as one: SQL of this extension
-- has no timestamps plus columns or parameters
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc AS p
                   WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace)
                     AND (p.prosrc ~ 'current_setting\(''walwarden' OR p.prosrc ~ '(timestamp\(\)|_at|_until|now\(\)) *[-+] *[a-z_.]*(lease|retention|overlap|span|notice|lifetime)')$$, 'later() alone adds a span to a time');

CREATE ROLE tc_bob;
CREATE ROLE tc_runner;
SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'boss', 'owner'), walwarden.add_member('acme', 'bob', 'member', 'tc_bob'),
       walwarden.grant_runner('tc_runner') \g /dev/null
CREATE FUNCTION last_kinds(n int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(kind, ' ' ORDER BY seq DESC) FROM (SELECT kind, seq FROM walwarden.list_audit('acme', 0, 1000) ORDER BY seq DESC LIMIT n) AS l
$$;
\ir tokens.psql

-- retention and overlap in a zone in which the last seven days were no week
DO $$
BEGIN
    FOR d IN 1 .. 365 LOOP
        PERFORM set_config('TimeZone', format('AAA83:59BBB-83:59,J%s/0,J%s/0', d, (d + 181) % 365 + 1), true);
        EXIT WHEN walwarden_internal.later(now(), -604800) + interval '7 days' > now() + interval '1 day';
    END LOOP;
END
$$;
SELECT ok(walwarden_internal.later(now(), -604800) + interval '7 days' > now() + interval '1 day', 'a week of the calendar is longer');
SET LOCAL ROLE tc_bob;
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'bob', owner => 'bob') \gset
RESET ROLE;
SELECT walwarden.disable_member('acme', 'bob') \g /dev/null
UPDATE walwarden_internal.member SET disabled_at = now() - make_interval(secs => 7 * 86400 - 3600) WHERE subject = 'bob';
SELECT ok(walwarden.enable_member('acme', 'bob') AND opens(:'v'), 'within the retention the tokens come back');
SELECT walwarden.disable_member('acme', 'bob') \g /dev/null
UPDATE walwarden_internal.member SET disabled_at = now() - make_interval(secs => 7 * 86400) WHERE subject = 'bob';
SELECT ok(walwarden.enable_member('acme', 'bob') AND state_of(:'id') IS NULL, 'after it they do not');
SELECT is(last_kinds(2), 'member.enabled token.removed', 'removed, as in UTC');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'x') \gset
SELECT walwarden.renew_token(:'id', '7 days') \g /dev/null
SELECT is((SELECT valid_until - (SELECT max(created_at) FROM walwarden_internal.credential WHERE token_id = :'id') FROM walwarden_internal.credential WHERE fingerprint = digest(:'v', 'sha256')),
    make_interval(secs => 604800), 'an overlap of 7 days');
SET LOCAL TimeZone = 'UTC';

-- leases
SELECT token AS node FROM walwarden.issue_token('acme', 'node', kind => 'node') \gset
SELECT walwarden.authenticate(:'node') \g /dev/null
SET LOCAL ROLE tc_runner;
SELECT walwarden.register_node('node', '1') \g /dev/null
SELECT throws_ok(format('SELECT * FROM walwarden.claim_job(''{backup}'', %L)', lease), '22023', 'invalid lease', 'a lease of ' || lease)
  FROM unnest('{12000 months -360000 days 30 min,-1 mon 30 days 1 hour,1 mon -30 days 1 min,0.5 seconds,1:00:01,-1 second,1 day -22 hours 59 min,0}'::text[]) AS lease;
SELECT lives_ok(format('SELECT * FROM walwarden.claim_job(''{backup}'', %L)', lease), 'a lease of ' || lease) FROM unnest('{1 day -23 hours,1 s,1 hour}'::text[]) AS lease;
RESET ROLE;

-- what is on record as expired stays expired
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'short', expires_at => clock_timestamp() + interval '1 hour') \gset
UPDATE walwarden_internal.token SET expires_at = now() - interval '1 minute' WHERE id = :'id';
SELECT ok(walwarden.run_maintenance() AND last_kinds(1) = 'token.expired', 'an expiry on record');
-- the clock goes back two hours: the expiry lies ahead
SELECT walwarden.set_token_policy('acme', notice => '0') \g /dev/null
UPDATE walwarden_internal.token SET expires_at = now() + interval '119 minutes', expired_at = now() + interval '119 minutes' WHERE id = :'id';
SELECT ok(NOT opens(:'v'), 'does not open again');
SELECT results_eq(format('SELECT state, effective_scopes FROM walwarden.list_tokens(''acme'') WHERE token_id = %L', :'id'), $$VALUES ('expired', '{}'::text[])$$, 'is listed as expired');
SELECT is(walwarden.introspect_token(:'v') ->> 'reason', 'expired', 'introspected so');
SELECT throws_ok(format('SELECT walwarden.renew_token(%L)', :'id'), '55000', 'cannot renew a token that is expired', 'is not renewed');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', :'id'), '22023', 'an expired token needs a new expiry', 'nor enabled as it was');
SELECT ok(NOT walwarden.run_maintenance(), 'and expires only once');
SELECT ok(walwarden.enable_token(:'id', now() + interval '3 hours') AND opens(:'v'), 'a new expiry enables it');
SELECT walwarden.revoke_token(:'id') \g /dev/null
-- nor does a value that a renewal ended
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'x') \gset
SELECT token AS v2 FROM walwarden.renew_token(:'id') \gset
SELECT is((SELECT valid_until FROM walwarden_internal.credential WHERE fingerprint = digest(:'v', 'sha256')), '-infinity', 'a renewal without an overlap ends the value at any time');
SELECT is(walwarden.introspect_token(:'v') ->> 'reason', 'value renewed', 'with its reason');

-- a stored verdict from the future
SELECT walwarden.run_maintenance() \g /dev/null
UPDATE walwarden_internal.verification SET finished_at = now() + interval '30 days';
SELECT ok(walwarden.run_maintenance(), 'is not waited for');
SELECT is_empty('SELECT FROM walwarden_internal.verification WHERE finished_at > clock_timestamp()', 'it is replaced');

-- removal: the last round was so long ago
CREATE FUNCTION let_rounds_age(by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.maintenance_round SET at = at - by, careful_until = careful_until - by, found_until = found_until - by
$$;
-- a token that was disabled so long ago, beyond the retention
CREATE FUNCTION old_token(name text, overdue interval) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    old uuid := (SELECT token_id FROM walwarden.issue_token('acme', old_token.name));
BEGIN
    PERFORM walwarden.disable_token(old);
    UPDATE walwarden_internal.token AS t SET disabled_at = clock_timestamp() - interval '7 days' - overdue WHERE t.id = old;
    RETURN old;
END
$$;
CREATE FUNCTION left_over() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(t.name, ' ' ORDER BY t.name), 'none') FROM walwarden_internal.token AS t WHERE t.removed_at IS NULL AND t.name ~ '^old'
$$;
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is((SELECT array_agg(source ORDER BY source) FROM walwarden_internal.maintenance_round), '{installation,round}'::text[], 'a round is on record');
SAVEPOINT before_round;
SELECT let_rounds_age('23 hours'), old_token('old', '1 hour') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND left_over() = 'none', 'within 24 hours removal is on time');
ROLLBACK TO before_round;

SELECT let_rounds_age('25 hours'), old_token('old1', '1 hour'), old_token('old2', '24 hours'), old_token('old3', '26 hours') \g /dev/null
SELECT ok(walwarden.run_maintenance(), 'a round after more than 24 hours');
SELECT is(left_over(), 'old1 old2', 'removes what the last one had found due');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', t.id), '42704', NULL, 'what is overdue is not enabled meanwhile') FROM walwarden_internal.token AS t WHERE t.name = 'old1';
SELECT let_rounds_age('12 hours') \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(left_over(), 'old1 old2', 'and so do the rounds of the next 24 hours');
SELECT let_rounds_age('11 hours') \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(left_over(), 'old1 old2', 'to their end');
SAVEPOINT last_hour;
SELECT let_rounds_age('1 hour') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND left_over() = 'none', 'then removal is on time again');
ROLLBACK TO last_hour;
UPDATE walwarden_internal.token SET disabled_at = disabled_at - interval '30 days' WHERE name ~ '^old';
SELECT let_rounds_age('30 days'), walwarden.run_maintenance() \g /dev/null
SELECT is(left_over(), 'none', 'after another jump, what the round before it had found due is removed');
ROLLBACK TO before_round;

-- ahead and back: the clock is right again before anything is removed
SELECT old_token('old', '-1 day') \g /dev/null
SELECT let_rounds_age('30 days') \g /dev/null
UPDATE walwarden_internal.token SET disabled_at = disabled_at - interval '30 days' WHERE name = 'old';
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(left_over(), 'old', 'a jump of 30 days removes nothing');
UPDATE walwarden_internal.token SET disabled_at = disabled_at + interval '30 days' WHERE name = 'old';
SELECT let_rounds_age('-30 days') \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(left_over(), 'old', 'nor the way back');
SELECT ok(careful_until <= clock_timestamp() + interval '24 hours', 'whose care ends after 24 hours, not after 30 days') FROM walwarden_internal.maintenance_round WHERE source = 'round';
SELECT let_rounds_age('23 hours'), walwarden.run_maintenance(), let_rounds_age('2 hours') \g /dev/null
UPDATE walwarden_internal.token SET disabled_at = disabled_at - interval '26 hours' WHERE name = 'old';
SELECT ok(walwarden.run_maintenance() AND left_over() = 'none', 'then removal is on time');
ROLLBACK TO before_round;

-- a step back is no jump ahead
SELECT let_rounds_age('-1 hour'), old_token('old', '1 hour') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND left_over() = 'none', 'an hour back delays nothing');
ROLLBACK TO before_round;

-- enable_member() erases nothing either, and revives nothing
SET LOCAL ROLE tc_bob;
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'bob', owner => 'bob') \gset
RESET ROLE;
SELECT token_id AS expired FROM walwarden.issue_token('acme', 'bob 2', owner => 'bob', expires_at => now() + interval '1 hour') \gset
SELECT walwarden.disable_token(token_id) AS disabled FROM walwarden.issue_token('acme', 'bob 3', owner => 'bob') \gset
SELECT walwarden.disable_member('acme', 'bob'), let_rounds_age('30 days') \g /dev/null
UPDATE walwarden_internal.token SET expires_at = now() - interval '1 hour' WHERE id = :'expired';
UPDATE walwarden_internal.member SET disabled_at = disabled_at - interval '30 days' WHERE subject = 'bob';
SELECT ok(walwarden.enable_member('acme', 'bob') AND NOT opens(:'v'), 'after a jump, the tokens of a member who comes back stay closed');
SELECT is(last_kinds(3), 'member.enabled token.disabled token.expired', 'disabled, not removed; what is stopped anyway stays as it is');
SELECT ok(walwarden.enable_token(:'id') AND opens(:'v'), 'and an operator can enable them');
ROLLBACK TO before_round;

-- responses of REST v1 are not purged by a jump either
INSERT INTO walwarden_internal.idempotency_key (holder, key_hash, request_hash, created_at)
VALUES (sha256('h'), sha256('k'), sha256('r'), now() - interval '2 days');
SELECT let_rounds_age('25 hours'), walwarden.run_maintenance() \g /dev/null
SELECT isnt_empty('SELECT FROM walwarden_internal.idempotency_key', 'responses are kept while the clock is in doubt');

SELECT * FROM finish();
ROLLBACK;
