# What the tests of walwarden-runner share: a cluster with a stand-in control database and a
# protected database, a configuration, and the runner itself.
#   RUNNER          the program
#   RUNNER_BINDIR   the PostgreSQL programs that it starts
package RunnerTest;
use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(cluster control write_config config_file start_runner run_runner stop_runner processes job_processes wait_for wait_until backup_job token token_file scratch random_token slurp);

my $here = dirname(__FILE__);
our ($cluster, $base, $log, $token);
our %config;
my %running;

sub slurp { my ($path) = @_; return -e $path ? PostgreSQL::Test::Utils::slurp_file($path) : ''; }
sub random_token { return 'wal_' . join '', map { sprintf '%x', int rand 16 } 1 .. 64; }

# A cluster with the databases control, orders (protected) and a configuration for them.
sub cluster
{
	$cluster = PostgreSQL::Test::Cluster->new($_[0] // 'main');
	$cluster->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$cluster->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
	$cluster->start;
	$base = PostgreSQL::Test::Utils::tempdir_short();
	$cluster->safe_psql('postgres', "CREATE DATABASE $_") for 'control', 'orders';
	$cluster->safe_psql('orders', 'CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 100)');
	set_up_control($cluster);
	mkdir "$base/$_" for qw(work state destination);
	append_to_file("$base/services", sprintf "[orders]\nhost=%s\nport=%d\ndbname=orders\n", $cluster->host, $cluster->port);
	append_to_file("$base/targets", sprintf "[scratch]\nhost=%s\nport=%d\ndbname=postgres\n", $cluster->host, $cluster->port);
	chmod 0600, "$base/services", "$base/targets";
	%config = (
		control => sprintf('host=%s port=%d dbname=control', $cluster->host, $cluster->port),
		token_file => "$base/token", node => 'node-1', services => "$base/services", targets => "$base/targets",
		local_root => "$base/destination", work => "$base/work", state => "$base/state",
		'bindir.' . major() => $ENV{RUNNER_BINDIR}, lease => 30, poll => 1);
	token(random_token());
	return $cluster;
}

sub major { return int($cluster->safe_psql('postgres', 'SHOW server_version_num') / 10000); }

sub set_up_control { $_[0]->safe_psql('control', slurp("$here/stand_in.sql")); return; }

sub control { my ($query) = @_; return $cluster->safe_psql('control', $query); }

# A token that the control database knows, in the token file.
sub token
{
	($token) = @_;
	control("INSERT INTO walwarden.token (token) VALUES ('$token') ON CONFLICT DO NOTHING");
	token_file("$base/token", $token);
	return $token;
}

# Puts a token into a file, which a runner may be reading.
sub token_file
{
	my ($path, $text) = @_;
	unlink "$path.new";
	append_to_file("$path.new", "$text\n");
	chmod 0600, "$path.new";
	rename "$path.new", $path or die;
	return;
}

# Writes the configuration, with these keys changed; undef leaves one out. Returns its path.
sub write_config { return config_file("$base/runner.conf", @_); }

sub config_file
{
	my ($path, %changed) = @_;
	my %all = (%config, %changed);
	unlink $path;
	append_to_file($path, join '', map { "$_ = $all{$_}\n" } grep { defined $all{$_} } sort keys %all);
	chmod 0644, $path;
	return $path;
}

# In a child: as under sudo, from a home directory that is closed to others.
sub enter_closed
{
	my $closed = "$base/closed.$$";
	mkdir $closed and chdir $closed and chmod 0, $closed or POSIX::_exit(127);
	return;
}

# Runs the program to its end: (exit code, stdout, stderr).
sub run_runner
{
	my (@arguments) = @_;
	my ($out, $err);
	IPC::Run::run([ $ENV{RUNNER}, @arguments ], '<', '/dev/null', '>', \$out, '2>', \$err, init => \&enter_closed);
	return ($? >> 8, $out, $err);
}

# Starts it in a session of its own, by which its processes are found. Returns its pid.
sub start_runner
{
	my (@arguments) = @_;
	$log = "$base/log" unless defined $log;
	my $pid = fork // die;
	if ($pid == 0)
	{
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log;
		open STDERR, '>>', $log;
		POSIX::close($_) for 3 .. 255;
		enter_closed();
		exec $ENV{RUNNER}, '--config', "$base/runner.conf", @arguments or POSIX::_exit(127);
	}
	$running{$pid} = 1;
	return $pid;
}

# None outlives its test.
END { local $?; kill 'KILL', keys %running; }

# Its exit code, or what ended it.
sub stop_runner
{
	my ($pid, $signal) = @_;
	kill $signal // 'TERM', $pid;
	waitpid $pid, 0;
	delete $running{$pid};
	return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

# All processes of a session, or that name a directory, which is that of scratch unless another
# is given: [pid, command line, environment, name].
sub processes
{
	my ($session, $directory) = @_;
	my @found;
	$directory //= "$base/work";
	for my $dir (glob '/proc/[0-9]*')
	{
		my ($pid) = $dir =~ /(\d+)/;
		next if $pid == $$;
		my $stat = slurp_proc("$dir/stat");
		my ($name, $state, $sid) = $stat =~ /\((.*)\) (\S) \d+ \d+ (\d+)/s or next;
		my $command = slurp_proc("$dir/cmdline");
		my $environment = slurp_proc("$dir/environ");
		next if $state eq 'Z';
		push @found, [ $pid, $command =~ tr/\0/ /r, $environment, $name ]
		  if $sid == $session || index($command, $directory) >= 0 || index($environment, $directory) >= 0;
	}
	return @found;
}

# Those of jobs: neither the supervisor nor the one that follows the chain.
sub job_processes
{
	my ($session, $directory) = @_;
	return grep { $_->[0] != $session && $_->[3] ne 'walwarden-chain' } processes($session, $directory);
}

# A process may end while it is read.
sub slurp_proc
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return <$file> // '';
}

# Until a condition holds. The limit is for a broken program alone.
sub wait_for
{
	my ($condition, $what) = @_;
	for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		if ($condition->()) { pass($what); return 1; }
		sleep 0.05;
	}
	fail($what);
	diag(slurp($log)) if defined $log;
	return 0;
}

sub wait_until { my ($query, $what) = @_; return wait_for(sub { control("SELECT ($query)") eq 't' }, $what); }

# A backup of orders waits in the control database. Returns its id.
my $number = 0;
sub backup_job
{
	my (%changed) = @_;
	my $id = sprintf '5e0b9a52-0000-4000-8000-%012d', ++$number;
	my $members = join ', ', map { "'$_', '$changed{$_}'::jsonb" } keys %changed;
	control(qq{
		INSERT INTO walwarden.job (id, kind, job) VALUES ('$id', 'backup', jsonb_build_object(
			'id', '$id', 'kind', 'backup', 'databaseId', '7c1f0b62-0000-4000-8000-000000000001', 'orgId', walwarden.current_org_id(),
			'database', jsonb_build_object('id', '7c1f0b62-0000-4000-8000-000000000001', 'name', 'Orders', 'connectionRef', 'orders', 'method', 'pg_dump'),
			'destination', jsonb_build_object('id', '7c1f0b62-0000-4000-8000-000000000002', 'provider', 'local', 'uri', 'file://$base/destination'))
			|| jsonb_build_object($members))});
	return $id;
}

# The names in the directory of scratch.
sub scratch { return sort map { basename($_) } glob "$base/work/*"; }

1;
