# A backup by pg_dump and its restores: what is stored, what is recorded, and in which order.
use strict;
use warnings;
use EngineTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $key = make_key('node-1');
mkdir "$base/trusted";
rename "$base/node-1.pem", "$base/trusted/node-1.pem";
write_config(signing_key => $key, trusted_keys => "$base/trusted", allow_in_place => 'live');
append_to_file("$base/targets", sprintf "[live]\nhost=%s\nport=%d\ndbname=live\n[other]\nhost=%s\nport=%d\ndbname=live\n", ($cluster->host, $cluster->port) x 2);
write_config(signing_key => $key, trusted_keys => "$base/trusted", allow_in_place => 'live');

# what a database may contain
$cluster->safe_psql('orders', q{
	CREATE ROLE clerk NOLOGIN;
	CREATE ROLE "Odd ""name""" NOLOGIN;
	CREATE SCHEMA "Odd ""schema""";
	CREATE TABLE "Odd ""schema"""."a.b	c" (x int);
	INSERT INTO "Odd ""schema"""."a.b	c" SELECT generate_series(1, 7);
	ALTER TABLE "Odd ""schema"""."a.b	c" OWNER TO "Odd ""name""";
	CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20);
	INSERT INTO part SELECT i, i FROM generate_series(0, 14) i;
	CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
	INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);
	CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
	CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM part;
	CREATE TABLE secret (a int); INSERT INTO secret VALUES (1), (2); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
	CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE missing (a text) SERVER files OPTIONS (filename '/nonexistent');
	SELECT lo_from_bytea(4711, 'large');
	ALTER TABLE item OWNER TO clerk;
	CREATE EXTENSION amcheck;
	CREATE SUBSCRIPTION away CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false, slot_name = 'of_the_original');
});

my $b = completed_ok(backup(), 'a backup is completed');
is(join(' ', @{ $b->{order} }), 'running finalizing record_evidence completed', 'its reports, in this order');
is($b->{status}, 0, 'the exit code of --once');
is_deeply([ scratch() ], [], 'no scratch is left');
ok($b->{destination}{ok}, 'the destination is reported as good');
my $stem = "7c1f0b62-0000-4000-8000-000000000001/$b->{id}.1";
is_deeply([ objects() ], [ map { "$stem.$_" } qw(dump manifest.json roles.sql rows.json) ], 'its objects, and nothing else');
is($b->{artifact}{name}, "$stem.dump", 'the name of the artifact');
is($b->{artifact}{sizeBytes}, -s object_path($b, 'dump'), 'its size');
is($b->{artifact}{checksumSha256}, sha256_file(object_path($b, 'dump')), 'its checksum');

my $m = manifest($b);
is_deeply($m, $b->{evidence}{manifest}, 'the manifest at the destination is the evidence');
is_deeply([ sort keys %$m ], [ sort qw(format orgId jobId fence databaseId database engine serverVersion systemIdentifier snapshot artifact rows roles node publicKey signature) ], 'its members');
is($m->{format}, 'walwarden/manifest/v1', 'its format');
is($m->{artifact}{checksumSha256}, $b->{artifact}{checksumSha256}, 'it names the artifact');
is($m->{$_}{checksumSha256}, sha256_file(object_path($b, $_ eq 'rows' ? 'rows.json' : 'roles.sql')), "it names $_") for qw(rows roles);
is($m->{systemIdentifier}, $cluster->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), 'the system identifier');
is_deeply($m->{engine}{options}, [ '--format=custom', '--snapshot' ], 'the options: nothing is left out');
is($b->{evidence}{recoverableFrom}, $b->{evidence}{recoverableTo}, 'it is a point in time');
is($b->{evidence}{recoverableTo}, $m->{snapshot}{time}, 'that of the snapshot');
like($b->{evidence}{integrityVerification}{tool}, qr/^pg_restore \d/, 'the tool that verified it');

# the signature, by OpenSSL: over the canonical bytes without "signature"
my $text = slurp(object_path($b, 'manifest.json'));
my $unsigned = $text =~ s/"signature":"([^"]*)",//r;
append_to_file("$base/unsigned", $unsigned);
append_to_file("$base/signature", MIME::Base64::decode_base64($1));
command_ok([ 'openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$base/trusted/node-1.pem", '-rawin', '-in', "$base/unsigned", '-sigfile', "$base/signature" ], 'OpenSSL verifies the signature');
is($text, JSON::PP->new->canonical->encode(decode_json($text)), 'the manifest is canonical');

my $rows = decode_json(slurp(object_path($b, 'rows.json')));
is_deeply($rows->{tables}, { 'public.item' => 100, qq{"Odd ""schema"""."a.b\tc"} => 7, 'public.part1' => 10, 'public.part2' => 5,
	'public.parent' => 1, 'public.child' => 2, 'public.unlogged' => 1, 'public.secret' => 2 }, 'the rows of each table with rows of its own');
is($m->{rows}{tables}, 8, 'their number is in the manifest');
like(slurp(object_path($b, 'roles.sql')), qr/CREATE ROLE clerk;/, 'the roles');
unlike(slurp(object_path($b, 'roles.sql')), qr/PASSWORD/, 'without passwords');

# a second backup, and its numbers are its own
$cluster->safe_psql('orders', 'INSERT INTO item SELECT generate_series(101, 200)');

# into a new database
my $r = completed_ok(restore($b, mode => 'new_database', target => 'scratch/restored'), 'a restore into a new database');
is(join(' ', @{ $r->{order} }), 'downloading verifying manifest_verified restoring finalizing completed', 'its states');
is($cluster->safe_psql('restored', 'SELECT count(*) FROM item'), 100, 'the rows are those of the backup');
is($cluster->safe_psql('postgres', q{SELECT datacl IS NULL OR datacl::text LIKE '%=Tc/%' FROM pg_database WHERE datname = 'restored'}), 't', 'everybody may connect, as to any new database');
is($cluster->safe_psql('restored', 'SELECT lo_get(4711)'), '\x6c61726765', 'large objects too');
is($cluster->safe_psql('restored', "SELECT tableowner FROM pg_tables WHERE tablename = 'item'"), 'clerk', 'and owners');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'walwarden%'}), 0, 'no scratch database is left');
is($cluster->safe_psql('restored', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'walwarden_check'}), 0, 'nor a schema of the checks');
is_deeply({ map { $_->{name} => $_->{result} } @{ $r->{validation}{checks} } }, { checksums => 'passed', signature => 'passed', row_counts => 'passed', indexes => 'passed' }, 'the checks');
is(join(' ', sort keys %{ $r->{validation}{measured} }), 'checkSeconds fetchSeconds restoreSeconds', 'what was measured');
failed_as(restore($b, mode => 'new_database', target => 'scratch/restored'), 'target_exists', 'target', qr/restored exists/, 'a database that exists is not restored into');
is($cluster->safe_psql('restored', 'SELECT count(*) FROM item'), 100, 'and is as it was');

# a drill leaves nothing
$r = completed_ok(restore($b, kind => 'drill', mode => 'new_database', target => 'scratch'), 'a drill');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1', 'control', 'orders', 'restored')}), 0, 'nothing is left of it');

# in place
$cluster->safe_psql('postgres', 'CREATE DATABASE live TEMPLATE restored');
$cluster->safe_psql('live', 'DELETE FROM item WHERE id > 10; CREATE TABLE later (a int)');
completed_ok(restore($b, kind => 'drill', mode => 'in_place', target => 'live'), 'a drill of a restore in place');
is($cluster->safe_psql('live', 'SELECT count(*) FROM item'), 10, 'is beside what it would overwrite');
failed_as(restore($b, mode => 'in_place', target => 'other'), 'target_not_allowed', 'target', qr/allow_in_place/, 'a target that is not listed');
completed_ok(restore($b, mode => 'in_place', target => 'live'), 'a restore in place');
is($cluster->safe_psql('live', 'SELECT count(*) FROM item'), 100, 'the rows are those of the backup');
is($cluster->safe_psql('live', q{SELECT count(*) FROM pg_class WHERE relname = 'later'}), 1, 'what the backup does not have is left alone');

# what came later stands in the way
$cluster->safe_psql('live', 'DELETE FROM item WHERE id > 20; CREATE VIEW later_view AS SELECT * FROM item');
failed_as(restore($b, mode => 'in_place', target => 'live'), 'restore_failed', 'target', qr/later_view|depend/, 'a later view in the way');
is($cluster->safe_psql('live', 'SELECT count(*) FROM later_view'), 20, 'leaves the target as it was');

# a role that the target does not have
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
append_to_file("$base/targets", sprintf "[bare]\nhost=%s\nport=%d\ndbname=postgres\n", $bare->host, $bare->port);
failed_as(restore($b, mode => 'new_database', target => 'bare/restored'), 'restore_failed', 'target', qr/^pg_restore failed with exit code 1: pg_restore: .*role .*does not exist/, 'a missing owner');
is($bare->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')}), 0, 'leaves nothing behind');

# into a cluster that initdb makes, roles included
completed_ok(restore($b, kind => 'drill', mode => 'new_cluster', target => 'scratch'), 'a drill of a new cluster');
$r = completed_ok(restore($b, mode => 'new_cluster', target => 'scratch/fresh'), 'a new cluster');
is_deeply([ scratch() ], ['fresh'], 'is in work');
is(join(' ', map { "$_->{name}=$_->{result}" } @{ $r->{validation}{checks} }), 'checksums=passed signature=passed row_counts=passed indexes=passed page_checksums=passed', 'its checks');
failed_as_with_cluster(restore($b, mode => 'new_cluster', target => 'scratch/fresh'));
system_or_bail('pg_ctl', '--silent', '--wait', '-D', "$base/work/fresh", '-l', "$base/fresh.log", 'start');
my $psql = sub { my ($out, $err) = run_command([ 'psql', '-XqAt', '-h', "$base/work/fresh", '-p', '5432', '-d', 'orders', '-c', $_[0] ]); diag($err) if $err; return $out; };
is($psql->('SELECT count(*) FROM item'), 100, 'its rows');
is($psql->("SELECT tableowner FROM pg_tables WHERE tablename = 'a.b\tc'"), 'Odd "name"', 'its owners');
is($psql->(q{SELECT current_setting('archive_mode') || current_setting('listen_addresses')}), 'off', 'it neither archives nor listens');
system_or_bail('pg_ctl', '--silent', '--wait', '-D', "$base/work/fresh", 'stop');

sub failed_as_with_cluster
{
	my ($job) = @_;
	is("$job->{error}{class} $job->{error}{blames}", 'target_exists target', 'a directory that exists is refused');
	return;
}

# list and fetch need no control database
my @destination = ("file://$base/destination");
my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'list', @destination);
is($status, 0, 'list') or diag($err);
like($out, qr/^\Q$m->{snapshot}{time}\E +pg_dump +signed +\d+ +\Q$stem\E +Orders$/m, 'prints the backup');
($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'fetch', $stem, "$base/fetched", @destination);
is($status, 0, 'fetch') or diag($err);
is(sha256_file("$base/fetched/backup.dump"), $b->{artifact}{checksumSha256}, 'fetches the dump');

# expiry, which takes nothing that another backup has
my $other = completed_ok(backup(), 'another backup');
my @all = objects();
for my $suffix (qw(dump manifest.json))
{
	my %named = (%$other, artifact => { %{ $other->{artifact} }, name => "$stem.$suffix" });
	like(expire(\%named)->{error}{message}, qr/\Q$stem.$suffix\E is an object of another backup/, "an expiry that names the $suffix of another backup");
}
is_deeply([ objects() ], \@all, 'removes nothing');
completed_ok(expire($other), 'its own expiry');
$r = completed_ok(expire($b), 'an expiry');
is_deeply([ objects() ], [], 'its objects are gone');
completed_ok(expire($b), 'once more: what is not there is removed');

done_testing();
