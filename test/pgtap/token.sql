-- Tokens: issue, list, revoke, effective scopes, states.
BEGIN;
SELECT no_plan();

CREATE ROLE t_op;
CREATE ROLE t_admin;
CREATE ROLE t_member;
CREATE ROLE t_nobody;
SELECT walwarden.grant_operator('t_op') AS ok \g /dev/null
SELECT walwarden.create_org('acme'), walwarden.create_org('other') \g /dev/null
SELECT walwarden.add_member('acme', 'adm', 'admin', 't_admin'), walwarden.add_member('acme', 'bob', 'member', 't_member') \g /dev/null

\ir tokens.psql
CREATE FUNCTION effective_of(id uuid) RETURNS text[] LANGUAGE sql AS $$SELECT effective_scopes FROM walwarden_internal.token_with_org WHERE token_id = id$$;

-- what issue_token returns and stores
SELECT * FROM walwarden.issue_token('acme', 'ci', '{backups:trigger,databases:read}', now() + interval '1 day') \gset ci_
SELECT matches(:'ci_token'::text, '^wal_[0-9a-f]{64}$', 'format of a token');
SELECT is(:'ci_name'::text, 'ci', 'name');
SELECT is(:'ci_scopes'::text[], '{backups:trigger,databases:read}', 'scopes in the order given');
SELECT is(:'ci_expires_at'::timestamptz, now() + interval '1 day', 'expires_at');
SELECT is(fingerprint, digest(:'ci_token', 'sha256'), 'fingerprint = digest(token, ''sha256'')')
  FROM walwarden_internal.credential WHERE token_id = :'ci_token_id';
SELECT is_empty($$SELECT FROM walwarden_internal.token AS t, walwarden_internal.credential AS c, walwarden_internal.audit_entry AS e
                   WHERE concat(t, c, e) ~ 'wal_[0-9a-f]{8}'$$, 'the plaintext is stored nowhere');
SELECT is((SELECT fingerprint_handle FROM walwarden.list_tokens('acme')), left(encode(digest(:'ci_token', 'sha256'), 'hex'), 12), 'handle');
SELECT isnt((walwarden.issue_token('acme', 'ci')).token, :'ci_token', 'a name need not be unique, a token is');
SELECT is((walwarden.issue_token('acme', 'x', expires_at => 'infinity')).expires_at, NULL, 'infinity is returned as NULL');
SELECT is((walwarden.issue_token('acme', repeat('é', 100))).name, repeat('é', 100), 'a name of 100 characters, not bytes');
SELECT is((walwarden.issue_token('acme', '\0 %s '' " ; -- \x00')).name, '\0 %s '' " ; -- \x00', 'a name is text and nothing else');

-- private tokens and who issues them
SET LOCAL ROLE t_member;
SELECT token_id AS own, token AS own_token FROM walwarden.issue_token('acme', 'mine', '{databases:read,evidence:read}', owner => 'bob') \gset
SELECT results_eq($$SELECT name, visibility, owner, created_by FROM walwarden.list_tokens('acme')$$,
    $$VALUES ('mine', 'private', 'bob', 'bob')$$, 'a member lists their own only');
SELECT results_eq($$SELECT name FROM walwarden.token_list$$, $$VALUES ('mine')$$, 'in the view too');
SET LOCAL ROLE t_admin;
SELECT results_eq($$SELECT count(*) FROM walwarden.list_tokens('acme')$$, $$VALUES (6::bigint)$$, 'an admin lists all');
SELECT results_eq($$SELECT count(*) FROM walwarden.token_list$$, $$VALUES (6::bigint)$$, 'in the view too');
SELECT isnt((walwarden.issue_token('acme', 'team', '{audit:read}')).token_id, NULL, 'an admin issues a shared token');
SELECT isnt((walwarden.issue_token('acme', 'box', kind => 'node')).token_id, NULL, 'and a node token');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', owner => 'bob')$$, '42501', NULL, 'but no private token of another');
RESET ROLE;
CREATE TEMP TABLE leaked (name text);
GRANT INSERT ON leaked TO t_member;
CREATE FUNCTION leaky(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN INSERT INTO leaked VALUES ($1); RETURN true; END$$;
SET LOCAL ROLE t_member;
SELECT count(*) AS seen FROM walwarden.token_list WHERE leaky(name) \gset
RESET ROLE;
SELECT results_eq('SELECT name FROM leaked', $$VALUES ('mine')$$, 'a leaky function in a condition sees no other rows');
SET LOCAL ROLE t_nobody;
SELECT is_empty($$SELECT * FROM walwarden.token_list$$, 'nobody sees nothing');
SELECT is_empty($$SELECT * FROM walwarden.list_orgs()$$, 'and no organisation');
SET LOCAL ROLE t_op;
SELECT token_id AS revealed, token AS revealed_token FROM walwarden.issue_token('acme', 'for bob', '{databases:read}', owner => 'bob') \gset
SELECT results_eq($$SELECT kind COLLATE "default" FROM walwarden.list_audit('acme', 0, 1000) ORDER BY seq DESC LIMIT 2$$,
    $$VALUES ('token.revealed_for_owner'), ('token.issued')$$, 'an operator''s issue for a member is audited as revealed');
RESET ROLE;

-- listing: newest first, in pages
SELECT is((SELECT array_agg(name ORDER BY ordinality) FROM walwarden.list_tokens('acme') WITH ORDINALITY),
          (SELECT array_agg(name ORDER BY created_at DESC, id DESC) FROM walwarden_internal.token WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme')),
          'newest first');
SELECT token_id AS last FROM walwarden.list_tokens('acme', max_rows => 4) OFFSET 3 \gset
SELECT is((SELECT count(*) FROM walwarden.list_tokens('acme', :'last', 100)), 5::bigint, 'the next page');
SELECT is_empty(format($$SELECT token_id FROM walwarden.list_tokens('acme', max_rows => 4) INTERSECT SELECT token_id FROM walwarden.list_tokens('acme', %L)$$, :'last'),
    'pages do not overlap');

-- effective scopes: the owner's role decides, at once
SELECT is(effective_of(:'own'), '{databases:read,evidence:read}', 'within the owner''s role');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'api_developer'), 'role reduced');
SELECT is(effective_of(:'own'), '{databases:read}', 'lost scopes stop');
SELECT is((SELECT scopes FROM walwarden.list_tokens('acme') WHERE token_id = :'own'), '{databases:read,evidence:read}', 'the stored ones stay');
SELECT ok(walwarden.set_role_scopes('api_developer', '{}'), 'role emptied');
SELECT is(effective_of(:'own'), '{}', 'nothing left');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'member'), 'role restored');
SELECT is(effective_of(:'own'), '{databases:read,evidence:read}', 'and the scopes with it');

-- permissions from a role
SELECT token_id AS by_role, token AS role_token FROM walwarden.issue_token('acme', 'r', role => 'read_only') \gset
SELECT is(effective_of(:'by_role'), walwarden_internal.role_scopes('read_only'), 'a token from a role has its scopes');
SELECT is((SELECT scopes FROM walwarden.list_tokens('acme') WHERE token_id = :'by_role'), '{}', 'and none of its own');
SELECT ok(walwarden.set_role_scopes('read_only', '{readiness:read}'), 'role changed');
SELECT is(effective_of(:'by_role'), '{readiness:read}', 'the token follows');
SELECT token_id AS by_own_role FROM walwarden.issue_token('acme', 'r', role => 'analyst', owner => 'adm') \gset
SELECT ok(walwarden.add_member('acme', 'root', 'owner') IS NOT NULL AND walwarden.set_member_role('acme', 'adm', 'member'), 'owner reduced');
SELECT is(effective_of(:'by_own_role'), ARRAY(SELECT s FROM unnest(walwarden_internal.role_scopes('analyst')) WITH ORDINALITY AS u(s, n) WHERE s = ANY (walwarden_internal.role_scopes('member')) ORDER BY n),
    'what the token''s role and the owner''s have in common');
SELECT is(effective_of((walwarden.issue_token('acme', 'n', kind => 'node')).token_id), '{}', 'a node token has no scope');
SELECT ok(walwarden.set_member_role('acme', 'adm', 'admin'), 'back');

-- an admin whose role was narrowed cannot hand out what it lost
SELECT ok(walwarden.set_role_scopes('admin', '{databases:read}'), 'admin narrowed');
SET LOCAL ROLE t_admin;
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', '{audit:read}')$$, '42501', 'the scopes exceed the role of the issuer');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', role => 'owner')$$, '42501', 'the scopes exceed the role of the issuer');
SELECT isnt((walwarden.issue_token('acme', 'x', '{databases:read}')).token_id, NULL, 'what is left can be');
RESET ROLE;
SELECT ok(walwarden.set_role_scopes('admin', NULL), 'admin restored');

-- states, and their order
SELECT is(state_of(:'own'), 'active', 'active');
SELECT ok(walwarden.disable_member('acme', 'bob'), 'owner disabled');
SELECT is(state_of(:'own'), 'inactive', 'inactive');
SELECT is(effective_of(:'own'), '{}', 'without effect');
SELECT ok(walwarden.enable_member('acme', 'bob'), 'owner enabled');
SELECT is(state_of(:'own'), 'active', 'active again');
SELECT ok(walwarden.set_plan('acme', 'free'), 'plan without tokens');
SELECT is(state_of(:'own'), 'inactive', 'inactive');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x')$$, '55000', NULL, 'no new tokens');
SELECT isnt_empty($$SELECT FROM walwarden.list_tokens('acme')$$, 'listing works');
SELECT ok(walwarden.revoke_token(:'revealed', 'not needed'), 'revoking works');
SELECT ok(walwarden.set_plan('acme', 'team'), 'back on team');
SELECT is(state_of(:'own'), 'active', 'active again');
SELECT is(state_of(:'revealed'), 'revoked', 'revoked for good');
SAVEPOINT disabled;
UPDATE walwarden_internal.token SET disabled_at = now() WHERE id = :'own';
SELECT is(state_of(:'own'), 'disabled', 'disabled');
UPDATE walwarden_internal.token SET expires_at = now() WHERE id = :'own';
SELECT is(state_of(:'own'), 'expired', 'expired goes before disabled');
UPDATE walwarden_internal.token SET revoked_at = now() WHERE id = :'own';
SELECT is(state_of(:'own'), 'revoked', 'revoked goes before expired');
UPDATE walwarden_internal.token SET removed_at = now() WHERE id = :'own';
SELECT is(state_of(:'own'), NULL, 'a removed token is not listed');
ROLLBACK TO disabled;

-- revoke
SET LOCAL ROLE t_member;
SELECT ok(walwarden.revoke_token(:'own', 'laptop lost'), 'a member revokes their own');
SELECT ok(NOT walwarden.revoke_token(:'own', 'again'), 'again is no change');
SELECT results_eq($$SELECT state, revoked_by, revoked_at IS NOT NULL FROM walwarden.token_list WHERE name = 'mine'$$,
    $$VALUES ('revoked', 'bob', true)$$, 'it stays listed');
RESET ROLE;
SELECT is((SELECT count(*) FROM walwarden.list_audit('acme', 0, 1000) WHERE kind = 'token.revoked' AND body::jsonb #>> '{payload,after,id}' = :'own'),
    1::bigint, 'one entry for both calls');
SELECT is((SELECT body::jsonb #>> '{payload,after,revokedReason}' FROM walwarden.list_audit('acme', 0, 1000) WHERE body::jsonb #>> '{payload,after,id}' = :'own' AND kind = 'token.revoked'),
    'laptop lost', 'with the first reason');

-- a member who is removed loses the private tokens, the org keeps the shared ones
SET LOCAL ROLE t_member;
SELECT token_id AS last_own FROM walwarden.issue_token('acme', 'last', owner => 'bob') \gset
RESET ROLE;
SELECT ok(walwarden.remove_member('acme', 'bob'), 'owner removed');
SELECT is(state_of(:'last_own'), 'revoked', 'private token revoked');
SELECT is(state_of(:'ci_token_id'), 'active', 'shared token untouched');

-- state and effective scopes in the listing are what introspection says
SELECT is(walwarden.introspect_token(t) -> 'state', to_jsonb(state_of(i)), 'state of ' || n)
  FROM (VALUES (:'ci_token', :'ci_token_id'::uuid, 'ci'), (:'own_token', :'own', 'mine'), (:'revealed_token', :'revealed', 'for bob'), (:'role_token', :'by_role', 'r')) AS v(t, i, n);
SELECT is(walwarden.introspect_token(t) -> 'effectiveScopes', to_jsonb(effective_of(i)), 'effective scopes of ' || n)
  FROM (VALUES (:'ci_token', :'ci_token_id'::uuid, 'ci'), (:'own_token', :'own', 'mine'), (:'revealed_token', :'revealed', 'for bob'), (:'role_token', :'by_role', 'r')) AS v(t, i, n);
SELECT is(walwarden.introspect_token(:'role_token') -> 'scopes', '[]', 'a token from a role has no scopes of its own there either');

-- bounds of an array are not kept
SELECT is(array_lower((walwarden.issue_token('acme', 'lb', '[5:6]={databases:read,databases:write}')).scopes, 1), 1, 'bounds of an array');

SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok$$, 'all chains verify');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok$$, 'in SQL too');
SELECT is_empty($$SELECT FROM walwarden_internal.audit_entry WHERE body ~ (SELECT string_agg(encode(fingerprint, 'hex'), '|') FROM walwarden_internal.credential)$$,
    'no fingerprint in the chain');

SELECT * FROM finish();
ROLLBACK;
