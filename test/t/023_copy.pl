# A copy of a database, by TEMPLATE and by a dump, opens to the tokens of the original and
# has its jobs, until close_copy(); which the original does not notice. Also in sessions
# that have used a token, and not while a node works on a job.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'walwarden'\nwalwarden.maintenance_interval = '1d'\n");
$node->start;
sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }
sub outcome { my ($db, $query) = @_; my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out; }

sql('postgres', 'CREATE DATABASE production; CREATE ROLE runner');
sql('production', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme'), walwarden.create_org('other'), walwarden.grant_runner('runner')});
my ($token, $node_token) = map { sql('production', "SELECT token FROM walwarden.issue_token('acme', $_)") }
  q{'api', '{databases:read,databases:write,destinations:write,backups:trigger}'}, q{'node', kind => 'node'};
my $other = sql('production', q{SELECT token FROM walwarden.issue_token('other', 'api')});
sub request
{
	my ($path, $body) = @_;
	return sql('production', qq~SELECT set_config('request.headers', '{"x-walwarden-token":"$token","x-walwarden-method":"POST","x-walwarden-path":"/api/v1$path","x-walwarden-content-type":"application/json","idempotency-key":"' || gen_random_uuid() || '"}', false) \\g /dev/null
		SELECT coalesce(a ->> 'backupJobId', a ->> 'id') FROM walwarden_rest.v1_post(convert_to('$body', 'UTF8')) AS a~);
}
my $destination = request('/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}');
my @jobs = map { request('/databases/' . request('/databases', qq({"name":"$_","connectionRef":"d","destinationId":"$destination"})) . '/backups', '{}') } 'one', 'two';

my $as_node = "BEGIN; SELECT walwarden.authenticate('$node_token') \\g /dev/null\nSET LOCAL ROLE runner;";
sql('production', "$as_node SELECT walwarden.register_node('node', '1'); COMMIT");
my $claim = "$as_node SELECT job_id FROM walwarden.claim_job('{backup}')";
is(sql('production', "$claim; COMMIT"), $jobs[0], 'a node has claimed a job of the original');

# what there is: tokens and jobs by state, heads of the chains
my $state = q{SELECT 'token', state, count(*) FROM walwarden.token_list GROUP BY 2 UNION ALL SELECT 'job', state, count(*) FROM walwarden_internal.job GROUP BY 2
	UNION ALL SELECT org, head_hash, entries FROM walwarden.verify_audit_chain() WHERE coalesce(reason, 'setting') ~ '^setting' ORDER BY 1, 2};
sub opens { my ($db) = @_; return join ' ', map { outcome($db, "SELECT walwarden.authenticate('$_') IS NOT NULL") } $token, $node_token, $other; }
my $original = sql('production', $state);

my $dump = $node->basedir . '/production.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('production'), '-f', $dump ], 'the original is dumped');
foreach my $copy ('by_template', 'by_dump')
{
	if ($copy eq 'by_dump')
	{
		sql('postgres', "CREATE DATABASE $copy");
		$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr($copy), '-f', $dump ], 'and restored');
	}
	else
	{
		$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'production')}) or die 'the original is in use';
		sql('postgres', "CREATE DATABASE $copy TEMPLATE production");
	}
	is(sql($copy, $state), $original, "$copy: it is a copy");
	is(opens($copy), 't t t', "$copy: the tokens of the original open it");
	is(outcome($copy, "$claim; ROLLBACK"), $jobs[1], "$copy: and its jobs are claimed");

	# a session that remembers them, and one that works on a job
	my $witness = $node->background_psql($copy, on_error_stop => 0);
	is($witness->query("SELECT walwarden.authenticate('$token') IS NOT NULL"), 't', "$copy: a session has used a token") for 1 .. 2;
	my $worker = $node->background_psql($copy);
	is($worker->query_safe($claim), $jobs[1], "$copy: a node works on a job");
	my $before = sql($copy, $state);
	is(outcome($copy, q{SET lock_timeout = '100ms'; SELECT * FROM walwarden.close_copy()}), '55P03', "$copy: it is not closed meanwhile");
	is(sql($copy, $state), $before, "$copy: not in part either");
	is($worker->query_safe("SELECT walwarden.report_job('$jobs[1]', 1, 'running')"), 't', "$copy: the node goes on");
	$worker->query_safe('ROLLBACK');

	is(sql($copy, q{SELECT * FROM walwarden.close_copy('staging')}), '3|2', "$copy: it is closed");
	is(opens($copy), '28000 28000 28000', "$copy: no token opens it");
	unlike($witness->query("SELECT walwarden.authenticate('$token') IS NOT NULL"), qr/t/, "$copy: not in a session either that used one");
	is(sql($copy, q{SELECT DISTINCT state FROM walwarden_internal.job}), 'cancelled', "$copy: every job is cancelled");
	is(sql($copy, q{SELECT walwarden.grant_runner('runner')}), 't', "$copy: the settings of its role, which no copy has");
	is(sql($copy, q{SELECT bool_and(v.ok), bool_and(s.ok) FROM walwarden.verify_audit_chain() AS v, walwarden.verify_audit_chain_sql(NULL) AS s}), 't|t', "$copy: the chains verify");
	is(sql($copy, q{SELECT count(*) FROM walwarden.list_audit('_system') WHERE kind = 'copy.closed'}), '1', "$copy: which is on record");
	$_->quit for $witness, $worker;
}

is(sql('production', $state), $original, 'the original has not changed');
is(opens('production'), 't t t', 'its tokens open it');
is(sql('production', "$as_node SELECT walwarden.report_job('$jobs[0]', 1, 'running'); COMMIT"), 't', 'and its node goes on');

$node->stop;
done_testing();
