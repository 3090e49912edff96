# A database is restored in another cluster, whose roles have other OIDs: the names have
# their rights there, and maintenance stores the OIDs without an entry. From then on, as in
# the cluster where they were named, a role that was renamed, or dropped and created again,
# has none of them until it is confirmed. Back in the first cluster the same holds at once.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %node = map { $_ => PostgreSQL::Test::Cluster->new($_) } 'first', 'second', 'worker';
foreach my $node (values %node)
{
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ], allows_streaming => 1);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'walwarden'\nwalwarden.maintenance_interval = '1s'\n") if $node->name eq 'worker';
	$node->start;
}
sub sql { my ($node, $query) = @_; return $node->safe_psql('app', $query); }
sub state_of { my ($node, $query) = @_; my ($ret, $out, $err) = $node->psql('app', "\\set VERBOSITY sqlstate\n$query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }

my @roles = qw(op auth runner web login ann);
sub make_roles { my ($node) = @_; $node->safe_psql('postgres', join ';', map { "CREATE ROLE $_ LOGIN" } @_[1 .. $#_]); return; }
# OIDs are never the same by chance
$node{second}->safe_psql('postgres', 'CREATE ROLE another' . $_) for 1 .. 20;
make_roles($_, @roles) for @node{qw(first second worker)};
$_->safe_psql('postgres', 'CREATE DATABASE app') for values %node;

sql($node{first}, q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme'), walwarden.grant_operator('op'), walwarden.trust_authenticator('auth'), walwarden.grant_runner('runner'), walwarden.grant_rest('web', 'login'),
	       walwarden.add_member('acme', 'ann', 'admin', 'ann'), walwarden.add_member('acme', 'bob', 'admin')});
my ($api, $machine) = map { sql($node{first}, "SELECT token FROM walwarden.issue_token('acme', $_)") } q{'api'}, q{'machine', kind => 'node'};

# the roles that have the rights of their name
my %right = (
	op => q{SET ROLE op; SELECT * FROM walwarden.verify_audit_chain()},
	auth => q{SET SESSION AUTHORIZATION auth; SET request.jwt.claims = '{"sub":"bob"}'; SELECT * FROM walwarden.list_members('acme')},
	runner => qq{BEGIN; SELECT walwarden.authenticate('$machine'); SET LOCAL ROLE runner; SELECT walwarden.register_node('node', '1'); SELECT * FROM walwarden.claim_job('{backup}'); ROLLBACK},
	web => qq{BEGIN; SELECT walwarden.authenticate('$api'); SET LOCAL ROLE web; SELECT walwarden.append_audit('app.x', '{}'); ROLLBACK},
	ann => q{SET ROLE ann; SELECT * FROM walwarden.list_members('acme')});
sub have_rights { my ($node) = @_; return join ' ', grep { my $state = state_of($node, $right{$_}); $state eq 'ok' or ($state eq '42501' ? 0 : die "$_: $state") } sort keys %right; }
my $all = 'ann auth op runner web';
my $bound = q{SELECT string_agg(format('%s %s', role, role_oid = to_regrole(role)), ', ' ORDER BY role), (SELECT db_role_oid = to_regrole(db_role) FROM walwarden_internal.member WHERE db_role IS NOT NULL),
	bool_and(system_identifier = (SELECT system_identifier::text FROM pg_control_system())) FROM walwarden_internal.role_grant};
my $chains = q{SELECT string_agg(org || ' ' || entries || ' ' || head_hash, ', ' ORDER BY org) FROM walwarden.verify_audit_chain() WHERE coalesce(reason, 'setting') ~ '^setting'};
my $here = 'auth t, op t, runner t, web t|t|t';
is(have_rights($node{first}), $all, 'first cluster: each role has the rights of its name');
is(sql($node{first}, $bound), $here, 'and its OID is stored');
my $heads = sql($node{first}, $chains);

my $dump = $node{first}->basedir . '/app.sql';
$node{first}->command_ok([ 'pg_dump', '-d', $node{first}->connstr('app'), '-f', $dump ], 'it is dumped');
sub restored { my ($node) = @_; return $node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('app'), '-f', $dump ], $node->name . ': it is restored'); }
restored($node{second});
is(sql($node{second}, $bound), 'auth f, op f, runner f, web f|f|f', 'second cluster: the OIDs are others');
is(have_rights($node{second}), $all, 'the names have their rights');
is(sql($node{second}, 'SELECT walwarden.confirm_server_role(\'op\')'), 'f', 'there is nothing to confirm');
is(sql($node{second}, 'SELECT walwarden.run_maintenance()'), 't', 'maintenance');
is(sql($node{second}, $bound), $here, 'stores the OIDs of this cluster');
is(sql($node{second}, $chains), $heads, 'without an entry');
is(have_rights($node{second}), $all, 'the names have their rights');

# a role that is not there yet when maintenance runs
sql($node{second}, q{DROP EXTENSION walwarden; DROP EXTENSION pgcrypto; DROP ROLE ann, runner});
restored($node{second});
is(sql($node{second}, 'SELECT walwarden.run_maintenance(), walwarden.run_maintenance()'), 't|f', 'restored without two of the roles');
make_roles($node{second}, 'ann', 'runner');
is(have_rights($node{second}), $all, 'they have their rights as soon as they are there');
is(sql($node{second}, "SELECT walwarden.run_maintenance(); $bound"), "t\n$here", 'and are stored with the next run');

# from here on the second cluster is as the first
foreach my $node (@node{qw(first second)})
{
	my $name = $node->name;

	sql($node, join ';', map { "ALTER ROLE $_ RENAME TO old_$_" } @roles);
	make_roles($node, @roles);
	is(have_rights($node), '', "$name: other roles under the names have no rights");
	sql($node, 'SELECT walwarden.run_maintenance()');
	is(have_rights($node), '', "$name: maintenance does not change that");
	my ($ret, $out, $err) = $node->psql('app', 'SET ROLE op; SELECT * FROM walwarden.verify_audit_chain()');
	like($err, qr/HINT:  Role "op" is not the role that was named.*confirm_server_role/, "$name: the refusal says what to do");
	sql($node, "SELECT walwarden.confirm_server_role('$_')") for @roles;
	is(have_rights($node), $all, "$name: confirmed, they have them");

	sql($node, 'DROP OWNED BY op, web; DROP ROLE ' . join ', ', @roles);
	make_roles($node, @roles);
	is(have_rights($node), '', "$name: dropped and created again, none");
	sql($node, "SELECT walwarden.confirm_server_role('$_')") for @roles;
	is(have_rights($node), $all, "$name: until they are confirmed");
	is(sql($node, q{SELECT bool_and(v.ok), bool_and(s.ok) FROM walwarden.verify_audit_chain() AS v, walwarden.verify_audit_chain_sql(NULL) AS s}), 't|t', "$name: the chains verify");
}

# the old dump, restored in the first cluster, where the roles are others meanwhile
$node{first}->safe_psql('app', 'DROP EXTENSION walwarden; DROP EXTENSION pgcrypto');
restored($node{first});
is(have_rights($node{first}), '', 'an older dump in the same cluster: the roles are not those that were named');
sql($node{first}, 'SELECT walwarden.run_maintenance()');
is(have_rights($node{first}), '', 'which maintenance leaves to a superuser');

# the worker does it too
restored($node{worker});
$node{worker}->poll_query_until('app', $bound, $here) or die 'the worker did not bind the roles';
is(sql($node{worker}, $chains), $heads, 'the worker binds them, without an entry');

# a standby is the same cluster: its roles have the same OIDs, and nothing is written
$node{second}->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node{second}, 'base', has_streaming => 1);
$standby->start;
delete @right{qw(runner web)};    # which change something
is(have_rights($standby), 'ann auth op', 'a standby honours the names');
$node{second}->safe_psql('app', 'ALTER ROLE ann RENAME TO old_ann2; CREATE ROLE ann');
$node{second}->wait_for_catchup($standby);
is(have_rights($standby), 'auth op', 'and notices another role under one');

$_->stop for $standby, values %node;
done_testing();
