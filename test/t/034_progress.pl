# stat_progress: what a verification and a step of maintenance show while they run, and that
# nothing stays behind, however they end. A function that waits for a lock stops them.
use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'walwarden'\nwalwarden.maintenance_interval = '7d'\n");
$node->start;
sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

sql(q{
	CREATE EXTENSION walwarden CASCADE;
	CREATE ROLE monitor LOGIN; CREATE ROLE stranger LOGIN;
	SELECT walwarden.grant_monitor('monitor'), walwarden.create_org('acme');
	SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme') FROM generate_series(1, 600);
	SELECT walwarden.issue_token('acme', 'a');
	CREATE DATABASE other;
	-- the image of an organisation waits for the lock 1
	CREATE OR REPLACE FUNCTION walwarden_internal.org_slugs(org_id uuid) RETURNS text[] LANGUAGE plpgsql STABLE STRICT
	    SET search_path = pg_catalog, pg_temp
	AS $$BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN (SELECT array_agg(s.slug ORDER BY s.slug) FROM walwarden_internal.org_slug AS s WHERE s.org_id = $1); END$$});
$node->safe_psql('other', 'CREATE EXTENSION walwarden CASCADE');
sub shown { return sql(q{SET ROLE monitor; SELECT what, org, done, total, pid = (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted) FROM walwarden.stat_progress}); }
sub is_waiting { return $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted}); }

is(shown(), '', 'nothing is running');
my $holder = $node->background_psql('postgres');
my $end;
foreach my $run (
	[ q{SELECT ok FROM walwarden.verify_audit_chain('acme')}, 'verification: rows|acme|0|2|t', 'a verification' ],
	[ q{SELECT walwarden.run_maintenance()}, 'verification: rows|acme|0|2|t', 'the verification of maintenance' ],
	[ q{DO $$ BEGIN PERFORM walwarden.verify_audit_chain('acme'); EXCEPTION WHEN query_canceled THEN PERFORM pg_advisory_xact_lock_shared(2); END $$}, 'verification: rows|acme|0|2|t', 'one that is cancelled', 'cancel' ],
	[ q{SELECT ok FROM walwarden.verify_audit_chain('acme')}, 'verification: rows|acme|0|2|t', 'one whose process is ended', 'terminate' ])
{
	my ($query, $wanted, $what, $ending) = @$run;
	$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
	sql('DELETE FROM walwarden_internal.verification');
	my ($out, $err) = ('', '');
	my $running = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $query ], '<', \undef, '>', \$out, '2>', \$err);
	ok(is_waiting(), "$what waits");
	is(shown(), $wanted, 'and is shown');
	is($node->safe_psql('other', 'SELECT count(*) FROM walwarden.stat_progress'), '0', 'in its database only');
	if ($ending)
	{
		sql("SELECT pg_${ending}_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted");
		ok($node->poll_query_until('postgres', $ending eq 'cancel'
			? q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND NOT granted}
			: q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}), 'it ends');
		ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM walwarden.stat_progress'), 'nothing of it is shown, though its transaction goes on');
	}
	$holder->query_safe('SELECT pg_advisory_unlock_all()');
	IPC::Run::finish($running);
	is(shown(), '', 'nothing stays behind');
}

# all chains, by the workers of a parallel query
sql(q{SELECT walwarden.create_org('org-' || n) FROM generate_series(1, 8) AS n});
$holder->query_safe('SELECT pg_advisory_lock(1)');
my ($verified, $why) = ('', '');
my $parallel = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT count(*), bool_and(ok) FROM walwarden.verify_audit_chain()' ], '<', \undef, '>', \$verified, '2>', \$why);
ok($node->poll_query_until('postgres', q{SELECT count(*) > 1 FROM pg_locks AS l JOIN walwarden.stat_progress AS p USING (pid) WHERE l.locktype = 'advisory' AND NOT l.granted}), 'several processes verify, and are shown');
is(sql(q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND leader_pid IS NOT NULL}), 't', 'some of them are workers');
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE '%bool_and(ok)%' AND pid <> pg_backend_pid()});
IPC::Run::finish($parallel);
like($why, qr/canceling statement/, 'it is cancelled');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM walwarden.stat_progress'), 'and nothing of the workers stays behind');
$holder->query_safe('SELECT pg_advisory_unlock_all()');
my $all = q{SELECT string_agg(format('%s %s %s %s', org, entries, head_hash, ok), ',') FROM walwarden.verify_audit_chain()};
is(sql($all), sql("SET max_parallel_workers_per_gather = 0; $all"), 'the same verdicts with and without workers, in the same order');
is(sql("BEGIN; SELECT walwarden.create_org('own') IS NULL; SELECT count(*), bool_and(ok) FROM walwarden.verify_audit_chain(); ROLLBACK"), "f\n11|t", 'workers see what the transaction has written');
$holder->quit;

# a step of maintenance: sessions wait for a lock on their table
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN'); $locker->query_safe('LOCK TABLE walwarden_internal.session');
my $running = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT walwarden.run_maintenance()' ], '<', \undef, '>', \my $out, '2>', \my $err);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM walwarden.stat_progress WHERE what = 'maintenance: sessions' AND org IS NULL AND done IS NULL AND total IS NULL}), 'a step of maintenance is shown');
$locker->query_safe('COMMIT');
$locker->quit;
IPC::Run::finish($running);

my ($ret, $stdout, $stderr) = $node->psql('postgres', '\set VERBOSITY sqlstate
SET ROLE stranger; SELECT * FROM walwarden.stat_progress');
like($stderr, qr/42501/, 'others see nothing');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
is(sql('SELECT count(*) FROM walwarden.stat_progress'), '0', 'nothing is shown without preload');
is(sql(q{SELECT ok FROM walwarden.verify_audit_chain('acme')}), 't', 'and verification works');
$node->stop;
done_testing();
