-- Tokens that end are written in sets: what is written is what store_token() writes of each by
-- itself, and a token that cannot be removed holds up no other.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

\ir tokens.psql
SELECT walwarden.create_org('acme') AS acme \gset
SELECT walwarden.add_member('acme', 'bob', 'member'), walwarden.add_member('acme', 'leg', 'analyst'), walwarden.add_member('acme', 'eve', 'member') \g /dev/null

-- Tokens that ended in every way, and some that did not.
CREATE FUNCTION token(name text, expires_in interval DEFAULT NULL, owner text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
    SELECT token_id FROM walwarden.issue_token('acme', name, '{databases:read}', clock_timestamp() + expires_in, owner, labels => '{"a":"\"b\""}')
$$;
CREATE FUNCTION let_age(id uuid, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.token AS t SET disabled_at = disabled_at - by, expires_at = expires_at - by WHERE t.id = let_age.id
$$;
SELECT token('on record', '1 hour') AS recorded \gset
SELECT let_age(:'recorded', '1 day'), walwarden.run_maintenance() \g /dev/null
SELECT let_age(:'recorded', '30 days') \g /dev/null
UPDATE walwarden_internal.token SET expired_at = expires_at WHERE id = :'recorded';
SELECT let_age(token('expired ' || n, '1 hour'), '30 days') FROM generate_series(1, 3) AS n \g /dev/null
SELECT token('disabled') AS disabled, token('disabled, then expired', '1 hour') AS both, token('limited', '1 hour') AS limited,
       token('renewed', '1 hour') AS renewed, token('renewed and on record', '1 hour') AS renewed_2, token('just expired', '1 hour') AS just, token('goes on', '1 hour') AS goes_on \gset
SELECT walwarden.disable_token(:'disabled', 'left ''behind'''), walwarden.disable_token(:'both'), walwarden.renew_token(:'renewed', '1 hour'), walwarden.renew_token(:'renewed_2', '1 hour') \g /dev/null
UPDATE walwarden_internal.token SET rate_limit = 5 WHERE id = :'limited';
SELECT let_age(id, '30 days') FROM unnest(ARRAY[:'disabled', :'both', :'limited', :'renewed']::uuid[]) AS id \g /dev/null
SELECT let_age(id, '2 hours') FROM unnest(ARRAY[:'just', :'renewed_2']::uuid[]) AS id \g /dev/null
SELECT token('of bob', owner => 'bob'), let_age(token('of bob, expired', '1 hour', 'bob'), '2 hours') \g /dev/null
SELECT walwarden.import_legacy_credential('acme', 'leg', gen_random_uuid(), repeat('s3cret!', 5)) \g /dev/null
SELECT token('of leg', '1 hour', 'leg') AS of_leg \gset
SELECT let_age(:'of_leg', '30 days'), walwarden.disable_member('acme', 'bob'), walwarden.disable_member('acme', 'leg') \g /dev/null
UPDATE walwarden_internal.member SET disabled_at = disabled_at - interval '20 days' WHERE subject IN ('bob', 'leg');
SELECT max(seq) AS before FROM walwarden_internal.audit_entry WHERE org_id = :'acme' \gset

-- What is there afterwards, but for the times of removals and of entries, and hashes.
CREATE FUNCTION story(before bigint) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', e.seq, e.kind, regexp_replace(e.body, '"(at|removedAt)":"[^"]*"', '"\1":"..."', 'g'))
      FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id
     WHERE o.slug = 'acme' AND e.seq > before
    UNION ALL
    SELECT jsonb_set(to_jsonb(t), '{removed_at}', to_jsonb(t.removed_at IS NOT NULL))::text
      FROM walwarden_internal.token AS t JOIN walwarden_internal.org AS o ON o.id = t.org_id
     WHERE o.slug = 'acme'
    UNION ALL
    SELECT to_jsonb(c)::text FROM walwarden_internal.credential AS c
    UNION ALL
    SELECT to_jsonb(u)::text FROM walwarden_internal.token_usage AS u
$$;
-- The definition: each token by itself, by store_token().
CREATE FUNCTION end_by_store_token(org uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    e record;
    was walwarden_internal.token;
    t walwarden_internal.token;
BEGIN
    FOR e IN SELECT f AS t, n.* FROM walwarden_internal.ended_token AS n JOIN walwarden_internal.token AS f ON f.id = n.id
              WHERE n.org_id = org AND (n.removable OR n.unrecorded) ORDER BY n.id LOOP
        was := walwarden_internal.record_expiry(e.t);
        CONTINUE WHEN NOT e.removable;
        t := was;
        t.removed_at := clock_timestamp();
        PERFORM walwarden_internal.store_token(walwarden_internal.actor('system'),
            walwarden_internal.transition('remove', walwarden_internal.state(was)), was, t, '{}', e.reason);
    END LOOP;
END
$$;
SAVEPOINT before;
SELECT end_by_store_token(:'acme') \g /dev/null
SELECT array_agg(s) AS defined FROM story(:before) AS s \gset
ROLLBACK TO before;
SELECT failed, ended, more FROM walwarden_internal.expire_tokens_of(:'acme', 300, NULL) \gset
SELECT is(concat_ws(' ', :'failed', :'ended', :'more'), '{} 14 f', 'a set is written');
SELECT bag_eq(format('SELECT story(%s)', :'before'), format('SELECT unnest(%L::text[])', :'defined'), 'it has the entries and rows of tokens that end one by one');
SELECT results_eq(format($$SELECT kind COLLATE "default", count(*) FROM walwarden_internal.audit_entry WHERE org_id = %L AND seq > %s GROUP BY kind ORDER BY 1$$, :'acme', :'before'),
    $$VALUES ('token.expired', 10::bigint), ('token.removed', 12)$$, 'which are not few');
SELECT is(state_of(:'goes_on') || state_of(:'just') || state_of(:'renewed_2'), 'activeexpiredexpired', 'what is not due stays');
SELECT results_eq(format('SELECT failed, ended, more FROM walwarden_internal.expire_tokens_of(%L, 300, NULL)', :'acme'), $$VALUES ('{}'::uuid[], 0, false)$$, 'then nothing is due');
UPDATE walwarden_internal.member SET disabled_at = disabled_at + interval '20 days' WHERE subject IN ('bob', 'leg');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain verifies');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- Tokens that cannot be removed.
SELECT let_age(token('stuck ' || n, '1 hour'), '30 days'), let_age(token('free ' || n, '1 hour'), '30 days') FROM generate_series(1, 4) AS n \g /dev/null
CREATE FUNCTION refuse_stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '% cannot be changed', OLD.name USING ERRCODE = '23514'; END $$;
CREATE TRIGGER stuck BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW WHEN (OLD.name ~ 'stuck') EXECUTE FUNCTION refuse_stuck();
CREATE FUNCTION left_over() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(t.name, ', ' ORDER BY t.name) FROM walwarden_internal.token AS t WHERE t.removed_at IS NULL AND t.name ~ 'stuck|free'
$$;
-- How often it had to be called.
CREATE FUNCTION end_two_at_a_time(org uuid, OUT calls int, OUT ended int, OUT failed int) LANGUAGE plpgsql AS $$
DECLARE
    did record;
    passed uuid[];
BEGIN
    calls := 0;
    ended := 0;
    LOOP
        did := walwarden_internal.expire_tokens_of(org, 2, passed);
        passed := did.failed;
        calls := calls + 1;
        ended := ended + did.ended;
        EXIT WHEN NOT did.more OR calls = 100;
    END LOOP;
    failed := cardinality(passed);
END
$$;
SET LOCAL client_min_messages = error;
SAVEPOINT stuck;
SELECT results_eq(format('SELECT * FROM end_two_at_a_time(%L)', :'acme'), 'VALUES (5, 4, 4)', 'each token is tried once, and the calls end');
SELECT is(left_over(), 'stuck 1, stuck 2, stuck 3, stuck 4', 'those that can be removed are');
ROLLBACK TO stuck;
SELECT ok(walwarden.run_maintenance(), 'maintenance removes the others');
SELECT is(left_over(), 'stuck 1, stuck 2, stuck 3, stuck 4', 'of the same organisation');
SELECT count(*) AS entries FROM walwarden_internal.audit_entry \gset
SELECT ok(NOT walwarden.run_maintenance(), 'the next run can change nothing');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry), :entries::bigint, 'and appends nothing');
DROP TRIGGER stuck ON walwarden_internal.token;
-- as store_token() does, or it would append entries for ever
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stuck BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW WHEN (OLD.name ~ 'stuck') EXECUTE FUNCTION leave_out();
SELECT results_eq(format('SELECT * FROM end_two_at_a_time(%L)', :'acme'), 'VALUES (3, 0, 4)', 'a trigger that leaves rows out is an error too');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry), :entries::bigint, 'and nothing is appended');
DROP TRIGGER stuck ON walwarden_internal.token;
SELECT ok(walwarden.run_maintenance() AND left_over() IS NULL, 'once they can be removed, they are');
SET LOCAL client_min_messages = warning;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain verifies');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- What concerns the organisation or the transaction ends the step, and takes back the whole set.
SELECT let_age(token('free ' || n, '1 hour'), '30 days') FROM generate_series(1, 3) AS n \g /dev/null
CREATE FUNCTION raise_error() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = TG_ARGV[0]; END $$;
CREATE FUNCTION error_of(code text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER fail BEFORE DELETE ON walwarden_internal.credential FOR EACH ROW EXECUTE FUNCTION raise_error(%L)', code);
    PERFORM walwarden_internal.expire_tokens_of((SELECT id FROM walwarden_internal.org WHERE slug = 'acme'), 300, NULL);
    RETURN 'none';
EXCEPTION WHEN OTHERS OR query_canceled THEN
    RETURN SQLSTATE;
END
$$;
SELECT is(error_of(code), code, code || ' is not the fault of a token')
  FROM unnest('{55P03,40P01,40001,25006,53100,57014,57P01,58030}'::text[]) AS code;
SELECT is(left_over(), 'free 1, free 2, free 3', 'nothing is removed');

-- A person who changes a member is told.
SELECT let_age(token('stuck of eve', '1 hour', 'eve'), '30 days'), let_age(token('free of eve', '1 hour', 'eve'), '30 days') \g /dev/null
SELECT walwarden.disable_member('acme', 'eve') \g /dev/null
SELECT count(*) AS entries FROM walwarden_internal.audit_entry \gset
CREATE TRIGGER stuck BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW WHEN (OLD.name ~ 'stuck') EXECUTE FUNCTION refuse_stuck();
SELECT throws_ok($$SELECT walwarden.enable_member('acme', 'eve')$$, '23514', 'stuck of eve cannot be changed', 'enable_member() fails');
SELECT throws_ok($$SELECT walwarden.remove_member('acme', 'eve')$$, '23514', 'stuck of eve cannot be changed', 'remove_member() too');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry), :entries::bigint, 'and nothing of it remains');

SELECT * FROM finish();
ROLLBACK;
