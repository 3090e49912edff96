# Jobs, evidence and idempotency keys in dumps: rows in any order, nothing on
# stderr, the chain verifies, a key answers again, evidence still proves.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');

my $request = q{
CREATE FUNCTION public.request(token text, method text, path text, body text, key text DEFAULT gen_random_uuid()::text) RETURNS json
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object(
        'x-walwarden-token', token, 'x-walwarden-method', method, 'x-walwarden-path', '/api/v1' || path,
        'x-walwarden-content-type', 'application/json', 'idempotency-key', key)::text, true);
    RETURN walwarden_rest.v1_post(convert_to(body, 'UTF8'));
END
$$;
};
$node->safe_psql('source', 'CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org(\'acme\'); CREATE ROLE runner; SELECT walwarden.grant_runner(\'runner\');' . $request);
my $api = $node->safe_psql('source', q{SELECT token FROM walwarden.issue_token('acme', 'api', (SELECT array_agg(name) FROM walwarden_internal.scope))});
my $machine = $node->safe_psql('source', q{SELECT token FROM walwarden.issue_token('acme', 'node', kind => 'node')});
my $destination = $node->safe_psql('source', qq{SELECT request('$api', 'POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id'});
my $database = $node->safe_psql('source', qq{SELECT request('$api', 'POST', '/databases', '{"name":"d","connectionRef":"d","destinationId":"$destination"}') ->> 'id'});

sub backup
{
	my $backup = $node->safe_psql('source', qq{SELECT request('$api', 'POST', '/databases/$database/backups', '') ->> 'backupJobId'});
	$node->safe_psql('source', qq{
BEGIN;
SET LOCAL ROLE runner;
SELECT walwarden.authenticate('$machine');
SELECT walwarden.register_node('node', '1');
SELECT * FROM walwarden.claim_job('{backup}');
SELECT walwarden.report_job('$backup', 1, 'running'), walwarden.report_job('$backup', 1, 'finalizing'),
       walwarden.record_evidence('$backup', 1, ('{"manifest":{"artifact":{"checksumSha256":"' || repeat('0', 64) || '"}},"integrityVerification":{"result":"passed","checkedAt":"2026-11-20T12:00:00Z","tool":"x"},"recoverableTo":"2026-11-20T12:00:00Z"}')::jsonb),
       walwarden.report_job('$backup', 1, 'completed', jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64))));
COMMIT;});
	return $backup;
}
my $backup = backup();
# the drill's row gets into a slot before its backup's
$node->safe_psql('source', 'VACUUM walwarden_internal.job');
my $drill = $node->safe_psql('source', qq{SELECT request('$api', 'POST', '/restores', '{"databaseId":"$database","backupJobId":"$backup","kind":"drill","mode":"new_database","target":"x"}', 'the-key') ->> 'restoreJobId'});
is($node->safe_psql('source', qq{SELECT (SELECT ctid FROM walwarden_internal.job WHERE id = '$drill') < (SELECT ctid FROM walwarden_internal.job WHERE id = '$backup')}), 't', 'the drill stands before its backup');

for my $format ([ 'plain' ], [ 'inserts', '--inserts' ])
{
	my ($name, @options) = @$format;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	my ($out, $err) = run_command([ 'pg_dump', '-p', $node->port, '-h', $node->host, @options, '-f', $file, 'source' ]);
	is($err, '', "$name: pg_dump warns of nothing");
	$node->safe_psql('postgres', "CREATE DATABASE restored_$name");
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr("restored_$name"), '-f', $file ], "$name: restored");
	# the settings of roles are not in a dump
	is($node->safe_psql("restored_$name", q{SELECT walwarden.grant_runner('runner')}), 't', "$name: the grant is repeated");
	is($node->safe_psql("restored_$name", 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', "$name: the chain verifies");
	is($node->safe_psql("restored_$name", 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)'), 't', "$name: in SQL too");
	is($node->safe_psql("restored_$name", qq{SELECT request('$api', 'POST', '/restores', '{"databaseId":"$database","backupJobId":"$backup","kind":"drill","mode":"new_database","target":"x"}', 'the-key') ->> 'restoreJobId'}), $drill, "$name: a key answers again");
	is($node->safe_psql("restored_$name", qq{SELECT count(*) FROM walwarden_internal.job}), '2', "$name: and makes no second job");
	is($node->safe_psql("restored_$name", qq{SELECT count(*) FROM walwarden_internal.valid_evidence}), '1', "$name: evidence stands");
}

done_testing();
