# A standby that is behind has a shorter chain, and is no reason for an alarm.
use strict;
use warnings;
use ChainTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $primary = cluster();
my $base = $RunnerTest::base;
sub log_has { my ($line) = @_; return sub { slurp($RunnerTest::log) =~ $line }; }

$primary->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 2\n");
$primary->restart;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
run_runner('--config', write_config(), '--once');
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
control(q{INSERT INTO walwarden.entry SELECT n, encode(sha256(n::text::bytea), 'hex') FROM generate_series(6, 9) AS n});

write_config(control => sprintf 'host=%s,%s port=%d,%d dbname=control', $primary->host, $standby->host, $primary->port, $standby->port);
my $pid = start_runner();
wait_for(sub { (known('size') // '') eq '9' }, 'the node knows what the standby does not');
is($standby->safe_psql('control', 'SELECT max(seq) FROM walwarden.entry'), 5, 'which is behind');
$primary->stop('immediate');
wait_for(log_has(qr/chain: waiting for the control database: the server is a standby/), 'it is not believed');
$primary->start;
my $id = backup_job();
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'with the primary back, the node works');
is(stop_runner($pid), 0, 'the runner ends');
unlike(slurp($RunnerTest::log), qr/ALARM/, 'without an alarm');
is(known('size'), 9, 'and knows as much as before');

done_testing();
