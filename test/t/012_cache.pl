# What a backend remembers of tokens: bounded, never of what is unknown, never of
# what may roll back, never older than the last change, on a standby too. That it
# is not stale under load is test/stale.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "max_prepared_transactions = 2\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme'), walwarden.create_org('other');
	SELECT walwarden.add_member('acme', 'ann', 'owner'), walwarden.add_member('acme', 'bob', 'member');
	CREATE ROLE nobody;
	CREATE TABLE known AS SELECT * FROM walwarden.issue_token('acme', 'shared', '{databases:read}');
	CREATE TABLE theirs AS SELECT * FROM walwarden.issue_token('acme', 'private', '{databases:read,evidence:read}', owner => 'bob');
	CREATE FUNCTION opens(token text, scope text DEFAULT 'databases:read') RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM walwarden.authenticate(token);
		RETURN walwarden.has_scope(scope);
	EXCEPTION WHEN invalid_authorization_specification THEN
		RETURN false;
	END $$;
	-- index and sequential scans of what a status depends on, by this backend
	CREATE FUNCTION scans() RETURNS bigint LANGUAGE sql AS $$
		SELECT sum(pg_stat_get_xact_numscans(c.oid)) FROM pg_class AS c WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relname LIKE ANY ('{credential%,token\_pkey,org\_pkey,member\_pkey,role%}') AND c.relkind IN ('r', 'i')
	$$;
	CREATE FUNCTION memory_of(context text) RETURNS bigint LANGUAGE sql AS $$
		SELECT coalesce(sum(total_bytes), 0)::bigint FROM pg_backend_memory_contexts WHERE name = context
	$$;
});
my $token = $node->safe_psql('postgres', 'SELECT token FROM known');
my $private = $node->safe_psql('postgres', 'SELECT token FROM theirs');

# sessions that stay: one that uses, one that changes
my $user = $node->background_psql('postgres', on_error_stop => 0);
my $admin = $node->background_psql('postgres', on_error_stop => 0);
sub ask { my ($query) = @_; my $out = $user->query($query); $out =~ s/\s+$//; return $out; }
sub opens { my ($t, $scope) = @_; return ask(sprintf "SELECT opens('%s', '%s');", $t, $scope // 'databases:read'); }
sub change { $admin->query($_[0]); }

is(opens($token), 't', 'a token opens');
is(ask("BEGIN; SELECT scans() AS before \\gset\nSELECT opens('$token'); SELECT scans() - :before; COMMIT;"), "t\n0", 'and the next time without a look at a table');

# each change in another session, and what was rolled back
my @changes = (
	[ 'disable', $token, 'databases:read', "SELECT walwarden.disable_token(token_id) FROM known;", "SELECT walwarden.enable_token(token_id) FROM known;" ],
	# close_org() revokes the token too; here the organisation alone decides
	[ 'closed', $token, 'databases:read', "UPDATE walwarden_internal.org SET closed_at = now() WHERE slug = 'acme';", "UPDATE walwarden_internal.org SET closed_at = NULL WHERE slug = 'acme';" ],
	[ 'plan', $token, 'databases:read', "SELECT walwarden.set_plan('acme', 'free');", "SELECT walwarden.set_plan('acme', 'team');" ],
	[ 'owner', $private, 'databases:read', "SELECT walwarden.disable_member('acme', 'bob');", "SELECT walwarden.enable_member('acme', 'bob');" ],
	[ 'role', $private, 'evidence:read', "SELECT walwarden.set_member_role('acme', 'bob', 'api_developer');", "SELECT walwarden.set_member_role('acme', 'bob', 'member');" ],
	[ 'role scopes', $private, 'evidence:read', "SELECT walwarden.set_role_scopes('member', '{}');", "SELECT walwarden.set_role_scopes('member', NULL);" ],
	[ 'under replica role', $token, 'databases:read',
		"SET session_replication_role = replica; UPDATE walwarden_internal.token SET disabled_at = now() WHERE id = (SELECT token_id FROM known); RESET session_replication_role;",
		"SET session_replication_role = replica; UPDATE walwarden_internal.token SET disabled_at = NULL WHERE id = (SELECT token_id FROM known); RESET session_replication_role;" ],
	[ 'a row gone', $token, 'databases:read',
		"CREATE TABLE gone AS SELECT c.* FROM walwarden_internal.credential AS c JOIN known AS k USING (token_id); DELETE FROM walwarden_internal.credential AS c USING known AS k WHERE c.token_id = k.token_id;",
		"INSERT INTO walwarden_internal.credential SELECT * FROM gone; DROP TABLE gone;" ],
	[ 'by two-phase commit', $token, 'databases:read',
		"BEGIN; UPDATE walwarden_internal.token SET disabled_at = now() WHERE id = (SELECT token_id FROM known); PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x';",
		"UPDATE walwarden_internal.token SET disabled_at = NULL WHERE id = (SELECT token_id FROM known);" ],
);
for my $case (@changes)
{
	my ($what, $t, $scope, $do, $undo) = @$case;
	is(opens($t, $scope), 't', "$what: before");
	change("BEGIN; $do ROLLBACK;") unless $what =~ /commit/;
	is(opens($t, $scope), 't', "$what: rolled back");
	change($do);
	is(opens($t, $scope), 'f', "$what: changed");
	change($undo);
	is(opens($t, $scope), 't', "$what: changed back");
}
change('BEGIN; TRUNCATE walwarden_internal.credential; COMMIT;');
is(opens($token), 'f', 'TRUNCATE');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden_internal.credential}), '0', 'was one');

# changes of the own transaction, and its subtransactions
$node->safe_psql('postgres', q{TRUNCATE known; INSERT INTO known SELECT * FROM walwarden.issue_token('acme', 'another', '{databases:read}')});
$token = $node->safe_psql('postgres', 'SELECT token FROM known');
is(ask("BEGIN; SELECT opens('$token'); SELECT walwarden.disable_token(token_id) FROM known; SELECT opens('$token'); ROLLBACK; SELECT opens('$token');"), "t\nt\nf\nt", 'an own change that rolls back');
is(ask("BEGIN; SELECT opens('$token'); SAVEPOINT s; SELECT walwarden.disable_token(token_id) FROM known; SELECT opens('$token'); ROLLBACK TO s; SELECT opens('$token'); COMMIT; SELECT opens('$token');"), "t\nt\nf\nt\nt", 'and one of a subtransaction');
is(ask("BEGIN; SELECT token AS t FROM walwarden.issue_token('acme', 'undone', '{databases:read}') \\gset\nSELECT opens(:'t'); ROLLBACK; SELECT opens(:'t');"), "t\nf", 'a token that was never committed');
is(ask("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT opens('$token');"), 't', 'a fixed snapshot');
change('SELECT walwarden.disable_token(token_id) FROM known;');
is(ask("SELECT opens('$token'); COMMIT;"), 'f', 'does not keep a token alive');
change('SELECT walwarden.enable_token(token_id) FROM known;');

# A change of one token is of the tokens whose ids have the same first byte, of which there are
# two among 257.
$node->safe_psql('postgres', q{CREATE TABLE keyed AS SELECT i.* FROM generate_series(1, 257) AS n, walwarden.issue_token('acme', 'keyed ' || n, '{databases:read}') AS i});
my ($one_id, $one, $same, $other_id, $other) = split /\|/, $node->safe_psql('postgres', q{
	SELECT a.token_id, a.token, b.token, c.token_id, c.token
	  FROM keyed AS a JOIN keyed AS b ON left(a.token_id::text, 2) = left(b.token_id::text, 2) AND a.token_id < b.token_id
	  JOIN keyed AS c ON left(a.token_id::text, 2) <> left(c.token_id::text, 2) LIMIT 1});
# by a session that opens it: how often it looks at tables; which token it is
sub scans_of { my ($t) = @_; return ask("BEGIN; SELECT scans() AS before \\gset\nSELECT opens('$t') \\g /dev/null\nSELECT scans() - :before; COMMIT;"); }
sub id_of { my ($t) = @_; return ask("BEGIN; SELECT opens('$t') \\g /dev/null\nSELECT walwarden.current_token_id(); COMMIT;"); }
# which of these three are not remembered; they are again afterwards
sub looked_up { my %tokens = (one => $one, same => $same, other => $other); return join ' ', grep { scans_of($tokens{$_}) > 0 } qw(one same other); }
looked_up();
is(looked_up(), '', 'all are remembered');
change("SELECT walwarden.disable_token('$one_id');");
is(scans_of($other), 0, 'a change of one token lets another be remembered');
cmp_ok(scans_of($same), '>', 0, 'but not one with the same first byte');
is(opens($one), 'f', 'nor the one');
change("SELECT walwarden.enable_token('$one_id');");
looked_up();
change("UPDATE walwarden_internal.credential SET token_id = '$other_id' WHERE fingerprint = sha256('$one');");
is(id_of($one), $other_id, 'a credential that goes to another token is of that one');
is(looked_up(), 'same other', 'and both tokens were changed');
change("UPDATE walwarden_internal.credential SET token_id = '$one_id' WHERE fingerprint = sha256('$one');");
is(id_of($one), $one_id, 'and back');

# a change of which the key is not known is of every token
sub changes_all { my ($what, $do) = @_; looked_up(); change($do); cmp_ok(scans_of($other), '>', 0, $what); return; }
changes_all('a trigger for each statement', qq{BEGIN; CREATE TRIGGER whole BEFORE UPDATE ON walwarden_internal.token FOR EACH STATEMENT EXECUTE FUNCTION walwarden_internal.signal_change();
	UPDATE walwarden_internal.token SET name = name WHERE false; DROP TRIGGER whole ON walwarden_internal.token; COMMIT;});
changes_all('a key that is null', qq{BEGIN; ALTER TABLE walwarden_internal.credential ALTER token_id DROP NOT NULL, DISABLE TRIGGER copy_token_status;
	UPDATE walwarden_internal.credential SET token_id = NULL WHERE fingerprint = sha256('$one');
	ALTER TABLE walwarden_internal.credential ENABLE ALWAYS TRIGGER copy_token_status; COMMIT;});
change(qq{UPDATE walwarden_internal.credential SET token_id = '$one_id' WHERE fingerprint = sha256('$one'); ALTER TABLE walwarden_internal.credential ALTER token_id SET NOT NULL;});
is(opens($one), 't', 'and is one again');
# the name of a table alone does not say that it has keys
is($node->safe_psql('postgres', q{
	CREATE SCHEMA far; CREATE TABLE far.cache_signal (); CREATE TABLE far.token (n bigint); CREATE TABLE far.credential (n bigint);
	CREATE TRIGGER signal_change BEFORE UPDATE ON far.token FOR EACH ROW EXECUTE FUNCTION walwarden_internal.signal_change();
	CREATE TRIGGER signal_change BEFORE UPDATE ON far.credential FOR EACH ROW EXECUTE FUNCTION walwarden_internal.signal_change();
	INSERT INTO far.token VALUES (1); INSERT INTO far.credential VALUES (1);
	UPDATE far.token SET n = 2; UPDATE far.credential SET n = 2;
	SELECT t.n, c.n FROM far.token AS t, far.credential AS c}), '2|2', 'a table of the same name');
$node->safe_psql('postgres', 'DROP SCHEMA far CASCADE');

# what a superuser changed without a trigger is seen when maintenance restores it, or a statement tells
sub without_trigger { my ($plan, $then) = @_; change("BEGIN; ALTER TABLE walwarden_internal.org DISABLE TRIGGER signal_change; UPDATE walwarden_internal.org SET plan = '$plan' WHERE slug = 'acme'; COMMIT; $then;"); return opens($one); }
is(without_trigger('free', 'SELECT 1'), 't', 'a change without a signal is not seen');
is(without_trigger('free', 'ALTER TABLE walwarden_internal.cache_signal RESET (fillfactor)'), 'f', 'until one is sent');
is(without_trigger('team', 'ALTER TABLE walwarden_internal.cache_signal RESET (fillfactor)'), 't', 'nor the next');
is(without_trigger('free', 'SELECT walwarden.run_maintenance()'), 'f', 'until the trigger is restored');
change("UPDATE walwarden_internal.org SET plan = 'team' WHERE slug = 'acme';");
is(opens($one), 't', 'which signals as before');

# While an old transaction runs, what is remembered of organisations is older than a young
# token. That one is read without it; the others go on with it.
my @old = split /\n/, $node->safe_psql('postgres', q{SELECT t.token FROM generate_series(1, 2) AS n, walwarden.issue_token('other', 'old ' || n, '{databases:read}') AS t});
change("SELECT walwarden.set_plan('other', 'free'); SELECT walwarden.set_plan('other', 'team');");
opens($token);
opens($old[0]);
my $writer = $node->background_psql('postgres', on_error_stop => 0);
$writer->query('BEGIN; SELECT pg_current_xact_id();');
my $young = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'young', '{databases:read}')});
is(opens($young), 't', 'a token that is younger than a transaction');
is(scans_of($old[1]), 1, 'lets what others have in common be remembered');
$writer->quit;
my @younger = split /\n/, $node->safe_psql('postgres', q{SELECT t.token FROM generate_series(1, 2) AS n, walwarden.issue_token('acme', 'younger ' || n, '{databases:read}') AS t});
is(opens($younger[0]), 't', 'once that has ended');
is(scans_of($younger[1]), 1, 'what young ones have in common is remembered anew');

# time
is(ask("SELECT token AS t FROM walwarden.issue_token('acme', 'short', '{databases:read}', clock_timestamp() + interval '5 seconds') \\gset\nSELECT opens(:'t'); SELECT pg_sleep(5); SELECT opens(:'t');"), "t\n\nf", 'an expiry that passes between two uses');
is(ask("SELECT token AS t FROM walwarden.issue_token('acme', 'renewed', '{databases:read}') \\gset\nSELECT token_id AS id, token AS t2 FROM walwarden.renew_token((SELECT token_id FROM walwarden.list_tokens('acme', NULL, 1)), '5 seconds') \\gset\nSELECT opens(:'t'), opens(:'t2'); SELECT pg_sleep(5); SELECT opens(:'t'), opens(:'t2');"), "t|t\n\nf|t", 'an overlap too');

# what is unknown is not remembered: no memory, and nobody gives way
is(opens($token), 't', 'a good token');
my $held = ask("SELECT memory_of('walwarden tokens');");
ask(q{SELECT count(*) FILTER (WHERE opens('wal_' || encode(sha256(i::text::bytea), 'hex'))) FROM generate_series(1, 20000) AS i;});
is(ask("SELECT memory_of('walwarden tokens');"), $held, '20,000 random tokens take no memory');
is(ask("BEGIN; SELECT scans() AS before \\gset\nSELECT opens('$token'); SELECT scans() - :before; COMMIT;"), "t\n0", 'and displace nothing');

# more good tokens than are remembered, by a transaction that writes nothing, or it
# would remember nothing
ask('SET default_transaction_read_only = on;');
$node->safe_psql('postgres', q{CREATE TABLE many AS SELECT (walwarden.issue_token('other', 'many', '{databases:read}')).token FROM generate_series(1, 9000)});
is(ask('SELECT count(*) FILTER (WHERE opens(token)) FROM many;'), 9000, '9,000 tokens open');
my $full = ask("SELECT memory_of('walwarden tokens');");
cmp_ok($full, '<', 8 * 1024 * 1024, 'in bounded memory');
is(ask('SELECT count(*) FILTER (WHERE opens(token)) FROM many;'), 9000, 'again');
cmp_ok(ask("SELECT memory_of('walwarden tokens');"), '<=', $full * 1.1, 'which does not grow');

ask('RESET default_transaction_read_only;');

# who may give the address of a client, after a look at it that failed half-way
$node->safe_psql('postgres', 'CREATE ROLE dem SUPERUSER LOGIN');
my $dem = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'dem' ]);
my $gives = "SELECT walwarden.authenticate('$token', '192.0.2.7') IS NOT NULL";
my $state = sub { my ($query) = @_; my $out = $dem->query("$query;\n\\echo :SQLSTATE"); $out =~ s/\s+$//; return $out; };
is($state->($gives), "t\n00000", 'a superuser gives the address of a client');
$node->safe_psql('postgres', 'ALTER ROLE dem NOSUPERUSER');
change('BEGIN; LOCK TABLE walwarden_internal.role_grant;');
$dem->query("SET lock_timeout = '10ms';");
is($state->($gives), '55P03', 'one that is none any more, when that cannot be looked up');
change('ROLLBACK;');
is($state->($gives), '42501', 'may not afterwards');
$dem->quit;

# a standby
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'\nsynchronous_commit = remote_apply\n");
$node->reload;
my $reader = $standby->background_psql('postgres', on_error_stop => 0);
my $there = sub { my $out = $reader->query("SELECT opens('$token');"); $out =~ s/\s+$//; return $out; };
is($there->(), 't', 'a standby');
$node->safe_psql('postgres', 'SELECT walwarden.disable_token(token_id) FROM known');
is($there->(), 'f', 'refuses what it has replayed');
$node->safe_psql('postgres', 'SELECT walwarden.enable_token(token_id) FROM known');
is($there->(), 't', 'and accepts it');
$node->safe_psql('postgres', "SELECT walwarden.set_plan('acme', 'pro')");
is($there->(), 'f', 'plan');
$reader->quit;
$standby->stop;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
$node->reload;
$node->safe_psql('postgres', "SELECT walwarden.set_plan('acme', 'team')");

# another extension than the one that was remembered
is(opens($token), 't', 'before DROP EXTENSION');
change('DROP FUNCTION scans(); DROP EXTENSION walwarden; CREATE EXTENSION walwarden;');
is(ask("SELECT walwarden.create_org('acme') IS NOT NULL; SELECT opens('$token');"), "t\nf", 'a token of an extension that is gone');
is(ask("SELECT token AS t FROM walwarden.issue_token('acme', 'x', '{databases:read}') \\gset\nSELECT opens(:'t'), opens(:'t');"), 't|t', 'and one of the new');

# the same, if the first look at the new one is introspect_token()
change('DROP EXTENSION walwarden; CREATE EXTENSION walwarden;');
$token = $node->safe_psql('postgres', q{SELECT walwarden.create_org('acme') \g /dev/null
	SELECT token FROM walwarden.issue_token('acme', 'x', '{databases:read}')});
my $introspect = "SELECT walwarden.introspect_token('$token') ->> 'active';";
is(ask($introspect), 'true', 'a token of the new one is introspected');
change("SELECT walwarden.set_plan('acme', 'free');");
is(ask($introspect), 'false', 'and what it depends on was not remembered for ever');

$user->quit;
$admin->quit;
$node->stop;
done_testing();
