-- Renewal with an overlap: who still uses the previous value, and ending it early. Without preload; 011_worker.pl has the
-- uses in shared memory.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org('turn') \g /dev/null
\ir tokens.psql
CREATE FUNCTION handle(token text) RETURNS text LANGUAGE sql AS $$SELECT left(encode(digest(token, 'sha256'), 'hex'), 12)$$;
CREATE FUNCTION kinds() RETURNS text LANGUAGE sql AS $$SELECT string_agg(kind, ' ' ORDER BY seq) FROM walwarden.list_audit('turn') WHERE kind ~ '^token'$$;
CREATE VIEW listed AS SELECT * FROM walwarden.list_tokens('turn') WHERE name = 't';

SELECT token_id AS id, token AS v1 FROM walwarden.issue_token('turn', 't') \gset
SELECT is(num_nulls(previous_handle, previous_last_used_at, overlap_until), 3, 'no previous value') FROM listed;
SELECT ok(NOT walwarden.end_overlap(:'id'), 'no overlap to end');
SELECT token AS v2 FROM walwarden.renew_token(:'id') \gset
SELECT is(num_nulls(previous_handle, previous_last_used_at, overlap_until), 3, 'renewed without an overlap there is none either') FROM listed;
SELECT ok(NOT walwarden.end_overlap(:'id'), 'and no overlap to end');
SELECT token AS v3 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT is(ROW(fingerprint_handle, previous_handle, previous_last_used_at, last_used_at), ROW(handle(:'v3'), handle(:'v2'), NULL::timestamptz, NULL::timestamptz), 'previous and newest, never used') FROM listed;

-- each value's uses are its own
SELECT ok(opens(:'v3'), 'the newest is used');
SELECT ok(last_used_at IS NOT NULL AND previous_last_used_at IS NULL, 'which is no use of the previous') FROM listed;
SELECT last_used_at AS newest FROM listed \gset
SELECT ok(opens(:'v2'), 'the previous is used');
SELECT ok(previous_last_used_at > :'newest' AND last_used_at = previous_last_used_at, 'that is one of both') FROM listed;
SELECT previous_last_used_at AS at FROM listed \gset
SELECT ok(opens(:'v3') AND opens(:'v2'), 'again');
SELECT is(previous_last_used_at, :'at', 'but not within a minute') FROM listed;
-- a use of the other value does not hide one
UPDATE walwarden_internal.token_usage SET slot0_used_at = slot0_used_at - interval '2 minutes', slot1_used_at = slot1_used_at - interval '2 minutes' WHERE token_id = :'id';
SELECT walwarden.set_org_retention('turn', '8 days') \g /dev/null
SELECT ok(opens(:'v3'), 'the newest');
SELECT last_used_at AS at FROM listed \gset
SELECT ok(opens(:'v2'), 'and within the same minute the previous');
SELECT ok(previous_last_used_at >= :'at', 'is recorded') FROM listed;

-- what was used before the renewal was used; what was not, not
SELECT token AS v4 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT is(previous_handle, handle(:'v3'), 'the next renewal') FROM listed;
SELECT ok(previous_last_used_at IS NOT NULL, 'its previous value was used before') FROM listed;
SELECT token AS v5 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT is(ROW(previous_handle, previous_last_used_at), ROW(handle(:'v4'), NULL::timestamptz), 'a use of the value whose slot it took is not its own') FROM listed;
SELECT ok(opens(:'v4'), 'its own');
SELECT ok(previous_last_used_at IS NOT NULL, 'is, within the same minute') FROM listed;
SELECT is((SELECT array_agg(slot ORDER BY created_at) FROM walwarden_internal.credential WHERE token_id = :'id'), '{1,0}'::smallint[], 'two slots, in turn');

-- end_overlap
SELECT count(*) AS n FROM walwarden.list_audit('turn') \gset
SELECT ok(walwarden.end_overlap(:'id'), 'end_overlap()');
SELECT ok(opens(:'v5') AND NOT opens(:'v4'), 'ends the previous value alone');
SELECT is(num_nulls(previous_handle, previous_last_used_at, overlap_until), 3, 'which is listed no more') FROM listed;
SELECT is(walwarden.introspect_token(:'v4') ->> 'reason', 'value renewed', 'as an operator is told');
SELECT ok(NOT walwarden.end_overlap(:'id'), 'again, there is nothing to do');
SELECT results_eq(format($$SELECT kind, body::jsonb #>> '{payload,object,id}' FROM walwarden.list_audit('turn', %s)$$, :n), format($$VALUES ('token.overlap_ended', %L)$$, :'id'), 'one entry');
SELECT ok(body::jsonb #>> '{payload,before,credentials,0,validUntil}' ~ '^20' AND body::jsonb #>> '{payload,after,credentials,0,validUntil}' = '-infinity'
          AND body::jsonb #> '{payload,before,credentials,1}' = body::jsonb #> '{payload,after,credentials,1}', 'which says what ended')
  FROM walwarden.list_audit('turn') WHERE kind = 'token.overlap_ended';
SELECT token AS v6 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT ok(opens(:'v6') AND opens(:'v5'), 'the next renewal has an overlap as ever');

-- the clock goes back, and a value has been made later than now
SAVEPOINT overlap;
UPDATE walwarden_internal.credential SET created_at = created_at + interval '1 hour' WHERE token_id = :'id' AND valid_until > now();
SELECT is(previous_last_used_at, NULL, 'no use of it is on record') FROM listed;
SELECT walwarden.set_org_retention('turn', '9 days') \g /dev/null
SELECT ok(opens(:'v5'), 'it is used');
SELECT isnt(previous_last_used_at, NULL, 'and listed as used') FROM listed;
ROLLBACK TO overlap;

-- in every state of the token
SAVEPOINT overlap;
SELECT ok(walwarden.disable_token(:'id') AND walwarden.end_overlap(:'id') AND walwarden.enable_token(:'id'), 'while it is disabled');
SELECT ok(opens(:'v6') AND NOT opens(:'v5'), 'for when it is enabled');
ROLLBACK TO overlap;
UPDATE walwarden_internal.token SET expires_at = now() - interval '1 hour' WHERE id = :'id';
SELECT ok(walwarden.end_overlap(:'id'), 'while it is expired');
SELECT ok(walwarden.enable_token(:'id', 'infinity') AND opens(:'v6') AND NOT opens(:'v5'), 'for when it has a new expiry');
ROLLBACK TO overlap;
SELECT walwarden.revoke_token(:'id') \g /dev/null
SELECT count(*) AS n FROM walwarden.list_audit('turn') \gset
SELECT ok(NOT walwarden.end_overlap(:'id'), 'once it is revoked, both values have ended');
SELECT is((SELECT count(*) FROM walwarden.list_audit('turn')), :n::bigint, 'and there is nothing to record');
ROLLBACK TO overlap;
SELECT walwarden.set_plan('turn', 'free') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.end_overlap(%L)', :'id'), '55000', 'the plan "free" does not include API tokens', 'on a plan without tokens');
ROLLBACK TO overlap;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain says all of it');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- a pair has no slot: its uses are the token's
CREATE ROLE turn_ann;
SELECT walwarden.add_member('turn', 'ann', 'owner', 'turn_ann') \g /dev/null
SELECT token_id AS l, token AS lv FROM walwarden.import_legacy_credential('turn', 'ann', '0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b', repeat('s', 32)) \gset
SELECT set_config('request.headers', json_build_object('x-wallarmapi-uuid', '0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b', 'x-wallarmapi-secret', repeat('s', 32))::text, true) \g /dev/null
SELECT walwarden.pre_request() \g /dev/null
SET LOCAL ROLE turn_ann;
SELECT token AS lv2 FROM walwarden.renew_token(:'l', '1 hour') \gset
RESET ROLE;
SELECT ok(last_used_at IS NOT NULL AND previous_last_used_at IS NULL, 'a use of the pair is none of the value') FROM walwarden.get_token(:'l');
SELECT ok(opens(:'lv'), 'the value');
SELECT ok(previous_last_used_at IS NOT NULL, 'has its own') FROM walwarden.get_token(:'l');

DROP VIEW listed;
SELECT * FROM finish();
ROLLBACK;
