# A library that was loaded first, and has functions of the names of ours, takes the
# place of none: what decides about a token is the extension's own code.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# every function that one file of ours calls in another, but for what SQL calls
my %names;
foreach my $object (glob 'src/*/*.o')
{
	my ($symbols) = run_command([ 'nm', '--defined-only', '-g', $object ]);
	foreach (split /\n/, $symbols)
	{
		$names{$1} = 1 if / T (?!walwarden|_PG|pg_finfo_|Pg_)(\w+)$/;
	}
}
ok($names{$_}, "$_ is one of them") foreach qw(scope_list_has digest_sha256 call_function lock_acquire);

# each says so and answers true
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($headers) = run_command([ $ENV{PG_CONFIG}, '--includedir-server' ]);
append_to_file("$dir/foreign.c", q{
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
void called(const char *name);
void called(const char *name) { elog(WARNING, "a foreign %s was called", name); }
void _PG_init(void);
void _PG_init(void) { elog(LOG, "the foreign library is here"); }
});
append_to_file("$dir/names.c", join "\n", 'void called(const char *name);',
	(map { "long $_(void) { called(\"$_\"); return 1; }" } sort keys %names), '');
my (undef, $errors) = run_command([ 'cc', '-shared', '-fPIC', "-I$headers", '-o', "$dir/foreign.so", "$dir/foreign.c", "$dir/names.c" ]);
is($errors, '', 'the foreign library is built');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = '$dir/foreign'\n");
$node->start;
like(slurp_file($node->logfile), qr/the foreign library is here/, 'it is loaded first');

my ($status, $out, $err) = $node->psql('postgres', q{
	SET client_min_messages = warning;
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme') \g /dev/null
	SELECT token FROM walwarden.issue_token('acme', 'reader', '{databases:read}') \gset
	BEGIN;
	SELECT walwarden.authenticate(:'token') \g /dev/null
	SELECT walwarden.has_scope('databases:read'), walwarden.has_scope('databases:write');
	COMMIT;
	SELECT bool_and(ok) FROM walwarden.verify_audit_chain();
});
is($status, 0, 'all goes on');
is($out, "t|f\nt", 'the scopes are the token\'s, and the chain verifies');
is($err, '', 'and nobody called it');

$node->stop;
done_testing();
