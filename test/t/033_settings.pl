# Settings on a server that does not preload the library: until it is loaded, the server
# takes every value from everybody. None of them may lift a limit.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "walwarden.max_tokens_per_org = 3\n");
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE;
	CREATE ROLE ann LOGIN; SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner', 'ann')});

# as a role, with options of the connection: what came, or the first line of the error
sub try_as
{
	my ($role, $options, $query) = @_;
	local $ENV{PGOPTIONS} = $options;
	my ($code, $out, $err) = $node->psql('postgres', $query, extra_params => [ '-U', $role ]);
	return $code == 0 ? $out : $err =~ s/^.*?ERROR:  ([^\n]*).*$/$1/sr;
}
my $forever = q{SELECT count(token) FROM walwarden.issue_token('acme', 'x', expires_at => 'infinity')};
my $exceeds = 'a token without an expiry exceeds the maximum lifetime';

is(try_as('ann', '', $forever), 1, 'without a maximum a token may live for ever');
# in a session that has not loaded the library
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET walwarden.max_token_lifetime = '1h'});
is(try_as('ann', '', $forever), $exceeds, 'the maximum of the database');
is(try_as('ann', '-c walwarden.max_token_lifetime=0', $forever), 'permission denied to set parameter "walwarden.max_token_lifetime"', 'options of the connection do not lift it');
is(try_as('ann', '-c walwarden.max_tokens_per_org=100', $forever), 'permission denied to set parameter "walwarden.max_tokens_per_org"', 'nor a limit that only the server has');
is(try_as('ann', '-c walwarden.nosuch=1', 'SELECT walwarden.current_org()'), 'permission denied to set parameter "walwarden.nosuch"', 'nor is anything else of that name accepted');
is(try_as('ann', '', "SET walwarden.max_token_lifetime = 0; $forever"), $exceeds, 'nor does SET before the first call');
is(try_as('ann', '', "SELECT walwarden.current_org(); SET walwarden.max_token_lifetime = 0"), 'permission denied to set parameter "walwarden.max_token_lifetime"', 'after it SET fails');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
is(try_as($superuser, '-c walwarden.max_token_lifetime=0', $forever), 1, 'a superuser may');
is(try_as('ann', '', q{SELECT count(token) FROM walwarden.issue_token('acme', 'x', expires_at => now() + interval '30 min')}), 1, 'within the maximum');
is(try_as('ann', '', q{SELECT count(token) FROM walwarden.issue_token('acme', 'x', expires_at => now() + interval '30 min')}),
	'organisation "acme" already has 3 tokens', 'the limit of the configuration file');

# a value that the library rejects
$node->safe_psql('postgres', q{SELECT walwarden.revoke_token(t.token_id) FROM walwarden.list_tokens('acme') AS t});
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET walwarden.max_token_lifetime = '400 days'});
is(try_as('ann', '', $forever), 'parameter walwarden.max_token_lifetime has an invalid value', 'a wrong unit is not the same as no maximum');
is(try_as('ann', '', 'SELECT count(*) FROM walwarden.list_tokens(\'acme\')'), 3, 'other calls go on');
is(try_as($superuser, '', "SELECT walwarden.current_org(); SET walwarden.max_token_lifetime = '1h'; $forever") =~ s/^\s+//r, $exceeds, 'a valid value counts');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET walwarden.max_token_lifetime = '400d'});
is(try_as('ann', '', $forever), $exceeds, 'corrected');
done_testing();
