# A backup by pg_basebackup and new clusters of it. The cluster is configured as Debian has it,
# and archives: a copy of it must not.
use strict;
use warnings;
use EngineTest;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;

# Debian: the configuration is elsewhere; and what wins over it is in the data directory
mkdir "$base/etc";
my $data = $cluster->data_dir;
rename "$data/$_", "$base/etc/$_" for qw(postgresql.conf pg_hba.conf pg_ident.conf);
append_to_file("$base/etc/postgresql.conf", "data_directory = '$data'\nhba_file = '$base/etc/pg_hba.conf'\nident_file = '$base/etc/pg_ident.conf'\nmax_prepared_transactions = 7\nmax_locks_per_transaction = 80\nwal_level = replica\nmax_wal_senders = 5\n");
append_to_file("$base/etc/pg_hba.conf", "local replication all trust\n");
my $start = sub { system_or_bail('pg_ctl', '--silent', '--wait', '-D', $data, '-o', "-c config_file=$base/etc/postgresql.conf", '-l', "$base/server.log", 'start') };
system_or_bail('pg_ctl', '--silent', '--wait', '-D', $data, 'stop');
$start->();
$cluster->safe_psql('postgres', $_) for 'ALTER SYSTEM SET archive_mode = on', "ALTER SYSTEM SET archive_command = 'echo %f >> $base/archived'", "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'";
system_or_bail('pg_ctl', '--silent', '--wait', '-D', $data, 'stop');
$start->();
$cluster->safe_psql('orders', q{CREATE ROLE clerk LOGIN; ALTER TABLE item OWNER TO clerk; CREATE TABLE later AS SELECT 1 AS a});
# a prepared transaction, which recovery has to find room for
$cluster->safe_psql('orders', q{BEGIN; INSERT INTO later VALUES (2); PREPARE TRANSACTION 'open'});
write_config();

my $b = completed_ok(backup(method => 'pg_basebackup'), 'a backup is completed');
is(join(' ', @{ $b->{order} }), 'running finalizing record_evidence completed', 'its reports, in this order');
my $stem = "7c1f0b62-0000-4000-8000-000000000001/$b->{id}.1";
is_deeply([ objects() ], [ map { "$stem.$_" } qw(manifest.json tar.gz) ], 'its objects');
my $m = manifest($b);
is($m->{artifact}{checksumSha256}, sha256_file(object_path($b, 'tar.gz')), 'its checksum');
ok(!exists $m->{$_}, "no $_") for qw(rows roles publicKey signature);
is_deeply($m->{engine}{options}, [ '--format=tar', '--wal-method=fetch', '--gzip', '--manifest-checksums=SHA256', '--checkpoint=fast' ], 'the options');
like($b->{evidence}{integrityVerification}{tool}, qr/^pg_verifybackup \d/, 'the tool that verified it');
is($b->{evidence}{recoverableTo}, $m->{snapshot}{time}, 'it is of the time before it started');
is_deeply([ scratch() ], [], 'no scratch is left');

# what the original archives from now on is its own
$cluster->safe_psql('postgres', 'SELECT pg_switch_wal()');
RunnerTest::wait_for(sub { $cluster->safe_psql('postgres', 'SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver') eq 't' }, 'the original archives');
my $lines = sub { my @lines = split /\n/, slurp("$base/archived"); return scalar @lines; };
my $archived = $lines->();

my $r = completed_ok(restore($b, kind => 'drill', mode => 'new_cluster', target => 'scratch'), 'a drill');
is_deeply([ scratch() ], [], 'leaves nothing');
# by default from PostgreSQL 18 on
my $pages = $cluster->safe_psql('postgres', 'SHOW data_checksums') eq 'on' ? 'passed' : 'not_run';
is(join(' ', map { "$_->{name}=$_->{result}" } @{ $r->{validation}{checks} }), "checksums=passed signature=not_run files=passed indexes=passed page_checksums=$pages", 'its checks');
$r = completed_ok(restore($b, mode => 'new_cluster', target => 'scratch/copy'), 'a new cluster');
is_deeply([ scratch() ], ['copy'], 'is in work');
ok(!-e "$base/work/copy/$_", "it has no $_") for qw(postgresql.auto.conf standby.signal postmaster.pid);
system_or_bail('pg_ctl', '--silent', '--wait', '-D', "$base/work/copy", '-l', "$base/copy.log", 'start');
my $psql = sub { my ($out, $err) = run_command([ 'psql', '-XqAt', '-h', "$base/work/copy", '-p', '5432', '-d', 'orders', '-c', $_[0] ]); diag($err) if $err; return $out; };
is($psql->('SELECT count(*) FROM item'), 100, 'its rows');
is($psql->("SELECT gid FROM pg_prepared_xacts"), 'open', 'its prepared transaction');
is($psql->("SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('archive_mode', 'archive_command', 'listen_addresses', 'max_logical_replication_workers', 'shared_preload_libraries')"),
	'archive_command=(disabled) archive_mode=off listen_addresses= max_logical_replication_workers=0 shared_preload_libraries=', 'its settings');
is($psql->(q{SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'}), 0, 'no extension of the checks is left');
system_or_bail('pg_ctl', '--silent', '--wait', '-D', "$base/work/copy", 'stop');
is($lines->(), $archived, 'no copy has archived anything');

# A server that takes its time to start is waited for.
write_config(replaceable());
replace('postgres', '[ "$1" = --single ] || sleep 2; exec $REAL "$@"');
completed_ok(restore($b, kind => 'drill', mode => 'new_cluster', target => 'scratch'), 'a drill whose server starts slowly');
write_config();

# One that will never let the runner in is not waited for.
$cluster->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS false');
my $closed = completed_ok(backup(method => 'pg_basebackup'), 'a cluster whose template1 is closed is backed up');
$closed = restore($closed, kind => 'drill', mode => 'new_cluster', target => 'scratch');
failed_as_but($closed, 'restore_failed node', 'its drill fails');
like($closed->{error}{message}, qr/accepts no connection: .*template1/, 'and says why');
$cluster->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS true');

failed_as_but(restore($b, mode => 'new_database', target => 'scratch/x'), 'mode_unsupported target', 'a base backup is not restored into a database');
sub failed_as_but { my ($job, $how, $what) = @_; is("$job->{error}{class} $job->{error}{blames}", $how, $what); return; }

# what cannot be backed up is refused before anything is stored
my @before = objects();
mkdir "$base/tablespace";
$cluster->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$base/tablespace'");
my $refused = backup(method => 'pg_basebackup');
is("$refused->{error}{class} $refused->{error}{retryable}", 'tablespaces 0', 'tablespaces');
like($refused->{error}{message}, qr/elsewhere/, 'are named');
$cluster->safe_psql('postgres', 'DROP TABLESPACE elsewhere; CREATE ROLE weak LOGIN');
append_to_file("$base/services", sprintf "[weak]\nhost=%s\nport=%d\ndbname=orders\nuser=weak\n", $cluster->host, $cluster->port);
$refused = backup(method => 'pg_basebackup', connectionRef => 'weak');
is("$refused->{error}{class} $refused->{error}{retryable}", 'role_insufficient 0', 'a role without REPLICATION');
is_deeply([ objects() ], \@before, 'nothing was stored');

done_testing();
