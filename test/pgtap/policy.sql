-- How long tokens live: set_token_policy() and walwarden.max_token_lifetime, at issue,
-- renewal, enabling and update; and the entry that announces an expiry.
BEGIN;
SELECT no_plan();

CREATE ROLE tp_admin;
CREATE ROLE tp_owner;
SELECT walwarden.create_org('acme'), walwarden.create_org('other'),
       walwarden.add_member('acme', 'boss', 'owner', 'tp_owner'), walwarden.add_member('acme', 'adm', 'admin', 'tp_admin') \g /dev/null

CREATE FUNCTION kinds(org text DEFAULT 'acme') RETURNS SETOF text LANGUAGE sql AS $$SELECT kind FROM walwarden.list_audit(org, 0, 1000) ORDER BY seq$$;
CREATE FUNCTION last_entry() RETURNS jsonb LANGUAGE sql AS $$
    SELECT body::jsonb -> 'payload' FROM walwarden.list_audit('acme', 0, 1000) ORDER BY seq DESC LIMIT 1
$$;
CREATE FUNCTION policy() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' / ', coalesce(default_lifetime::text, '-'), coalesce(max_lifetime::text, '-'), notice) FROM walwarden.list_orgs() WHERE slug = 'acme'
$$;
CREATE FUNCTION lives(id uuid) RETURNS interval LANGUAGE sql AS $$SELECT justify_hours(expires_at - created_at) FROM walwarden_internal.token AS t WHERE t.id = lives.id$$;
-- Lets a token have been issued, renewed and enabled so much earlier.
CREATE FUNCTION let_age(id uuid, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.token AS t SET created_at = created_at - by, lifetime_from = lifetime_from - by, expires_at = expires_at - by WHERE t.id = let_age.id
$$;

-- what is set, kept and lifted
SELECT is(policy(), '- / - / 7 days', 'nothing is set but the notice');
SELECT ok(NOT walwarden.set_token_policy('acme'), 'all defaults: no change');
SELECT ok(walwarden.set_token_policy('acme', '30 days', '90 days', '3 days'), 'a policy');
SELECT is(policy(), '30 days / 90 days / 3 days', 'is listed');
SELECT is(last_entry() -> 'after', last_entry() -> 'before' || '{"defaultLifetimeSeconds": 2592000, "maxLifetimeSeconds": 7776000, "noticeSeconds": 259200}', 'and on record, in seconds');
SELECT ok(NOT walwarden.set_token_policy('acme', '30 days', '90 days', '72 hours'), 'the same again');
SELECT ok(walwarden.set_token_policy('acme', notice => NULL, max_lifetime => '1 year 1 month'), 'NULL keeps');
SELECT is(policy(), '30 days / 395 days / 3 days', 'a month is 30 days, a year 365');
SELECT ok(walwarden.set_token_policy('acme', '0', '0', '0'), '0 lifts');
SELECT is(policy(), '- / - / 00:00:00', 'all of it');
SELECT ok(walwarden.set_token_policy('acme', '36500 days', '100 years', '1 second'), 'the greatest');
SELECT set_eq('SELECT kinds()', $$VALUES ('org.created'), ('member.added'), ('org.policy_changed')$$, 'each change is an entry');
SELECT throws_ok(format('SELECT walwarden.set_token_policy(''acme'', %s => %L)', argument, span), '22023', 'invalid ' || argument, format('%s of %s', argument, span))
  FROM unnest('{default_lifetime,max_lifetime,notice}'::text[]) AS argument,
       unnest('{-1 second,36500 days 1 second,0.5 seconds,100 years 1 day,-1 month 29 days,178000000 years}'::text[]) AS span;
SELECT CASE WHEN current_setting('server_version_num')::int >= 170000
            THEN throws_ok($$SELECT walwarden.set_token_policy('acme', max_lifetime => 'infinity')$$, '22023', 'invalid max_lifetime', 'an infinite interval')
            ELSE pass('intervals are finite before PostgreSQL 17') END;
SELECT throws_ok($$SELECT walwarden.set_token_policy('acme', '2 days', '1 day')$$, '22023', 'default_lifetime exceeds the maximum lifetime', 'a default above the maximum');
SELECT throws_ok($$SELECT walwarden.set_token_policy('acme', max_lifetime => '1 day')$$, '22023', 'default_lifetime exceeds the maximum lifetime', 'also one that is set already');
SELECT ok(walwarden.set_token_policy('acme', '0', '1 day'), 'unless it is lifted');
SELECT ok(walwarden.set_token_policy('acme', '1 day', '1 day', '365 days'), 'as much as the maximum; a notice may be longer');
SET LOCAL ROLE tp_admin;
SELECT ok(walwarden.set_token_policy('acme', '2 days', '3 days'), 'by an admin');
SELECT throws_ok($$SELECT walwarden.set_token_policy('other')$$, '42501', NULL, 'of their organisation alone');
SELECT throws_ok($$SELECT walwarden.set_token_policy(NULL)$$, '42501', NULL, 'which is named');
SET LOCAL ROLE tp_owner;
SELECT ok(walwarden.set_token_policy('acme', '30 days', '90 days'), 'by an owner');
RESET ROLE;
SELECT throws_ok($$SELECT walwarden.set_token_policy(NULL)$$, '42704', NULL, 'no organisation');
SELECT walwarden.set_plan('acme', 'free') \g /dev/null
SELECT throws_ok($$SELECT walwarden.set_token_policy('acme', '1 day')$$, '55000', NULL, 'a plan without tokens');
SELECT walwarden.set_plan('acme', 'team') \g /dev/null

-- issue
SELECT token_id AS id FROM walwarden.issue_token('acme', 'x') \gset
SELECT is(lives(:'id'), '30 days', 'the default');
SELECT token_id AS id, expires_at FROM walwarden.issue_token('acme', 'x') \gset
SELECT is(:'expires_at', (SELECT expires_at FROM walwarden_internal.token WHERE id = :'id'), 'is returned too');
SELECT is(lives(token_id), '30 days', 'for kind api with a role') FROM walwarden.issue_token('acme', 'x', role => 'read_only');
SELECT is(expires_at, NULL, 'not for a node') FROM walwarden.issue_token('acme', 'x', kind => 'node');
SELECT is(expires_at, NULL, 'nor for an imported credential') FROM walwarden.import_legacy_credential('acme', 'adm', gen_random_uuid(), repeat('s', 32));
SELECT lives_ok($$SELECT walwarden.issue_token('acme', 'x', expires_at => now() + interval '90 days')$$, 'up to the maximum');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', expires_at => clock_timestamp() + interval '90 days 1 minute')$$, '22023', 'expiry exceeds the maximum lifetime', 'beyond it');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', expires_at => 'infinity')$$, '22023', 'a token without an expiry exceeds the maximum lifetime', 'for ever');
SELECT lives_ok($$SELECT walwarden.issue_token('acme', 'x', kind => 'node', expires_at => now() + interval '91 days')$$, 'a node may');
SELECT walwarden.set_token_policy('acme', '0') \g /dev/null
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x')$$, '22023', 'a token without an expiry exceeds the maximum lifetime', 'without a default there is nothing to fall back to');
SELECT walwarden.set_token_policy('acme', '30 days', '0') \g /dev/null
SELECT is(expires_at, NULL, 'infinity asks for no expiry, whatever the default') FROM walwarden.issue_token('acme', 'x', expires_at => 'infinity');
SELECT is(expires_at, NULL, 'another organisation has its own policy') FROM walwarden.issue_token('other', 'x');

-- what exists keeps its expiry; what is changed obeys
SELECT token_id AS forever, token AS forever_v FROM walwarden.issue_token('acme', 'forever', expires_at => 'infinity') \gset
SELECT token_id AS year FROM walwarden.issue_token('acme', 'year', expires_at => now() + interval '1 year') \gset
SELECT walwarden.set_token_policy('acme', '30 days', '90 days') \g /dev/null
SELECT is((SELECT expires_at FROM walwarden_internal.token WHERE id = :'forever'), NULL, 'a tighter policy changes no token');
SELECT ok(walwarden.authenticate(:'forever_v') IS NOT NULL, 'which still opens');
SELECT throws_ok(format('SELECT walwarden.renew_token(%L)', id), '22023', message, 'renew counts the expiry from now')
  FROM (VALUES (:'forever', 'a token without an expiry exceeds the maximum lifetime'), (:'year', 'expiry exceeds the maximum lifetime')) AS v(id, message);
SELECT ok(walwarden.disable_token(:'forever') AND walwarden.disable_token(:'year'), 'disable does not ask');
SELECT throws_ok(format('SELECT walwarden.enable_token(%L)', id), '22023', NULL, 'enable keeps no such expiry') FROM unnest(ARRAY[:'forever', :'year']) AS id;
SELECT throws_ok(format('SELECT walwarden.enable_token(%L, ''infinity'')', :'year'), '22023', NULL, 'and gives none');
SELECT ok(walwarden.enable_token(:'year', now() + interval '90 days'), 'it gives what the maximum allows');
SELECT ok(walwarden.enable_token(:'forever', now() + interval '1 day'), 'or less');
SELECT ok(walwarden.update_token(:'year', 'renamed'), 'a rename asks for no lifetime');
SELECT token_id AS id FROM walwarden.issue_token('acme', 'x') \gset
SELECT let_age(:'id', '20 days') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.update_token(%L, expires_at => now() + interval ''71 days'')', :'id'), '22023', 'expiry exceeds the maximum lifetime', 'update counts from the issue');
SELECT ok(walwarden.update_token(:'id', expires_at => now() + interval '69 days'), 'and lengthens up to the maximum');
SELECT throws_ok(format('SELECT walwarden.update_token(%L, expires_at => ''infinity'')', :'id'), '22023', NULL, 'never for ever');
SELECT ok((walwarden.renew_token(:'id')) IS NOT NULL, 'renew lets it begin again');
SELECT ok(walwarden.update_token(:'id', expires_at => now() + interval '90 days'), 'so that update can lengthen it further');
SELECT let_age(:'id', '20 days') \g /dev/null
SELECT ok(walwarden.disable_token(:'id') AND walwarden.enable_token(:'id', now() + interval '90 days'), 'enable lets it begin again too');
SELECT walwarden.set_token_policy('acme', '0', '0') \g /dev/null
SELECT token_id AS id FROM walwarden.issue_token('acme', 'x') \gset
UPDATE walwarden_internal.token SET created_at = created_at - interval '1 year' WHERE id = :'id';
SELECT walwarden.set_token_policy('acme', '30 days', '90 days') \g /dev/null
SELECT ok(NOT walwarden.update_token(:'id', expires_at => 'infinity'), 'the expiry that it has is no change');
SELECT throws_ok(format('SELECT walwarden.update_token(%L, expires_at => now() + interval ''91 days'')', :'id'), '22023', NULL, 'an older token is not brought beyond the maximum');
SELECT ok(walwarden.update_token(:'id', expires_at => now() + interval '89 days'), 'but within it');
SELECT ok((walwarden.renew_token(:'id')) IS NOT NULL, 'and is then renewed');

-- the server's maximum
SET LOCAL walwarden.max_token_lifetime = '10d';
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x')$$, '22023', 'expiry exceeds the maximum lifetime', 'a default beyond it is refused, never shortened');
SELECT throws_ok($$SELECT walwarden.issue_token('other', 'x')$$, '22023', 'a token without an expiry exceeds the maximum lifetime', 'it binds every organisation');
SELECT lives_ok($$SELECT walwarden.issue_token('other', 'x', expires_at => now() + interval '10 days')$$, 'up to it');
SELECT lives_ok($$SELECT walwarden.issue_token('other', 'x', kind => 'node')$$, 'kind api alone');
SELECT throws_ok($$SELECT walwarden.set_token_policy('acme', max_lifetime => '11 days')$$, '22023', 'max_lifetime exceeds walwarden.max_token_lifetime', 'no maximum beyond it');
SELECT throws_ok($$SELECT walwarden.set_token_policy('other', '11 days')$$, '22023', 'default_lifetime exceeds the maximum lifetime', 'nor a default');
SELECT ok(walwarden.set_token_policy('acme', notice => '1 day'), 'what was set before does not hinder the rest');
SELECT ok(walwarden.set_token_policy('acme', '5 days', '5 days'), 'the lower one');
SELECT throws_ok($$SELECT walwarden.issue_token('acme', 'x', expires_at => now() + interval '6 days')$$, '22023', NULL, 'applies');
SET LOCAL ROLE tp_owner;
SELECT throws_ok('SET walwarden.max_token_lifetime = 0', '42501', NULL, 'superusers set it');
RESET ROLE;
SET LOCAL walwarden.max_token_lifetime = 0;

-- token.expiring
SELECT walwarden.create_org('calm') \g /dev/null
CREATE FUNCTION notices() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM kinds('calm') AS k WHERE k = 'token.expiring'$$;
SELECT walwarden.set_token_policy('calm', notice => '7 days') \g /dev/null
SELECT token_id AS id FROM walwarden.issue_token('calm', 'soon', expires_at => now() + interval '6 days') \gset
SELECT walwarden.issue_token('calm', 'later', expires_at => now() + interval '8 days'), walwarden.issue_token('calm', 'never') \g /dev/null
SELECT walwarden.disable_token(token_id) FROM walwarden.issue_token('calm', 'disabled', expires_at => now() + interval '1 day') \g /dev/null
SELECT walwarden.revoke_token(token_id) FROM walwarden.issue_token('calm', 'revoked', expires_at => now() + interval '1 day') \g /dev/null
SELECT set_eq('SELECT * FROM walwarden_internal.orgs_with_expiring_tokens()', $$SELECT id FROM walwarden_internal.org WHERE slug IN ('acme', 'calm') AND EXISTS (
    SELECT FROM walwarden_internal.token AS t WHERE t.org_id = org.id AND t.disabled_at IS NULL AND t.revoked_at IS NULL AND t.expires_at < now() + org.notice)$$, 'who has something to announce');
SELECT ok(walwarden.run_maintenance(), 'maintenance');
SELECT is(notices(), 1::bigint, 'announces what ends within the notice');
SELECT results_eq($$SELECT (body::jsonb #>> '{payload,object,id}')::uuid, body::jsonb #>> '{payload,actor,kind}', body::jsonb #>> '{payload,after,noticeFor}' = body::jsonb #>> '{payload,after,expiresAt}'
                      FROM walwarden.list_audit('calm') WHERE kind = 'token.expiring'$$, format($$VALUES (%L::uuid, 'system', true)$$, :'id'), 'as the system, with the expiry');
SELECT ok(NOT walwarden.run_maintenance(), 'once');
SELECT walwarden.renew_token(:'id'), walwarden.update_token(:'id', 'still soon') \g /dev/null
SELECT ok(NOT walwarden.run_maintenance(), 'also after a renewal, which keeps the expiry');
SELECT walwarden.update_token(:'id', expires_at => now() + interval '5 days') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND notices() = 2, 'again for another expiry');
SELECT walwarden.enable_token(token_id) FROM walwarden.list_tokens('calm') WHERE name = 'disabled' \g /dev/null
SELECT ok(walwarden.run_maintenance() AND notices() = 3, 'a disabled one when it is enabled');
SELECT walwarden.set_token_policy('calm', notice => '9 days') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND notices() = 4, 'a longer notice reaches further');
SELECT walwarden.set_token_policy('calm', notice => '0'), walwarden.issue_token('calm', 'x', expires_at => clock_timestamp() + interval '1 hour'),
       walwarden.issue_token('calm', 'node', kind => 'node', expires_at => clock_timestamp() + interval '1 hour') \g /dev/null
SELECT ok(NOT walwarden.run_maintenance(), 'without a notice there is none');
SELECT walwarden.set_token_policy('calm', notice => '1 day') \g /dev/null
SELECT ok(walwarden.run_maintenance() AND notices() = 6, 'with one, for nodes too');
-- the plan that the server makes where there are many tokens
INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, expires_at, notice_for, audit_seq)
SELECT o.id, 'many', 'api', '{}', now(), 'test', e, e, 1 FROM walwarden_internal.org AS o, generate_series(1, 20000) AS i, LATERAL (SELECT now() + i * interval '1 minute') AS n(e) WHERE o.slug = 'other';
ANALYZE walwarden_internal.token;
CREATE FUNCTION reads_whole() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || (SELECT prosrc FROM pg_proc WHERE proname = 'orgs_with_expiring_tokens') INTO plan;
    RETURN plan::text ~ '"Node Type": "Seq Scan"[^}]*"Relation Name": "token"';
END
$$;
SELECT ok(NOT reads_whole(), 'nothing to announce is found without reading all tokens');
DELETE FROM walwarden_internal.token WHERE name = 'many';
-- those that expire while maintenance runs are not announced, and do not count
CREATE FUNCTION announced_after(wait float8) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    calm uuid := (SELECT o.id FROM walwarden_internal.org AS o WHERE o.slug = 'calm');
BEGIN
    INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, expires_at, audit_seq)
    SELECT calm, 'brief', 'api', '{}', now(), 'test', clock_timestamp() + interval '10 ms', 1 FROM generate_series(1, 3);
    PERFORM pg_sleep(wait);
    RETURN walwarden_internal.announce_expiries_of(calm, 3);
END
$$;
SELECT is(announced_after(0.05), 0, 'no more are found where all have expired meanwhile');
DELETE FROM walwarden_internal.token WHERE name = 'brief';

SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain('calm') WHERE NOT ok$$, 'the chain says all of it');
SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain_sql('calm') WHERE NOT ok$$, 'in SQL too');

SELECT * FROM finish();
ROLLBACK;
