-- The rights table, cell by cell.
BEGIN;
SELECT no_plan();
\i test/pgtap/rights.psql

-- One server role for each column. Everyone has a private token, those whose
-- role has none from the time when they had another.
CREATE TEMP TABLE caller AS
SELECT k.key AS name, 'tr_' || k.key AS role
  FROM jsonb_each_text((SELECT to_jsonb(r) - 'action' FROM rights AS r LIMIT 1)) AS k;
SELECT walwarden.create_org('acme'), walwarden.create_org('other') \g /dev/null
SELECT format('CREATE ROLE %I', role) FROM caller \gexec
SELECT walwarden.grant_operator('tr_operator') \g /dev/null
SELECT walwarden.add_member('acme', name, CASE WHEN name IN ('owner', 'admin') THEN name ELSE 'member' END, role),
       walwarden.issue_token('acme', name, owner => name),
       walwarden.set_member_role('acme', name, name)
  FROM caller WHERE name NOT IN ('operator', 'other_org', 'nobody') \g /dev/null
SELECT walwarden.add_member('other', 'boss', 'owner', 'tr_other_org') \g /dev/null
CREATE ROLE tr_another;
SELECT walwarden.add_member('acme', 'another', 'member', 'tr_another'),
       walwarden.issue_token('acme', 'another', owner => 'another'),
       walwarden.issue_token('acme', 'shared') \g /dev/null

CREATE FUNCTION id_of(token_name text) RETURNS uuid LANGUAGE sql AS $$SELECT id FROM walwarden_internal.token WHERE name = token_name$$;

-- What comes of a statement that a role runs, undone: yes when it returns what it
-- should, the SQLSTATE of its error, or what it returns otherwise.
CREATE FUNCTION tried(role text, prepare text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    IF prepare IS NOT NULL THEN
        EXECUTE prepare;
    END IF;
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement INTO result;
    RAISE SQLSTATE 'WW000' USING MESSAGE = coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN CASE SQLERRM WHEN 'true' THEN 'yes' ELSE SQLERRM END
                         WHEN '42501' THEN 'no' ELSE SQLSTATE || ' ' || SQLERRM END;
END
$$;

-- How an action of the table is done. me: the caller's token and subject.
CREATE FUNCTION cell(action text, me text, role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    -- as a literal, because the caller cannot read the table
    target text := quote_nullable(id_of(CASE WHEN action ~ ' own ' THEN me WHEN action ~ ' private ' THEN 'another' ELSE 'shared' END));
    everything bigint := (SELECT count(*) FROM walwarden_internal.token AS t JOIN walwarden_internal.org AS o ON o.id = t.org_id WHERE o.slug = 'acme');
BEGIN
    RETURN CASE
        WHEN action = 'set the token policy' THEN tried(role, NULL, $s$SELECT walwarden.set_token_policy('acme', '30 days')$s$)
        WHEN action = 'issue a shared token' THEN tried(role, NULL, $s$SELECT token_id IS NOT NULL FROM walwarden.issue_token('acme', 'x')$s$)
        WHEN action ~ '^issue' THEN tried(role, NULL, format($s$SELECT token_id IS NOT NULL FROM walwarden.issue_token('acme', 'x', owner => %L)$s$,
                                                             CASE WHEN action ~ 'own' THEN me ELSE 'another' END))
        WHEN action ~ '^list own' AND target <> 'NULL' AND tried(role, NULL, format('SELECT token_id = %1$s FROM walwarden.get_token(%1$s)', target)) <> 'yes' THEN 'get_token() refuses'
        WHEN action ~ '^list all' THEN replace(tried(role, NULL, format($s$SELECT count(*) = %s FROM walwarden.list_tokens('acme')$s$, everything)), 'false', 'no')
        WHEN action ~ '^list own' THEN replace(tried(role, NULL, format($s$SELECT count(*) = 1 FROM walwarden.list_tokens('acme') WHERE token_id = %s$s$, target)), 'false', 'no')
        WHEN action ~ '^disable' THEN tried(role, NULL, format('SELECT walwarden.disable_token(%s)', target))
        WHEN action = 'enable an own token' THEN
            -- whoever disabled it: both have to come out alike
            CASE WHEN tried(role, format('SELECT walwarden.disable_token(%s)', target), format('SELECT walwarden.enable_token(%s)', target))
                    = tried(role, format('SET LOCAL ROLE %I; SELECT walwarden.disable_token(%s); RESET ROLE', role, target), format('SELECT walwarden.enable_token(%s)', target))
                 THEN tried(role, format('SELECT walwarden.disable_token(%s)', target), format('SELECT walwarden.enable_token(%s)', target))
                 ELSE 'depends on who disabled it' END
        WHEN action ~ '^enable .* its owner disabled' THEN
            tried(role, format('SET LOCAL ROLE tr_another; SELECT walwarden.disable_token(%s); RESET ROLE', target), format('SELECT walwarden.enable_token(%s)', target))
        WHEN action ~ '^enable an expired' THEN
            tried(role, format('SET LOCAL ROLE tr_operator; SELECT walwarden.disable_token(%1$s); RESET ROLE; UPDATE walwarden_internal.token SET expires_at = now() - interval ''1 hour'' WHERE id = %1$s', target), format($s$SELECT walwarden.enable_token(%s, 'infinity')$s$, target))
        WHEN action ~ '^enable' THEN
            tried(role, format('SET LOCAL ROLE tr_operator; SELECT walwarden.disable_token(%s); RESET ROLE', target), format('SELECT walwarden.enable_token(%s)', target))
        WHEN action ~ '^renew' THEN tried(role, NULL, format('SELECT token_id = %1$s FROM walwarden.renew_token(%1$s)', target))
        WHEN action ~ '^end the overlap' THEN
            -- from a row, because not everyone who has a token may renew it
            tried(role, format($s$INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, valid_until, audit_seq)
                                  SELECT sha256('previous'), t.id, 'bearer', now(), now() + interval '1 day', t.audit_seq FROM walwarden_internal.token AS t WHERE t.id = %s$s$, target),
                  format('SELECT walwarden.end_overlap(%s)', target))
        WHEN action ~ '^update' THEN tried(role, NULL, format($s$SELECT walwarden.update_token(%s, 'new name')$s$, target))
        WHEN action ~ '^revoke' THEN tried(role, NULL, format('SELECT walwarden.revoke_token(%s)', target)) END;
END
$$;

SELECT is(cell(r.action, c.name, c.role), k.value, format('%s: %s', c.name, r.action))
  FROM rights AS r, caller AS c, jsonb_each_text(to_jsonb(r)) AS k
 WHERE k.key = c.name AND k.value <> 'n/a';
SELECT set_eq('SELECT name FROM caller', $$SELECT name COLLATE "default" FROM walwarden_internal.role UNION ALL VALUES ('operator'), ('other_org'), ('nobody')$$, 'the table has every role');
SELECT is_empty($$SELECT p.action, p.target FROM walwarden_internal.permission AS p
                   WHERE p.action ~ '^token[.]' AND p.target IN ('own', 'private', 'shared', 'all')
                     AND NOT EXISTS (SELECT FROM rights AS r WHERE r.action ~ format('^%s .*\m%s\M', replace(split_part(p.action, '.', 2), '_', ' .*'), p.target))$$,
                'and every permission on a token');
SELECT is((SELECT count(DISTINCT k.value) FROM rights AS r, jsonb_each_text(to_jsonb(r) - 'action') AS k), 3::bigint, 'and says yes, no or n/a');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'nothing was left behind');

SELECT * FROM finish();
ROLLBACK;
