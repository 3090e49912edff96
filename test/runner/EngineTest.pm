# What the tests of the engines share: jobs that run to their end, one at a time, and what is
# left of them in the stand-in control database and at the destination.
package EngineTest;
use strict;
use warnings;
use Digest::SHA;
use Exporter 'import';
use File::Basename;
use File::Find;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

our @EXPORT = qw(run_job backup restore expire objects manifest object_path completed_ok failed_as sha256_file make_key corrupt destination replaceable replace put_back);

my $json = JSON::PP->new->canonical->utf8;

# Where new jobs store: members of the job's destination.
our %destination;
sub destination { %destination = @_; return; }

sub destination_json
{
	return $json->encode({ id => '7c1f0b62-0000-4000-8000-000000000002', provider => 'local', uri => "file://$RunnerTest::base/destination", %destination });
}

# Runs one job, without any other that is open, and returns what became of it.
sub run_job
{
	my ($id) = @_;
	control("DELETE FROM walwarden.job WHERE id <> '$id' AND state NOT IN ('completed', 'failed')");
	control('TRUNCATE walwarden.call');
	my ($status, $out, $err) = run_runner('--config', "$RunnerTest::base/runner.conf", '--once');
	my %job = (id => $id, status => $status, log => $err, state => control("SELECT state FROM walwarden.job WHERE id = '$id'"), fence => control("SELECT fence FROM walwarden.job WHERE id = '$id'"));
	my $error = control("SELECT error FROM walwarden.job WHERE id = '$id' AND state = 'failed'");
	$job{error} = $error ne '' ? $json->decode($error) : {};
	my @calls = map { $json->decode($_) } split /\n/, control(q{SELECT jsonb_build_object('name', name, 'arguments', arguments) FROM walwarden.call ORDER BY seq});
	$job{order} = [ map { $_->{name} eq 'report_job' ? $_->{arguments}{state} : $_->{name} } grep { $_->{name} =~ /^(report_job|record_evidence)$/ } @calls ];
	for (@calls)
	{
		$job{evidence} = $_->{arguments} if $_->{name} eq 'record_evidence';
		$job{destination} = $_->{arguments} if $_->{name} eq 'report_destination';
		next unless $_->{name} eq 'report_job' && $_->{arguments}{state} eq 'completed';
		$job{artifact} = $_->{arguments}{detail}{artifact};
		$job{validation} = $_->{arguments}{detail}{validation};
	}
	return \%job;
}

sub completed_ok
{
	my ($job, $what) = @_;
	is($job->{state}, 'completed', $what) or diag($job->{log});
	return $job;
}

# Which class of failure, and whom it blames.
sub failed_as
{
	my ($job, $class, $blames, $message, $what) = @_;
	is("$job->{state} " . ($job->{error}{class} // '') . ' ' . ($job->{error}{blames} // '-'), "failed $class $blames", $what) or diag($job->{log});
	like($job->{error}{message} // '', $message, "$what: the message");
	is_deeply([ scratch() ], [], "$what: no scratch is left");
	return $job;
}

# A backup, run to its end. database: members of the job's database.
sub backup
{
	my (%database) = @_;
	my $id = backup_job(destination => destination_json(), database => $json->encode({
		id => '7c1f0b62-0000-4000-8000-000000000001', name => 'Orders', connectionRef => 'orders', method => 'pg_dump', %database }));
	my $job = run_job($id);
	$job->{method} = $database{method} // 'pg_dump';
	return $job;
}

my $number = 0;
sub job_of_backup
{
	my ($kind, $backup, %members) = @_;
	my $id = sprintf '6e0b9a52-0000-4000-8000-%012d', ++$number;
	my $text = $json->encode({
		id => $id, kind => $kind, databaseId => '7c1f0b62-0000-4000-8000-000000000001', orgId => '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0001',
		database => { id => '7c1f0b62-0000-4000-8000-000000000001', name => 'Orders', connectionRef => 'orders', method => $backup->{method} },
		destination => $json->decode(destination_json()), backupJobId => $backup->{id},
		backup => { id => $backup->{id}, fence => 0 + $backup->{fence}, artifact => $backup->{artifact} }, %members });
	control("INSERT INTO walwarden.job (id, kind, job) VALUES ('$id', '$kind', \$j\$$text\$j\$)");
	return $id;
}

# restore($backup, mode => ..., target => ...); kind => 'drill' for a drill.
sub restore
{
	my ($backup, %members) = @_;
	my $kind = delete $members{kind} // 'restore';
	return run_job(job_of_backup($kind, $backup, %members));
}

sub expire { my ($backup) = @_; return run_job(job_of_backup('expire', $backup)); }

# All files of the local destination, below it.
sub objects
{
	my @found;
	my $top = "$RunnerTest::base/destination";
	find({ no_chdir => 1, wanted => sub { push @found, substr($_, length($top) + 1) if -f $_ } }, $top);
	return sort @found;
}

# The path of one of a backup's objects, by its ending.
sub object_path
{
	my ($backup, $ending) = @_;
	return "$RunnerTest::base/destination/7c1f0b62-0000-4000-8000-000000000001/$backup->{id}.$backup->{fence}.$ending";
}

sub manifest { my ($backup) = @_; return $json->decode(slurp(object_path($backup, 'manifest.json'))); }

sub sha256_file { my ($path) = @_; return Digest::SHA->new(256)->addfile($path, 'b')->hexdigest; }

# Changes one byte in the middle of a file. Returns a sub that changes it back.
sub corrupt
{
	my ($path) = @_;
	my $flip = sub {
		my $byte;
		open my $file, '+<:raw', $path or die "$path: $!";
		seek $file, (-s $path) / 2, 0;
		read $file, $byte, 1;
		seek $file, (-s $path) / 2, 0;
		print $file chr(ord($byte) ^ 1);
		close $file or die;
		return;
	};
	$flip->();
	return $flip;
}

# An Ed25519 key: NAME.key and NAME.pem in base.
sub make_key
{
	my ($name) = @_;
	my $base = $RunnerTest::base;
	system_or_bail('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', "$base/$name.key");
	chmod 0600, "$base/$name.key";
	system_or_bail('openssl', 'pkey', '-in', "$base/$name.key", '-pubout', '-out', "$base/$name.pem");
	return "$base/$name.key";
}

# Lets the runner start the programs of a directory of its own, in which some are replaced.
sub replaceable
{
	mkdir "$RunnerTest::base/bin";
	symlink $_, "$RunnerTest::base/bin/" . s{.*/}{}r for glob "$ENV{RUNNER_BINDIR}/*";
	return ('bindir.' . RunnerTest::major() => "$RunnerTest::base/bin");
}

# Puts a script in the place of a program; $REAL in it is the program.
sub replace
{
	my ($program, $script) = @_;
	my $path = "$RunnerTest::base/bin/$program";
	unlink $path;
	append_to_file($path, "#!/bin/bash\nREAL=$ENV{RUNNER_BINDIR}/$program\n[ \"\$1\" = --version ] && exec \$REAL --version\n$script\n");
	chmod 0755, $path;
	return;
}
sub put_back { my ($program) = @_; unlink "$RunnerTest::base/bin/$program"; symlink "$ENV{RUNNER_BINDIR}/$program", "$RunnerTest::base/bin/$program"; return; }

1;
