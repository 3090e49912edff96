-- Labels, networks and rate limits of tokens: what is stored, recorded and listed, and
-- from where a token is accepted. Without preload; 024_bounds.pl has the rest.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;
CREATE ROLE tb_gateway;
CREATE ROLE tb_login;
CREATE ROLE tb_web;
CREATE ROLE tb_op;
CREATE ROLE tb_nobody;
SELECT walwarden.create_org('acme'), walwarden.trust_authenticator('tb_gateway'), walwarden.grant_rest('tb_web', 'tb_login'),
       walwarden.grant_operator('tb_op') \g /dev/null

CREATE FUNCTION last_change() RETURNS jsonb LANGUAGE sql AS $$
    SELECT body::jsonb -> 'payload' FROM walwarden_internal.audit_entry
     WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme') ORDER BY seq DESC LIMIT 1
$$;
CREATE FUNCTION listed(id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', labels, networks, coalesce(rate_limit::text, '-'), coalesce(uses::text, '-'), coalesce(refusals::text, '-'))
      FROM walwarden.list_tokens('acme') WHERE token_id = id
$$;
CREATE FUNCTION state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
GRANT EXECUTE ON FUNCTION state_of(text) TO PUBLIC;

-- none
SELECT token_id AS id, token AS t FROM walwarden.issue_token('acme', 'plain') \gset
SELECT is(listed(:'id'), '{} {} - - -', 'none of them');
SELECT is(last_change() -> 'after' ?| '{labels,networks,rateLimit}', false, 'and an entry says nothing of what is not there');
SELECT is((SELECT concat(labels, networks, rate_limit) FROM walwarden_internal.token WHERE id = :'id'), '', 'none is NULL');
SELECT is(walwarden.update_token(:'id', labels => '{}', networks => '{}', rate_limit => 0), false, 'none again is no change');

-- some
SELECT token_id AS some, token AS s FROM walwarden.issue_token('acme', 'some', labels => '{"b.c":"x \u00e4","a":"4711"}', networks => '[3:4]={192.0.2.0/24,2001:db8::/32}'::cidr[]) \gset
SELECT is(listed(:'some'), '{"a": "4711", "b.c": "x ä"} {192.0.2.0/24,2001:db8::/32} - - -', 'labels and networks');
SELECT is(last_change() -> 'after' -> 'labels', '{"a": "4711", "b.c": "x ä"}', 'the entry has the labels');
SELECT is(last_change() -> 'after' -> 'networks', '["192.0.2.0/24", "2001:db8::/32"]', 'and the networks');
SELECT is((SELECT array_lower(networks, 1) FROM walwarden_internal.token WHERE id = :'some'), 1, 'whatever the bounds of the array were');
SELECT is((SELECT networks FROM walwarden_internal.credential WHERE token_id = :'some'), '{192.0.2.0/24,2001:db8::/32}'::cidr[], 'the credential has a copy');
SELECT is(walwarden.update_token(:'some', 'renamed'), true, 'a change of something else');
SELECT is(listed(:'some'), '{"a": "4711", "b.c": "x ä"} {192.0.2.0/24,2001:db8::/32} - - -', 'leaves both');
SELECT is(walwarden.update_token(:'some', labels => '{"a":"1"}'), true, 'labels are replaced');
SELECT is(listed(:'some'), '{"a": "1"} {192.0.2.0/24,2001:db8::/32} - - -', 'as a whole');
SELECT is(last_change() -> 'before' -> 'labels' ->> 'a', '4711', 'with what they were in the entry');
SELECT is(walwarden.update_token(:'some', labels => '{"a":"1"}', networks => '{192.0.2.0/24,2001:db8::/32}'), false, 'the same again is no change');
SELECT is(walwarden.update_token(:'some', labels => '{}'), true, 'they are emptied');
SELECT is(listed(:'some'), '{} {192.0.2.0/24,2001:db8::/32} - - -', 'and the networks stay');
SELECT is(state_of(format($$SELECT walwarden.issue_token('acme', 'x', networks => %L)$$, n)), 'ok', 'every address: ' || n)
  FROM (VALUES ('{0.0.0.0/0}'), ('{::/0}'), ('{0.0.0.0/0,::/0}')) AS v(n);
SELECT is((SELECT array_agg(tgname ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'walwarden_internal.role_grant'::regclass AND tgname LIKE 'signal%'), '{signal_change,signal_truncate}', 'a grant makes what is remembered of a session old');

-- what is as large as it may be can still be changed and ended, because an entry has it twice:
-- with the longest names and reasons, by a role whose name is written with escapes
SELECT count(walwarden.create_scope(format('%s%s:%s', repeat('s', 28), i, repeat('r', 31)), 'x', 'y'))
  FROM generate_series(101 + (SELECT count(*) FROM walwarden_internal.scope), 300) AS i \g /dev/null
CREATE FUNCTION longest(characters integer) RETURNS text LANGUAGE sql AS $$SELECT repeat(U&'\+01F600', characters)$$;
CREATE TABLE big AS
SELECT (SELECT array_agg(name) FROM walwarden_internal.scope) AS scopes,
       (SELECT jsonb_object_agg(rpad('a' || i, 63, 'x'), longest(200)) FROM generate_series(10, 21) AS i) || '{"last": "", "over": ""}' AS labels,
       (SELECT array_agg(format('2001:db8:1234:5678:9abc:def0:1234:%s/128', to_hex(i))::cidr) FROM generate_series(4096, 4127) AS i) AS networks;
SELECT ok(cardinality(scopes) = 200, 'as many scopes as there can be') FROM big;
-- filled up to 25600 bytes; two labels leave room for what the built-in scopes come to
UPDATE big SET labels = labels || jsonb_build_object('last', longest(room / 8) || repeat('x', room % 8), 'over', longest(room / 8))
  FROM (SELECT 25600 - octet_length(to_jsonb(f)::text) AS room FROM big AS f) AS r;
CREATE FUNCTION issue_big(OUT id uuid, OUT token text) LANGUAGE sql AS $$
    SELECT t.token_id, t.token FROM big, walwarden.issue_token('acme', longest(100), scopes, labels => labels, networks => networks) AS t
$$;
SELECT repeat(chr(1), 63) AS odd \gset
CREATE ROLE :"odd";
GRANT SELECT ON big TO :"odd";
SELECT walwarden.grant_operator(:'odd') \g /dev/null
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', scopes, labels => labels || '{"z": "x"}', networks => networks) FROM big$$, '22023', 'the scopes, labels and networks are too long together', 'more cannot be issued');
SET SESSION AUTHORIZATION :"odd";
SELECT id AS leaked, token AS big FROM issue_big() \gset
SELECT throws_ok(format($$SELECT walwarden.update_token(%L, labels => labels || '{"z": "x"}') FROM big$$, :'leaked'), '22023', 'the scopes, labels and networks are too long together', 'nor be added');
SELECT ok(walwarden.update_token(:'leaked', 'x'), 'it is renamed');
SELECT ok(walwarden.update_token(:'leaked', longest(100)), 'and back');
SELECT token AS renewed FROM walwarden.renew_token(:'leaked', '7 days') \gset
SELECT ok(walwarden.disable_token(:'leaked', longest(500)), 'disabled');
SELECT ok(walwarden.enable_token(:'leaked'), 'enabled');
SELECT ok(walwarden.disable_token(:'leaked', longest(500)), 'disabled again');
SELECT ok(walwarden.report_leaked_token(:'renewed', longest(400)), 'reported as leaked');
SELECT id AS revoked FROM issue_big() \gset
SELECT ok(count(walwarden.renew_token(:'revoked', '7 days')) = 2, 'renewed twice') FROM generate_series(1, 2);
SELECT ok(walwarden.disable_token(:'revoked', longest(500)), 'another is disabled');
SELECT ok(walwarden.revoke_token(:'revoked', longest(500)), 'and revoked');
SELECT id AS removed FROM issue_big() \gset
SELECT ok(walwarden.disable_token(:'removed', longest(500)), 'another is disabled');
SELECT id AS expired FROM issue_big() \gset
RESET SESSION AUTHORIZATION;
UPDATE walwarden_internal.token SET disabled_at = disabled_at - interval '8 days' WHERE id = :'removed';
UPDATE walwarden_internal.token SET expires_at = clock_timestamp() WHERE id = :'expired';
SELECT walwarden.run_maintenance() \g /dev/null
SELECT ok((SELECT removed_at IS NOT NULL FROM walwarden_internal.token WHERE id = :'removed') AND (SELECT expired_at IS NOT NULL FROM walwarden_internal.token WHERE id = :'expired'), 'removed and expired');
SELECT ok(max(octet_length(e.body)) BETWEEN 62000 AND 65536, format('the longest entry has %s of 65536 bytes', max(octet_length(e.body)))) FROM walwarden_internal.audit_entry AS e;
SELECT id AS closed FROM issue_big() \gset
SELECT ok(walwarden.disable_token(:'closed', longest(500)), 'another is disabled');
SAVEPOINT closed;
SELECT ok(walwarden.close_org('acme', longest(500)), 'and its organisation closed');
ROLLBACK TO closed;
SAVEPOINT closed;
SELECT ok(tokens > 0, 'or the copy') FROM walwarden.close_copy(longest(500));
ROLLBACK TO closed;

-- from where. The connection of this session has no address.
CREATE FUNCTION opens(token text, client inet DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate(token, client);
    RETURN true;
EXCEPTION WHEN invalid_authorization_specification THEN
    RETURN false;
END
$$;
SELECT ok(opens(:'t') AND opens(:'t', '198.51.100.1'), 'a token without networks is accepted from everywhere');
SELECT ok(NOT opens(:'s'), 'one with networks not from an unknown address');
SELECT is(opens(:'s', client), wanted, format('%s: %s', client, wanted))
  FROM (VALUES ('192.0.2.0'::inet, true), ('192.0.2.255', true), ('192.0.1.255', false), ('192.0.3.0', false), ('127.0.0.1', false),
               ('2001:db8::', true), ('2001:db8:ffff:ffff::1', true), ('2001:db9::', false), ('::1', false), ('::192.0.2.1', false), ('c000:201::', false),
               ('::ffff:192.0.2.7', true), ('::ffff:192.0.3.7', false)) AS v(client, wanted);
SELECT is(state_of(format($$SELECT walwarden.authorize(%L, 'databases:read', '192.0.2.7')$$, :'s')), '42501', 'authorize: from there, without the scope');
SELECT is(state_of(format($$SELECT walwarden.authorize(%L, 'databases:read', '192.0.3.7')$$, :'s')), '28000', 'and from elsewhere');
CREATE TEMP TABLE odd AS
    SELECT network, token FROM unnest('{192.0.2.128/25,192.0.2.4/30,192.0.2.7/32,0.0.0.0/0,::/0,2001:db8::8/125,2000::/3}'::cidr[]) AS network,
           walwarden.issue_token('acme', 'odd', networks => ARRAY[network]);
SELECT is((SELECT string_agg(client, ' ' ORDER BY n) FROM unnest('{192.0.2.7,192.0.2.8,192.0.2.3,192.0.2.127,192.0.2.128,255.255.255.255,2001:db8::7,2001:db8::8,2001:db8::f,2001:db8::10,3fff::1,4000::1,::1}'::text[]) WITH ORDINALITY AS c(client, n)
            WHERE opens(token, client::inet)), wanted, 'in ' || network)
  FROM odd JOIN (VALUES ('192.0.2.128/25'::cidr, '192.0.2.128'), ('192.0.2.4/30', '192.0.2.7'), ('192.0.2.7/32', '192.0.2.7'),
                        ('0.0.0.0/0', '192.0.2.7 192.0.2.8 192.0.2.3 192.0.2.127 192.0.2.128 255.255.255.255'),
                        ('::/0', '2001:db8::7 2001:db8::8 2001:db8::f 2001:db8::10 3fff::1 4000::1 ::1'),
                        ('2001:db8::8/125', '2001:db8::8 2001:db8::f'),
                        ('2000::/3', '2001:db8::7 2001:db8::8 2001:db8::f 2001:db8::10 3fff::1')) AS v(network, wanted) USING (network);
-- a renewed value keeps them, and a change is in force at once
SELECT token AS s2 FROM walwarden.renew_token(:'some', '1 hour') \gset
SELECT ok(opens(:'s', '192.0.2.7') AND opens(:'s2', '192.0.2.7') AND NOT opens(:'s', '192.0.3.7') AND NOT opens(:'s2', '192.0.3.7'), 'both values of a renewed token');
SELECT walwarden.update_token(:'some', networks => '{192.0.3.0/24}') \g /dev/null
SELECT ok(opens(:'s', '192.0.3.7') AND opens(:'s2', '192.0.3.7') AND NOT opens(:'s', '192.0.2.7') AND NOT opens(:'s2', '192.0.2.7'), 'other networks');
SELECT walwarden.update_token(:'some', networks => '{}') \g /dev/null
SELECT ok(opens(:'s') AND opens(:'s', '198.51.100.1'), 'and none');
SELECT is(walwarden.introspect_token(:'s') ->> 'active', 'true', 'introspection has no client');

-- who may say so: the session user, not the current one
SELECT walwarden.update_token(:'some', networks => '{192.0.2.0/24}') \g /dev/null
SELECT format($$SELECT walwarden.authenticate(%L, '192.0.2.7')$$, :'s') AS inside, format($$SELECT walwarden.authenticate(%L, '192.0.3.7')$$, :'s') AS outside \gset
SET SESSION AUTHORIZATION tb_gateway;
SELECT is(state_of(:'inside') || state_of(:'outside'), 'ok28000', 'a trusted authenticator');
SET SESSION AUTHORIZATION tb_login;
SELECT is(state_of(:'inside') || state_of(:'outside'), 'ok28000', 'a login of grant_rest()');
SET SESSION AUTHORIZATION tb_op;
SELECT is(state_of(:'inside') || state_of(:'outside'), 'ok28000', 'an operator');
SET SESSION AUTHORIZATION tb_web;
SELECT is(state_of(:'inside'), '42501', 'the role of grant_rest() is no login');
SET SESSION AUTHORIZATION tb_nobody;
SELECT is(state_of(:'inside'), '42501', 'nobody');
SELECT is(state_of($$SELECT walwarden.authenticate('wal_x', '192.0.2.7')$$), '42501', 'whatever the token is');
RESET SESSION AUTHORIZATION;
SET LOCAL ROLE tb_nobody;
SELECT is(state_of(:'inside'), 'ok', 'SET ROLE changes nothing');
RESET ROLE;
-- a grant is honoured from the next call on, and as long as it holds
SELECT walwarden.untrust_authenticator('tb_gateway'), walwarden.revoke_rest('tb_web'), walwarden.revoke_operator('tb_op') \g /dev/null
SET SESSION AUTHORIZATION tb_gateway;
SELECT is(state_of(:'inside'), '42501', 'not trusted any more');
SET SESSION AUTHORIZATION tb_login;
SELECT is(state_of(:'inside'), '42501', 'no login any more');
SET SESSION AUTHORIZATION tb_op;
SELECT is(state_of(:'inside'), '42501', 'no operator any more');
RESET SESSION AUTHORIZATION;
-- an index expression of somebody else, in a maintenance command of a superuser
CREATE TABLE tb_bait (t text);
GRANT CREATE ON SCHEMA public TO tb_nobody;
ALTER TABLE tb_bait OWNER TO tb_nobody;
SET SESSION AUTHORIZATION tb_nobody;
CREATE FUNCTION tb_try(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate(t, '192.0.2.7');
    RETURN 'opened';
EXCEPTION WHEN insufficient_privilege THEN
    RAISE 'refused' USING ERRCODE = 'WW001';
END
$$;
RESET SESSION AUTHORIZATION;
INSERT INTO tb_bait VALUES (:'s');
SELECT is(state_of('CREATE INDEX ON tb_bait (tb_try(t))'), 'WW001', 'a restricted operation in the session of a superuser');

-- without preload a token with a rate limit, from a dump for example, is refused
SELECT token_id AS limited, token AS l FROM walwarden.issue_token('acme', 'limited') \gset
UPDATE walwarden_internal.token SET rate_limit = 5 WHERE id = :'limited';
SELECT ok(NOT opens(:'l', '192.0.2.7'), 'where uses cannot be counted, a limited token is refused');
SELECT is((SELECT reason FROM walwarden.verify_audit_chain('acme')) ~ 'token', true, 'a limit that no entry has is found');
SELECT is(walwarden.update_token(:'limited', rate_limit => 0), true, 'a limit is lifted without preload');
SELECT ok(opens(:'l'), 'then it is accepted');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all verifies');

SELECT * FROM finish();
ROLLBACK;
