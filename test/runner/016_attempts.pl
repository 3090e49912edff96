# What attempts that did not end leave behind is found by its name and removed, and nothing
# else is.
use strict;
use warnings;
use EngineTest;
use File::Basename;
use File::Copy;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
append_to_file("$base/targets", sprintf "[live]\nhost=%s\nport=%d\ndbname=live\n", $cluster->host, $cluster->port);
write_config(allow_in_place => 'live');
my $first = completed_ok(backup(), 'a backup');
my @kept = objects();
my $directory = "$base/destination/7c1f0b62-0000-4000-8000-000000000001";

# a job that was claimed twice before
my $id = backup_job();
for my $fence (1, 2)
{
	append_to_file("$directory/$id.$fence.$_", 'left') for qw(preflight dump dump.part rows.json roles.sql manifest.json manifest.json.part);
	mkdir "$base/work/$id.$fence";
	append_to_file("$base/work/$id.$fence/file", 'left');
}
# what only looks similar: a later fence, another job, another database, somebody's own file
my @others = ("$directory/$id.30.dump", "$directory/5e0b9a52-0000-4000-8000-999999999999.1.dump.part", "$directory/$id.notes", "$base/destination/$id.1.dump");
append_to_file($_, 'kept') for @others;
control("UPDATE walwarden.job SET fence = 2, attempt = 2 WHERE id = '$id'");
my $job = completed_ok(run_job($id), 'the third attempt');
is($job->{fence}, 3, 'has the third fence');
is_deeply([ objects() ], [ sort @kept, (map { "7c1f0b62-0000-4000-8000-000000000001/$id.3.$_" } qw(dump manifest.json roles.sql rows.json)), map { substr $_, length("$base/destination/") } @others ],
	'has removed what the first two left, and nothing else');
is_deeply([ scratch() ], [], 'in scratch as well');
unlink @others;

# its expiry removes all attempts, and leaves the other backup
append_to_file("$directory/$id.2.dump.part", 'left');
$job->{method} = 'pg_dump';
completed_ok(expire($job), 'its expiry');
is_deeply([ objects() ], \@kept, 'leaves the other backup');

# an unfinished object is not a backup
my ($dump) = grep { /dump$/ } @kept;
copy("$base/destination/$dump", "$base/destination/$dump.part");
my ($status, $out) = run_runner('--config', "$base/runner.conf", 'list', "file://$base/destination");
is(scalar(() = $out =~ /Orders/g), 1, 'list shows what is finished');
unlink "$base/destination/$dump.part";

# databases of drills
my $drill = '6e0b9a52-0000-4000-8000-000000000002';
(my $name = "walwarden_${drill}") =~ tr/-//d;
$cluster->safe_psql('postgres', "CREATE DATABASE ${name}_$_") for 1, 2, 9;
my $later = $cluster->background_psql('orders');
$later->query_safe("SELECT pg_advisory_lock(hashtextextended('${name}_9', 0))");
my $run = sub {
	my $made = EngineTest::job_of_backup('drill', $first, mode => 'new_database', target => 'scratch');
	is($made, $drill, 'the drill has the id that was expected');
	control("UPDATE walwarden.job SET fence = 2, attempt = 1 WHERE id = '$made'");
	return run_job($made);
};
completed_ok($run->(), 'a drill, claimed again');
is($cluster->safe_psql('postgres', q{SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'walwarden%'}), "${name}_9", 'has dropped the databases of its earlier attempts');
$later->quit;
$cluster->safe_psql('postgres', "DROP DATABASE ${name}_9");

# a restore in place that is killed: the target is as it was, and nobody works on it any more
$cluster->safe_psql('postgres', 'CREATE DATABASE live TEMPLATE orders');
$cluster->safe_psql('live', 'DELETE FROM item WHERE id > 40');
my $blocker = $cluster->background_psql('live');
$blocker->query_safe('BEGIN; LOCK TABLE item IN ACCESS SHARE MODE');
my $restore = EngineTest::job_of_backup('restore', $first, mode => 'in_place', target => 'live');
my $pid = start_runner('--once');
wait_for(sub { $cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'live' AND application_name LIKE 'walwarden-runner%' AND wait_event_type = 'Lock'}) eq '1' }, 'a restore in place waits for a lock');
is(control("SELECT state FROM walwarden.job WHERE id = '$restore'"), 'restoring', 'and is restoring');
stop_runner($pid, 'KILL');
wait_for(sub { $cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'walwarden-runner%'}) eq '0' }, 'it is killed: its session ends though it waits');
$blocker->quit;
is($cluster->safe_psql('live', 'SELECT count(*) FROM item'), 40, 'the target is as it was');

# a new database that is killed has not got its name
control("DELETE FROM walwarden.job WHERE id = '$restore'");
write_config(replaceable());
replace('pg_restore', "\$REAL \"\$@\" || exit\ntouch $base/restored\nsleep 1000");
$restore = EngineTest::job_of_backup('restore', $first, mode => 'new_database', target => 'scratch/fresh');
$pid = start_runner('--once');
wait_for(sub { -e "$base/restored" }, 'a restore into a new database has all its rows');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'fresh'}), 0, 'but not its name');
stop_runner($pid);
put_back('pg_restore');
completed_ok(run_job($restore), 'it is stopped, and claimed again');
is($cluster->safe_psql('fresh', 'SELECT count(*) FROM item'), 100, 'now the database has its name');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}), 0, 'and what the first attempt had made is dropped');
is_deeply([ scratch() ], [], 'no scratch is left');

# Attempts that no other follows: the node that made them cleans up when it is back.
sub remembered { return map { basename($_) } glob "$base/state/*-*"; }
is_deeply([ remembered() ], [], 'nothing is to be remembered of all these');
for my $case ([ 'pg_restore', sub { EngineTest::job_of_backup('restore', $first, mode => 'new_database', target => 'scratch/other') } ], [ 'pg_dump', \&backup_job ])
{
	my ($program, $make) = @$case;
	unlink "$base/reached";
	replace($program, "\$REAL \"\$@\" | cat || exit\ntouch $base/reached\nsleep 1000");
	my $last = $make->();
	$pid = start_runner('--once');
	wait_for(sub { -e "$base/reached" }, "$program is done");
	stop_runner($pid, 'KILL');
	is_deeply([ remembered() ], ["$last.1"], 'the node is killed, and remembers the job');
	is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}) + grep({ /\Q$last\E/ } objects()), 1, 'of which something is there');
	control("UPDATE walwarden.job SET state = 'failed' WHERE id = '$last'");
	put_back($program);
	$pid = start_runner('--once');
	waitpid $pid, 0;
	is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}) + grep({ /\Q$last\E/ } objects()), 0, 'after the next start it is not');
	is_deeply([ remembered(), scratch() ], [], 'nor anything of the job on the node');
}

my $kill_process = sub { my ($process) = grep { $_->[1] =~ /walwarden-runner/ } job_processes($pid); return kill 'KILL', $process->[0]; };

# What cannot be removed yet is tried again, without a start.
{
	unlink "$base/reached";
	replace('pg_dump', "\$REAL \"\$@\" | cat || exit\ntouch $base/reached\nsleep 1000");
	my $last = backup_job();
	$pid = start_runner();
	wait_for(sub { -e "$base/reached" }, 'a backup has written its dump');
	chmod 0500, $directory;
	$kill_process->();
	wait_for(sub { slurp($RunnerTest::log) =~ /job \Q$last\E: what earlier attempts left was not removed/ }, 'its process is killed, and what it left cannot be removed');
	is_deeply([ remembered() ], ["$last.1"], 'so the job is remembered');
	chmod 0700, $directory;
	wait_for(sub { !remembered() && !job_processes($pid) }, 'in the end it can');
	is_deeply([ grep { /\Q$last\E/ } objects() ], [], 'and nothing of the job is at the destination');
	is_deeply([ scratch() ], [], 'nor on the node');
	stop_runner($pid);
	put_back('pg_dump');
}

# CREATE DATABASE goes on when its client is killed: it is ended before the database is dropped.
# And a process that cleans up may be killed as well.
{
	my $lock = $cluster->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK TABLE pg_database IN SHARE MODE');
	my $last = EngineTest::job_of_backup('drill', $first, mode => 'new_database', target => 'scratch');
	my $sessions = sub { my ($fence) = @_; return $cluster->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'walwarden-runner $last.$fence' AND wait_event_type = 'Lock'"); };
	$pid = start_runner();
	wait_for(sub { $sessions->(1) == 1 }, 'CREATE DATABASE waits');
	$kill_process->();
	wait_for(sub { $sessions->(1) == 0 }, 'the process of the job is killed, and the statement is ended as well');
	wait_for(sub { $sessions->(2) == 1 }, 'DROP DATABASE waits');
	$kill_process->();
	wait_for(sub { control("SELECT state FROM walwarden.job WHERE id = '$last'") eq 'failed' }, 'the process that cleans up is killed, and the job has failed');
	$lock->quit;
	wait_for(sub { !remembered() && !job_processes($pid) }, 'what it made is dropped by the next one');
	stop_runner($pid);
	is(control("SELECT error ->> 'class' FROM walwarden.job WHERE id = '$last'"), 'process_died', 'the job has failed');
	is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}), 0, 'and no database is left');
}

# what a job left that is never claimed again: whichever restore comes next into that server
# drops it, and nothing else: not what a job works on, nor what only looks similar
replace('pg_restore', "\$REAL \"\$@\" || exit\ntouch $base/restored\nsleep 1000");
unlink "$base/restored";
$restore = EngineTest::job_of_backup('restore', $first, mode => 'new_database', target => 'scratch/other');
$pid = start_runner('--once');
wait_for(sub { -e "$base/restored" }, 'a restore into a new database is under way');
my $scratch_databases = q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'walwarden%'};
my $active = $cluster->safe_psql('postgres', $scratch_databases);
like($active, qr/^walwarden_[0-9a-f]{32}_1$/, 'its database has the name of the job and its fence');
my @similar = ('walwarden_' . 'a' x 31 . '_1', 'walwarden_' . 'a' x 32, 'walwarden_' . 'a' x 32 . '_1x');
my $abandoned = 'walwarden_' . 'a' x 32 . '_1';
$cluster->safe_psql('postgres', "CREATE DATABASE $_") for @similar, $abandoned;

# another node, with the same target
write_config(node => 'node-2', map { my $key = $_; mkdir "$base/$key-2"; ($key => "$base/$key-2") } qw(work state));
my ($checked, $said) = run_runner('--config', "$base/runner.conf", '--check');
is_deeply([ $said =~ /^ok   targets \[scratch\]: (.* database walwarden.*)$/gm ], ["a stopped restore left the database $abandoned, which the next one drops"], '--check names it');
is($checked, 0, 'which is no failure');
control("UPDATE walwarden.job SET kind = 'none' WHERE id = '$restore'");
$drill = EngineTest::job_of_backup('drill', $first, mode => 'new_database', target => 'scratch');
my ($ended, undef, $told) = run_runner('--config', "$base/runner.conf", '--once');
is(control("SELECT state FROM walwarden.job WHERE id = '$drill'"), 'completed', 'a drill of another node') or diag($told);
is($cluster->safe_psql('postgres', $scratch_databases), join(' ', sort $active, @similar), 'drops what nobody works on');
like($told, qr/dropped \Q$abandoned\E, which a restore left behind/, 'and says so');

# the runner is stopped, and its job never claimed again
stop_runner($pid);
is($cluster->safe_psql('postgres', $scratch_databases), join(' ', sort $active, @similar), 'a restore that is stopped leaves its database');
control("DELETE FROM walwarden.job WHERE id = '$restore'");
wait_for(sub { $cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) eq '0' }, 'its session ends');
$drill = EngineTest::job_of_backup('drill', $first, mode => 'new_database', target => 'scratch');
run_runner('--config', "$base/runner.conf", '--once');
is(control("SELECT state FROM walwarden.job WHERE id = '$drill'"), 'completed', 'the next drill');
is($cluster->safe_psql('postgres', $scratch_databases), join(' ', sort @similar), 'drops that as well');

done_testing();
