# An identity that was set outside of a transaction is gone with its statement: the session
# is told once, by the statement that looks for it, and nobody else is.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme');
	CREATE TABLE documents (title text);
	ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
	CREATE POLICY reading ON documents USING ((SELECT walwarden.has_scope('databases:read')));
	INSERT INTO documents VALUES ('a'), ('b');
	CREATE ROLE app;
	GRANT SELECT ON documents TO app;
	CREATE PROCEDURE twice(token text) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM walwarden.authenticate(token);
		COMMIT;
		PERFORM walwarden.has_scope('x');
	END $$;
	CREATE FUNCTION inside(token text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM walwarden.authenticate(token);
		RETURN walwarden.has_scope('databases:read');
	END $$;
	CREATE FUNCTION undone(token text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			PERFORM walwarden.authenticate(token);
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
		END;
		RETURN walwarden.has_scope('databases:read');
	END $$});
my $token = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'ci', '{databases:read}')});
my $warning = qr/^psql:<stdin>:(\d+): WARNING:  25P01: the identity ended with its statement\nHINT:  Begin a transaction first: /m;

# The lines of a script that warn; each line is one message to the server.
sub warned
{
	my @lines = map { s/\bTOKEN\b/'$token'/gr } @_;
	my ($ret, $out, $err) = $node->psql('postgres', join("\n", @lines), extra_params => [ '-v', 'VERBOSITY=verbose' ], on_error_stop => 0);
	my @found = $err =~ /$warning/g;
	is(scalar(() = $err =~ /WARNING/g), scalar(@found), "no other warning: $lines[0]") or diag($err);
	return "@found";
}

is(warned('SELECT walwarden.authenticate(TOKEN);', q{SELECT walwarden.has_scope('x');}, q{SELECT walwarden.has_scope('x');}), '2', 'has_scope() warns once');
is(warned('SELECT walwarden.authenticate(TOKEN);', "SELECT walwarden.$_();", "SELECT walwarden.$_();"), '2', "$_() warns once")
	for qw(current_token_id current_org current_org_id current_subject);
is(warned('SELECT walwarden.authenticate(TOKEN);', q{SELECT walwarden.require_scope('databases:read');}, q{SELECT walwarden.require_scope('databases:read');}), '2', 'require_scope() warns and fails');
is(warned(q{SELECT walwarden.authorize(TOKEN, 'databases:read');}, 'SELECT walwarden.current_org();'), '2', 'after authorize() too');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'SET ROLE app;', 'SELECT count(*) FROM documents;', 'SELECT count(*) FROM documents;'), '3', 'a policy warns, once for its query');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'SELECT 1;', 'BEGIN;', q{SELECT walwarden.has_scope('x');}, 'COMMIT;'), '4', 'in a transaction that comes later');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.current_org();', 'SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.current_org();'), '3 5', 'once for each time');
is(warned('DO $$BEGIN PERFORM walwarden.authenticate(TOKEN); END$$;', 'SELECT walwarden.current_org();'), '2', 'a DO block is a statement');
is(warned('SELECT inside(TOKEN);', 'SELECT walwarden.current_org();'), '2', 'a function is part of one');
is(warned('CALL twice(TOKEN);', 'SELECT walwarden.current_org();'), '1', 'a procedure that commits is told itself');
is(warned('PREPARE p AS SELECT walwarden.authenticate($1);', 'EXECUTE p(TOKEN);', 'SELECT walwarden.current_org();'), '3', 'a prepared statement');

# nobody else is told
is(warned('SELECT walwarden.current_org();'), '', 'no identity at all');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.authenticate(TOKEN);', q{SELECT walwarden.authorize(TOKEN, 'databases:read');}), '', 'authenticate() and authorize()');
is(warned(q{SELECT walwarden.authenticate(TOKEN), walwarden.has_scope('x');}, 'SELECT 1;', 'SELECT slug FROM walwarden.list_orgs();', q{SELECT * FROM walwarden.list_nodes('acme');}), '', 'what else an operator does');
is(warned('BEGIN;', 'SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.current_org();', 'COMMIT;', 'SELECT walwarden.current_org();'), '', 'a transaction');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'BEGIN;', 'SELECT walwarden.authenticate(TOKEN);', 'SELECT walwarden.current_org();', 'COMMIT;', 'SELECT walwarden.current_org();'), '', 'a client that then uses one');
is(warned('SELECT walwarden.authenticate(TOKEN) \; SELECT walwarden.current_org();', 'SELECT walwarden.current_org();'), '', 'several statements in one message are one transaction');
is(warned('BEGIN;', 'SELECT walwarden.authenticate(TOKEN);', 'ROLLBACK;', 'SELECT walwarden.current_org();'), '', 'a transaction that rolls back');
is(warned('SELECT walwarden.authenticate(TOKEN), 1 / 0;', 'SELECT walwarden.current_org();'), '', 'a statement that failed');
is(warned(q{SELECT walwarden.authenticate('wal_no');}, 'SELECT walwarden.current_org();'), '', 'a token that was not accepted');
is(warned('SELECT undone(TOKEN);', 'SELECT walwarden.current_org();'), '', 'a subtransaction that rolled back');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'DISCARD ALL;', 'SELECT walwarden.current_org();'), '', 'the next client of a pool, after DISCARD ALL');
is(warned('SELECT walwarden.authenticate(TOKEN);', 'DISCARD PLANS;', 'SELECT walwarden.current_org();'), '3', 'which no other DISCARD replaces');

# the extended protocol, and a pipeline: it is one transaction, its statements see the identity
sub pgbench_warns
{
	my ($name, $script, $method) = @_;
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, $script);
	my ($stdout, $stderr) = run_command([ 'pgbench', '-n', '-t', 1, '-M', $method, '-D', "t=$token", '-f', $file, $node->connstr('postgres') ]);
	like($stdout, qr{actually processed: 1/1}, "$name, $method: ran") or diag($stderr);
	return scalar(() = $stderr =~ /the identity ended with its statement/g);
}
my $apart = "SELECT walwarden.authenticate(:t);\nSELECT walwarden.current_org();\nSELECT walwarden.current_org();\n";
is(pgbench_warns("apart_$_", $apart, $_), 1, "statements of their own, $_") for qw(extended prepared);
is(pgbench_warns('pipeline', "\\startpipeline\nSELECT walwarden.authenticate(:t);\nSELECT walwarden.current_org();\n\\endpipeline\nSELECT walwarden.current_org();\n", 'extended'), 0, 'a pipeline');

done_testing();
