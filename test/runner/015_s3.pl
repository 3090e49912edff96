# Backups at an S3 server, which is s3rver from npm: plain, and over TLS.
#   NODE_MODULES_RUNNER   node_modules with s3rver; default: beside this file
use strict;
use warnings;
use EngineTest;
use File::Basename;
use File::Find;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $modules = $ENV{NODE_MODULES_RUNNER} // dirname(__FILE__) . '/node_modules';
die "$modules has no s3rver: npm ci --ignore-scripts" unless -e "$modules/s3rver/bin/s3rver.js";

delete @ENV{qw(SSL_CERT_FILE SSL_CERT_DIR HTTPS_PROXY HTTP_PROXY NO_PROXY)};
my $cluster = cluster();
my $base = $RunnerTest::base;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $s3;

sub start_s3
{
	my (@arguments) = @_;
	mkdir "$base/s3";
	$s3 = fork // die;
	if ($s3 == 0)
	{
		open STDOUT, '>>', "$base/s3.log";
		open STDERR, '>&', \*STDOUT;
		exec 'node', "$modules/s3rver/bin/s3rver.js", '--directory', "$base/s3", '--address', '127.0.0.1', '--port', $port, '--no-vhost-buckets', '--configure-bucket', 'acme', @arguments or POSIX::_exit(127);
	}
	unlink "$base/s3.pid";
	append_to_file("$base/s3.pid", $s3);
	wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, 'the S3 server listens');
	return;
}
sub stop_s3 { kill 'KILL', $s3 if $s3; waitpid $s3, 0 if $s3; $s3 = undef; return; }
END { local $?; stop_s3(); }

sub remotes
{
	my ($endpoint) = @_;
	unlink "$base/rclone.conf";
	append_to_file("$base/rclone.conf", "[store]\ntype = s3\nprovider = Other\naccess_key_id = S3RVER\nsecret_access_key = S3RVER\nendpoint = $endpoint\nforce_path_style = true\nno_check_bucket = true\n");
	chmod 0600, "$base/rclone.conf";
	return;
}

# What the server has stored: its files are named after the objects.
sub stored
{
	my @found;
	find({ no_chdir => 1, wanted => sub { push @found, $1 if m{^\Q$base\E/s3/acme/prod/(.*)\._S3rver_object$} } }, "$base/s3");
	return sort @found;
}
sub stored_path { my ($b, $ending) = @_; return "$base/s3/acme/prod/7c1f0b62-0000-4000-8000-000000000001/$b->{id}.$b->{fence}.$ending._S3rver_object"; }


# rclone by way of a script that keeps what it is told
my ($rclone) = grep { -x } map { "$_/rclone" } split /:/, $ENV{PATH};
mkdir "$base/path";
append_to_file("$base/path/rclone", "#!/bin/bash\ntr '\\0' '\\n' < /proc/\$\$/environ >> $base/told\necho \"ARGUMENTS \$*\" >> $base/told\nexec $rclone \"\$@\"\n");
chmod 0755, "$base/path/rclone";
$ENV{PATH} = "$base/path:$ENV{PATH}";

# more than one part of 16 MiB
$cluster->safe_psql('orders', q{CREATE TABLE filler AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b FROM generate_series(1, 700000)});
my %new = (kind => 'drill', mode => 'new_database', target => 'scratch');
remotes("http://127.0.0.1:$port");
write_config(rclone_config => "$base/rclone.conf", replaceable());
destination(provider => 's3', uri => 's3://acme/prod', credentialRef => 'store');
start_s3();

my $b;
{
	# rclone would not even start with the first of these
	local $ENV{AWS_CA_BUNDLE} = '/nonexistent';
	local $ENV{RCLONE_CONFIG_STORE_ENDPOINT} = 'http://elsewhere.invalid';
	$b = completed_ok(backup(), 'a backup at S3');
}
my $stem = "7c1f0b62-0000-4000-8000-000000000001/$b->{id}.1";
is_deeply([ stored() ], [ map { "$stem.$_" } qw(dump manifest.json roles.sql rows.json) ], 'its objects, and nothing else');
is(sha256_file(stored_path($b, 'dump')), $b->{artifact}{checksumSha256}, 'the artifact');
cmp_ok($b->{artifact}{sizeBytes}, '>', 20 << 20, 'has more than one part');
my $told = slurp("$base/told");
unlike($told, qr/S3RVER|AWS_|RCLONE_/, 'rclone is told no key, and nothing of the environment of the runner');
my %names = map { /^([A-Z_]+)=/ ? ($1 => 1) : () } split /\n/, $told;
is(join(' ', sort keys %names), 'HOME LC_ALL PATH TZ', 'its whole environment');
completed_ok(restore($b, %new), 'a drill of it');

my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'list', 's3://acme/prod', 'store');
is($status, 0, 'list') or diag($err);
like($out, qr/pg_dump +unchecked +$b->{artifact}{sizeBytes} +\Q$stem\E +Orders$/m, 'prints the backup');
($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'fetch', $stem, "$base/fetched", 's3://acme/prod', 'store');
is($status, 0, 'fetch') or diag($err);
is(sha256_file("$base/fetched/backup.dump"), $b->{artifact}{checksumSha256}, 'fetches the dump');

# what rclone would store
sub nothing_new
{
	my ($job, $class, $message, $what) = @_;
	is("$job->{state} $job->{error}{class} " . ($job->{error}{retryable} ? 1 : 0), "failed $class 1", $what) or diag($job->{log});
	like($job->{error}{message}, $message, "$what: the message");
	is_deeply([ grep { index($_, $stem) != 0 } stored() ], [], "$what: nothing is stored");
	return;
}
for my $half (2000, 20 << 20)
{
	replace('pg_dump', qq{\$REAL "\$@" | head -c $half; exit 1});
	nothing_new(backup(), 'engine_failed', qr/pg_dump failed with exit code 1/, "a dump that fails after $half bytes");
}
put_back('pg_dump');

# a job that is killed while rclone has half
for my $half (2000, 20 << 20)
{
	unlink "$base/half";
	replace('pg_dump', qq{\$REAL "\$@" | head -c $half; touch $base/half; sleep 1000});
	my $id = backup_job(destination => '{"id": "7c1f0b62-0000-4000-8000-000000000002", "provider": "s3", "uri": "s3://acme/prod", "credentialRef": "store"}');
	my $pid = start_runner('--once');
	wait_for(sub { -e "$base/half" }, "rclone has $half bytes");
	stop_runner($pid);
	is_deeply([ grep { index($_, $stem) != 0 } stored() ], [], 'nothing is stored');
	control("DELETE FROM walwarden.job WHERE id = '$id'");
}
put_back('pg_dump');

# what is damaged there
my $path = stored_path($b, 'dump');
my $repair = corrupt($path);
failed_as(restore($b, %new), 'artifact_changed', 'backup', qr/SHA-256/, 'a changed byte');
$repair->();
rename $path, "$path.away";
failed_as(restore($b, %new), 'artifact_missing', 'backup', qr/is not at the destination/, 'a missing object');
append_to_file($path, substr slurp("$path.away"), 0, 1000);
my $cut = restore($b, %new);
is("$cut->{error}{class} $cut->{error}{blames}", 'artifact_changed backup', 'a truncated object');
rename "$path.away", $path;

# references
destination(provider => 's3', uri => 's3://acme/prod', credentialRef => 'elsewhere');
nothing_new(backup(), 'destination_failed', qr/didn't find section in config file|elsewhere/, 'a remote that rclone does not have');
destination(provider => 's3', uri => 's3://acme/prod');
nothing_new(backup(), 'destination_failed', qr/not the name of a remote/, 'no remote');
destination(provider => 's3', uri => 's3://nowhere/prod', credentialRef => 'store');
nothing_new(backup(), 'destination_failed', qr/rclone failed/, 'a bucket that does not exist');
destination(provider => 's3', uri => 's3://acme/prod', credentialRef => 'store');

# the server goes away in the middle
replace('pg_dump', qq{\$REAL "\$@" | (head -c 20000000; kill -9 \$(cat $base/s3.pid); cat)});
my $job = backup();
is("$job->{state} $job->{error}{class} $job->{error}{retryable}", 'failed destination_failed 1', 'S3 goes away in the middle') or diag($job->{log});
put_back('pg_dump');
waitpid $s3, 0;
failed_as(restore($b, %new), 'destination_failed', 'node', qr/rclone failed/, 'S3 is down: the backup is not to blame');
$job = backup();
is("$job->{error}{class} $job->{error}{retryable}", 'destination_failed 1', 'nor does a backup go through');
ok(!$job->{destination}{ok}, 'the destination is reported as failing');
($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'list', 's3://acme/prod', 'store');
is($status, 1, 'list fails');

# over TLS, by a certificate of our own
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
	'-keyout', "$base/tls.key", '-out', "$base/tls.pem");
remotes("https://127.0.0.1:$port");
start_s3('--key', "$base/tls.key", '--cert', "$base/tls.pem");
is_deeply([ grep { index($_, $stem) != 0 } stored() ], [], 'nothing is stored of the backup during which S3 went away');
nothing_new(backup(), 'destination_failed', qr/certificate/, 'a certificate that is not trusted');
{
	local $ENV{SSL_CERT_FILE} = "$base/tls.pem";
	completed_ok(restore($b, %new), 'a drill over TLS');
	my $t = completed_ok(backup(), 'a backup over TLS');
	completed_ok(expire($t), 'an expiry over TLS');
	completed_ok(expire($t), 'what is not there is removed');
	completed_ok(expire($b), 'the first one expires');
}
is_deeply([ stored() ], [], 'nothing is left');

done_testing();
