# walwarden.early_lock_release: whatever was acknowledged survives an immediate
# shutdown, entries that others saw or followed meanwhile make no fork, and
# synchronous_commit stays what its user set.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# the WAL writer would flush what the commit forgot
$node->append_conf('postgresql.conf', "fsync = on\nwal_writer_delay = 10s\nwalwarden.early_lock_release = on\n");
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme'), walwarden.create_org('other');
	CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE skew AS SELECT 1 AS id, 0 AS v UNION SELECT 2, 0});

# Sessions that append until the server goes; each line they print is an
# acknowledgement: the statement after it had begun. Every other one asks for
# no durability at all.
sub crowd
{
	my ($clients, $seconds) = @_;
	my (@runs, @out);
	for my $i (0 .. $clients - 1)
	{
		my $org = $i % 4 == 3 ? 'other' : 'acme';
		my $in = ($i % 2 ? "SET synchronous_commit = off;\n" : '')
			. "SELECT '$org', walwarden.append_audit('app.client', '{\"client\":$i}', NULL, '$org');\n" x 20000;
		$out[$i] = '';
		push @runs, IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
			'<', \$in, '>', \$out[$i], '2>', '/dev/null');
	}
	# a reader, too: what it is told has to be there later
	my $seen = '';
	my $until = time + $seconds;
	while (time < $until)
	{
		my $head = $node->safe_psql('postgres', q{SELECT org, entries, head_hash FROM walwarden.verify_audit_chain() WHERE org <> '_system'});
		$seen = $head if $head ne '';
		$_->pump_nb for @runs;
	}
	$node->stop('immediate');
	for my $run (@runs)
	{
		eval { $run->finish };
	}
	return ($seen, join('', @out));
}

for my $round (1 .. 3)
{
	my ($seen, $acknowledged) = crowd(8, 2);
	$node->start;
	# a line that was cut off is none
	my @lines = grep { /^(acme|other)\|\d+$/ } $acknowledged =~ /^(.*)\n/mg;
	cmp_ok(scalar(@lines), '>', 8, "round $round: there were appends");
	my %twice;
	is(scalar(grep { $twice{$_}++ } @lines), 0, "round $round: no seq was given twice");
	my %last = (acme => 0, other => 0);
	for (@lines)
	{
		my ($org, $seq) = split /\|/;
		$last{$org} = $seq if $seq > $last{$org};
	}
	for my $org (sort keys %last)
	{
		cmp_ok($node->safe_psql('postgres', "SELECT entries FROM walwarden.verify_audit_chain('$org')"), '>=', $last{$org},
			"round $round: every acknowledged entry of $org is there");
	}
	for (split /\n/, $seen)
	{
		my ($org, $entries, $hash) = split /\|/;
		is($node->safe_psql('postgres', "SELECT ok FROM walwarden.verify_audit_chain('$org', $entries, '$hash')"), 't',
			"round $round: a head of $org that was seen holds");
	}
	is($node->safe_psql('postgres', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', "round $round: the chains verify");
}

# The last acknowledgement right before the crash, alone: nobody else flushes.
for my $level ('off', 'local', 'on')
{
	my $seq = $node->safe_psql('postgres', "SET synchronous_commit = $level; SELECT walwarden.append_audit('app.last', '{}', NULL, 'acme')");
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', "SELECT entries FROM walwarden.verify_audit_chain('acme')"), $seq, "the last entry is there, synchronous_commit = $level");
}

# a node reads hashes as its own role
my $token = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'node', kind => 'node')});
$node->safe_psql('postgres', qq{CREATE ROLE runner; SELECT walwarden.grant_runner('runner'); GRANT CREATE ON SCHEMA public TO runner; SET ROLE runner;
	CREATE FUNCTION hashes() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS \$\$
	BEGIN
		PERFORM walwarden.authenticate('$token');
		RETURN QUERY SELECT h.hash FROM walwarden.chain_hashes(0, 3) AS h;
	END \$\$});

# What shows a hash makes durable what it may have read, whoever wrote it, and also
# where WAL ends right before the header of a page.
sub readings_flush
{
	my ($setting) = @_;
	for my $reading (q{walwarden.list_audit('acme', 0, 3)}, q{walwarden.verify_audit_chain('acme')}, q{walwarden.verify_audit_chain_sql('acme')}, 'hashes()')
	{
		is($node->safe_psql('postgres', <<"SQL"), 't', "$setting: $reading flushes");
SET synchronous_commit = off;
BEGIN;
INSERT INTO deferred SELECT coalesce(max(id), 100) + 1 FROM deferred;
SELECT pg_current_wal_insert_lsn() AS lsn \\gset
COMMIT;
SELECT FROM $reading \\g /dev/null
SELECT pg_current_wal_flush_lsn() > :'lsn';
SQL
		is($node->safe_psql('postgres', "SELECT pg_switch_wal() IS NULL; SELECT count(*) > 0 FROM $reading"), "f\nt", "$setting: and does at the start of a segment");
	}
}
readings_flush('on');

# What a session shows of synchronous_commit after each of these, and that it is
# not left off behind the setting: a commit of its own is flushed. An error must
# have come where one is named; 40001 comes after the hook that sets it.
my $append = q{SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme') \g /dev/null} . "\n";
my $skew = sub { "SELECT sum(v) FROM skew \\g /dev/null\nUPDATE skew SET v = v + 1 WHERE id = $_[0];\n" };
my $other = "psql -Xq -d '" . $node->connstr('postgres') . "' -c 'BEGIN ISOLATION LEVEL SERIALIZABLE' -c 'SELECT sum(v) FROM skew' -c 'UPDATE skew SET v = v + 1 WHERE id = 2' -c COMMIT >/dev/null";
my @ends = (
	[ 'a commit', "BEGIN; $append COMMIT;" ],
	[ 'a commit under SET LOCAL', "BEGIN; SET LOCAL synchronous_commit = off; $append COMMIT;" ],
	[ 'a rollback', "BEGIN; $append ROLLBACK;" ],
	[ 'an error', "BEGIN; $append SELECT 1/0; COMMIT;", '22012' ],
	[ 'a deferred constraint', "BEGIN; $append INSERT INTO deferred VALUES (1), (1); COMMIT;", '23505' ],
	[ 'a serialization failure at the commit', "BEGIN ISOLATION LEVEL SERIALIZABLE; $append" . $skew->(1) . "\\! $other\nCOMMIT;", '40001' ],
	[ 'a savepoint rolled back', "BEGIN; SAVEPOINT s; $append ROLLBACK TO s; COMMIT;" ],
	[ 'a savepoint rolled back, and more', "BEGIN; SAVEPOINT s; $append ROLLBACK TO s; CREATE TEMP TABLE t (); COMMIT;" ],
	[ 'a savepoint released', "BEGIN; SAVEPOINT s; $append RELEASE s; COMMIT;" ],
	[ 'an append that is refused', "BEGIN; SAVEPOINT s; INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'X.y', '{}'); ROLLBACK TO s; COMMIT;", '23514' ],
	[ 'nothing appended', 'BEGIN; COMMIT;' ]);
for (@ends)
{
	my ($end, $sql, $error) = @$_;
	for my $level ('on', 'off', 'local')
	{
		my ($ret, $out, $err) = $node->psql('postgres', <<"SQL", on_error_stop => 0);
\\set VERBOSITY sqlstate
SET synchronous_commit = $level;
$sql
SHOW synchronous_commit;
BEGIN;
INSERT INTO deferred SELECT coalesce(max(id), 100) + 1 FROM deferred;
SELECT pg_current_wal_insert_lsn() AS lsn \\gset
COMMIT;
SELECT pg_current_wal_flush_lsn() > :'lsn';
SQL
		my @out = split /\n/, $out;
		is($err =~ /ERROR:\s+(\w+)/ ? $1 : undef, $error, "$end, synchronous_commit = $level");
		is($out[-2], $level, 'the setting is what it was');
		is($out[-1], 't', 'a commit after it is flushed') if $level ne 'off';
	}
}

# The setting is read at the commit: switched on or off in the middle, the entry is durable.
for my $to ('off', 'on')
{
	my $seq = $node->safe_psql('postgres', qq{
		SET synchronous_commit = off;
		BEGIN;
		SELECT walwarden.append_audit('app.reload', '{}', NULL, 'acme');
		\\! echo "walwarden.early_lock_release = $to" >> @{[ $node->data_dir ]}/postgresql.conf
		SELECT pg_reload_conf() \\g /dev/null
		SELECT pg_sleep(0.5) \\g /dev/null
		COMMIT;});
	is($node->safe_psql('postgres', 'SHOW walwarden.early_lock_release'), $to, "switched $to");
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', "SELECT entries FROM walwarden.verify_audit_chain('acme')"), $seq, "switched $to before the commit: the entry is there");
	# another session may not know yet that it was switched off
	readings_flush($to);
}

# Prepared transactions stay refused.
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$node->restart;
my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nBEGIN; $append PREPARE TRANSACTION 'p'");
like($err, qr/ERROR:\s+0A000/, 'no PREPARE');

is($node->safe_psql('postgres', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', 'the chains verify');
is($node->safe_psql('postgres', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)'), 't', 'in SQL too');

$node->stop;
done_testing();
