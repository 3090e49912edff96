# --check tries what the configuration names, and says what is wrong with each.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $major = RunnerTest::major();
my ($host, $port) = ($cluster->host, $cluster->port);

sub check
{
	my (%changed) = @_;
	my ($status, $out, $err) = run_runner('--config', write_config(%changed), '--check');
	is($err, '', 'nothing goes to stderr');
	unlike($out, qr/wal_[0-9a-f]{64}/, 'no token is shown');
	return ($status, $out);
}
sub file
{
	my ($name, $text) = @_;
	unlink "$base/$name";
	append_to_file("$base/$name", $text);
	chmod 0600, "$base/$name";
	return "$base/$name";
}

my ($status, $out) = check();
is($status, 0, 'all is well');
is($out, <<"OUT", 'and said');
ok   control: database control of PostgreSQL @{[$cluster->safe_psql('postgres', 'SHOW server_version')]}, organisation acme
ok   node: the token is accepted, and the node is registered
ok   chain: this node knows nothing of it, and will read it from its beginning
ok   services [orders]: PostgreSQL $major, database orders, role @{[$cluster->safe_psql('postgres', 'SELECT current_user')]}
ok   targets [scratch]: PostgreSQL $major, database postgres, role @{[$cluster->safe_psql('postgres', 'SELECT current_user')]}
ok   bindir.$major: $ENV{RUNNER_BINDIR}
ok   work: $base/work can be written to
ok   state: $base/state can be written to
ok   local_root: $base/destination can be written to
OUT

# the environment leads nowhere else
{
	local %ENV = (%ENV, PGSERVICEFILE => "$base/nowhere", PGSERVICE => 'nowhere', PGHOST => '/nowhere', PGPORT => 1, PGDATABASE => 'nowhere', PGUSER => 'nobody', PGPASSFILE => "$base/nowhere", PGOPTIONS => '-c nonsense=1', PGSYSCONFDIR => "$base", PGSSLMODE => 'verify-full');
	is((check())[1], $out, 'PG* in the environment is ignored');
}

# the key
my $key = "$base/key.pem";
system_or_bail('openssl', 'genpkey', '-algorithm', 'ed25519', '-out', $key);
chmod 0600, $key;
control('DELETE FROM walwarden.call');
($status, $out) = check(signing_key => $key);
my ($public) = $out =~ m{^ok   signing_key: ([A-Za-z0-9+/]{43}=)$}m;
ok($public, 'the public key is shown');
is(control(q{SELECT arguments ->> 'publicKey' FROM walwarden.call WHERE name = 'register_node'}), $public, 'and registered');
system_or_bail('openssl', 'genpkey', '-algorithm', 'rsa', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', $key);
($status, $out) = check(signing_key => $key);
like($out, qr/^FAIL signing_key: \Q$key\E holds no Ed25519 private key/m, 'a key of another kind');
is($status, 1, 'is a failure');

# the control database
($status, $out) = check(control => "host=$host port=$port dbname=gone");
like($out, qr/^FAIL control: cannot connect: .*database "gone" does not exist/m, 'a database that is not there');
is($status, 1, 'is a failure');
($status, $out) = check(control => "host=$base port=$port dbname=control");
like($out, qr/^FAIL control: cannot connect/m, 'a server that is not there');
control('DELETE FROM walwarden.token');
($status, $out) = check();
like($out, qr/^FAIL control: the token is not accepted: the token is not valid \(28000\)[.] Was it issued in the database that control names[?]$/m, 'a token that is not accepted');
token($RunnerTest::token);
for my $state (qw(42501 55000))
{
	control("INSERT INTO walwarden.refusal VALUES ('register_node', '$state')");
	($status, $out) = check();
	like($out, qr/^FAIL control: cannot register as node node-1: refused by the test \($state\)$/m, "a registration that is refused with $state");
	control('DELETE FROM walwarden.refusal');
}

# protected databases and targets
$cluster->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
my $services = file('services', "[orders]\nhost=$host\nport=$port\ndbname=orders\n[gone]\nhost=$host\nport=$port\ndbname=gone\n[alias]\nhost=$base/link\nport=$port\ndbname=control\n");
symlink $host, "$base/link" or die;
my $targets = file('targets', "[scratch]\nhost=$host\nport=$port\ndbname=postgres\nuser=plain\n");
($status, $out) = check();
like($out, qr/^ok   services \[orders\]/m, 'a database that is there');
like($out, qr/^FAIL services \[gone\]: .*database "gone" does not exist$/m, 'one that is not');
like($out, qr/^FAIL services \[alias\]: this is the control database$/m, 'the control database by another name');
like($out, qr/^FAIL targets \[scratch\]: role plain cannot create databases: new_database and drills need CREATEDB$/m, 'a role that cannot restore');
is($status, 1, 'are failures');

# programs
mkdir "$base/bin";
for my $program (qw(pg_dump pg_dumpall pg_restore pg_basebackup pg_verifybackup pg_amcheck))
{
	append_to_file("$base/bin/$program", "#!/bin/sh\necho $program '(PostgreSQL) 9.6'\n");
	chmod 0755, "$base/bin/$program";
}
($status, $out) = check("bindir.$major" => "$base/bin");
like($out, qr{^FAIL bindir.$major: \Q$base\E/bin/pg_dump: pg_dump \(PostgreSQL\) 9.6$}m, 'programs of another version');
($status, $out) = check("bindir.$major" => undef, 'bindir.99' => $ENV{RUNNER_BINDIR});
like($out, qr/^FAIL services \[orders\]: the server is PostgreSQL $major, and there is no bindir.$major: install postgresql-client-$major$/m, 'no programs for a server');

# rclone
SKIP:
{
	skip 'rclone is not installed', 2 if system('command -v rclone >/dev/null');
	($status, $out) = check(rclone_config => file('rclone.conf', "[store]\ntype = local\n"));
	like($out, qr/^ok   rclone_config: remotes store:$/m, 'remotes of rclone');
	($status, $out) = check(rclone_config => file('rclone.conf', "\n"));
	like($out, qr/^FAIL rclone_config: \S+ has no remote$/m, 'no remote');
}

done_testing();
