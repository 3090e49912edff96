# Crashes under load, with preload: the postmaster is killed, or stopped at once,
# while eight clients issue, revoke and append, half of them with
# synchronous_commit = off. Whatever was acknowledged is there afterwards, the chains
# verify, and last-used is not older than what had been flushed. FAULT_ROUNDS and
# FAULT_CHANGES: how many crashes, and how many changes are acknowledged before each.
use strict;
use warnings;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{FAULT_ROUNDS} // 6;
my $changes = $ENV{FAULT_CHANGES} // 100;
my $clients = 8;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
fsync = on
wal_writer_delay = 10s
shared_preload_libraries = 'walwarden'
walwarden.usage_flush_interval = 1s
walwarden.max_tokens_per_org = 1000000
CONF
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('org' || i) FROM generate_series(0, 3) AS i;
	CREATE TABLE acknowledged (what text, id text);
});

# What a client does: a token, its revocation when it is the second of two, an entry.
# psql says what was answered, and nothing more once the connection is gone.
my $script = $node->basedir . '/load.sql';
append_to_file($script, join '', map { <<'SQL' . ($_ % 2 ? <<'REVOKE' : '') } 1 .. 3000);
SELECT token_id AS id FROM walwarden.issue_token(:'org', 'load') \gset
\echo issued :id
SELECT walwarden.append_audit('app.load', '{}', NULL, :'org') AS seq \gset
\echo appended :org/:seq
SQL
SELECT walwarden.revoke_token(:'id') AS done \gset
\echo revoked :id
REVOKE

my $token = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('org0', 'used', '{databases:read}')});
my ($total, $wrong, $used) = (0, 0, '-infinity');
my %count;    # by what was done, and whether the client commits synchronously
for my $round (1 .. $rounds)
{
	my @answers;
	my @pids;
	for my $client (0 .. $clients - 1)
	{
		my $file = $node->basedir . "/answers$client";
		push @answers, $file;
		my $pid = fork // die "fork: $!";
		if ($pid == 0)
		{
			open STDOUT, '>', $file or die;
			open STDERR, '>', '/dev/null' or die;
			$ENV{PGOPTIONS} = '-c synchronous_commit=off' if $client % 2;
			exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'org=org' . $client % 4, '-d', $node->connstr('postgres'), '-f', $script or die;
		}
		push @pids, $pid;
	}
	# a use that is on record before the crash stays so
	$node->safe_psql('postgres', "BEGIN READ ONLY; SELECT walwarden.authenticate('$token'); COMMIT");
	$node->poll_query_until('postgres', "SELECT u.last_used_at > '$used' FROM walwarden_internal.token_usage AS u JOIN walwarden_internal.token AS t ON t.id = u.token_id AND t.name = 'used'")
	  or die 'no use was flushed';
	$used = $node->safe_psql('postgres', "SELECT u.last_used_at FROM walwarden_internal.token_usage AS u JOIN walwarden_internal.token AS t ON t.id = u.token_id AND t.name = 'used'");
	# what a client keeps in its buffer is not counted: there are more
	my $seen = sub { my $n = 0; $n += slurp_file($_) =~ tr/\n// foreach @answers; return $n; };
	usleep(20_000) while $seen->() < $changes && grep { waitpid($_, WNOHANG) == 0 } @pids;
	usleep(int rand 200_000);
	if ($round % 2)
	{
		# the children of a killed postmaster have to be gone before another can start
		my @children = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
		$node->kill9;
		waitpid $_, 0 for @pids;
		my $left = 3000;
		while (grep { kill 0, $_ } @children) { die 'the children of a killed postmaster live on' unless $left--; usleep(100_000); }
		usleep(500_000);
	}
	else
	{
		$node->stop('immediate');
		waitpid $_, 0 for @pids;
	}
	$node->start;

	my $lines = '';
	foreach my $client (0 .. $clients - 1)
	{
		foreach (split /(?<=\n)/, slurp_file($answers[$client]))
		{
			my ($what, $id) = /^(issued|revoked|appended) (\S+)\n/ or next;
			$lines .= "$what\t$id\n";
			$count{ $what . ($client % 2 ? ', synchronous_commit = off' : '') }++;
		}
	}
	my $acknowledged = $node->basedir . '/acknowledged';
	unlink $acknowledged;
	append_to_file($acknowledged, $lines);
	$total += $lines =~ tr/\n//;
	$wrong += $node->safe_psql('postgres', qq{
		TRUNCATE acknowledged;
		\\copy acknowledged FROM '$acknowledged'
		SELECT count(*)
		  FROM acknowledged AS a
		  LEFT JOIN walwarden_internal.token AS t ON a.what <> 'appended' AND t.id::text = a.id
		  LEFT JOIN walwarden_internal.org AS o ON a.what = 'appended' AND o.slug = split_part(a.id, '/', 1)
		  LEFT JOIN walwarden_internal.audit_entry AS e ON e.org_id = o.id AND e.seq::text = split_part(a.id, '/', 2)
		 WHERE CASE a.what WHEN 'issued' THEN t.id IS NULL WHEN 'revoked' THEN t.revoked_at IS NULL ELSE e.kind IS DISTINCT FROM 'app.load' END});
	$wrong++ if $node->safe_psql('postgres', "SELECT u.last_used_at >= '$used' FROM walwarden_internal.token_usage AS u JOIN walwarden_internal.token AS t ON t.id = u.token_id AND t.name = 'used'") ne 't';
}
note("$rounds crashes, $total acknowledged changes, $wrong lost: " . join '; ', map { "$_: $count{$_}" } sort keys %count);
is($wrong, 0, "of $total acknowledged changes in $rounds crashes none is lost");
cmp_ok($total, '>=', $changes * $rounds, 'and there were enough of them');
is(scalar(keys %count), 6, 'of each kind, from both kinds of clients');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain()}), 'ok', 'the chains verify');
is($node->safe_psql('postgres', "SELECT walwarden.authorize('$token', 'databases:read') IS NOT NULL"), 't', 'tokens work');

$node->stop;
done_testing();
