# Eight runners and many jobs, while whatever may end a runner ends them at random moments: then
# the kills stop, and each job is done, once. What was lost on the way has left nothing.
#   MANY_JOBS   number of jobs (default: 200)
#   MANY_SEED   the seed of an earlier run
use strict;
use warnings;
use EngineTest;
use ExtensionTest;
use IPC::Open2;
use JSON::PP;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;
use Time::HiRes qw(sleep);

my $jobs = $ENV{MANY_JOBS} // 200;
my $seed = $ENV{MANY_SEED} // int rand 1_000_000;
srand $seed;
note("MANY_SEED=$seed");
END { diag("MANY_SEED=$seed") if defined $seed && ($? || !Test::More->builder->is_passing); }

my $cluster = cluster();
my $base = $RunnerTest::base;
$cluster->append_conf('postgresql.conf', 'max_connections = 200');
$cluster->restart;
my $control = extension();
pauses(1);
# In one session: the storm asks more often than psql could be started.
my $psql = open2(my $answers, my $questions, 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $cluster->connstr('authority'));
sub ask
{
	my ($query) = @_;
	my $answer = '';
	print {$questions} "$query;\n\\echo END\n";
	while ((my $line = <$answers> // die "psql has ended: $query") ne "END\n") { $answer .= $line; }
	chomp $answer;
	return $answer;
}
sub count { my ($query) = @_; return ask("SELECT count(*) FROM $query"); }

# Eight nodes of one organisation, which serve the same databases, targets and destination. The
# control database sees which node a session is of.
my @nodes = map { { name => "node-$_", dir => "$base/node-$_", pid => 0, stopped => 0 } } 1 .. 8;
my @live = map { "live$_" } 1 .. 4;
append_to_file("$base/targets", join '', map { sprintf "[%s]\nhost=%s\nport=%d\ndbname=%s\n", $_, $cluster->host, $cluster->port, $_ } @live);
for my $node (@nodes)
{
	mkdir $_ for $node->{dir}, "$node->{dir}/work", "$node->{dir}/state";
	node_token($node->{name}, "$node->{dir}/token");
	config_file("$node->{dir}/runner.conf", control => "$control application_name=$node->{name}", node => $node->{name}, token_file => "$node->{dir}/token",
		work => "$node->{dir}/work", state => "$node->{dir}/state", allow_in_place => join(',', @live), lease => 60);
}
sub start
{
	my ($node) = @_;
	$node->{pid} = start_runner('--config', "$node->{dir}/runner.conf");
	return;
}

# The jobs. A database has one backup at a time, so each backup has a database of its own.
my ($destination) = requests([ 'POST', '/destinations', { name => 'local', provider => 'local', uri => "file://$base/destination" } ]);
sub back_up
{
	my ($from, $to) = @_;
	my @databases = requests(map { [ 'POST', '/databases', { name => "orders-$_", connectionRef => 'orders', destinationId => $destination->{id} } ] } $from .. $to);
	my @queued = requests(map { [ 'POST', "/databases/$_->{id}/backups" ] } @databases);
	return map { { database => $databases[$_]{id}, backup => $queued[$_]{backupJobId} } } 0 .. $#queued;
}
my @first = back_up(1, 4);
start($_) for @nodes;
wait_for(sub { count(q{walwarden_internal.job WHERE state = 'completed'}) == @first }, 'a few backups for the restores');

$cluster->safe_psql('postgres', join ';', map { "CREATE DATABASE $_ TEMPLATE orders" } @live);
$cluster->safe_psql($_, 'DELETE FROM item WHERE id > 40') for @live;
my @restores;
for my $i (0 .. $#first)
{
	my $backup = $first[$i];
	push @restores, { databaseId => $backup->{database}, backupJobId => $backup->{backup}, kind => 'restore', mode => 'in_place', target => $live[$i], confirmDestructive => JSON::PP::true };
}
my $left = $jobs - @first - @restores;
for my $i (1 .. int($left * 0.35))
{
	my $backup = $first[ $i % @first ];
	push @restores, { databaseId => $backup->{database}, backupJobId => $backup->{backup},
		$i % 5 < 2 ? (kind => 'restore', mode => 'new_database', target => "scratch/restored$i") : (kind => 'drill', mode => 'new_database', target => 'scratch') };
}
requests(map { [ 'POST', '/restores', $_ ] } shuffle @restores);
back_up(5, $jobs - @restores);
is(count('walwarden_internal.job'), $jobs, 'the jobs are queued');

# The storm. What a node holds is looked at while it stands still; a job that has no attempts
# left is spared, so that none is lost by that.
my %hits = map { $_ => 0 } qw(killed terminated process program stopped);
my $storm = int($jobs / 4);
my $stands_still = sub {
	my ($node) = @_;
	kill 'STOP', map { $_->[0] } processes($node->{pid}, "$node->{dir}/work");
	# what its sessions are doing comes to its end
	for (1 .. 50 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if count("pg_stat_activity WHERE application_name = '$node->{name}' AND state <> 'idle'") == 0;
		sleep 0.02;
	}
	die "the sessions of $node->{name} do not end";
};
my $goes_on = sub { my ($node) = @_; kill 'CONT', map { $_->[0] } processes($node->{pid}, "$node->{dir}/work"); return; };
my $held = sub { my ($node) = @_; return "walwarden_internal.job AS j JOIN walwarden_internal.node AS n ON n.id = j.claimed_by WHERE n.name = '$node->{name}' AND NOT j.done"; };
# as if it had been still for longer than its leases
my $end_leases = sub {
	my ($node) = @_;
	ask("UPDATE walwarden_internal.job AS j SET lease_until = clock_timestamp() FROM walwarden_internal.node AS n WHERE n.id = j.claimed_by AND n.name = '$node->{name}' AND NOT j.done");
	return;
};
my $kill_one = sub {
	my ($node, $what, $is_one) = @_;
	my ($process) = shuffle grep { $is_one->($_->[1]) } job_processes($node->{pid}, "$node->{dir}/work");
	kill 'KILL', $process->[0] if $process;
	$goes_on->($node);
	return $process && pass("$node->{name} loses $what");
};
my %hit = (
	killed => sub {
		my ($node) = @_;
		is(stop_runner($node->{pid}, 'KILL'), 'signal 9', "$node->{name} is killed");
		$end_leases->($node) if rand() < 0.3;
		$goes_on->($node);
		start($node);
		return 1;
	},
	terminated => sub {
		my ($node) = @_;
		$goes_on->($node);
		is(stop_runner($node->{pid}), 0, "$node->{name} is terminated");
		start($node);
		return 1;
	},
	process => sub { my ($node) = @_; return $kill_one->($node, 'the process of a job', sub { $_[0] =~ /walwarden-runner/ }); },
	program => sub { my ($node) = @_; return $kill_one->($node, 'a program of a job', sub { $_[0] !~ /walwarden-runner/ }); },
	stopped => sub {
		my ($node) = @_;
		$end_leases->($node);
		$node->{stopped} = 1;
		return pass("$node->{name} is stopped for longer than its leases");
	});
my $done = sub { return count('walwarden_internal.job WHERE done'); };
while ($storm > 0 && $done->() < $jobs)
{
	for my $node (grep { $_->{stopped} && rand() < 0.5 && count($held->($_)) == 0 } @nodes)
	{
		$goes_on->($node);
		$node->{stopped} = 0;
	}
	sleep rand 0.1;
	my ($node) = shuffle grep { !$_->{stopped} } @nodes or next;
	my $how = (shuffle sort keys %hit)[0];
	next if $how eq 'stopped' && (grep { $_->{stopped} } @nodes) > 2;
	$stands_still->($node);
	if (count($held->($node) . ' AND j.attempt = j.max_attempts') > 0)
	{
		$goes_on->($node);
		next;
	}
	next unless $hit{$how}->($node);
	$hits{$how}++;
	$storm--;
}
$goes_on->($_) for grep { $_->{stopped} } @nodes;
note(join ', ', map { "$_: $hits{$_}" } sort keys %hits);
wait_for(sub { $done->() == $jobs }, 'then the kills stop, and all jobs get done');
for my $node (@nodes)
{
	wait_for(sub { job_processes($node->{pid}, "$node->{dir}/work") == 0 && !(my @jobs = glob "$node->{dir}/state/*-*") }, "$node->{name} has no process of a job any more, and nothing to clean up");
}
is(stop_runner($_->{pid}), 0, "$_->{name} ends well") for @nodes;

# Nothing is lost, and nothing is done twice.
is(authority(q{SELECT kind, state, error ->> 'class' FROM walwarden_internal.job WHERE kind IN ('backup', 'drill') AND state <> 'completed'}), '', 'every backup and drill is completed');
is(authority(q{SELECT string_agg(DISTINCT error ->> 'class', ' ') FROM walwarden_internal.job WHERE state <> 'completed' AND coalesce(error ->> 'class', '') NOT IN ('process_died', 'runner_stopped', 'lease_expired', 'restore_failed', 'check_failed')}), '',
	'a restore has failed only if it was interrupted');
is(authority(q{
	SELECT j.id, j.state, e.kinds FROM walwarden_internal.job AS j,
	       LATERAL (SELECT string_agg(e.kind, ' ' ORDER BY e.seq) AS kinds FROM walwarden_internal.audit_entry AS e WHERE e.job_id = j.id) AS e
	 WHERE j.state <> 'completed' AND e.kinds !~ 'restore.(restoring|finalizing) restore.(failed|timed_out)$'}), '', 'and after it had begun to write to its target');
is(authority(q{
	SELECT j.id, j.state, count(*) FROM walwarden_internal.job AS j
	  LEFT JOIN walwarden_internal.audit_entry AS e ON e.job_id = j.id AND split_part(e.kind, '.', 2) IN ('completed', 'failed', 'timed_out')
	 GROUP BY j.id HAVING count(e.*) <> 1}), '', 'the chain has one end of each job');
is(authority(q{SELECT e.backup_job_id FROM walwarden_internal.evidence AS e JOIN walwarden_internal.job AS j ON j.id = e.backup_job_id WHERE e.fence <> j.fence}), '', 'the evidence is that of the claim that completed it');
note('attempts: ' . authority(q{SELECT string_agg(format('%s jobs with %s', n, attempt), ', ' ORDER BY attempt) FROM (SELECT attempt, count(*) AS n FROM walwarden_internal.job GROUP BY attempt) AS a}));
note('ends: ' . authority(q{SELECT string_agg(format('%s %s %s', n, kind, state), ', ' ORDER BY kind, state) FROM (SELECT kind, state, count(*) AS n FROM walwarden_internal.job GROUP BY kind, state) AS a}));

# What there is belongs to the claims that completed their jobs.
my %artifact = map { split /\|/ } split /\n/, authority(q{SELECT format('%s/%s.%s', database_id, id, fence), artifact ->> 'checksumSha256' FROM walwarden_internal.job WHERE kind = 'backup'});
is_deeply([ objects() ], [ sort map { my $stem = $_; map { "$stem.$_" } qw(dump manifest.json roles.sql rows.json) } keys %artifact ], 'the destination has the objects of these claims, and no others');
is_deeply({ map { $_ => sha256_file("$base/destination/$_.dump") } keys %artifact }, \%artifact, 'with the contents that they reported');
is_deeply([ glob "$base/node-*/work/*" ], [], 'no scratch is left');
is_deeply([ processes(-1, $base) ], [], 'no process');
is($cluster->safe_psql('postgres', q{SELECT datname FROM pg_database WHERE datname LIKE 'walwarden%'}), '', 'no scratch database');
is(count(q{pg_stat_activity WHERE application_name LIKE 'walwarden-runner%' OR application_name LIKE 'node-%'}), 0, 'no session');

# A restored database is there whole, or not at all.
my @restored = split /\n/, $cluster->safe_psql('postgres', q{SELECT datname FROM pg_database WHERE datname LIKE 'restored%'});
my %is_there = map { $_ => 1 } @restored;
is_deeply([ grep { !$is_there{$_} } split /\n/, authority(q{SELECT split_part(target, '/', 2) FROM walwarden_internal.job WHERE kind = 'restore' AND mode = 'new_database' AND state = 'completed'}) ], [], 'what was restored is there');
is_deeply([ grep { $cluster->safe_psql($_, 'SELECT count(*) FROM item') != 100 } @restored ], [], 'with all its rows');
my %in_place = map { split /\|/ } split /\n/, authority(q{SELECT target, state FROM walwarden_internal.job WHERE mode = 'in_place'});
like($cluster->safe_psql($_, 'SELECT count(*) FROM item') . " $in_place{$_}", qr/^100 completed$|^(40|100) (failed|timed_out)$/, "$_ is as it was, or restored") for @live;

close $questions;
waitpid $psql, 0;
pauses();
is(authority('SELECT org, reason FROM walwarden.verify_audit_chain() WHERE NOT ok'), '', 'the chains say all of it');
if (!Test::More->builder->is_passing)
{
	diag(slurp($RunnerTest::log));
	diag(authority('SELECT seq, kind, job_id FROM walwarden_internal.audit_entry WHERE job_id IS NOT NULL ORDER BY seq'));
}
done_testing();
