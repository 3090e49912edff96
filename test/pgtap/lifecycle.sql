-- The life of a token: disable, enable, update, renew, expire, remove, and what
-- changes of its owner, its role and its plan do to it. There is no clock to set:
-- what has to lie in the past is put there, and the chain then says so.
BEGIN;
SELECT no_plan();

CREATE ROLE tl_admin;
CREATE ROLE tl_bob;
SELECT walwarden.create_org('acme'), walwarden.create_org('other') \g /dev/null
SELECT walwarden.add_member('acme', 'adm', 'admin', 'tl_admin'), walwarden.add_member('acme', 'bob', 'member', 'tl_bob') \g /dev/null

\ir tokens.psql
-- The last entries of a chain, newest first.
CREATE FUNCTION last_kinds(n int, org text DEFAULT 'acme') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(kind, ' ' ORDER BY seq DESC)
      FROM (SELECT kind, seq FROM walwarden.list_audit(org, 0, 1000) ORDER BY seq DESC LIMIT n) AS l
$$;
CREATE FUNCTION last_entry() RETURNS jsonb LANGUAGE sql AS $$
    SELECT body::jsonb -> 'payload' FROM walwarden.list_audit('acme', 0, 1000) ORDER BY seq DESC LIMIT 1
$$;
CREATE FUNCTION entries() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM walwarden.list_audit('acme', 0, 1000)$$;
-- Lets a token, or a member, have been in its state for a time. The entry that
-- described the row no longer does: where that matters, it is changed back.
CREATE FUNCTION let_age(id uuid, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.token AS t SET disabled_at = disabled_at - by, expires_at = expires_at - by WHERE t.id = let_age.id
$$;

-- disable and enable
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'ci', '{databases:read}', now() + interval '1 hour') \gset
SELECT ok(opens(:'v'), 'it works');
SELECT ok(walwarden.disable_token(:'id', 'on leave'), 'disable');
SELECT is(last_kinds(1), 'token.disabled', 'one entry');
SELECT is(last_entry() -> 'before' ->> 'disabledAt', NULL, 'with before');
SELECT is(last_entry() -> 'after' ->> 'disabledReason', 'on leave', 'and after');
SELECT is(last_entry() -> 'after' ->> 'name', 'ci', 'and the name');
SELECT is(last_entry() -> 'after' -> 'scopes', '["databases:read"]'::jsonb, 'and the scopes');
SELECT is(state_of(:'id'), 'disabled', 'state');
SELECT ok(NOT opens(:'v'), 'it does not work');
SELECT is(walwarden.introspect_token(:'v') ->> 'state', 'disabled', 'as an operator is told');
SELECT results_eq($$SELECT disabled_at IS NOT NULL, disabled_reason FROM walwarden.list_tokens('acme')$$, $$VALUES (true, 'on leave')$$, 'listed');
SELECT entries() AS n \gset
SELECT ok(NOT walwarden.disable_token(:'id', 'again'), 'disable again');
SELECT is(entries(), :'n', 'leaves no entry');
SELECT ok(walwarden.enable_token(:'id'), 'enable keeps an expiry that lies ahead');
SELECT is((SELECT expires_at FROM walwarden_internal.token WHERE id = :'id'), now() + interval '1 hour', 'it is the same');
SELECT ok(opens(:'v'), 'it works again');
SELECT is((SELECT num_nulls(disabled_at, disabled_by, disabled_by_owner, disabled_reason) FROM walwarden_internal.token WHERE id = :'id'), 4, 'nothing of the disabling is left');
SELECT is(last_kinds(1), 'token.enabled', 'one entry');
SELECT entries() AS n \gset
SELECT ok(NOT walwarden.enable_token(:'id'), 'enable again');
SELECT ok(NOT walwarden.enable_token(:'id', now() + interval '1 hour'), 'with the expiry that it has');
SELECT is(entries(), :'n', 'leaves no entry');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L, ''infinity'')', :'id'), '55000', 'the token is not disabled', 'a new expiry is no enabling');
SELECT ok(walwarden.disable_token(:'id') AND walwarden.enable_token(:'id', 'infinity'), 'enable with another expiry');
SELECT is((SELECT expires_at FROM walwarden.list_tokens('acme')), NULL, 'infinity is none');

-- update
SELECT ok(walwarden.update_token(:'id', 'ci 2', '{databases:read,audit:read}', now() + interval '2 hours'), 'update');
SELECT is(last_kinds(1), 'token.updated', 'one entry');
SELECT results_eq($$SELECT name, scopes, expires_at FROM walwarden.list_tokens('acme')$$,
    $$VALUES ('ci 2', '{databases:read,audit:read}'::text[], now() + interval '2 hours')$$, 'all of it');
SELECT ok(opens(:'v') AND walwarden.has_scope('audit:read'), 'the value is the same, the scopes are new');
SELECT entries() AS n \gset
SELECT ok(NOT walwarden.update_token(:'id'), 'nothing to update');
SELECT ok(NOT walwarden.update_token(:'id', 'ci 2', '[5:6]={databases:read,audit:read}', now() + interval '2 hours'), 'nothing new');
SELECT is(entries(), :'n', 'leaves no entry');
SELECT ok(walwarden.update_token(:'id', scopes => '{}'), 'an empty set of scopes');
SELECT ok(opens(:'v') AND NOT walwarden.has_scope('audit:read'), 'takes them away');

-- renew
SELECT fingerprint_handle AS handle FROM walwarden.list_tokens('acme') \gset
SELECT token_id AS id2, token AS v2, name, scopes, expires_at FROM walwarden.renew_token(:'id') \gset r_
SELECT is(:'r_id2'::uuid, :'id'::uuid, 'renew keeps the id');
SELECT is(:'r_name'::text, 'ci 2', 'and the name');
SELECT is(:'r_expires_at'::timestamptz, now() + interval '2 hours', 'and the expiry');
SELECT ok(opens(:'r_v2') AND NOT opens(:'v'), 'the value before ends at once');
SELECT is((SELECT overlap_until FROM walwarden.list_tokens('acme')), NULL, 'no overlap is listed');
SELECT isnt((SELECT fingerprint_handle FROM walwarden.list_tokens('acme')), :'handle', 'the handle is the new value''s');
SELECT is(walwarden.introspect_token(:'v') ->> 'reason', 'value renewed', 'as an operator is told of the old one');
SELECT is(last_kinds(1), 'token.renewed', 'one entry');
SELECT ok(last_entry() #>> '{after,credentials,1,commitment}' = walwarden_internal.commitment(:'id', digest(:'r_v2', 'sha256')), 'which commits to the new value');
SELECT token AS v3 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT ok(opens(:'v3') AND opens(:'r_v2'), 'with an overlap both work');
SELECT ok(overlap_until BETWEEN clock_timestamp() + interval '59 minutes' AND clock_timestamp() + interval '1 hour', 'which is listed') FROM walwarden.list_tokens('acme');
SELECT token AS v4 FROM walwarden.renew_token(:'id', '7 days') \gset
SELECT ok(opens(:'v4') AND opens(:'v3') AND NOT opens(:'r_v2'), 'another renewal ends the older');
SELECT is((SELECT count(*) FROM walwarden_internal.credential WHERE token_id = :'id'), 2::bigint, 'at most two values are kept');
SELECT throws_ok(format('SELECT walwarden.renew_token(%L, %L)', :'id', i), '22023', 'overlap is not between 0 and 7 days', 'an overlap of ' || i)
  FROM unnest('{8 days,-1 second,10 years -3593 days,-1000 years 360000 days,1 month -29 days,1 month,168:00:01,300000 years -107999993 days}'::text[]) AS i;
SELECT is(walwarden.introspect_token(:'v') ->> 'active', 'false', 'an ended value is not active');
SELECT ok(walwarden.disable_token(:'id'), 'disable');
SELECT ok(NOT opens(:'v4') AND NOT opens(:'v3'), 'stops both');
SELECT throws_ok(format('SELECT walwarden.renew_token(%L)', :'id'), '55000', 'cannot renew a token that is disabled', 'a disabled token is not renewed');
SELECT ok(walwarden.update_token(:'id', 'ci 3'), 'but updated');
SELECT ok(walwarden.enable_token(:'id'), 'enable');
SELECT ok(opens(:'v4') AND opens(:'v3'), 'both are back');
SELECT ok(walwarden.revoke_token(:'id'), 'revoke');
SELECT ok(NOT opens(:'v4') AND NOT opens(:'v3'), 'ends both');
SELECT throws_ok(format('SELECT walwarden.%s(%L)', f, :'id'), '55000', format('cannot %s a token that is revoked', split_part(f, '_', 1)), f || ' after it')
  FROM unnest('{disable_token,enable_token,update_token,renew_token}'::text[]) AS f;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain says all of it');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- expiry: on record once, by whatever comes first
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'short', expires_at => clock_timestamp() + interval '1 hour') \gset
SAVEPOINT before_expiry;
SELECT let_age(:'id', '2 hours') \g /dev/null
SELECT ok(NOT opens(:'v') AND state_of(:'id') = 'expired', 'expired');
SELECT is_empty($$SELECT FROM walwarden.verify_audit_chain('acme') WHERE reason ~ 'expired'$$, 'which by itself is no difference');
SELECT entries() AS n \gset
SELECT throws_ok(format('SELECT walwarden.%s(%L)', f, :'id'), '55000', format('cannot %s a token that is expired', split_part(f, '_', 1)), f || ' is refused')
  FROM unnest('{disable_token,update_token,renew_token}'::text[]) AS f;
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', :'id'), '22023', 'an expired token needs a new expiry', 'enable without an expiry');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L, now() - interval ''1 second'')', :'id'), '22023', 'expiry is not in the future', 'enable with one in the past');
SELECT is(entries(), :'n', 'what was refused left no entry');
SAVEPOINT expired;
SELECT ok(walwarden.run_maintenance(), 'maintenance');
SELECT is(last_kinds(1), 'token.expired', 'puts it on record');
SELECT is(last_entry() -> 'actor', '{"kind": "system"}'::jsonb, 'as the system');
SELECT entries() AS n \gset
SELECT ok(NOT walwarden.run_maintenance(), 'again, there is nothing to do');
SELECT is(entries(), :'n', 'and nothing is written');
SELECT ok(walwarden.enable_token(:'id', clock_timestamp() + interval '1 hour'), 'enable with a new expiry');
SELECT ok(opens(:'v'), 'it works again');
SELECT let_age(:'id', '2 hours') \g /dev/null
SELECT ok(walwarden.run_maintenance(), 'maintenance after it has passed');
SELECT is(last_kinds(1), 'token.expired', 'puts it on record too');
ROLLBACK TO expired;
SELECT ok(walwarden.revoke_token(:'id'), 'revoke');
SELECT is(last_kinds(2), 'token.revoked token.expired', 'puts the expiry on record first');
ROLLBACK TO expired;
SELECT ok(walwarden.enable_token(:'id', 'infinity'), 'and so does enable');
SELECT is(last_kinds(2), 'token.enabled token.expired', 'before its own entry');
ROLLBACK TO before_expiry;
SELECT ok(walwarden.revoke_token(:'id'), 'revoked before it expires');
SELECT entries() AS n \gset
SELECT let_age(:'id', '2 hours') \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(entries(), :'n', 'it has no expiry to record');

-- removal
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'old', '{databases:read}') \gset
SELECT token_id AS kept FROM walwarden.issue_token('acme', 'kept') \gset
SELECT ok(walwarden.disable_token(:'id', 'why') AND walwarden.disable_token(:'kept'), 'disable two');
SELECT let_age(:'id', '7 days'), let_age(:'kept', '6 days 23 hours') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', :'id'), '42704', format('token %s is about to be removed', :'id'), 'too late to enable');
SELECT ok(walwarden.run_maintenance(), 'maintenance');
SELECT is(last_kinds(1), 'token.removed', 'removes what was disabled for longer than the retention');
SELECT is(last_entry() ->> 'reason', 'disabled', 'and says why');
SELECT is(last_entry() -> 'after' -> 'credentials', '[]'::jsonb, 'its fingerprints are erased');
SELECT is(last_entry() -> 'before' ->> 'name', 'old', 'the chain keeps what it was');
SELECT is((SELECT count(*) FROM walwarden_internal.credential WHERE token_id = :'id'), 0::bigint, 'none is stored');
SELECT is_empty(format('SELECT FROM walwarden.list_tokens(''acme'') WHERE token_id = %L', :'id'), 'it leaves the list');
SELECT is(state_of(:'kept'), 'disabled', 'the other one is not due');
SELECT throws_ok(format('SELECT walwarden.%s(%L)', f, :'id'), '42704', format('token %s does not exist', :'id'), f || ' after it')
  FROM unnest('{disable_token,enable_token,update_token,renew_token,revoke_token}'::text[]) AS f;
SELECT ok(NOT walwarden.run_maintenance(), 'again, there is nothing to do');
SELECT ok(walwarden.set_org_retention('acme', '1 day') AND walwarden.run_maintenance(), 'a shorter retention');
SELECT is(state_of(:'kept'), NULL, 'makes it due');
SELECT token_id AS id FROM walwarden.issue_token('acme', 'expires', expires_at => clock_timestamp() + interval '1 hour') \gset
SELECT let_age(:'id', '2 days'), walwarden.run_maintenance() \g /dev/null
SELECT is(last_kinds(2), 'token.removed token.expired', 'an expired one is recorded and removed');
SELECT is(last_entry() ->> 'reason', 'expired', 'with the reason');
SELECT token_id AS id FROM walwarden.issue_token('acme', 'revoked', expires_at => clock_timestamp() + interval '1 hour') \gset
SELECT walwarden.disable_token(:'id'), walwarden.revoke_token(:'id'), let_age(:'id', '2 days') \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is(state_of(:'id'), 'revoked', 'revoked tokens are never removed');
SELECT ok(walwarden.set_org_retention('acme', '7 days'), 'retention');

-- owners: disabled, back, back too late, removed
SET LOCAL ROLE tl_bob;
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'bob 1', '{databases:read,evidence:read}', owner => 'bob') \gset
SELECT token_id AS id2, token AS v2 FROM walwarden.issue_token('acme', 'bob 2', '{databases:read}', owner => 'bob') \gset
RESET ROLE;
SELECT ok(walwarden.disable_member('acme', 'bob'), 'owner disabled');
SELECT ok(NOT opens(:'v') AND state_of(:'id') = 'inactive', 'private tokens are inactive');
SELECT is(walwarden.introspect_token(:'v') ->> 'reason', 'owner disabled', 'as an operator is told');
SELECT ok(walwarden.disable_token(:'id2'), 'one is disabled meanwhile');
SELECT ok(walwarden.enable_member('acme', 'bob'), 'owner enabled');
SELECT is(last_kinds(1), 'member.enabled', 'no token needed an entry');
SELECT ok(opens(:'v') AND NOT opens(:'v2'), 'all work again but for the one that was disabled itself');
SELECT ok(walwarden.enable_token(:'id2'), 'an operator disabled it and enables it');
SELECT ok(walwarden.disable_member('acme', 'bob'), 'owner disabled');
UPDATE walwarden_internal.member SET disabled_at = disabled_at - interval '7 days' WHERE subject = 'bob';
SAVEPOINT overdue;
SELECT ok(walwarden.enable_member('acme', 'bob'), 'enabled after the retention');
SELECT is(last_kinds(3), 'member.enabled token.removed token.removed', 'their tokens are removed first');
SELECT is(last_entry() #>> '{before,disabledAt}' IS NOT NULL, true, 'then the member is enabled');
SELECT ok(NOT opens(:'v') AND state_of(:'id') IS NULL, 'and do not come back');
ROLLBACK TO overdue;
SELECT ok(walwarden.run_maintenance(), 'maintenance finds them too');
SELECT is(last_kinds(2), 'token.removed token.removed', 'both');
SELECT is(last_entry() ->> 'reason', 'owner disabled', 'with the reason');
ROLLBACK TO overdue;
UPDATE walwarden_internal.member SET disabled_at = disabled_at + interval '7 days' WHERE subject = 'bob';
SELECT ok(walwarden.enable_member('acme', 'bob'), 'owner enabled');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'api_developer') AND opens(:'v') AND walwarden.has_scope('databases:read') AND NOT walwarden.has_scope('evidence:read'), 'owner reduced: lost scopes stop');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'analyst') AND opens(:'v') AND walwarden.has_scope('evidence:read'), 'promoted: they are back');
SELECT ok(walwarden.set_role_scopes('analyst', '{evidence:read}') AND opens(:'v') AND NOT walwarden.has_scope('databases:read') AND walwarden.has_scope('evidence:read'), 'what the role carries counts');
SELECT ok(walwarden.set_role_scopes('analyst', NULL), 'the role as it was');
SELECT ok(walwarden.disable_token(:'id2') AND walwarden.remove_member('acme', 'bob'), 'owner removed');
SELECT is(last_kinds(3), 'member.removed token.revoked token.revoked', 'their tokens are revoked, disabled ones too');
SELECT ok(state_of(:'id') = 'revoked' AND state_of(:'id2') = 'revoked', 'for good');

-- the plan
SELECT token_id AS id, token AS v FROM walwarden.issue_token('acme', 'planned', '{databases:read}') \gset
SELECT ok(walwarden.set_plan('acme', 'free'), 'plan free');
SELECT ok(NOT opens(:'v') AND state_of(:'id') = 'inactive', 'tokens stop');
SELECT throws_ok(s, '55000', 'the plan "free" does not include API tokens', s)
  FROM unnest(ARRAY[$$SELECT walwarden.issue_token('acme', 'x')$$,
                    format('SELECT walwarden.renew_token(%L)', :'id'),
                    format('SELECT walwarden.update_token(%L, ''x'')', :'id'),
                    format('SELECT walwarden.import_legacy_credential(''acme'', ''adm'', gen_random_uuid(), repeat(''x'', 32))')]) AS s;
SELECT ok(walwarden.disable_token(:'id'), 'disable works');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', :'id'), '55000', 'the plan "free" does not include API tokens', 'enable does not');
SELECT isnt_empty($$SELECT FROM walwarden.list_tokens('acme')$$, 'list works');
SELECT ok(walwarden.set_plan('acme', 'team') AND walwarden.enable_token(:'id') AND opens(:'v'), 'back on team they work again');

-- changes under a rolled-back savepoint
SAVEPOINT undone;
SELECT ok(walwarden.disable_token(:'id') AND NOT opens(:'v'), 'disabled in a subtransaction');
ROLLBACK TO undone;
SELECT ok(opens(:'v'), 'which is undone');

-- a backward-compatible credential, in an organisation where nothing was aged
SELECT walwarden.create_org('older') \g /dev/null
SELECT walwarden.add_member('older', 'adm', 'admin') \g /dev/null
CREATE FUNCTION pair_opens(id text, secret text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', jsonb_strip_nulls(jsonb_build_object('x-wallarmapi-uuid', id, 'x-wallarmapi-secret', secret))::text, true);
    PERFORM walwarden.pre_request();
    RETURN coalesce(walwarden.current_token_id()::text, 'anonymous');
EXCEPTION WHEN SQLSTATE 'PGRST' THEN
    RETURN '401';
END
$$;
\set pair '0E6B3A6E-4a55-4c8e-9f0f-0d5c1b1f2a3b'
SELECT repeat('s3cret!', 5) AS secret \gset
SELECT walwarden.add_member('older', 'leg', 'analyst') \g /dev/null
SELECT token_id AS id, token AS v, name, scopes, expires_at FROM walwarden.import_legacy_credential('older', 'leg', :'pair', :'secret') \gset l_
SELECT matches(:'l_v'::text, '^wal_[0-9a-f]{64}$', 'import returns a value');
SELECT is(:'l_name'::text, 'backward-compatible', 'the default name');
SELECT is(last_kinds(2, 'older'), 'token.revealed_for_owner legacy.imported', 'audited, also as revealed');
SELECT is_empty(format($$SELECT FROM walwarden_internal.audit_entry WHERE body LIKE '%%%s%%' OR body ~* %L$$, :'secret', :'pair'), 'neither half of the pair is in the chain');
SELECT results_eq(format('SELECT kind, encode(fingerprint, ''hex'') FROM walwarden_internal.credential WHERE token_id = %L ORDER BY kind DESC LIMIT 1', :'l_id'),
    format($$VALUES ('legacy'::text COLLATE "C", encode(digest(lower(%L) || ':' || %L, 'sha256'), 'hex'))$$, :'pair', :'secret'), 'SHA-256 of lower(uuid):secret is stored');
SELECT results_eq(format('SELECT kind, visibility, owner, role, scopes, effective_scopes, state FROM walwarden.list_tokens(''older'') WHERE token_id = %L', :'l_id'),
    $$VALUES ('legacy', 'private', 'leg', NULL::text, NULL::text[], NULL::text[], 'active')$$, 'listed without permissions');
SELECT is((SELECT fingerprint_handle FROM walwarden.list_tokens('older') WHERE token_id = :'l_id'), left(encode(digest(:'l_v', 'sha256'), 'hex'), 12), 'the handle is the value''s');
SELECT is(walwarden.introspect_token(:'l_v') -> 'effectiveScopes', 'null'::jsonb, 'introspected without');
SELECT is(pair_opens(:'pair', :'secret'), :'l_id', 'the pair opens it');
SELECT ok(walwarden.has_scope('evidence:export') AND NOT walwarden.has_scope('databases:write'), 'with the permissions of its owner''s role');
SELECT is(walwarden.current_subject(), 'leg', 'as its owner');
SELECT is(pair_opens(lower(:'pair'), :'secret'), :'l_id', 'in lower case');
SELECT is(pair_opens(upper(:'pair'), :'secret'), :'l_id', 'in upper case');
SELECT ok(opens(:'l_v'), 'so does the value');
SELECT is(pair_opens(u, s), '401', format('%s, %s does not', coalesce(u, 'no UUID'), coalesce(left(s, 12), 'no secret')))
  FROM (VALUES (:'pair', :'secret' || 'x'), (:'pair', left(:'secret', 34)), (gen_random_uuid()::text, :'secret'), (:'pair', NULL), (NULL, :'secret'),
               (replace(:'pair', '-', ''), :'secret'), ('{' || :'pair' || '}', :'secret'), (:'pair' || ':', substr(:'secret', 2)), (:'pair', 'short'), (:'pair', :'l_v')) AS v(u, s);
SELECT ok(NOT opens(lower(:'pair') || ':' || :'secret'), 'the pair is no bearer value');
SELECT is(walwarden.set_member_role('older', 'leg', 'read_only') AND pair_opens(:'pair', :'secret') = :'l_id' AND NOT walwarden.has_scope('evidence:export') AND walwarden.has_scope('audit:read'), true, 'it follows the owner''s role');
SELECT throws_ok(format('SELECT walwarden.update_token(%L, scopes => ''{}'')', :'l_id'), '42501', NULL, 'an operator does not change a private token');
SELECT throws_ok($$SELECT walwarden.import_legacy_credential('older', 'adm', '0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b', repeat('s3cret!', 5))$$, '23505', NULL, 'a pair is imported once');
CREATE ROLE tl_leg;
SELECT walwarden.remove_member('older', 'adm') FROM walwarden.add_member('older', 'boss', 'owner') \g /dev/null
SELECT walwarden.add_member('older', 'leg2', 'admin', 'tl_leg') \g /dev/null
SELECT token_id AS id, token AS v FROM walwarden.import_legacy_credential('older', 'leg2', '11111111-1111-4111-8111-111111111111', :'secret', 'old key') \gset l2_
SET LOCAL ROLE tl_leg;
SELECT throws_ok(format('SELECT walwarden.update_token(%L, scopes => ''{}'')', :'l2_id'), '55000', 'the permissions of a legacy token cannot be changed', 'nor does its owner change its scopes');
SELECT ok(walwarden.update_token(:'l2_id', 'older key'), 'but its name');
SELECT token AS v2, scopes FROM walwarden.renew_token(:'l2_id', '1 day') \gset l2_
RESET ROLE;
SELECT is(last_kinds(2, 'older'), 'token.renewed legacy.ended', 'renewing its value ends the pair');
SELECT is(pair_opens('11111111-1111-4111-8111-111111111111', :'secret'), '401', 'for good, whatever the overlap');
SELECT ok(opens(:'l2_v') AND opens(:'l2_v2'), 'the values go on');
SELECT is((SELECT kind FROM walwarden.list_tokens('older') WHERE token_id = :'l2_id'), 'legacy', 'it stays what it is');
SELECT ok(walwarden.set_member_sso('older', 'leg', true), 'SSO for the owner');
SELECT is(last_kinds(2, 'older'), 'member.sso_changed legacy.ended', 'ends pairs too');
SELECT is(pair_opens(:'pair', :'secret'), '401', 'for good');
SELECT ok(opens(:'l_v'), 'not values');
SELECT ok(walwarden.set_member_sso('older', 'leg', false), 'SSO taken back');
SELECT is(last_kinds(1, 'older'), 'member.sso_changed', 'brings nothing back');
SELECT is(pair_opens(:'pair', :'secret'), '401', 'the pair neither');
SELECT is((SELECT count(*) FROM generate_series(1, 5) AS i, walwarden.import_legacy_credential('older', 'leg', gen_random_uuid(), repeat(i::text, 32), 'many')), 5::bigint, 'many from a query');

-- a renewal hands out a plaintext: not of more than the manager's own role carries
SELECT token_id AS id FROM walwarden.issue_token('older', 'wide', '{audit:read,databases:write}') \gset w_
SELECT walwarden.set_role_scopes('admin', '{databases:write}') \g /dev/null
SET LOCAL ROLE tl_leg;
SELECT throws_ok(format('SELECT walwarden.renew_token(%L)', :'w_id'), '42501', 'the scopes exceed the role of the issuer', 'wider than the role');
RESET ROLE;
SELECT walwarden.set_role_scopes('admin', NULL) \g /dev/null
SELECT throws_ok(format('SELECT walwarden.enable_token(%L, ''infinity'')', token_id), '42501', NULL, 'an operator gives no private token another expiry')
  FROM walwarden.list_tokens('older') WHERE name = 'older key' AND walwarden.disable_token(token_id) AND walwarden.enable_token(token_id) AND walwarden.disable_token(token_id);
SELECT ok(walwarden.set_org_retention('older', '0') AND walwarden.enable_member('older', 'leg2') AND NOT walwarden.enable_member('older', 'leg2'), 'enable_member says when it removed something');
SELECT ok(walwarden.set_org_retention('older', '7 days'), 'retention');

-- nodes
CREATE ROLE tl_runner;
SELECT walwarden.grant_runner('tl_runner') \g /dev/null
SELECT token AS v FROM walwarden.issue_token('older', 'node', kind => 'node') \gset n_
SELECT token AS v FROM walwarden.issue_token('older', 'deploy', role => 'deploy') \gset d_
-- the name at issue decides, not the present one
SELECT token AS v, token_id AS id FROM walwarden.issue_token('older', 'second', role => 'deploy') \gset d2_
SELECT token AS v, token_id AS id FROM walwarden.issue_token('older', 'node', kind => 'node') \gset n2_
SELECT walwarden.update_token(:'d2_id', 'node'), walwarden.update_token(:'n2_id', 'other') \g /dev/null
SELECT token AS v FROM walwarden.issue_token('older', 'api', '{databases:read}') \gset a_
SELECT token AS v FROM walwarden.issue_token('other', 'node', kind => 'node') \gset o_
SET LOCAL ROLE tl_runner;
SELECT walwarden.authenticate(:'n_v') \g /dev/null
SELECT walwarden.register_node('node-1', '1.0') AS node \gset
SELECT is(walwarden.register_node('node-1', '1.0'), :'node'::uuid, 'the same name is the same node');
SELECT is(walwarden.register_node('node-1', '1.1'), :'node'::uuid, 'with another version too');
SELECT results_eq($$SELECT node_id, name, version, token_state, last_seen_at > now() FROM walwarden.list_nodes('older')$$, format($$VALUES (%L::uuid, 'node-1', '1.1', 'active', true)$$, :'node'), 'a node lists them');
SELECT throws_ok($$SELECT walwarden.register_node('node-2', '1.0')$$, '55000', 'the token speaks for another node', 'a token speaks for one node');
SELECT walwarden.authenticate(:'d_v') \g /dev/null
SELECT isnt(walwarden.register_node('node-2', '1.0'), NULL, 'the role deploy registers');
SELECT throws_ok($$SELECT walwarden.register_node('node-1', '1.1')$$, '55000', 'the token speaks for another node', 'but not for two');
SELECT walwarden.authenticate(:'d2_v') \g /dev/null
SELECT throws_ok($$SELECT walwarden.register_node('node-1', '1.1')$$, '42501', 'the node "node-1" belongs to other tokens', 'nor for a node whose tokens were issued under another name');
SELECT walwarden.authenticate(:'n2_v') \g /dev/null
SELECT is(walwarden.register_node('node-1', '1.1'), :'node'::uuid, 'a second token of the same name joins');
SELECT walwarden.authenticate(:'n_v') \g /dev/null
SELECT is(walwarden.register_node('node-1', '1.1'), :'node'::uuid, 'and the first one stays');
SELECT walwarden.authenticate(:'a_v') \g /dev/null
SELECT throws_ok($$SELECT walwarden.register_node('node-3', '1.0')$$, '42501', 'the token is not a node token', 'an API token does not');
SELECT throws_ok($$SELECT walwarden.list_nodes('older')$$, '42501', NULL, 'nor lists');
SELECT throws_ok($$SELECT walwarden.claim_job('{backup}')$$, '42501', 'the token is not a node token', 'nor claims jobs');
SELECT walwarden.authenticate(:'o_v') \g /dev/null
SELECT throws_ok($$SELECT walwarden.list_nodes('older')$$, '42501', NULL, 'nor another organisation''s node');
RESET ROLE;
SELECT is(last_kinds(8, 'older'), 'node.registered node.token_joined node.registered node.token_joined node.registered node.registered node.token_joined node.registered', 'an entry for each difference');
SELECT results_eq($$SELECT n.name, n.token_state FROM walwarden.list_nodes('older') AS n$$, $$VALUES ('node-1', 'active'), ('node-2', 'active')$$, 'an operator lists them');
SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('older') WHERE name = 'deploy' \g /dev/null
SELECT is((SELECT token_state FROM walwarden.list_nodes('older') WHERE name = 'node-2'), 'revoked', 'and sees what became of their tokens');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain('older') WHERE NOT ok$$, 'the chain says all of it');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain_sql('older') WHERE NOT ok$$, 'in SQL too');

-- the right to have nodes follows the owner's role
-- A token that registers as a node, undone: the SQLSTATE, or the name.
CREATE FUNCTION speaks(token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name text := 'node-4';
BEGIN
    PERFORM walwarden.authenticate(token);
    SET LOCAL ROLE tl_runner;
    PERFORM walwarden.register_node(name, '1.0');
    RAISE SQLSTATE 'WW000';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN name ELSE SQLSTATE END;
END
$$;
CREATE FUNCTION profile_status(token text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', token, 'x-walwarden-method', 'GET', 'x-walwarden-path', '/api/v1/profile')::text, true),
            walwarden_rest.v1_get();
    RETURN current_setting('response.status');
END
$$;
SELECT throws_ok($$SELECT walwarden.issue_token('older', 'x', owner => 'leg', kind => 'node')$$, '22023', 'a node token cannot have an owner', 'a node token is shared');
SELECT throws_ok($$SELECT walwarden.issue_token('older', 'x', owner => 'leg', role => 'deploy')$$, '42501', 'members with the role read_only cannot have private tokens', 'no deploy token for whoever has no tokens');
SELECT walwarden.set_member_role('older', 'leg', 'member') \g /dev/null
SELECT throws_ok($$SELECT walwarden.issue_token('older', 'x', owner => 'leg', role => 'deploy')$$, '42501', 'members with the role member cannot have nodes', 'nor for whoever has no nodes');
SELECT walwarden.set_member_role('older', 'leg', 'admin') \g /dev/null
SELECT token AS v FROM walwarden.issue_token('older', 'private deploy', owner => 'leg', role => 'deploy') \gset p_
SELECT is(speaks(:'p_v'), 'node-4', 'a deploy token of an admin speaks for a node');
SELECT is((SELECT string_agg(r || ' ' || coalesce(nullif(walwarden.set_member_role('older', 'leg', r), false)::text, 'same') || ' ' || speaks(:'p_v'), ', ' ORDER BY n)
             FROM unnest('{analyst,owner,read_only,admin,member,deploy,api_developer}'::text[]) WITH ORDINALITY AS u(r, n)),
    'analyst true 42501, owner true node-4, read_only true 42501, admin true node-4, member true 42501, deploy true node-4, api_developer true 42501',
    'only while the role of its owner may have nodes, at once');
SELECT walwarden.set_member_role('older', 'leg', 'admin'), walwarden.disable_member('older', 'leg') \g /dev/null
SELECT is(speaks(:'p_v'), '28000', 'not while the owner is disabled');
SELECT walwarden.enable_member('older', 'leg') \g /dev/null
SELECT walwarden.set_member_role('older', 'leg', 'read_only') \g /dev/null
SELECT is(profile_status(:'p_v'), '403', 'a token for a node does not open REST v1, also when it speaks for none');

-- maintenance: verification, and guards that a restore left weak
SELECT ok(walwarden.run_maintenance(), 'a chain without a stored verdict gets one');
SELECT is((SELECT count(*) FROM walwarden_internal.verification), (SELECT count(*) FROM walwarden_internal.chains()), 'every chain has one');
SELECT ok(NOT walwarden.run_maintenance(), 'none is verified again within the interval');
DELETE FROM walwarden_internal.verification;
ALTER TABLE walwarden_internal.scope ENABLE TRIGGER refuse_change;
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('other')), 'trigger refuse_change on walwarden_internal.scope', 'a weak guard is found');
SELECT ok(walwarden.run_maintenance(), 'and made strong again');
SELECT is((SELECT reason FROM walwarden_internal.verification WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'other')), NULL, 'before the chains are verified');
SELECT is((SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'walwarden_internal.scope'::regclass AND tgname = 'refuse_change'), 'A'::"char", 'it is ENABLE ALWAYS');

-- what was waited for at most in a door is nobody's setting after it, also when it fails
DELETE FROM walwarden_internal.verification;
SELECT current_setting('lock_timeout') AS before \gset
SELECT throws_ok($$SET LOCAL transaction_read_only = on; SELECT walwarden.run_maintenance()$$, '25006', NULL, 'maintenance fails in a read-only transaction');
SELECT is(current_setting('lock_timeout'), :'before', 'lock_timeout is as it was');

SELECT * FROM finish();
ROLLBACK;
