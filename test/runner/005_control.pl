# The control database goes away and comes back, and so do tokens, while a job is under way.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
write_config(lease => 3, max_jobs => 2);
sub log_has { my ($line) = @_; return sub { slurp($RunnerTest::log) =~ $line }; }
sub state_is { my ($id, $state) = @_; return "(SELECT state = '$state' FROM walwarden.job WHERE id = '$id')"; }

# The dump of a job waits for this lock, on a table of the catalogue that nothing else reads.
$cluster->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
$cluster->restart;
sub block { $cluster->safe_psql('orders', q{BEGIN; LOCK TABLE pg_catalog.pg_ts_config IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'block'}); return; }
sub unblock { $cluster->safe_psql('orders', q{ROLLBACK PREPARED 'block'}); return; }
sub wait_until_blocked
{
	my ($id) = @_;
	return wait_until(qq{EXISTS (SELECT FROM pg_stat_activity AS a JOIN walwarden.job AS j ON a.application_name = format('walwarden-runner %s.%s', j.id, j.fence)
						 WHERE j.id = '$id' AND a.wait_event_type = 'Lock')}, 'a dump is under way');
}
sub beats { return control(q{SELECT count(*) FROM walwarden.call WHERE name = 'heartbeat_job'}); }
sub wait_for_beats { my ($what) = @_; my $before = beats(); return wait_for(sub { beats() > $before + 1 }, "$what: heartbeats go on"); }

# the environment leads the runner nowhere else
my $pid = do
{
	local %ENV = (%ENV, PGSERVICEFILE => "$base/nowhere", PGSERVICE => 'nowhere', PGHOST => '/nowhere', PGPORT => 1, PGDATABASE => 'nowhere', PGUSER => 'nobody', PGPASSWORD => 'x', PGOPTIONS => '-c nonsense=1', RCLONE_CONFIG => '/nowhere');
	start_runner();
};
block();
my $id = backup_job();
wait_until_blocked($id);
wait_for_beats('with PG* in the environment');
is(control(q{SELECT arguments ->> 'phase' FROM walwarden.call WHERE name = 'heartbeat_job' ORDER BY seq DESC LIMIT 1}), 'copying', 'and tell what the job is doing');

# the control database is away for longer than the lease
sub away
{
	$cluster->safe_psql('postgres', q{ALTER DATABASE control ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'control'});
	return;
}
sub back { $cluster->safe_psql('postgres', 'ALTER DATABASE control ALLOW_CONNECTIONS true'); return; }
my $lease_until = control("SELECT lease_until FROM walwarden.job WHERE id = '$id'");
away();
wait_for(sub { $cluster->safe_psql('postgres', "SELECT clock_timestamp() > '$lease_until'::timestamptz + interval '6 s'") eq 't' }, 'the control database is away for more than two leases');
like(slurp($RunnerTest::log), qr/^walwarden-runner: waiting for the control database: /m, 'the runner has noticed');
is(scalar(grep { $_->[1] =~ /pg_dump/ } processes($pid)), 1, 'the job goes on');
back();
wait_for(log_has(qr/the control database is back/), 'it is back');
wait_for_beats('afterwards');
is(control("SELECT state, fence, attempt FROM walwarden.job WHERE id = '$id'"), 'running|1|1', 'the job is still ours: it was renewed before anything was claimed');
unblock();
wait_until(state_is($id, 'completed'), 'and is completed');

# a report whose moment the control database misses is repeated
block();
$id = backup_job();
wait_until_blocked($id);
away();
unblock();
wait_for(log_has(qr/job \Q$id\E: waiting for the control database/), 'the process of a job waits for the control database');
back();
wait_until(state_is($id, 'completed'), 'and completes the job when it is back');

# a new token in the file, while the old one is taken away: jobs go on
block();
$id = backup_job();
wait_until_blocked($id);
my $old = $RunnerTest::token;
token(random_token());
control("DELETE FROM walwarden.token WHERE token = '$old'");
wait_for_beats('with the new token');
is(control(q{SELECT node FROM walwarden.token}), 'node-1', 'which has registered the node');
unblock();
wait_until(state_is($id, 'completed'), 'the job is completed with it');

# a token that is revoked: jobs end, the runner stays and takes the next token
block();
$id = backup_job();
wait_until_blocked($id);
control('DELETE FROM walwarden.token');
wait_for(log_has(qr/job \Q$id\E: stopped: the token is not valid \(28000\)/), 'a revoked token stops the job');
wait_for(sub { job_processes($pid) == 0 }, 'its processes are gone');
wait_for(sub { scratch() == 0 }, 'and its scratch');
token(random_token());
wait_until(state_is($id, 'claimed') . ' OR ' . state_is($id, 'running') . ' OR ' . state_is($id, 'queued'), 'with another token the runner goes on');
unblock();
wait_until(state_is($id, 'completed'), 'and the job is done after all');

# refusals that end by themselves
control(q{INSERT INTO walwarden.refusal VALUES ('claim_job', '55P03')});
$id = backup_job();
wait_for(log_has(qr/refused by the test \(55P03\)/), 'a claim that is refused for now');
control('DELETE FROM walwarden.refusal');
wait_until(state_is($id, 'completed'), 'is made again');
control('UPDATE walwarden.token SET node = NULL');
$id = backup_job();
wait_until(state_is($id, 'completed'), 'a control database that has forgotten the node gets it registered again');

# a report that is refused for good fails the job
control(q{INSERT INTO walwarden.refusal VALUES ('record_evidence', '22023')});
$id = backup_job();
wait_until(state_is($id, 'failed'), 'evidence that is refused fails the job');
is(control("SELECT error ->> 'class', error ->> 'message' FROM walwarden.job WHERE id = '$id'"), 'report_refused|the control database refused the evidence: refused by the test (22023)', 'and says why');
is_deeply([ glob("$base/destination/*/$id.*"), scratch() ], [], 'nothing of it is left');
control('DELETE FROM walwarden.refusal');

# jobs that the answer of claim_job() was lost for
$id = backup_job();
control("UPDATE walwarden.job SET kind = 'none' WHERE id = '$id'");
control("UPDATE walwarden.job SET kind = 'backup', state = 'claimed', fence = 1, attempt = 1, lease = '1 h', lease_until = now() + interval '1 h' WHERE id = '$id'");
away();
wait_for(log_has(qr/waiting for the control database: [^\n]*\n\z/), 'the control database is away once more');
back();
wait_for(log_has(qr/job \Q$id\E: held by this node from before/), 'a job that the runner does not know of');
wait_until(state_is($id, 'completed'), 'is given back, claimed and done');

# SIGHUP
my $before = () = slurp($RunnerTest::log) =~ /the configuration was read again/g;
write_config(lease => 3, poll => 2);
kill 'HUP', $pid;
wait_for(log_has(qr/the configuration was read again/), 'SIGHUP makes it read the configuration again');
write_config(lease => 'soon');
kill 'HUP', $pid;
wait_for(log_has(qr/runner.conf:\d+: lease: "soon" is not a whole number.*\n.*the configuration is as before/), 'and a faulty one changes nothing');
write_config(state => "$base/work", work => "$base/state");
kill 'HUP', $pid;
wait_for(log_has(qr/a change of node, state or work takes a restart/), 'nor does one that takes a restart');
$id = backup_job();
wait_until(state_is($id, 'completed'), 'jobs go on');
is(stop_runner($pid), 0, 'the runner ends well');
unlike(slurp($RunnerTest::log), qr/wal_[0-9a-f]|dbname=/, 'no token and no connection string in the log');

# --once
write_config();
my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", '--once');
is("$status $err" =~ s/\n.*: /\n/gr, "0 walwarden-runner: version @{[$err =~ /version (\S+)/]} started as node node-1\nthere is no job for this node\nstopping\n", '--once without a job');
$id = backup_job();
my $other = backup_job();
is((run_runner('--config', "$base/runner.conf", '--once'))[0], 0, '--once with two jobs');
is(control("SELECT state FROM walwarden.job WHERE id IN ('$id', '$other') ORDER BY id"), "completed\nqueued", 'does one');
control(q{INSERT INTO walwarden.refusal VALUES ('record_evidence', '22023')});
is((run_runner('--config', "$base/runner.conf", '--once'))[0], 1, '--once with a job that fails');
away();
is((run_runner('--config', "$base/runner.conf", '--once'))[0], 1, '--once without the control database');
back();

done_testing();
