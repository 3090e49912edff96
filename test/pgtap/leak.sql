-- Reports of leaked tokens: whatever state a token is in, whoever reports it, and what the
-- answers tell.
BEGIN;
SELECT no_plan();

CREATE ROLE tk_nobody;
CREATE ROLE tk_ops;
CREATE ROLE tk_bob;
CREATE ROLE tk_web;
CREATE ROLE tk_login LOGIN;
SELECT walwarden.create_org('leak'), walwarden.create_org('leak-plan'), walwarden.create_org('leak-shut') \g /dev/null
SELECT walwarden.grant_operator('tk_ops'), walwarden.grant_rest('tk_web', 'tk_login'),
       walwarden.add_member('leak', 'bob', 'member', 'tk_bob'), walwarden.add_member('leak', 'away'), walwarden.add_member('leak', 'old') \g /dev/null

CREATE FUNCTION entries(org text DEFAULT 'leak') RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id WHERE o.slug = org
$$;
CREATE FUNCTION last_entry(org text DEFAULT 'leak') RETURNS jsonb LANGUAGE sql AS $$
    SELECT e.body::jsonb FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id WHERE o.slug = org ORDER BY e.seq DESC LIMIT 1
$$;
\ir tokens.psql
-- Reports as a role that has no rights.
CREATE FUNCTION reported(token text, source text DEFAULT NULL, role text DEFAULT 'tk_nobody') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    result := walwarden.report_leaked_token(token, source);
    RESET ROLE;
    RETURN result;
END
$$;

-- as scanners print it
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'scanned') \gset
SELECT ok(reported(E' \t' || :'v' || E'\r\n') AND state_of(:'id') = 'revoked', 'blanks and line ends around a token do not count');
SELECT ok(NOT reported('x' || :'v'), 'other characters do');

-- an active token
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'ci', '{databases:read}') \gset
SELECT ok(reported(:'v', 'github.com/acme/app, line 3'), 'somebody without rights reports a token');
SELECT is(state_of(:'id'), 'revoked', 'which is revoked');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'v'), '28000', NULL, 'and opens nothing');
SELECT is(last_entry() ->> 'kind', 'token.leaked', 'one entry');
SELECT is(last_entry() -> 'payload' -> 'actor', jsonb_build_object('kind', 'token', 'tokenId', :'id'), 'its bearer is the actor');
SELECT is(last_entry() -> 'payload' -> 'object', jsonb_build_object('type', 'token', 'id', :'id'), 'of the token');
SELECT is(last_entry() -> 'payload' -> 'after' ->> 'revokedReason', 'leaked: github.com/acme/app, line 3', 'with the source');
SELECT is((SELECT revoked_by FROM walwarden.token_list WHERE token_id = :'id'), NULL, 'by nobody whom we know');
SELECT entries() AS n \gset
SELECT ok(NOT reported(:'v', 'again'), 'a revoked token');
SELECT ok(NOT reported('wal_' || repeat('0', 64)), 'an unknown one');
SELECT is(reported(v), false, format('malformed: %s', v))
  FROM unnest(ARRAY['', 'x', 'wal_', upper(:'v'), :'v' || ' ', ' ' || :'v', left(:'v', 67), :'v' || '0', repeat('0', 36) || ':', gen_random_uuid() || ':short',
                    'wal_' || repeat('g', 64), E'\n', repeat('x', 100000), gen_random_uuid()::text, gen_random_uuid() || repeat('x', 40)]) AS v;
SELECT is(reported(NULL), false, 'NULL');
SELECT is(entries() - :n, 0::bigint, 'leave no entry');

-- every other state
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'off') \gset
SELECT walwarden.disable_token(:'id') \g /dev/null
SELECT ok(reported(:'v'), 'a disabled token');
SELECT is(last_entry() -> 'payload' -> 'after' ->> 'revokedReason', 'leaked', 'without a source');
SELECT is(state_of(:'id'), 'revoked', 'cannot be enabled again');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'away''s', owner => 'away') \gset
SELECT walwarden.disable_member('leak', 'away') \g /dev/null
SELECT is(state_of(:'id'), 'inactive', 'a token of a disabled member');
SELECT ok(reported(:'v'), 'is revoked');
SELECT ok(NOT last_entry()::text ~ 'tk_', 'the entry names no role');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'short', expires_at => clock_timestamp() + interval '50 ms') \gset
SELECT pg_sleep(0.1) \g /dev/null
SELECT entries() AS n \gset
SELECT ok(reported(:'v'), 'an expired token');
SELECT is(entries() - :n, 2::bigint, 'after its expiry was recorded');
SELECT is(state_of(:'id'), 'revoked', 'cannot be enabled again either');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak-plan', 'plan') \gset
SELECT walwarden.set_plan('leak-plan', 'free') \g /dev/null
SELECT ok(reported(:'v'), 'on a plan without tokens');
SELECT is(last_entry('leak-plan') ->> 'kind', 'token.leaked', 'recorded there');
SELECT token AS v FROM walwarden.issue_token('leak', 'node', kind => 'node') \gset
SELECT ok(reported(:'v'), 'a node token');

-- renewed: the previous plaintext while it works, and not after that
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'rotated') \gset
SELECT token AS new FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT ok(reported(:'v'), 'a previous plaintext in its overlap');
SELECT ok(NOT reported(:'new'), 'ends the token');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'rotated at once') \gset
SELECT token AS new FROM walwarden.renew_token(:'id') \gset
SELECT ok(NOT reported(:'v'), 'a plaintext that was renewed away');
SELECT is(state_of(:'id'), 'active', 'ends nothing');
SELECT ok(reported(:'new'), 'the present one does');

-- a legacy credential, by either of its values
SELECT gen_random_uuid() AS u, md5('one') || md5('two') AS s \gset
SELECT token_id AS id, token AS v FROM walwarden.import_legacy_credential('leak', 'old', :'u', :'s') \gset
SELECT ok(NOT reported(:'u' || ':' || md5('other')), 'another secret');
SELECT throws_ok(format('SELECT walwarden.report_leaked_token(%L, %L)', :'u' || ':' || :'s', 'seen ' || :'s'), '22023', 'source contains a secret', 'the secret is no source');
SELECT ok(reported(upper(:'u') || ':' || :'s'), 'a UUID and its secret');
SELECT is(state_of(:'id'), 'revoked', 'end the token');
SELECT ok(NOT reported(:'v'), 'with its plaintext');
SELECT ok(NOT last_entry()::text ~ :'s', 'the entry does not have it');

-- removed, and in a closed organisation
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak-shut', 'x') \gset
SELECT walwarden.close_org('leak-shut') \g /dev/null
SELECT entries('leak-shut') AS n \gset
SELECT ok(NOT reported(:'v'), 'a token of a closed organisation');
SELECT is(entries('leak-shut') - :n, 0::bigint, 'nothing is appended there');

-- who reports
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'by ops') \gset
SELECT ok(reported(:'v', role => 'tk_ops'), 'an operator');
SELECT is(last_entry() #>> '{payload,actor,kind}', 'operator', 'is the actor');
SELECT is(last_entry() #>> '{payload,actor,role}', 'tk_ops', 'by role');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'by bob') \gset
SELECT ok(reported(:'v', role => 'tk_bob'), 'a member');
SELECT is(last_entry() #> '{payload,actor}', (SELECT jsonb_build_object('kind', 'member', 'memberId', id) FROM walwarden_internal.member WHERE db_role = 'tk_bob'), 'is the actor, by id alone');
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'by web') \gset
SELECT ok(reported(:'v', role => 'tk_web'), 'a REST role');
SELECT is((last_entry() #> '{payload,actor}') - 'login'::text, jsonb_build_object('kind', 'token', 'tokenId', :'id', 'role', 'tk_web'), 'is named beside the token');
-- an identity is not the actor
SELECT token AS other FROM walwarden.issue_token('leak', 'identity') \gset
SELECT token_id AS id, token AS v FROM walwarden.issue_token('leak', 'by another') \gset
SELECT walwarden.authenticate(:'other') \g /dev/null
SELECT ok(reported(:'v'), 'with an identity');
SELECT is(last_entry() #>> '{payload,actor,tokenId}', :'id', 'the token that was reported is the actor');
SELECT ok(reported(:'other'), 'a token can end itself');

-- sources
SELECT token AS v FROM walwarden.issue_token('leak', 'sources') \gset
SELECT throws_ok(format('SELECT walwarden.report_leaked_token(%L, %L)', :'v', s), '22023', NULL, format('bad source %s', n))
  FROM unnest(ARRAY['', ' ', E'a\nb', repeat('x', 401), 'found ' || :'v', 'https://ann:pw@h/x', 'password=x']) WITH ORDINALITY AS u(s, n);
SELECT throws_ok(format('SELECT walwarden.report_leaked_token(%L, %L)', NULL, ''), '22023', 'source is empty', 'whatever the token is');
SELECT ok(reported(:'v', repeat('x', 400)), 'the longest source');

SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok$$, 'the chain describes the tokens');

-- the same whatever the token is
SELECT throws_ok(format('DO $x$BEGIN SET LOCAL transaction_read_only = on; PERFORM walwarden.report_leaked_token(%L); END$x$', v),
                 '25006', 'a leaked token cannot be revoked in a read-only transaction', format('read-only %s', n))
  FROM unnest(ARRAY[:'v', 'wal_' || repeat('0', 64), NULL]) WITH ORDINALITY AS t(v, n);

SELECT * FROM finish();
ROLLBACK;
