# A hot standby authenticates, lists and verifies what was replayed, refuses to
# change anything, and goes on after a promotion.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
my ($id, $token) = split / /, $primary->safe_psql('postgres', q{SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 't', ARRAY['databases:read'])});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay');

is($standby->safe_psql('postgres', "SELECT walwarden.authorize('$token', 'databases:read')"), $id, 'authenticates on the standby');
is($standby->safe_psql('postgres', "SELECT walwarden.introspect_token('$token') ->> 'state'"), 'active', 'introspects');
is($standby->safe_psql('postgres', q{SELECT name, last_used_at IS NULL FROM walwarden.list_tokens('acme')}), 't|t', 'lists, and notes no use');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'verifies');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'in SQL too');
my ($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT walwarden.revoke_token('$id')");
like($err, qr/ERROR:\s+25006/, 'changes nothing');
($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT walwarden.append_audit('app.x', '{}', NULL, 'acme')");
like($err, qr/ERROR:\s+25006/, 'appends nothing');

$primary->safe_psql('postgres', "SELECT walwarden.revoke_token('$id')");
$primary->wait_for_catchup($standby, 'replay');
isnt($standby->psql('postgres', "SELECT walwarden.authenticate('$token')"), 0, 'a revoke is in force once it is replayed');
my $head = $primary->safe_psql('postgres', q{SELECT entries || ',' || quote_literal(head_hash) FROM walwarden.verify_audit_chain('acme')});

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', "SELECT ok FROM walwarden.verify_audit_chain('acme', $head)"), 't', 'after promotion the head is the same');
is($standby->safe_psql('postgres', q{SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme')}), '4', 'and the chain goes on');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'and verifies');
$standby->stop;
done_testing();
