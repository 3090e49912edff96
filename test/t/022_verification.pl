# Verification keeps its memory and needs no disk, whatever the length of a chain and
# however little memory it is given; and what administrators do to tables and roles
# gives no false alarm.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# without statistics of the tables plans are at their worst; pages that are shared count
# as a backend's memory
$node->append_conf('postgresql.conf', "autovacuum = off\nshared_buffers = 1MB\nallow_in_place_tablespaces = on\n");
$node->start;
my $major = int(sql('postgres', 'SHOW server_version_num') / 10000);

sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }
sub verdict
{
	my ($db) = @_;
	return sql($db, q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain()}) . ' / '
	  . sql($db, q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain_sql(NULL)});
}
sub quiet { my ($db, $what) = @_; return is(verdict($db), 'ok / ok', $what); }
sub create
{
	my ($db, @settings) = @_;
	sql('postgres', join(";\n", "CREATE DATABASE $db", map { "ALTER DATABASE $db SET $_" } @settings));
	sql($db, q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner');
		SELECT count(walwarden.issue_token('acme', 't' || i)) FROM generate_series(1, 10) AS i});
	return;
}

# a chain of 48 MB, and as many tokens as do not fit into the least memory
create('long');
sql('long', q{SELECT count(walwarden.issue_token('acme', 't' || i)) FROM generate_series(1, 1000) AS i;
	INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
	SELECT o.id, 'app.many', jsonb_build_object('data', repeat(md5(i::text), 52)) FROM walwarden_internal.org AS o, generate_series(1, 28000) AS i});
cmp_ok(sql('long', q{SELECT sum(octet_length(body)) FROM walwarden_internal.audit_entry}), '>=', 48 << 20, 'a chain of 48 MB');

sub temporary_bytes { return sql('long', q{SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()}); }
my $spilt = temporary_bytes();
foreach my $when ('without statistics', 'with statistics')
{
	foreach my $memory ('64kB', '4MB')
	{
		foreach my $verifier (q{verify_audit_chain('acme')}, q{verify_audit_chain_sql('acme')})
		{
			my $peak = -e '/proc/self/status' ? q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1]::integer} : 'SELECT 0';
			my ($before, $ok, $after) = split /\n/, sql('long', "SET work_mem = '$memory'; $peak; SELECT ok FROM walwarden.$verifier; $peak");
			is($ok, 't', "$verifier with $memory, $when");
			cmp_ok($after - $before, '<', 32 << 10, 'and keeps its memory');
		}
	}
	# not with the least memory: its other steps may sort what does not fit there
	sql('long', 'DELETE FROM walwarden_internal.verification; SELECT walwarden.run_maintenance()');
	is(sql('long', q{SELECT count(*) FROM walwarden_internal.verification WHERE ok}), '2', "so does maintenance, $when");
	sql('long', 'ANALYZE');
}
is(temporary_bytes(), $spilt, 'no temporary file');
sql('long', q{SET work_mem = '64kB'; SELECT count(*) FROM (SELECT e.body FROM walwarden_internal.audit_entry AS e ORDER BY e.body OFFSET 0) AS sorted});
ok($node->poll_query_until('long', "SELECT temp_bytes > $spilt FROM pg_stat_database WHERE datname = current_database()"), 'which would have been counted');
# the first finding of a long chain is the first one there is, whatever the order of plans
sql('long', q{ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER refuse_change; DELETE FROM walwarden_internal.audit_entry WHERE kind = 'app.many' AND seq % 1000 = 0;
	ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_change});
is(sql('long', q{SELECT v.first_bad_seq || ' ' || v.reason || ', ' || s.first_bad_seq || ' ' || s.reason FROM walwarden.verify_audit_chain('acme') AS v, walwarden.verify_audit_chain_sql('acme') AS s}),
	'2000 entry is missing, 2000 entry is missing', 'of many gaps the first is named');

# what administrators do
create('calm');
quiet('calm', 'a new database');
sql('calm', 'VACUUM FULL');
quiet('calm', 'VACUUM FULL');
sql('calm', 'CLUSTER walwarden_internal.audit_entry USING audit_entry_pkey; CLUSTER walwarden_internal.token USING token_by_org');
quiet('calm', 'CLUSTER');
sql('calm', 'REINDEX SCHEMA CONCURRENTLY walwarden_internal');
quiet('calm', 'REINDEX CONCURRENTLY');
# while it is at work, and when it was interrupted: there is another unique index
my $holder = $node->background_psql('calm');
$holder->query_safe('BEGIN; LOCK TABLE walwarden_internal.audit_entry IN ROW EXCLUSIVE MODE');
my ($in, $out, $err) = ('', '', '');
my $reindex = IPC::Run::start([ 'psql', '-qX', '-d', $node->connstr('calm'), '-c', 'REINDEX INDEX CONCURRENTLY walwarden_internal.audit_entry_pkey' ], '<', \$in, '>', \$out, '2>', \$err);
ok($node->poll_query_until('calm', q{SELECT count(*) = 1 FROM pg_class WHERE relname = 'audit_entry_pkey_ccnew'}), 'REINDEX CONCURRENTLY is at work');
quiet('calm', 'nothing is wrong meanwhile');
sql('calm', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^REINDEX INDEX'});
$reindex->finish;
like($err, qr/canceling statement/, 'it is interrupted');
$holder->query_safe('COMMIT');
$holder->quit;
is(sql('calm', q{SELECT indisvalid FROM pg_index WHERE indexrelid = 'walwarden_internal.audit_entry_pkey_ccnew'::regclass}), 'f', 'and leaves an index behind');
quiet('calm', 'which is no alarm');
sql('calm', 'DROP INDEX walwarden_internal.audit_entry_pkey_ccnew');
sql('postgres', q{CREATE TABLESPACE fast LOCATION ''});
sql('calm', q{ALTER TABLE walwarden_internal.audit_entry SET TABLESPACE fast; ALTER INDEX walwarden_internal.audit_entry_pkey SET TABLESPACE fast});
quiet('calm', 'another tablespace');
sql('postgres', 'CREATE ROLE somebody; ALTER DATABASE calm OWNER TO somebody');
quiet('calm', 'another owner of the database');
sql('calm', 'ALTER EXTENSION walwarden UPDATE');
quiet('calm', 'ALTER EXTENSION UPDATE');

# installed, and verified, under other settings: what is remembered is the same
create('odd', 'quote_all_identifiers = on', q{TimeZone = 'Asia/Kathmandu'}, q{DateStyle = 'German, DMY'}, q{IntervalStyle = 'iso_8601'},
	q{search_path = 'walwarden', 'public'}, 'default_tablespace = fast', q{work_mem = '64kB'}, $major < 19 ? 'standard_conforming_strings = off' : ());
quiet('odd', 'settings of the database');
is(sql('odd', 'SELECT walwarden_internal.catalogue_installed()'), sql('calm', 'SELECT walwarden_internal.catalogue_installed()'), 'the structure is remembered alike');
sql('postgres', 'ALTER DATABASE odd RESET ALL');
quiet('odd', 'other settings than at installation');

# who installed it goes: everything belongs to another superuser
sql('postgres', q{CREATE ROLE dba SUPERUSER; CREATE ROLE "Other dba" SUPERUSER; CREATE DATABASE passed});
sql('passed', q{SET SESSION AUTHORIZATION dba; CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
quiet('passed', 'installed by another role');
sql('passed', 'REASSIGN OWNED BY dba TO "Other dba"');
quiet('passed', 'REASSIGN OWNED');
# an owner without the rights of a superuser could give them to itself by way of whoever verifies
sql('postgres', 'ALTER ROLE "Other dba" NOSUPERUSER');
is(verdict('passed'), 'the owner of the extension is not a superuser / the owner of the extension is not a superuser', 'an owner who is no longer a superuser');
sql('postgres', 'ALTER ROLE "Other dba" SUPERUSER');
quiet('passed', 'a superuser again');
# servers before 17 forget that an extension's initial privileges name a role
sub restores
{
	my ($db, $file) = ("$_[0]_restored", $node->basedir . '/passed.dump');
	run_command([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr($_[0]) ]);
	sql('postgres', "DROP DATABASE IF EXISTS $db");
	sql('postgres', "CREATE DATABASE $db");
	my ($out, $err) = run_command([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), $file ]);
	return $err eq '' ? verdict($db) : $err;
}
if ($major < 17)
{
	my $oid = sql('postgres', q{SELECT oid FROM pg_roles WHERE rolname = 'dba'});
	sql('passed', 'DROP OWNED BY dba; DROP ROLE dba');
	like(verdict('passed'), qr{^privileges on \S+ \S+ name role $oid, which does not exist / privileges on}, 'a dropped role that privileges name is found');
	like(restores('passed'), qr/role "$oid" does not exist/, 'because a dump of it does not restore');
	sql('passed', qq{UPDATE pg_init_privs SET initprivs = replace(initprivs::text, '$oid', 'postgres')::aclitem[] WHERE initprivs::text ~ '\\m$oid\\M'});
	quiet('passed', 'until they name another one');
}
is(restores('passed'), 'ok / ok', 'a dump restores');

$node->stop;
done_testing();
