# What attempts that did not end leave behind is found by its name and removed, and nothing
# else is.
use strict;
use warnings;
use EngineTest;
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
	append_to_file("$directory/$id.$fence.$_", 'left') for qw(dump dump.part rows.json roles.sql manifest.json manifest.json.part);
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
my $run = sub {
	my $made = EngineTest::job_of_backup('drill', $first, mode => 'new_database', target => 'scratch');
	is($made, $drill, 'the drill has the id that was expected');
	control("UPDATE walwarden.job SET fence = 2, attempt = 1 WHERE id = '$made'");
	return run_job($made);
};
completed_ok($run->(), 'a drill, claimed again');
is($cluster->safe_psql('postgres', q{SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'walwarden%'}), "${name}_9", 'has dropped the databases of its earlier attempts');
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
write_config();
completed_ok(run_job($restore), 'it is stopped, and claimed again');
is($cluster->safe_psql('fresh', 'SELECT count(*) FROM item'), 100, 'now the database has its name');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}), 0, 'and what the first attempt had made is dropped');
is_deeply([ scratch() ], [], 'no scratch is left');

done_testing();
