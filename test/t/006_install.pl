# CREATE, DROP and CREATE EXTENSION, and what must not be there before.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE DATABASE planted; GRANT CREATE ON DATABASE planted TO mallory');
sub state_of { my ($ret, $out, $err) = $node->psql($_[0], "\\set VERBOSITY sqlstate\n$_[1]"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }

# schemas that somebody made before
foreach my $schema (qw(walwarden walwarden_internal walwarden_rest))
{
	$node->safe_psql('planted', "SET SESSION AUTHORIZATION mallory; CREATE SCHEMA $schema; CREATE TABLE $schema.org (id int)");
	is(state_of('planted', 'CREATE EXTENSION walwarden CASCADE'), '42P06', "a schema $schema that is there is refused");
	$node->safe_psql('planted', "DROP SCHEMA $schema CASCADE");
}

# functions and operators in front of pgcrypto's, in its own schema and the session's path
$node->safe_psql('planted', q{
	CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto;
	CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil, crypto TO mallory;
	SET SESSION AUTHORIZATION mallory;
	CREATE FUNCTION evil.digest(bytea, text) RETURNS bytea LANGUAGE sql AS $$SELECT '\x00'::bytea$$;
	CREATE FUNCTION crypto.digest(bytea, varchar) RETURNS bytea LANGUAGE sql AS $$SELECT '\x00'::bytea$$;
	CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT true$$;
	CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
	CREATE OPERATOR crypto.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
	RESET SESSION AUTHORIZATION;
	SET search_path = evil, crypto, pg_catalog;
	CREATE EXTENSION walwarden;
});
is($node->safe_psql('planted', q{
	SELECT DISTINCT d.refobjid::regprocedure FROM pg_depend AS d
	 WHERE d.classid = 'pg_proc'::regclass AND d.objid = 'walwarden_internal.digest_sha256'::regproc AND d.refclassid = 'pg_proc'::regclass}),
	'crypto.digest(bytea,text)', 'digest() is bound to pgcrypto\'s');
is($node->safe_psql('planted', q{
	SELECT count(*) FROM pg_depend AS d JOIN pg_operator AS o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
	 WHERE o.oprnamespace <> 'pg_catalog'::regnamespace}), '0', 'no operator from anywhere else');
$node->safe_psql('planted', q{SELECT walwarden.create_org('acme'); SELECT walwarden.issue_token('acme', 'x')});
is($node->safe_psql('planted', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'and the SQL verifier works');

# default privileges of whoever installs open nothing
$node->safe_psql('planted', q{DROP EXTENSION walwarden; CREATE ROLE reader;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO reader;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO reader; ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO reader;
	CREATE EXTENSION walwarden});
is($node->safe_psql('planted', q{
	SELECT r.oid::regclass, p.privilege
	  FROM pg_class AS r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p(privilege)
	 WHERE r.relnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace) AND r.relkind IN ('r', 'v')
	   AND has_table_privilege('reader', r.oid, p.privilege) AND NOT has_table_privilege('public', r.oid, p.privilege)}),
	'', 'default privileges open no relation');
is($node->safe_psql('planted', q{
	SELECT count(*) FROM pg_proc WHERE pronamespace = 'walwarden_internal'::regnamespace AND proname !~ '_door$' AND has_function_privilege('reader', oid, 'execute')}), '0', 'and no inner function');
is($node->safe_psql('planted', q{SELECT has_schema_privilege('reader', 'walwarden', 'create') OR has_schema_privilege('reader', 'walwarden_internal', 'usage, create') OR has_schema_privilege('reader', 'walwarden_rest', 'usage')}), 'f', 'and no schema');
$node->safe_psql('planted', q{ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM reader; ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM reader;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM reader; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM reader});

# who owns pgcrypto could drop this extension with it
$node->safe_psql('postgres', q{CREATE DATABASE owned; GRANT CREATE ON DATABASE owned TO mallory});
$node->safe_psql('owned', q{SET SESSION AUTHORIZATION mallory; CREATE SCHEMA mine; CREATE EXTENSION pgcrypto SCHEMA mine});
is(state_of('owned', 'CREATE EXTENSION walwarden'), '55000', 'a pgcrypto that is not a superuser\'s is refused');
$node->safe_psql('owned', q{DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto SCHEMA mine});
is(state_of('owned', 'CREATE EXTENSION walwarden'), '55000', 'so is a schema that is not');
is(state_of('owned', 'CREATE SCHEMA crypto; ALTER EXTENSION pgcrypto SET SCHEMA crypto; CREATE EXTENSION walwarden'), 'ok', 'the hint helps');
isnt(state_of('owned', 'SET SESSION AUTHORIZATION mallory; DROP EXTENSION pgcrypto CASCADE'), 'ok', 'then nobody else drops it');
$node->safe_psql('postgres', q{CREATE DATABASE theirs OWNER mallory});
$node->safe_psql('theirs', q{SET SESSION AUTHORIZATION mallory; CREATE EXTENSION pgcrypto});
is(state_of('theirs', 'CREATE EXTENSION walwarden'), 'ok', 'the owner of the database may own pgcrypto');

# no superuser
is(state_of('planted', 'DROP EXTENSION walwarden; SET SESSION AUTHORIZATION mallory; CREATE EXTENSION walwarden'), '42501', 'only a superuser installs it');

# again and again, in one session too
is(state_of('planted', q{CREATE EXTENSION walwarden; SELECT walwarden.create_org('a'); DROP EXTENSION walwarden;
	CREATE EXTENSION walwarden; SELECT walwarden.create_org('a'); SELECT token FROM walwarden.issue_token('a', 'x') \gset
	SELECT walwarden.authenticate(:'token');
	BEGIN; SELECT walwarden.authenticate(:'token'); DROP EXTENSION walwarden; ROLLBACK;
	SELECT walwarden.authenticate(:'token'); DROP EXTENSION walwarden;}), 'ok', 'CREATE and DROP EXTENSION in one session');
is($node->safe_psql('planted', q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'walwarden%'}), '0', 'nothing is left');
is($node->safe_psql('planted', q{SELECT count(*) FROM pg_roles WHERE rolname ~ 'walwarden'}), '0', 'and no role was made');

# a database that is the template of others, and a copy
$node->safe_psql('planted', q{CREATE EXTENSION walwarden; SELECT walwarden.create_org('acme')});
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE planted');
is($node->safe_psql('copy', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'a copy of the database verifies');

# settings that a user put there before the library was loaded
is($node->safe_psql('copy', q{SET walwarden.max_tokens_per_org = 1000000; SELECT walwarden.has_scope('x'); SHOW walwarden.max_tokens_per_org}), "f\n10000",
	'a placeholder set before is not taken over');

# the token limit, exact
$node->append_conf('postgresql.conf', "session_preload_libraries = 'walwarden'\nwalwarden.max_tokens_per_org = 3\n");
$node->reload;
is($node->safe_psql('copy', q{SELECT count(walwarden.issue_token('acme', i::text)) FROM generate_series(1, 3) AS i}), '3', 'up to the limit');
is(state_of('copy', q{SELECT walwarden.issue_token('acme', 'x')}), '53400', 'not beyond');
is($node->safe_psql('copy', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme', max_rows => 1)}), 't', 'a revoked one');
is(state_of('copy', q{SELECT walwarden.issue_token('acme', 'x')}), 'ok', 'makes room');

# pgcrypto cannot go alone
is(state_of('copy', 'DROP EXTENSION pgcrypto'), '2BP01', 'pgcrypto is needed');

$node->stop;
done_testing();
