# However the runner ends, nothing is left of its jobs: no process after two seconds, no
# scratch after the next start, and the control database knows that the job is free.
#
# pg_dump waits for a lock, so that a job is under way for as long as a test wants: on a table
# of the catalogue that nothing else reads.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $cluster = cluster();
my $base = $RunnerTest::base;
write_config(max_jobs => 2);

$cluster->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
$cluster->restart;
$cluster->safe_psql('orders', q{BEGIN; LOCK TABLE pg_catalog.pg_ts_config IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'block'});

# What is left of a session after at most two seconds.
sub left_after
{
	my ($session) = @_;
	my $until = time + 2;
	my @left;
	do { @left = processes($session); } while (@left && time < $until && sleep 0.05);
	return map { $_->[1] } @left;
}

# The dump of a job's present claim waits for the lock; sessions of earlier ones may still do.
sub wait_until_blocked
{
	my ($id) = @_;
	return wait_until(qq{EXISTS (SELECT FROM pg_stat_activity AS a JOIN walwarden.job AS j ON a.application_name = format('walwarden-runner %s.%s', j.id, j.fence)
						 WHERE j.id = '$id' AND a.wait_event_type = 'Lock')}, 'a dump is under way');
}

# SIGTERM at random moments of a job's life. It begins when the runner has started: before that,
# SIGTERM ends any program, which has done nothing yet.
for my $round (1 .. 20)
{
	control('DELETE FROM walwarden.job; DELETE FROM walwarden.call');
	my $id = backup_job();
	unlink $RunnerTest::log if defined $RunnerTest::log;
	my $pid = start_runner();
	wait_for(sub { slurp($RunnerTest::log) =~ /started as node/ }, "round $round: the runner starts");
	sleep rand 0.6;
	my $at = control("SELECT state FROM walwarden.job WHERE id = '$id'");
	kill 'TERM', $pid;
	is_deeply([ left_after($pid) ], [], "round $round: no process is left two seconds after SIGTERM, job $at");
	is(stop_runner($pid), 0, "round $round: it ends well");
	is(control("SELECT state FROM walwarden.job WHERE id = '$id'"), 'queued', "round $round: the job is free again");
	is_deeply([ scratch() ], [], "round $round: no scratch is left");
}

# SIGKILL: processes die with the supervisor; the next one gives back what it held
my $id = backup_job();
control("DELETE FROM walwarden.job WHERE id <> '$id'; DELETE FROM walwarden.call");
my $pid = start_runner();
wait_until_blocked($id);
cmp_ok(scalar(job_processes($pid)), '>=', 2, 'the process of the job, and its program');
is(scalar(grep { $_->[3] eq 'walwarden-chain' } processes($pid)), 1, 'and the one that follows the chain');
is_deeply([ grep { $_->[1] =~ /$RunnerTest::token/ || $_->[2] =~ /wal_[0-9a-f]{64}/ } processes($pid) ], [], 'none has the token among its arguments or in its environment');
is(stop_runner($pid, 'KILL'), 'signal 9', 'the supervisor is killed');
is_deeply([ left_after($pid) ], [], 'no process is left');
is(control("SELECT state FROM walwarden.job WHERE id = '$id'"), 'running', 'the job is still held');
is(scalar(my @scratch = scratch()), 1, 'and its scratch is there');
control("UPDATE walwarden.job SET kind = 'none'; INSERT INTO walwarden.refusal VALUES ('claim_job', '55P03')");
my $next = start_runner();
wait_until("(SELECT state = 'queued' FROM walwarden.job WHERE id = '$id')", 'the next supervisor gives it back');
is(control(q{SELECT count(*) FROM walwarden.call WHERE name = 'release_job'}), 1, 'with release_job()');
is_deeply([ scratch() ], [], 'and its scratch is gone');
is(stop_runner($next), 0, 'and ends well');
control("UPDATE walwarden.job SET kind = 'backup'; DELETE FROM walwarden.refusal");

# the process of a job dies: the job fails, and may be tried again
$pid = start_runner();
wait_until_blocked($id);
my ($worker) = grep { $_->[1] =~ /walwarden-runner/ } job_processes($pid);
kill 'KILL', $worker->[0];
wait_until("(SELECT state = 'failed' FROM walwarden.job WHERE id = '$id')", 'a job whose process is killed has failed');
is(control(qq{SELECT error ->> 'class', error ->> 'retryable', error ->> 'blames' FROM walwarden.job WHERE id = '$id'}), 'process_died|true|node', 'because of the node, and may be tried again');
wait_for(sub { job_processes($pid) == 0 }, 'its programs are gone');
is_deeply([ scratch() ], [], 'and its scratch');

# a job is taken away: its process is ended
$id = backup_job();
wait_until_blocked($id);
control("UPDATE walwarden.job SET fence = fence + 1, kind = 'none' WHERE id = '$id'");
is(stop_runner($pid), 0, 'the runner ends');
control('DELETE FROM walwarden.job');
write_config(lease => 3);
$pid = start_runner();
$id = backup_job();
wait_until_blocked($id);
control("UPDATE walwarden.job SET fence = fence + 1, state = 'claimed', lease_until = NULL WHERE id = '$id'");
wait_for(sub { slurp($RunnerTest::log) =~ /job \Q$id\E: stopped: job is not held by this claim \(55000\)/ }, 'a job that is not ours is stopped');
wait_for(sub { job_processes($pid) == 0 }, 'its processes are gone');
wait_for(sub { scratch() == 0 }, 'and its scratch');
is(control("SELECT count(*) FROM walwarden.call WHERE name = 'report_job' AND arguments ->> 'state' = 'failed' AND seq > (SELECT max(seq) FROM walwarden.call WHERE name = 'claimed')"), 0, 'nothing is reported about it');

# stopped for longer than the lease: somebody else has the job when it goes on
control('DELETE FROM walwarden.job');
$id = backup_job();
wait_until_blocked($id);
kill 'STOP', -$pid, $pid;
wait_until("(SELECT lease_until < clock_timestamp() FROM walwarden.job WHERE id = '$id')", 'the lease ends while the supervisor is stopped');
control("UPDATE walwarden.job SET fence = fence + 1, state = 'claimed', lease_until = NULL WHERE id = '$id'");
kill 'CONT', -$pid, $pid;
wait_for(sub { slurp($RunnerTest::log) =~ /job \Q$id\E: stopped: / }, 'it finds out and stops');
wait_for(sub { job_processes($pid) == 0 }, 'its processes are gone');
is(control("SELECT state FROM walwarden.job WHERE id = '$id'"), 'claimed', 'the job is as the other has it');

# one state directory, one runner
my ($status, $out, $err) = run_runner('--config', "$base/runner.conf");
is($status, 1, 'a second runner does not start');
like($err, qr/is locked: another runner uses this state directory/, 'and says why');
is(stop_runner($pid, 'INT'), 0, 'SIGINT ends it as well');

$cluster->safe_psql('orders', q{ROLLBACK PREPARED 'block'});
done_testing();
