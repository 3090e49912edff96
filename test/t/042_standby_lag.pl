# A standby that is behind says so, however its WAL is late; one whose primary is idle answers. And
# reports of uses hold up neither the replay of WAL nor a primary that is away or cannot take them.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(sleep);

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$primary->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'walwarden'
walwarden.usage_flush_interval = 1d
walwarden.maintenance_interval = 7d
wal_keep_size = 1GB
wal_receiver_timeout = 2s
wal_retrieve_retry_interval = 100ms
autovacuum = off
checkpoint_timeout = 1h
CONF
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
my @token = map { [ split / /, $primary->safe_psql('postgres', "SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 't$_')") ] } 0 .. 2;
sub end_of_wal { return $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'); }
sub revoke { my ($token) = @_; $primary->safe_psql('postgres', "SELECT walwarden.revoke_token('$token->[0]')"); return end_of_wal(); }

my $proxy = Proxy->new($primary);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $proxy->connstr . " application_name=standby'\n");
sub set { my (%values) = @_; $standby->append_conf('postgresql.conf', "$_ = '$values{$_}'") for sort keys %values; $standby->reload if defined $standby->{_pid}; return; }

# accepted, invalid or behind
my $session;
sub connect_to_standby { $session = $standby->background_psql('postgres', on_error_stop => 0); return; }
sub stop_standby { $session->quit; $standby->stop; return; }
sub answer
{
	my ($token) = @_;
	my $said = $session->query(qq{BEGIN; SELECT set_config('request.headers', '{"x-walwarden-token":"$token->[1]"}', true) \\g /dev/null
		SELECT walwarden.pre_request() IS NOT NULL; COMMIT});
	$said .= $session->{stderr};
	$session->{stderr} = '';
	return $said =~ /too far behind/ ? 'behind' : $said =~ /ERROR/ ? 'invalid' : 'accepted';
}
sub becomes
{
	my ($token, $expected, $what) = @_;
	my $answer;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if ($answer = answer($token)) eq $expected;
		sleep 0.1;
	}
	return is($answer, $expected, $what);
}

set('walwarden.max_standby_lag' => '1h');
$standby->start;
connect_to_standby();
becomes($token[0], 'accepted', 'a standby of an idle primary answers');

# connected, but the primary has not agreed to stream: nothing tells how old the state is
stop_standby();
revoke($token[0]);
$proxy->set(hold => 'START_REPLICATION');
$standby->start;
connect_to_standby();
ok($standby->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_stat_wal_receiver'), 'the WAL receiver is connected');
is(join(' ', map { answer($token[0]) } 1 .. 5), 'behind ' x 4 . 'behind', 'before the first message a standby is behind');
$proxy->set;
becomes($token[0], 'invalid', 'then it has what it missed');
is(answer($token[1]), 'accepted', 'and answers');

# it is connected, and WAL arrives, later than it is applied
stop_standby();
set('walwarden.max_standby_lag' => '3s');
$primary->safe_psql('postgres', q{CREATE TABLE filler AS SELECT repeat(md5(i::text), 60) AS t FROM generate_series(1, 40000) AS i; ALTER TABLE filler ALTER t SET STORAGE plain});
my $revoked = revoke($token[1]);
$primary->safe_psql('postgres', 'SELECT pg_sleep(3.1)');
$proxy->set(rate => 20_000);
$standby->start;
connect_to_standby();
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE last_msg_send_time <> last_msg_receipt_time AND latest_end_lsn IS NOT NULL}), 'WAL arrives');
my %answers;
sub ask
{
	my ($n) = @_;
	for (1 .. $n)
	{
		my $answer = answer($token[1]);
		# not if it was applied meanwhile
		last if $session->query("SELECT pg_last_wal_replay_lsn() < '$revoked'") ne 't';
		$answers{$answer}++;
		sleep 0.05;
	}
	return;
}
ask(40);
# so slowly that the standby asks for a sign of life, which says how much was sent, not how much there is
$proxy->set(rate => 16_000, pause => 0.2);
ok($standby->poll_query_until('postgres', "SELECT latest_end_lsn < '$revoked' FROM pg_stat_wal_receiver"), 'a sign of life came');
ask(20);
note(join ', ', map { "$_ $answers{$_}" } sort keys %answers);
is(join(' ', keys %answers), 'behind', 'a standby that catches up is behind');
cmp_ok($answers{behind} // 0, '>', 10, 'it was asked often enough');
$proxy->set;
becomes($token[1], 'invalid', 'when it has caught up, it has the revoke');
is(answer($token[2]), 'accepted', 'and answers');

# an idle primary: nothing is committed for longer than the limit
sub idle
{
	my ($what) = @_;
	stop_standby();
	$standby->start;
	connect_to_standby();
	my $end = end_of_wal();
	becomes($token[2], 'accepted', "after $what a standby of an idle primary answers");
	$standby->safe_psql('postgres', 'SELECT pg_sleep(4)');
	note('the primary was not idle') if end_of_wal() ne $end;
	is(answer($token[2]), 'accepted', "and goes on, after $what");
	return;
}
idle('a restart');
$primary->safe_psql('postgres', 'CHECKPOINT; SELECT pg_switch_wal()');
idle('the end of a segment');

# replay that is paused is behind only when something is to be applied
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
is(answer($token[2]), 'accepted', 'with replay paused and nothing to apply a standby answers');
revoke($token[2]);
becomes($token[2], 'behind', 'with something to apply it is behind');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
becomes($token[2], 'invalid', 'until that is applied');
$session->quit;

# reports of uses. What a standby of this one would hand on, as large as it gets
my $reports = Proxy->new($primary);
sub uses_of
{
	my ($n) = @_;
	my $at = "array_fill(now(), ARRAY[$n])";
	my $count = "array_fill(1234567890::bigint, ARRAY[$n])";
	return "SELECT walwarden.receive_usage((SELECT array_agg(gen_random_uuid()) FROM generate_series(1, $n)), $at, $at, $at, array_fill('2001:db8:1111:2222:3333:4444:5555:6666'::inet, ARRAY[$n]), $count, $count, $at, array_fill('plan without API tokens'::text, ARRAY[$n]))";
}
sub dirty { my ($node) = @_; return $node->safe_psql('postgres', 'SELECT dirty FROM walwarden_internal.usage_table()'); }
my $reporting = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden maintenance' AND query = 'uses for the primary'};
my $offset = -s $standby->logfile;
sub logged { my ($line) = @_; return scalar(() = slurp_file($standby->logfile, $offset) =~ /$line/g); }
sub wait_for_log { my ($line) = @_; for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) { return 1 if logged($line); sleep 0.1; } return 0; }
sub wait_until_held { for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) { return 1 if $reports->held; sleep 0.1; } return 0; }

$reports->set(hold => 'DO ');
set('walwarden.usage_flush_interval' => '1s', 'walwarden.primary_conninfo' => $reports->connstr);
ok($standby->poll_query_until('postgres', q{SELECT setting <> '' FROM pg_settings WHERE name = 'walwarden.primary_conninfo'}), 'it is configured to report');
$standby->safe_psql('postgres', uses_of(1000));
ok(wait_until_held(), 'a report is on its way, and nobody reads it');
$primary->safe_psql('postgres', $_) for ('CREATE DATABASE other', 'DROP DATABASE other');
$primary->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', $reporting), 't', 'WAL is replayed meanwhile');
set('walwarden.primary_conninfo' => $reports->connstr . ' application_name=x');
ok(wait_for_log(qr/stopping the worker in database "postgres", because walwarden[.]primary_conninfo has changed/), 'a change of the setting ends it');
ok(wait_for_log(qr/terminating background worker "walwarden maintenance"/), 'at once');
$reports->set;
ok($primary->poll_query_until('postgres', 'SELECT dirty = 1000 FROM walwarden_internal.usage_table()'), 'the uses arrive, each once');
ok($standby->poll_query_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()'), 'and none is left');

# what the primary refuses is in no log
my $on_primary = -s $primary->logfile;
isnt($primary->psql('postgres', "DO \$\$ BEGIN PERFORM walwarden.receive_usage('{c0ffee00-0000-4000-8000-000000000000}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'); END \$\$"), 0, 'a report that is none is refused');
my $said = slurp_file($primary->logfile, $on_primary);
like($said, qr/ERROR:  the arrays differ in length/, 'the log says so');
unlike($said, qr/ERROR:.*c0ffee00/s, 'and not with what');

# a server that this one is no standby of gets nothing
my $foreign = PostgreSQL::Test::Cluster->new('foreign');
$foreign->init(allows_streaming => 1);
$foreign->start;
$offset = -s $standby->logfile;
set('walwarden.primary_conninfo' => 'host=' . $foreign->host . ' port=' . $foreign->port);
$standby->safe_psql('postgres', uses_of(10));
ok(wait_for_log(qr/leads to a server that this one is no standby of/), 'another cluster is recognised');
is(dirty($standby), '10', 'and the uses are kept');
$foreign->stop;

# the primary is away, and there is no place for more: it is not asked for each use, and nobody waits
set('walwarden.primary_conninfo' => 'host=/nonexistent', 'walwarden.usage_flush_interval' => '1d');
ok($standby->poll_query_until('postgres', q{SELECT setting = 'host=/nonexistent' FROM pg_settings WHERE name = 'walwarden.primary_conninfo'}), 'the primary is away');
$offset = -s $standby->logfile;
my $begun = time;
my $user = $standby->background_psql('postgres');
$user->query_safe(uses_of(1000)) for 1 .. 80;
ok(wait_for_log(qr/could not connect to the primary/), 'the table is full: it is tried');
$user->query_safe(uses_of(1));
$user->quit;
ok(wait_for_log(qr/[0-9]+ uses were lost: too many tokens were used before they could be reported to the primary/), 'what has no place is lost, which the log says');
$standby->safe_psql('postgres', uses_of(1000));
$standby->stop('fast');
my $limit = (time - $begun) / 5 + 2;
cmp_ok(logged(qr/could not connect to the primary/), '<=', $limit, 'it was tried once in five seconds');

# and what the setting may have
for my $value ('host=h password=x', 'password = x host=h', 'host=h sslpassword=x', "host=h oauth_client_secret='x'", 'host=h dbname=x', ' ')
{
	my (undef, undef, $err) = $primary->psql('postgres', "\\set VERBOSITY sqlstate\nALTER SYSTEM SET walwarden.primary_conninfo = \$\$$value\$\$" =~ s/\$\$(.*)\$\$/"'" . $1 =~ s{'}{''}gr . "'"/er);
	like($err, qr/ERROR:\s+22023/, "walwarden.primary_conninfo = '$value' is refused");
}
$primary->safe_psql('postgres', q{ALTER SYSTEM SET walwarden.primary_conninfo = 'host=h passfile=/pgpass'});
$primary->safe_psql('postgres', q{ALTER SYSTEM SET walwarden.primary_conninfo = ''});
$primary->stop;
done_testing();
