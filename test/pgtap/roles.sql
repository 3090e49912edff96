-- The catalogues that everybody may list, and scopes that are added to roles and removed.
BEGIN;
SELECT no_plan();
CREATE ROLE t_nobody;
CREATE ROLE t_op;
SELECT walwarden.grant_operator('t_op') \g /dev/null
CREATE FUNCTION scopes_of(role text) RETURNS text[] LANGUAGE sql AS $$SELECT scopes FROM walwarden.list_roles() WHERE name = role$$;
CREATE FUNCTION overridden(role text) RETURNS boolean LANGUAGE sql AS $$SELECT overridden FROM walwarden.list_roles() WHERE name = role$$;

-- the lists are the catalogues, for everybody
SET LOCAL ROLE t_nobody;
CREATE TEMP TABLE listed_role AS SELECT * FROM walwarden.list_roles();
CREATE TEMP TABLE listed_scope AS SELECT * FROM walwarden.list_scopes();
CREATE TEMP TABLE listed_plan AS SELECT * FROM walwarden.list_plans();
RESET ROLE;
SELECT columns_are('listed_role', '{name,scopes,builtin_scopes,overridden,capabilities,description}'::name[]);
SELECT results_eq('SELECT (name, capabilities, description)::text FROM listed_role',
    'SELECT (name, capabilities, description)::text FROM walwarden_internal.role ORDER BY name', 'every role, by name');
SELECT results_eq('SELECT builtin_scopes::text COLLATE "default" FROM listed_role ORDER BY name',
    'SELECT coalesce(scopes, ARRAY(SELECT name FROM walwarden_internal.scope ORDER BY name))::text COLLATE "default" FROM walwarden_internal.role ORDER BY name', 'with its built-in scopes');
SELECT is_empty('SELECT FROM listed_role WHERE overridden OR scopes IS DISTINCT FROM builtin_scopes', 'which it carries');
SELECT results_eq('SELECT l::text FROM listed_scope AS l', 'SELECT (name, label, description, builtin)::text FROM walwarden_internal.scope ORDER BY name', 'every scope');
SELECT results_eq('SELECT l::text FROM listed_plan AS l', 'SELECT (name, api_tokens)::text FROM walwarden_internal.plan ORDER BY name', 'every plan');

-- adding and removing changes what is named and nothing else
SET LOCAL ROLE t_op;
SELECT ok(walwarden.add_role_scopes('api_developer', '{evidence:read,databases:read}'), 'a scope is added');
SELECT is(scopes_of('api_developer'), '{databases:read,readiness:read,evidence:read}', 'to those that the role carries');
SELECT ok(overridden('api_developer'), 'which are overridden now');
SELECT is((SELECT builtin_scopes FROM walwarden.list_roles() WHERE name = 'api_developer'), '{databases:read,readiness:read}', 'and the built-in ones are still shown');
SELECT ok(NOT walwarden.add_role_scopes('api_developer', '{evidence:read}'), 'what it carries is no change');
SELECT ok(walwarden.remove_role_scopes('api_developer', '{databases:read,audit:read}'), 'a scope is removed');
SELECT is(scopes_of('api_developer'), '{readiness:read,evidence:read}', 'from those that the role carries');
SELECT ok(NOT walwarden.remove_role_scopes('api_developer', '[3:4]={databases:read,audit:read}'), 'what it does not carry is no change');
SELECT ok(walwarden.remove_role_scopes('api_developer', '{evidence:read,readiness:read}'), 'all are removed');
SELECT is(scopes_of('api_developer'), '{}', 'and none is left');
SELECT ok(walwarden.add_role_scopes('api_developer', '{readiness:read,databases:read}'), 'the built-in ones again');
SELECT ok(NOT overridden('api_developer'), 'are no override');

-- owners carry every scope, also later ones, until one is removed, and again when it is added
SELECT ok(NOT walwarden.add_role_scopes('owner', '{audit:read}'), 'an owner carries every scope');
SELECT ok(walwarden.remove_role_scopes('owner', '{audit:read}'), 'one is removed');
SELECT ok(walwarden.create_scope('one:read', 'One', 'Read one.'), 'a later scope');
SELECT ok(NOT scopes_of('owner') && '{audit:read,one:read}', 'is not carried');
SELECT ok(walwarden.add_role_scopes('owner', '{one:read,audit:read}'), 'both are added');
SELECT ok(walwarden.create_scope('two:read', 'Two', 'Read two.'), 'a later scope');
SELECT ok(scopes_of('owner') @> '{audit:read,one:read,two:read}' AND NOT overridden('owner'), 'is carried again');
SELECT set_has('SELECT name COLLATE "default" FROM walwarden.list_scopes() WHERE NOT builtin', $$VALUES ('one:read'), ('two:read')$$, 'listed as not built in');

-- relative to an override that names the built-in set
SELECT ok(walwarden.set_role_scopes('deploy', '{}'), 'an override equal to the built-in set');
SELECT ok(overridden('deploy') AND NOT walwarden.remove_role_scopes('deploy', '{audit:read}'), 'stays if nothing is removed');
SELECT ok(walwarden.set_role_scopes('deploy', NULL), 'until it is lifted');
RESET ROLE;

-- a token holds what the role carries
SELECT walwarden.create_org('acme') IS NOT NULL AS made, walwarden.add_member('acme', 'ann', 'analyst') IS NOT NULL AS added \g /dev/null
SELECT token FROM walwarden.issue_token('acme', 'ci', '{evidence:read,databases:read}', owner => 'ann') \gset
SELECT walwarden.remove_role_scopes('analyst', '{evidence:read}') \g /dev/null
SELECT ok(walwarden.authenticate(:'token') IS NOT NULL AND walwarden.has_scope('databases:read') AND NOT walwarden.has_scope('evidence:read'), 'a removed scope is not held');
SELECT walwarden.add_role_scopes('analyst', '{evidence:read}') \g /dev/null
SELECT ok(walwarden.authenticate(:'token') IS NOT NULL AND walwarden.has_scope('evidence:read'), 'an added scope is');

-- every change is one entry with the operator, no change is none
SELECT results_eq(
    $$SELECT kind COLLATE "default", body::jsonb #>> '{payload,object,id}', body::jsonb #> '{payload,after,scopes}', body::jsonb #>> '{payload,actor,role}'
               FROM walwarden.list_audit('_system', 0, 1000) WHERE body ~ '"role":"t_op"' AND kind = 'role.scopes_changed' ORDER BY seq LIMIT 4$$,
    $$VALUES ('role.scopes_changed', 'api_developer', '["databases:read","readiness:read","evidence:read"]'::jsonb, 't_op'),
             ('role.scopes_changed', 'api_developer', '["readiness:read","evidence:read"]', 't_op'),
             ('role.scopes_changed', 'api_developer', '[]', 't_op'),
             ('role.scopes_changed', 'api_developer', 'null', 't_op')$$,
    'entries of the changes');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok$$, 'all chains verify');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok$$, 'in SQL too');

SELECT * FROM finish();
ROLLBACK;
