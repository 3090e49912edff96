# What was acknowledged survives an immediate shutdown, for clients that set
# synchronous_commit = off too; the chain goes on without a fork.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = on\nwal_writer_delay = 10s\n");
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});

for my $round (1 .. 5)
{
	# the last statement of each session is acknowledged right before the crash
	my $last = $node->safe_psql('postgres', q{
		SET synchronous_commit = off;
		SELECT walwarden.issue_token('acme', 'bulk') IS NULL FROM generate_series(1, 20);
		SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 'acknowledged', ARRAY['databases:read'])});
	my ($id, $token) = $last =~ /(\S+) (\S+)$/;
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', "SELECT walwarden.authenticate('$token')"), $id, "round $round: an acknowledged token works after a crash");
	$node->safe_psql('postgres', "SET synchronous_commit = off; SELECT walwarden.revoke_token('$id')");
	$node->stop('immediate');
	$node->start;
	isnt($node->psql('postgres', "SELECT walwarden.authenticate('$token')"), 0, "round $round: an acknowledged revoke holds after a crash");
	is($node->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', "round $round: the chains verify");
}

# entries that were rolled back leave dead rows, which a crash makes unknown
# again: verification walks over them
$node->safe_psql('postgres', 'CHECKPOINT');
for my $i (1 .. 60)
{
	$node->safe_psql('postgres', q{BEGIN; SELECT walwarden.append_audit('app.undone', '{}', NULL, 'acme'); ROLLBACK;
		SELECT walwarden.append_audit('app.kept', '{}', NULL, 'acme')});
}
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain(), generate_series(1, 3)}), 't', 'the chains verify over dead rows');
is($node->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'in SQL too');

$node->stop;
done_testing();
