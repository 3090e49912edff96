# What a door does is planned once a session, and not at each call: a function in SQL that the
# planner cannot inline would be, before version 18. The server logs the statistics of each plan that it makes.
use strict;
use warnings;
use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Doors for which a plan more is nothing: they read whole chains, or grant something to a
# server role, which happens once.
my %rare = map { $_ => 1 } qw(verify_audit_chain verify_audit_chain_sql run_maintenance close_copy close_org export_people search_audit
  confirm_server_role grant_rest revoke_rest grant_runner revoke_runner list_grants);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION walwarden CASCADE');

# Each door by each caller that doors.psql names, as often as it takes until plans are
# generic, and then once more between two marks. EXECUTE itself makes one plan, authenticate()
# before it another.
my $top = getcwd();
my ($ret, $out, $err) = $node->psql('postgres', <<"SQL", on_error_stop => 0);
SET client_min_messages = error;
\\set SHOW_CONTEXT always
BEGIN;
\\i $top/test/pgtap/doors.psql
CREATE FUNCTION counted(c caller, statement text, mark text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
    came text;
BEGIN
    FOR i IN 1 .. 8 LOOP
        came := tried(c, statement);
    END LOOP;
    PERFORM set_config('log_planner_stats', 'on', true), set_config('client_min_messages', 'log', true);
    RAISE LOG 'begin %', mark;
    came := tried(c, statement);
    RAISE LOG 'end %', mark;
    PERFORM set_config('log_planner_stats', 'off', true), set_config('client_min_messages', 'error', true);
    RETURN came;
END
\$\$;
-- as a function in SQL is before version 18
CREATE FUNCTION planned_anew() RETURNS boolean LANGUAGE plpgsql STABLE AS \$\$BEGIN EXECUTE 'SELECT true'; RETURN true; END\$\$;
-- the first time, this plans statements of its own
SELECT counted(c, 'SELECT true', 'warm up') FROM caller AS c WHERE name = 'superuser';
SELECT counted(c, 'SELECT true', 'nothing') FROM caller AS c WHERE name = 'superuser';
SELECT counted(c, 'SELECT public.planned_anew()', 'a function') FROM caller AS c WHERE name = 'superuser';
SELECT d.function || ' ' || c.name || ' ' || counted(c, call_of(d.function, d.arguments), d.function || ' ' || c.name)
  FROM door AS d, caller AS c
 WHERE c.name IN ('rest', 'runner', 'member', 'admin', 'operator', 'superuser');
SQL
my %came = map { /^(\w+ \w+) (\w+)$/ ? ($1 => $2) : () } split /\n/, $out;
my (%plans, %where);
while ($err =~ /LOG:  begin ([\w ]+)\n(.*?)LOG:  end \1\n/sg) 
{
	my ($call, $log) = ($1, $2);
	$plans{$call} = () = $log =~ /PLANNER STATISTICS/g;
	# the innermost function of each
	$where{$call} = join "\n", $log =~ /PLANNER STATISTICS.*?^CONTEXT:  (?:SQL statement ".*?"\n)?((?:PL|SQL )[^\n]*)/msg;
}

my $least = $plans{nothing};
ok(defined $least && $least <= 2, 'a call of nothing takes the plan of its statement') or diag(substr($err, 0, 2000));
is($plans{'a function'}, $least + 1, 'a function that is planned at each call is found');
cmp_ok(scalar(grep { ($came{$_} // '') eq 'yes' } keys %plans), '>', 60, 'most doors do something');
foreach my $call (sort keys %came)
{
	my ($door, $caller) = split / /, $call;
	next if $rare{$door} || $came{$call} ne 'yes';
	is($plans{$call}, $least, "$door() by $caller plans nothing") or diag($where{$call});
}
done_testing();
