# SIGKILL in every state of a job, with all that the state has to do done: of the runner, and
# of the process of the job. What can be tried again is, and what was begun is gone.
use strict;
use warnings;
use EngineTest;
use ExtensionTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $control = extension();
pauses(1);
node_token('node-1', "$base/token");
my @live = map { "live$_" } 1 .. 4;
append_to_file("$base/targets", join '', map { sprintf "[%s]\nhost=%s\nport=%d\ndbname=%s\n", $_, $cluster->host, $cluster->port, $_ } @live);
write_config(control => $control, allow_in_place => join(',', @live), max_jobs => 32);

# A gate: the first claim of a job does not get beyond a state.
authority(q{
	CREATE TABLE gate (job uuid PRIMARY KEY, state text);
	CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		IF new.state NOT IN (old.state, 'queued', 'failed', 'cancelled') AND old.fence = 1 AND EXISTS (SELECT FROM public.gate AS g WHERE g.job = old.id AND g.state = old.state) THEN
			RAISE 'the gate is closed' USING ERRCODE = '53000';
		END IF;
		RETURN new;
	END $$;
	CREATE TRIGGER stay BEFORE UPDATE ON walwarden_internal.job FOR EACH ROW EXECUTE FUNCTION stay()});
sub close_gates { my (%state) = @_; authority('INSERT INTO gate VALUES ' . join ', ', map { "('$_', '$state{$_}')" } keys %state); return; }
sub is_at { my ($id) = @_; return sub { slurp($RunnerTest::log) =~ /job \Q$id\E: waiting for the control database: the gate is closed/ } }
sub remembered { my @jobs = glob "$base/state/*-*"; return scalar @jobs; }
sub all_done { my ($what) = @_; return wait_for(sub { authority('SELECT count(*) FROM walwarden_internal.job WHERE NOT done') == 0 }, $what); }
sub databases { my ($like) = @_; return $cluster->safe_psql('postgres', "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE '$like'"); }

my ($destination) = requests([ 'POST', '/destinations', { name => 'local', provider => 'local', uri => "file://$base/destination" } ]);
my $number = 0;
sub new_database { return request('POST', '/databases', { name => 'orders-' . ++$number, connectionRef => 'orders', destinationId => $destination->{id} })->{id}; }
sub back_up { my ($database) = @_; return request('POST', "/databases/$database/backups")->{backupJobId}; }
sub restore_of { my ($database, $backup, %how) = @_; return request('POST', '/restores', { databaseId => $database, backupJobId => $backup, %how })->{restoreJobId}; }

my @states = qw(claimed downloading verifying manifest_verified restoring finalizing);
my $round = 0;
for my $victim ('the runner', 'the process of each job')
{
	$round++;
	my $pid = start_runner();
	# two backups, so that one may expire; and databases to restore them in place of
	my $source = new_database();
	my $old = back_up($source);
	all_done('a backup');
	my $recent = back_up($source);
	my @overwritten = map { my $database = new_database(); { database => $database, backup => back_up($database), live => shift @live } } 1, 2;
	all_done('and others');
	is(stop_runner($pid), 0, 'the runner ends');
	$cluster->safe_psql('postgres', "CREATE DATABASE $_->{live} TEMPLATE orders") for @overwritten;
	$cluster->safe_psql($_->{live}, 'DELETE FROM item WHERE id > 40') for @overwritten;
	my @targets = map { $_->{live} } @overwritten;
	my @kept = grep { !/\Q$old\E/ } objects();

	# a job for each state
	my (%gate, %job);
	for my $state (qw(claimed running finalizing)) { my $id = back_up(new_database()); $gate{$id} = $state; $job{"backup $state"} = $id; }
	for my $state (@states)
	{
		$job{"drill $state"} = restore_of($source, $recent, kind => 'drill', mode => 'new_database', target => 'scratch');
		$job{"restore $state"} = restore_of($source, $recent, kind => 'restore', mode => 'new_database', target => "scratch/restored_${round}_$state");
		$gate{ $job{"$_ $state"} } = $state for qw(drill restore);
	}
	# a server of the runner's own
	$job{'cluster restoring'} = restore_of($source, $recent, kind => 'drill', mode => 'new_cluster', target => 'scratch');
	$gate{ $job{'cluster restoring'} } = 'restoring';
	for my $state (qw(restoring finalizing))
	{
		my $target = shift @overwritten;
		$job{"overwriting $state"} = restore_of($target->{database}, $target->{backup}, kind => 'restore', mode => 'in_place', target => $target->{live}, confirmDestructive => JSON::PP::true);
		$gate{ $job{"overwriting $state"} } = $state;
	}
	authority("UPDATE walwarden_internal.job SET finished_at = finished_at - interval '20 days' WHERE id = '$old'; UPDATE walwarden_internal.database SET retention_days = 10 WHERE id = '$source'; SELECT walwarden.run_maintenance(); UPDATE walwarden_internal.database SET retention_days = NULL WHERE id = '$source'");
	$job{'expire claimed'} = authority("SELECT id FROM walwarden_internal.job WHERE kind = 'expire' AND backup_job_id = '$old'");
	$gate{ $job{'expire claimed'} } = 'claimed';
	close_gates(%gate);

	$pid = start_runner();
	wait_for(is_at($job{$_}), "$_: it waits") for sort keys %job;
	is(authority(qq{SELECT count(*) FROM gate JOIN walwarden_internal.job AS j ON j.id = gate.job AND j.state = gate.state}), scalar(keys %gate), 'all are in their states');
	is(scalar(grep { $_->[1] =~ m{/postgres } } processes($pid)), 1, 'a new cluster has its server');
	my @workers = grep { $_->[1] =~ /walwarden-runner/ } job_processes($pid);
	is(scalar(@workers), scalar(keys %job), 'and each has a process');
	if ($victim eq 'the runner')
	{
		is(stop_runner($pid, 'KILL'), 'signal 9', 'the runner is killed');
		wait_for(sub { processes($pid) == 0 }, 'so its processes are gone');
		$pid = start_runner();
	}
	else
	{
		kill 'KILL', map { $_->[0] } @workers;
	}
	all_done("$victim was killed, and all jobs get done");
	wait_for(sub { job_processes($pid) == 0 && !remembered() }, 'nothing is left to be cleaned up');
	is(stop_runner($pid), 0, 'the runner ends');

	my ($class, $attempts) = $victim eq 'the runner' ? ('runner_stopped', 1) : ('process_died', 2);
	for my $name (sort keys %job)
	{
		my ($kind, $state) = split / /, $name;
		my $cannot = $kind =~ /^(restore|overwriting)$/ && $state =~ /^(restoring|finalizing)$/;
		is(authority(qq{SELECT state, error ->> 'class', attempt FROM walwarden_internal.job WHERE id = '$job{$name}'}), $cannot ? "failed|$class|1" : "completed||$attempts", "killed as $name");
		is(authority(qq{SELECT count(*) FROM walwarden_internal.audit_entry WHERE job_id = '$job{$name}' AND split_part(kind, '.', 2) IN ('completed', 'failed')}), 1, "$name: one end");
	}
	my @stems = split /\n/, authority(sprintf q{SELECT format('%%s/%%s.%%s', database_id, id, fence) FROM walwarden_internal.job WHERE fence > 1 AND id IN (%s)}, join ', ', map { "'" . $job{"backup $_"} . "'" } qw(claimed running finalizing));
	is(scalar(@stems), 3, 'no backup is of the claim that was killed');
	is_deeply([ objects() ], [ sort @kept, map { my $stem = $_; map { "$stem.$_" } qw(dump manifest.json roles.sql rows.json) } @stems ], 'nothing is left of that at the destination');
	is_deeply([ scratch() ], [], 'nor scratch');
	is(databases('walwarden%'), '', 'nor a scratch database');
	is(databases("restored_${round}_%"), join(' ', map { "restored_${round}_$_" } sort grep { $_ ne 'restoring' } @states), 'a database is there if it was complete');
	is($cluster->safe_psql($_, 'SELECT count(*) FROM item'), 100, "$_ has all its rows") for split(/ /, databases("restored_${round}_%")), @targets;
}

# Cancelled while it runs
write_config(control => $control, lease => 3);
my @before = objects();
my $cancelled = back_up(new_database());
close_gates($cancelled => 'running');
my $pid = start_runner();
wait_for(is_at($cancelled), 'a backup that has stored its dump');
isnt(scalar(objects()), scalar(@before), 'which is at the destination');
request('POST', "/backups/$cancelled/cancel");
wait_for(sub { slurp($RunnerTest::log) =~ /job \Q$cancelled\E: stopped: / }, 'is cancelled, and stopped');
wait_for(sub { job_processes($pid) == 0 && !remembered() }, 'its processes are gone');
is_deeply([ objects() ], \@before, 'and what it has stored');
is_deeply([ scratch() ], [], 'and its scratch');
is(stop_runner($pid), 0, 'the runner ends');

authority('DROP TRIGGER stay ON walwarden_internal.job');
pauses();
is(authority('SELECT org, reason FROM walwarden.verify_audit_chain() WHERE NOT ok'), '', 'the chains say all of it');
done_testing();
