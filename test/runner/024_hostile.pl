# What the owner of a database puts before pg_catalog does not run as the runner.
use strict;
use warnings;
use EngineTest;
use RunnerTest;
use Test::More;

my $cluster = cluster();

# Each of these would be found in place of pg_catalog's, and records who called it.
my $evil = q{
	CREATE SCHEMA evil;
	CREATE TABLE evil.caught (what text, who text);
	CREATE FUNCTION evil.catch(what text) RETURNS boolean LANGUAGE sql SET search_path = pg_catalog AS 'INSERT INTO evil.caught VALUES (what, current_user) RETURNING true';
	CREATE FUNCTION evil.set_config(a text, b text, c boolean) RETURNS text LANGUAGE sql AS 'SELECT evil.catch(''set_config'')::pg_catalog.text';
	CREATE FUNCTION evil.equal(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.catch(''text = text'')';
	CREATE FUNCTION evil.equal(a name, b name) RETURNS boolean LANGUAGE sql AS 'SELECT evil.catch(''name = name'')';
	CREATE FUNCTION evil.matches(a name, b text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.catch(''name ~ text'')';
	CREATE FUNCTION evil.member(a jsonb, b text) RETURNS text LANGUAGE sql AS 'SELECT CASE WHEN evil.catch(''jsonb ->> text'') THEN pg_catalog.jsonb_extract_path_text(a, b) END';
	CREATE FUNCTION evil.member(a jsonb, b text[]) RETURNS text LANGUAGE sql AS 'SELECT CASE WHEN evil.catch(''jsonb #>> text[]'') THEN pg_catalog.jsonb_extract_path_text(a, VARIADIC b) END';
	CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = text, RIGHTARG = text);
	CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = name, RIGHTARG = name);
	CREATE OPERATOR evil.~ (FUNCTION = evil.matches, LEFTARG = name, RIGHTARG = text);
	CREATE OPERATOR evil.->> (FUNCTION = evil.member, LEFTARG = jsonb, RIGHTARG = text);
	CREATE OPERATOR evil.#>> (FUNCTION = evil.member, LEFTARG = jsonb, RIGHTARG = text[]);
	CREATE DOMAIN evil.uuid AS pg_catalog.uuid CHECK (evil.catch('uuid'));
	CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (evil.catch('jsonb'));
	CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.catch('text'));
};
my @databases = qw(control orders postgres);
for my $database (@databases)
{
	$cluster->safe_psql($database, $evil);
	$cluster->safe_psql($database, "ALTER DATABASE $database SET search_path = evil, pg_catalog, public");
}
sub caught { return join ', ', map { my $d = $_; map { "$d: $_" } split /\n/, $cluster->safe_psql($d, 'SET search_path = pg_catalog; SELECT DISTINCT what FROM evil.caught ORDER BY 1') } @databases; }

# The trap works, with what it would have to catch.
$cluster->safe_psql('orders', q{SELECT set_config('a.b', 'c', false), 'a'::name ~ 'b', '{"a": 1}'::pg_catalog.jsonb ->> 'a', 'a'::text, '{}'::jsonb});
is(caught(), 'orders: jsonb, orders: jsonb ->> text, orders: name ~ text, orders: set_config, orders: text', 'what stands before pg_catalog is called');
$cluster->safe_psql('orders', 'TRUNCATE evil.caught');

# The functions of the extension pin theirs; so do those of the stand-in here, and this test.
$cluster->safe_psql('control', q{
	SET search_path = pg_catalog;
	DO $$
	DECLARE f regprocedure;
	BEGIN
		FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'walwarden'::regnamespace LOOP
			EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog', f);
		END LOOP;
	END $$;
});
$ENV{PGOPTIONS} = '-c search_path=pg_catalog,public';

my ($status, $out) = run_runner('--config', write_config(), '--check');
is($status, 0, '--check finds nothing wrong') or diag($out);
is(caught(), '', 'and calls none of it');

my $b = completed_ok(backup(), 'a backup is completed');
is(caught(), '', 'and calls none of it');
completed_ok(restore($b, mode => 'new_database', target => 'scratch/restored'), 'a restore is completed');
is(caught(), '', 'and calls none of it');
completed_ok(expire($b), 'the backup is removed');
is(caught(), '', 'and none of it was called');

done_testing();
