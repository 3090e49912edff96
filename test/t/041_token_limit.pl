# The limit of an organisation's tokens in sessions that remember what they have counted:
# whatever is issued, revoked and rolled back, a token is refused exactly at the limit.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "walwarden.max_tokens_per_org = 4\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('one'), walwarden.create_org('two');
	CREATE FUNCTION live(org text) RETURNS SETOF uuid LANGUAGE sql AS $$
		SELECT l.token_id FROM walwarden.list_tokens(org) AS l WHERE l.state <> 'revoked' $$;
	-- what is wrong with the limit now, if anything is
	CREATE FUNCTION issue(org text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		n integer := (SELECT count(*) FROM live(org));
	BEGIN
		PERFORM walwarden.issue_token(org, 'x');
		RETURN CASE WHEN n < 4 THEN 'issued' ELSE format('issued beyond %s', n) END;
	EXCEPTION WHEN configuration_limit_exceeded THEN
		RETURN CASE WHEN n < 4 THEN format('refused at %s', n) ELSE 'refused' END;
	END $$;
	CREATE FUNCTION revoke(org text, n integer) RETURNS text LANGUAGE sql AS $$
		SELECT 'revoked' FROM (SELECT count(walwarden.revoke_token(l)) FROM (SELECT l FROM live(org) AS l LIMIT n) AS l) AS c $$;
	-- and in a subtransaction that is rolled back
	CREATE FUNCTION in_vain(org text, revoked integer, issued integer) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		said text;
	BEGIN
		PERFORM revoke(org, revoked);
		SELECT string_agg(issue(org), ',') INTO said FROM generate_series(1, issued);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RETURN said;
	END $$});

my $seed = int(rand(2**31));
srand($seed);
sub any { return $_[rand @_]; }

# two sessions take turns, so that what one remembers becomes old
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
my %said;
my @wrong;
for my $turn (1 .. 150)
{
	my $session = any(@sessions);
	my $end = any('COMMIT', 'COMMIT', 'ROLLBACK');
	my @deeds = map {
		my $org = any('one', 'one', 'two');
		any("SELECT issue('$org')", "SELECT issue('$org')", "SELECT revoke('$org', " . int(1 + rand 3) . ')',
			"SELECT in_vain('$org', " . int(rand 4) . ', ' . int(1 + rand 4) . ')')
	} 1 .. 1 + rand 5;
	my $isolation = any('READ COMMITTED', 'READ COMMITTED', 'SERIALIZABLE');
	my $answer = $session->query("BEGIN ISOLATION LEVEL $isolation; " . join('; ', @deeds) . "; $end");
	$said{$_}++ for split /[,\n]/, $answer;
	push @wrong, "turn $turn: @deeds: $answer" if $answer =~ /beyond|at/;
}
$_->quit for @sessions;
is(join("\n", @wrong), '', "the limit is exact (seed $seed)");
cmp_ok($said{issued}, '>', 50, 'tokens were issued');
cmp_ok($said{refused}, '>', 50, 'and refused');
is($node->safe_psql('postgres', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', 'all verifies');
done_testing();
