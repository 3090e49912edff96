# A restore in place ends by its own clock before its lease does: from then on another node
# may write to the same target.
use strict;
use warnings;
use EngineTest;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
$cluster->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
$cluster->restart;
$cluster->safe_psql('postgres', 'CREATE DATABASE live TEMPLATE orders');
append_to_file("$base/targets", sprintf "[live]\nhost=%s\nport=%d\ndbname=live\n", $cluster->host, $cluster->port);
write_config(allow_in_place => 'live');
my $backup = completed_ok(backup(), 'a backup');

# the restore waits for this lock
$cluster->safe_psql('live', q{BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'block'});
write_config(allow_in_place => 'live', lease => 8);
my $id = EngineTest::job_of_backup('restore', $backup, mode => 'in_place', target => 'live');
my $pid = start_runner();
wait_until(q{EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'live' AND wait_event_type = 'Lock' AND backend_type = 'client backend')}, 'a restore in place is under way');
kill 'STOP', $pid;
my $left;
wait_for(sub { $left = control("SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM walwarden.job WHERE id = '$id'"); job_processes($pid) == 0 }, 'its processes end while the supervisor is stopped');
cmp_ok($left, '>', 0, 'before the lease does');
is(control("SELECT state FROM walwarden.job WHERE id = '$id'"), 'restoring', 'nobody has told the control database');
kill 'CONT', $pid;
wait_until("(SELECT state = 'failed' FROM walwarden.job WHERE id = '$id')", 'the supervisor does, when it goes on');
is(control("SELECT error ->> 'class', error ->> 'blames' FROM walwarden.job WHERE id = '$id'"), 'process_died|node', 'and says why');
like(slurp($RunnerTest::log), qr/job \Q$id\E: stopped: the lease ends, and it was not renewed/, 'so does the log');
is(stop_runner($pid), 0, 'the runner ends well');
$cluster->safe_psql('live', q{ROLLBACK PREPARED 'block'});
is($cluster->safe_psql('live', 'SELECT count(*) FROM item'), 100, 'the target is as it was');

done_testing();
