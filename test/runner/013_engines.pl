# Engines that fail, roles that may not read everything, and what programs are told.
use strict;
use warnings;
use EngineTest;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $major = RunnerTest::major();
$cluster->safe_psql('orders', 'CREATE TABLE filler AS SELECT gen_random_uuid() AS id FROM generate_series(1, 5000)');
write_config(replaceable());

sub nothing_stored
{
	my ($job, $class, $retryable, $message, $what) = @_;
	is("$job->{state} $job->{error}{class} " . ($job->{error}{retryable} ? 1 : 0), "failed $class $retryable", $what) or diag($job->{log});
	like($job->{error}{message}, $message, "$what: the message");
	ok(!exists $job->{error}{blames}, "$what: a backup blames nobody");
	ok(!$job->{evidence}, "$what: there is no evidence");
	is_deeply([ objects() ], [], "$what: nothing is stored");
	is_deeply([ scratch() ], [], "$what: no scratch is left");
	return;
}

replace('pg_dump', '$REAL "$@" | head -c 2000; exit 1');
nothing_stored(backup(), 'engine_failed', 1, qr/pg_dump failed with exit code 1/, 'a dump that fails at half');
replace('pg_dump', '$REAL "$@" | head -c 2000; kill -9 $$');
nothing_stored(backup(), 'engine_failed', 1, qr/signal 9/, 'a dump that is killed at half');
replace('pg_dump', '$REAL "$@" | head -c 2000');
nothing_stored(backup(), 'verification_failed', 1, qr/cannot be read again/, 'half a dump that claims to be whole');
replace('pg_dump', 'echo "pg_dump: error: first line" >&2; for i in $(seq 20000); do echo "password=hunter2 line $i" >&2; done; exit 1');
nothing_stored(backup(), 'engine_failed', 1, qr/withheld/, 'a program that says much, and a secret');
put_back('pg_dump');
replace('pg_dumpall', 'exit 3');
nothing_stored(backup(), 'engine_failed', 1, qr/pg_dumpall failed with exit code 3/, 'roles that cannot be dumped');
put_back('pg_dumpall');
$cluster->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\n");
$cluster->append_conf('pg_hba.conf', "local replication all trust\n");
$cluster->restart;
replace('pg_basebackup', '$REAL "$@" | head -c 200000');
nothing_stored(backup(method => 'pg_basebackup'), 'verification_failed', 1, qr/cannot be unpacked/, 'half a base backup');
replace('pg_basebackup', '$REAL "$@" | gzip -dc | tar --delete -f - ./global/pg_filenode.map global/pg_filenode.map 2>/dev/null | gzip -c');
nothing_stored(backup(method => 'pg_basebackup'), 'verification_failed', 1, qr/pg_verifybackup failed/, 'a base backup that lacks a file');
put_back('pg_basebackup');

# references and connections
nothing_stored(backup(connectionRef => 'elsewhere'), 'unknown_connection', 0, qr/no section elsewhere/, 'a connection that the node does not have');
append_to_file("$base/services", "[down]\nhost=$base\nport=1\ndbname=orders\n");
nothing_stored(backup(connectionRef => 'down'), 'connection_failed', 1, qr/No such file/, 'a server that does not answer');

# a role that may read all data still does not see everything
$cluster->safe_psql('orders', 'CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader; CREATE TABLE guarded (a int)');
append_to_file("$base/services", sprintf "[reader]\nhost=%s\nport=%d\ndbname=orders\nuser=reader\n", $cluster->host, $cluster->port);
my $b = completed_ok(backup(connectionRef => 'reader'), 'pg_read_all_data is enough for tables');
completed_ok(expire($b), 'which are removed again');
$cluster->safe_psql('orders', 'ALTER TABLE guarded ENABLE ROW LEVEL SECURITY');
nothing_stored(backup(connectionRef => 'reader'), 'role_insufficient', 0, qr/row-level security of public.guarded applies to the role reader/, 'policies would hide rows');
$cluster->safe_psql('orders', 'ALTER TABLE guarded DISABLE ROW LEVEL SECURITY; SELECT lo_create(1)');
SKIP:
{
	skip 'pg_read_all_data reads large objects', 1 if $major >= 19;
	nothing_stored(backup(connectionRef => 'reader'), 'role_insufficient', 0, qr/permission denied for large object 1/, 'large objects cannot be read');
}
$cluster->safe_psql('orders', 'SELECT lo_unlink(1)');

# rights that are missing are not there in a minute either
$cluster->safe_psql('orders', 'CREATE ROLE partial LOGIN; CREATE SEQUENCE numbers; GRANT SELECT ON item, filler, guarded TO partial');
append_to_file("$base/services", sprintf "[partial]\nhost=%s\nport=%d\ndbname=orders\nuser=partial\n", $cluster->host, $cluster->port);
nothing_stored(backup(connectionRef => 'partial'), 'role_insufficient', 0, qr/pg_dump failed .*(permission denied for sequence numbers|sequence "numbers"; user may lack SELECT privilege)/, 'a sequence cannot be read');
$cluster->safe_psql('orders', 'REVOKE SELECT ON guarded FROM partial');
nothing_stored(backup(connectionRef => 'partial'), 'role_insufficient', 0, qr/^ERROR:  permission denied for table guarded/, 'a table cannot be read');
$cluster->safe_psql('orders', 'DROP SEQUENCE numbers');

# An ALTER TABLE that waits for us, and pg_dump for it: pg_dump gives up, and so both go on.
# Its own timeout is shortened: the last one given counts.
{
	replace('pg_dump', "touch $base/begun; until [ -e $base/go ]; do sleep 0.05; done; exec \$REAL \"\$@\" --lock-wait-timeout=500");
	my $id = backup_job();
	my $pid = start_runner('--once');
	wait_for(sub { -e "$base/begun" }, 'the tables are locked, and pg_dump begins');
	my $ddl = $cluster->background_psql('orders');
	$ddl->query_until(qr/waiting/, "\\echo waiting\nALTER TABLE item ADD COLUMN later int;\n");
	wait_for(sub { $cluster->safe_psql('orders', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER%'}) eq '1' }, 'an ALTER TABLE waits');
	append_to_file("$base/go", '');
	waitpid $pid, 0;
	is(control("SELECT state || ' ' || (error ->> 'class') || ' ' || (error ->> 'retryable') FROM walwarden.job WHERE id = '$id'"), 'failed engine_failed true', 'the job is tried again later');
	like(control("SELECT error ->> 'message' FROM walwarden.job WHERE id = '$id'"), qr/timeout .*LOCK TABLE public.item/, 'because of the lock');
	$ddl->quit;
	is($cluster->safe_psql('orders', q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'later'}), 1, 'the ALTER TABLE went on');
	is_deeply([ objects() ], [], 'nothing is stored');
	put_back('pg_dump');
}

# A TRUNCATE waits until the rows are counted.
{
	replace('pg_dump', "\$REAL \"\$@\" || exit; touch $base/dumped; until [ -e $base/truncates ]; do sleep 0.05; done");
	my $id = backup_job();
	my $pid = start_runner('--once');
	wait_for(sub { -e "$base/dumped" }, 'the dump is made, its rows are not counted yet');
	my $ddl = $cluster->background_psql('orders');
	$ddl->query_until(qr/waiting/, "\\echo waiting\nTRUNCATE item;\n");
	wait_for(sub { $cluster->safe_psql('orders', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'TRUNCATE%'}) eq '1' }, 'a TRUNCATE waits');
	append_to_file("$base/truncates", '');
	waitpid $pid, 0;
	is(control("SELECT state FROM walwarden.job WHERE id = '$id'"), 'completed', 'the job is completed');
	like(slurp("$base/destination/7c1f0b62-0000-4000-8000-000000000001/$id.1.rows.json"), qr/"public.item":100\b/, 'with the rows of the snapshot');
	$ddl->quit;
	put_back('pg_dump');
	$cluster->safe_psql('orders', 'INSERT INTO item SELECT generate_series(1, 100)');
}

# what programs are told, and what they are not
append_to_file("$base/services", sprintf "[secretive]\nhost=%s\nport=%d\ndbname=orders\npassword=correct-horse\n", $cluster->host, $cluster->port);
replace($_, qq{(tr '\\0' ' ' < /proc/\$\$/cmdline; echo; cat /proc/\$\$/environ | tr '\\0' '\\n') >> $base/told; exec \$REAL "\$@"}) for qw(pg_dump pg_dumpall pg_restore pg_amcheck);
{
	local $ENV{PGPASSWORD} = 'from-the-environment';
	local $ENV{PGHOST} = 'nowhere.invalid';
	local $ENV{AWS_CA_BUNDLE} = '/ca';
	local $ENV{RCLONE_CONFIG} = '/rclone';
	my $s = completed_ok(backup(connectionRef => 'secretive'), 'a backup with a password in its service');
	completed_ok(restore($s, kind => 'drill', mode => 'new_database', target => 'scratch'), 'and a drill of it');
}
my $told = slurp("$base/told");
like($told, qr/^PGSERVICE=secretive$/m, 'programs are told the service');
unlike($told, qr/correct-horse|from-the-environment|nowhere|wal_|AWS_|RCLONE_/, 'and no secret, and nothing of the environment of the runner');
my %names = map { /^([A-Z_]+)=/ ? ($1 => 1) : () } split /\n/, $told;
delete $names{$_} for qw(SHLVL PWD OLDPWD _);	# of the scripts
is(join(' ', sort keys %names), 'HOME LC_ALL PATH PGAPPNAME PGCONNECT_TIMEOUT PGOPTIONS PGSERVICE PGSERVICEFILE PGSYSCONFDIR TMPDIR TZ', 'their whole environment');

# more rows than the backup says: the backup is to blame, because nobody else wrote
replace('pg_restore', '$REAL "$@" || exit; [ "$1" = --exit-on-error ] || exit 0; psql -XqAtc "DELETE FROM item WHERE id = 1" -d "$(psql -XqAtc "SELECT datname FROM pg_database WHERE datname LIKE \'walwarden%\'")" >&2');
$b = completed_ok(backup(), 'a backup');
failed_as(restore($b, mode => 'new_database', target => 'scratch/restored'), 'row_counts_differ', 'backup', qr/public.item has 99 rows, the backup has 100; 1 of 3 tables differ/, 'a restore that loses a row');
is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'restored' OR datname LIKE 'walwarden%'}), 0, 'is not kept');
put_back('pg_restore');

# programs that are killed: that is the node's, and may be tried again
replace('pg_restore', '[ "$1" = --exit-on-error ] && kill -9 $$; exec $REAL "$@"');
ok(failed_as(restore($b, kind => 'drill', mode => 'new_database', target => 'scratch'), 'restore_failed', 'node', qr/pg_restore was ended by signal 9/, 'a restore that is killed')->{error}{retryable}, 'is tried again');
put_back('pg_restore');
replace('pg_restore', '[ "$1" = --exit-on-error ] && { echo "x was ended by signal 9" >&2; exit 1; }; exec $REAL "$@"');
failed_as(restore($b, kind => 'drill', mode => 'new_database', target => 'scratch'), 'restore_failed', 'target', qr/pg_restore failed with exit code 1: x was ended by signal 9/, 'a restore that only says so');
put_back('pg_restore');
replace('pg_amcheck', 'echo "btree index \"orders.public.item_pkey\":"; kill -9 $$');
ok(failed_as(restore($b, kind => 'drill', mode => 'new_database', target => 'scratch'), 'check_failed', 'node', qr/pg_amcheck was ended by signal 9/, 'a check that is killed')->{error}{retryable}, 'is tried again');
put_back('pg_amcheck');

# an index that is not what its table says
replace('pg_amcheck', 'echo "btree index \"orders.public.item_pkey\": ERROR: something"; exit 2');
failed_as(restore($b, mode => 'new_database', target => 'scratch/restored'), 'index_corrupt', 'target', qr/item_pkey/, 'an index that is corrupt');
put_back('pg_amcheck');

done_testing();
