-- Organisations, members, roles, scopes: what works, and what it leaves.
BEGIN;
SELECT no_plan();

SELECT coalesce(max(seq), 0) AS before FROM walwarden.list_audit('_system', 0, 1000) \gset
CREATE ROLE t_admin;
CREATE ROLE t_owner;

SELECT isnt(walwarden.create_org('acme', 'Acme Ltd'), NULL, 'create_org returns an id');
SELECT isnt(walwarden.create_org('a'), NULL, 'a slug of one character');
SELECT isnt(walwarden.create_org(repeat('a', 63)), NULL, 'a slug of 63 characters');
SELECT results_eq(
    $$SELECT slug, display_name, plan, retention FROM walwarden.list_orgs() WHERE slug IN ('a', 'acme') ORDER BY slug$$,
    $$VALUES ('a', 'a', 'team', '7 days'::interval), ('acme', 'Acme Ltd', 'team', '7 days')$$,
    'defaults: the slug as display name, team, 7 days');

-- plans and retention
SELECT ok(walwarden.set_plan('acme', 'pro'), 'a new plan is a change');
SELECT ok(NOT walwarden.set_plan('acme', 'pro'), 'the same plan is none');
SELECT ok(walwarden.set_plan('acme', 'team'), 'and back');
SELECT ok(walwarden.set_org_retention('acme', '1 month'), 'retention of a month');
SELECT is(retention, '30 days'::interval, 'is 30 days') FROM walwarden.list_orgs() WHERE slug = 'acme';
SELECT ok(NOT walwarden.set_org_retention('acme', '720 hours'), '720 hours are the same');
SELECT ok(walwarden.set_org_retention('acme', '1 year 1 month 1 day 25 hours 1 second'), 'units together');
SELECT is(retention, '397 days 01:00:01'::interval, 'in days and seconds') FROM walwarden.list_orgs() WHERE slug = 'acme';
SELECT ok(walwarden.set_org_retention('acme', '10 years'), 'ten years');
SELECT is(retention, '3650 days'::interval, 'are 3650 days') FROM walwarden.list_orgs() WHERE slug = 'acme';
SELECT throws_ok($$SELECT walwarden.set_org_retention('acme', '10 years 1 second')$$, '22023', 'invalid retention');
SELECT throws_ok($$SELECT walwarden.set_org_retention('acme', '100000 years')$$, '22023', 'invalid retention');
SELECT ok(walwarden.set_org_retention('acme', '0'), 'no retention at all');

-- members
SELECT isnt(walwarden.add_member('acme', 'root', 'owner', 't_owner'), NULL, 'an owner');
SELECT isnt(walwarden.add_member('acme', 'adm', 'admin', 't_admin'), NULL, 'an admin');
SELECT isnt(walwarden.add_member('acme', 'bob'), NULL, 'a member by default');
SELECT isnt(walwarden.add_member('a', 'adm', 'member', 't_admin'), NULL, 'subject and role again in another org');
SELECT results_eq(
    $$SELECT subject, role, db_role, sso, state FROM walwarden.list_members('acme')$$,
    $$VALUES ('adm', 'admin', 't_admin'::name, false, 'active'), ('bob', 'member', NULL, false, 'active'), ('root', 'owner', 't_owner', false, 'active')$$,
    'list_members');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'analyst'), 'a new role');
SELECT ok(NOT walwarden.set_member_role('acme', 'bob', 'analyst'), 'the same role');
SELECT ok(walwarden.set_member_sso('acme', 'bob', true), 'sso on');
SELECT ok(NOT walwarden.set_member_sso('acme', 'bob', true), 'sso on again');
SELECT ok(walwarden.disable_member('acme', 'bob'), 'disable');
SELECT ok(NOT walwarden.disable_member('acme', 'bob'), 'disable again');
SELECT ok(walwarden.enable_member('acme', 'bob'), 'enable');
SELECT ok(NOT walwarden.enable_member('acme', 'bob'), 'enable again');

-- an admin manages everyone but owners; an owner manages owners too
SET LOCAL ROLE t_admin;
SELECT ok(walwarden.set_member_role('acme', 'bob', 'admin'), 'an admin makes an admin');
SELECT throws_ok($$SELECT walwarden.set_member_role('acme', 'root', 'member')$$, '42501', NULL, 'an admin does not demote an owner');
SELECT is(count(*), 1::bigint, 'an admin''s list_orgs shows their own') FROM walwarden.list_orgs() WHERE slug = 'acme';
SET LOCAL ROLE t_owner;
SELECT ok(walwarden.set_member_role('acme', 'bob', 'owner'), 'an owner makes an owner');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'member'), 'and takes it back');
RESET ROLE;

-- the last manager
SELECT ok(walwarden.disable_member('acme', 'adm'), 'one of two managers may go');
SELECT throws_ok($$SELECT walwarden.remove_member('acme', 'root')$$, '55000', NULL, 'the last one may not');
SELECT throws_ok($$SELECT walwarden.disable_member('acme', 'root')$$, '55000', NULL, 'nor be disabled');
SELECT throws_ok($$SELECT walwarden.set_member_role('acme', 'root', 'analyst')$$, '55000', NULL, 'nor be demoted');
SELECT ok(walwarden.set_member_role('acme', 'root', 'admin'), 'but changed to admin, who manages as well');
SET LOCAL ROLE t_admin;
SELECT throws_ok($$SELECT * FROM walwarden.list_members('acme')$$, '42501', NULL, 'a disabled admin is nobody');
RESET ROLE;
SELECT ok(walwarden.remove_member('acme', 'adm'), 'a disabled manager may be removed');
SET LOCAL ROLE t_admin;
SELECT throws_ok($$SELECT * FROM walwarden.list_members('acme')$$, '42501', NULL, 'a removed admin is nobody');
RESET ROLE;
SELECT isnt(walwarden.add_member('acme', 'adm', 'member', 't_admin'), NULL, 'a removed subject can come back');

-- custom scopes and role overrides
SELECT ok(walwarden.create_scope('invoices:read', 'Read invoices', 'List invoices.'), 'create_scope');
SELECT ok('invoices:read' = ANY (walwarden_internal.role_scopes('owner')), 'owner carries it');
SELECT ok('invoices:read' = ANY (walwarden_internal.role_scopes('admin')), 'admin carries it');
SELECT ok(NOT 'invoices:read' = ANY (walwarden_internal.role_scopes('read_only')), 'read_only does not');
SELECT ok(walwarden.set_role_scopes('read_only', '{databases:read,invoices:read}'), 'until the role gets it');
SELECT is(walwarden_internal.role_scopes('read_only'), '{databases:read,invoices:read}', 'then it does');
SELECT ok(NOT walwarden.set_role_scopes('read_only', '{databases:read,invoices:read}'), 'the same scopes are no change');
SELECT ok(walwarden.set_role_scopes('admin', '{}'), 'an override may be empty');
SELECT is(walwarden_internal.role_scopes('admin'), '{}', 'and holds');
SELECT ok(walwarden.set_role_scopes('admin', NULL), 'NULL goes back');
SELECT set_eq($$SELECT unnest(walwarden_internal.role_scopes('admin'))$$, 'SELECT name COLLATE "default" FROM walwarden_internal.scope', 'to the built-in set: all');
SELECT ok(NOT walwarden.set_role_scopes('member', NULL), 'NULL where there is no override is no change');
SELECT set_eq($$SELECT unnest(walwarden_internal.role_scopes('owner'))$$, 'SELECT name COLLATE "default" FROM walwarden_internal.scope', 'as the owner, the new one too');
SELECT results_eq($$SELECT name COLLATE "default", walwarden_internal.role_scopes(name COLLATE "default") FROM walwarden_internal.role WHERE scopes IS NOT NULL AND name <> 'read_only' ORDER BY name$$,
    $$SELECT name COLLATE "default", scopes FROM walwarden_internal.role WHERE scopes IS NOT NULL AND name <> 'read_only' ORDER BY name$$,
    'roles without an override carry what is built in');

-- every change is one entry, no change is none
SELECT results_eq(
    $$SELECT kind COLLATE "default", count(*) FROM walwarden.list_audit('acme', 0, 1000) GROUP BY kind ORDER BY kind$$,
    $$VALUES ('member.added', 4::bigint), ('member.disabled', 2), ('member.enabled', 1), ('member.removed', 1),
             ('member.role_changed', 5), ('member.sso_changed', 1), ('org.created', 1), ('org.plan_changed', 2), ('org.settings_changed', 4)$$,
    'entries by kind');
SELECT results_eq(
    format($$SELECT kind COLLATE "default" FROM walwarden.list_audit('_system', %s, 1000) ORDER BY seq$$, :before),
    $$VALUES ('scope.created'), ('role.scopes_changed'), ('role.scopes_changed'), ('role.scopes_changed')$$,
    'entries of the system chain');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok$$, 'all chains verify');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok$$, 'in SQL too');

SELECT * FROM finish();
ROLLBACK;
