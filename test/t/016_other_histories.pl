# Histories beside the true one: a standby that lagged when it was promoted, a copy
# of the database that went its own way, entries of another database. Each verifies
# by itself; whoever holds a head of the true one tells them apart.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub sql { my ($node, $db, $query) = @_; return $node->safe_psql($db, $query); }
sub head { my ($node, $db) = @_; return sql($node, $db, q{SELECT entries || ', ' || quote_literal(head_hash) FROM walwarden.verify_audit_chain('acme')}); }
sub verdict
{
	my ($node, $db, $head) = @_;
	$head = defined $head ? ", $head" : '';
	return sql($node, $db, "SELECT ok, first_bad_seq, regexp_replace(reason, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>') FROM walwarden.verify_audit_chain('acme'$head)");
}
# in C and in SQL, all chains
sub verifies
{
	my ($node, $db) = @_;
	return sql($node, $db, q{SELECT (SELECT bool_and(ok) FROM walwarden.verify_audit_chain()), (SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL))});
}
sub append { my ($node, $db, $what) = @_; return sql($node, $db, "SELECT walwarden.append_audit('app.x', '\"$what\"', NULL, 'acme')"); }

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$primary->start;
sql($primary, 'postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
my ($id, $token) = split / /, sql($primary, 'postgres', q{SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 'stolen', ARRAY['databases:read'])});
append($primary, 'postgres', $_) for 1 .. 3;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay');
my $common = head($primary, 'postgres');

# the standby misses a revoke, and the primary is lost
$standby->stop;
ok(sql($primary, 'postgres', "SELECT walwarden.revoke_token('$id')"), 'revoked');
append($primary, 'postgres', 'later');
my $true_head = head($primary, 'postgres');
my $entries = $primary->basedir . '/entries';
sql($primary, 'postgres', "COPY (SELECT e.* FROM walwarden_internal.audit_entry AS e, walwarden_internal.org AS o WHERE o.slug = 'acme' AND e.org_id = o.id AND e.seq > " . (split /,/, $common)[0] . ") TO '$entries'");
$primary->stop('immediate');
$standby->start;
$standby->promote;

is(verifies($standby, 'postgres'), 't|t', 'a stale standby verifies by itself');
is(sql($standby, 'postgres', "SELECT walwarden.authenticate('$token')"), $id, 'and takes a token that was revoked');
is(verdict($standby, 'postgres', $common), 't||', 'a head from before the parting holds');
is(verdict($standby, 'postgres', $true_head), 'f|6|tail is lost: the expected entry is missing', 'a later one tells that the tail is missing');

# the missing entries do not make up for the missing change
sql($standby, 'postgres', 'CREATE DATABASE filled TEMPLATE postgres');
sql($standby, 'filled', "COPY walwarden_internal.audit_entry FROM '$entries'");
is(verdict($standby, 'filled', $true_head), 'f|6|token <id> is older than entry 6', 'the entries brought over: the state is not what they say');

# the stale history goes on
append($standby, 'postgres', $_) for qw(other history);
is(verifies($standby, 'postgres'), 't|t', 'it goes on and verifies');
is(verdict($standby, 'postgres', $true_head), 'f|7|entry is not the expected one', 'the head of the true history tells');
is(verdict($standby, 'postgres', $common), 't||', 'and where they parted');

# entries of one history in the other: the places are taken; by a superuser who takes
# the guard away and puts it back, into one that is free
my ($ret, $out, $err) = $standby->psql('postgres', "COPY walwarden_internal.audit_entry FROM '$entries'");
like($err, qr/audit_entry_pkey/, 'two histories do not mix');
sql($standby, 'postgres', qq{
	CREATE TABLE taken (LIKE walwarden_internal.audit_entry);
	COPY taken FROM '$entries';
	ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER refuse_change;
	DELETE FROM walwarden_internal.audit_entry AS e USING taken AS t WHERE e.org_id = t.org_id AND e.seq = t.seq AND e.seq = 7;
	ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_change;
	INSERT INTO walwarden_internal.audit_entry SELECT * FROM taken WHERE seq = 7});
is(verdict($standby, 'postgres'), 'f|7|prev_hash does not match the hash of the previous entry', 'an entry of the other history');

# entries of another database, of an organisation with the same name
sql($standby, 'postgres', 'CREATE DATABASE foreign_db');
sql($standby, 'foreign_db', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
append($standby, 'foreign_db', $_) for 1 .. 8;
sql($standby, 'foreign_db', "COPY (SELECT e.* FROM walwarden_internal.audit_entry AS e, walwarden_internal.org AS o WHERE o.slug = 'acme' AND e.org_id = o.id) TO '$entries.foreign'");
sql($standby, 'filled', "COPY walwarden_internal.audit_entry FROM '$entries.foreign'");
is(sql($standby, 'filled', q{SELECT count(*), min(regexp_replace(v.reason, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>')) FROM walwarden.verify_audit_chain() AS v WHERE v.org NOT IN ('acme', '_system')}),
	'1|org <id> of entry 1 is missing', 'its chain beside this one\'s is named');
($ret, $out, $err) = $standby->psql('filled', "CREATE TABLE taken (LIKE walwarden_internal.audit_entry); COPY taken FROM '$entries.foreign'; INSERT INTO walwarden_internal.audit_entry SELECT (SELECT id FROM walwarden_internal.org), seq, at, kind, job_id, body, prev_hash, hash FROM taken WHERE seq = 9");
like($err, qr/audit_entry_is_valid/, 'its entries are not let into this one\'s');
$standby->stop;
done_testing();
