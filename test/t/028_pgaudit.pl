# pgaudit logs parameters too, if it is told to: those of PostgREST's login, which are
# tokens, stay out of the log once grant_rest() was called.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $libraries = `pg_config --pkglibdir`);
plan skip_all => 'pgaudit is not installed' unless -e "$libraries/pgaudit.so";
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ], auth_extra => [ '--create-role' => 'authenticator' ]);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pgaudit'
pgaudit.log = 'all'
pgaudit.log_parameter = on
log_statement = all
CONF
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE web_anon;
	GRANT web_anon TO authenticator;
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme')});
my $token = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'x', '{databases:read}')});

# A request as PostgREST sends it: its header fields are a parameter. Whether the token of it
# is in the log.
my $headers = qq({"x-walwarden-token":"$token","x-walwarden-method":"GET","x-walwarden-path":"/api/v1/profile"});
my $script = $node->basedir . '/request.sql';
append_to_file($script, "SET ROLE web_anon;\nSELECT set_config('request.headers', :headers, false);\nSELECT walwarden_rest.v1_get();\n");
sub is_in_log
{
	my $from = -s $node->logfile;
	command_ok([ 'pgbench', '-n', '-t', 1, '-M', 'extended', '-D', "headers=$headers", '-f', $script, $node->connstr('postgres') . ' user=authenticator' ], 'a request');
	my $log = substr(slurp_file($node->logfile), $from);
	like($log, qr/AUDIT: .*set_config/, 'is audited');
	return index($log, $token) >= 0;
}

# v1_get() is not allowed before, so the role is granted and the settings are taken back
$node->safe_psql('postgres', q{SELECT walwarden.grant_rest('web_anon', 'authenticator'); ALTER ROLE authenticator IN DATABASE postgres RESET ALL});
ok(is_in_log(), 'without the settings, the log has the token');
is($node->safe_psql('postgres', q{SELECT problem FROM walwarden.list_grants()}), join('; ', map { "setting $_->[0] of role \"authenticator\" is not $_->[1] in this database" }
	[ 'idle_in_transaction_session_timeout', '10s' ], [ 'log_parameter_max_length', 0 ], [ 'log_parameter_max_length_on_error', 0 ], [ 'pgaudit.log_parameter', 'off' ]), 'they are listed as missing');
$node->safe_psql('postgres', q{SELECT walwarden.grant_rest('web_anon', 'authenticator'); ALTER ROLE authenticator IN DATABASE postgres RESET pgaudit.log_parameter});
ok(is_in_log(), 'those of the server are not enough');
$node->safe_psql('postgres', q{SELECT walwarden.grant_rest('web_anon', 'authenticator')});
ok(!is_in_log(), 'with all of them, the log does not have it');
is($node->safe_psql('postgres', q{SELECT agrees FROM walwarden.list_grants()}), 't', 'and none is missing');
is($node->safe_psql('postgres', q{SELECT walwarden.revoke_rest('web_anon'); SELECT count(*) FROM pg_db_role_setting}), "t\n0", 'revoke_rest() takes all of them back');
done_testing();
