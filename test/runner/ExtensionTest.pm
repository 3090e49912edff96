# What the tests share that have the extension itself as control database: the database
# authority, with an organisation acme, a role for runners, and REST v1 as SQL.
package ExtensionTest;
use strict;
use warnings;
use ChainTest;
use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;

our @EXPORT = qw(extension authority node_token request requests pauses org_id chain_size checkpoint await_checkpoint);

my $json = JSON::PP->new->canonical->utf8;
my ($api, $report_job);

# Beside the databases of cluster(). Returns the connection string for runners.
sub extension
{
	$RunnerTest::cluster->safe_psql('postgres', 'CREATE DATABASE authority');
	authority(q{CREATE EXTENSION walwarden CASCADE; CREATE ROLE runner LOGIN; SELECT walwarden.grant_runner('runner'); SELECT walwarden.create_org('acme')});
	$api = authority(q{SELECT token FROM walwarden.issue_token('acme', 'api', ARRAY(SELECT name FROM walwarden.list_scopes()))});
	return sprintf 'host=%s port=%d dbname=authority user=runner', $RunnerTest::cluster->host, $RunnerTest::cluster->port;
}

sub authority { my ($query) = @_; return $RunnerTest::cluster->safe_psql('authority', $query); }

# A token for a node, in a file.
sub node_token
{
	my ($node, $path) = @_;
	token_file($path, authority("SELECT token FROM walwarden.issue_token('acme', '$node', kind => 'node')"));
	return;
}

# Requests of REST v1 in the database, each of them [method, path, body]. Returns what they
# answer; dies unless all succeed.
my $key = 0;
sub requests
{
	my (@requests) = @_;
	my $script = '';
	for (@requests)
	{
		my ($method, $path, $body) = @$_;
		my $headers = $json->encode({ 'x-walwarden-token' => $api, 'x-walwarden-method' => $method, 'x-walwarden-path' => "/api/v1$path",
			'x-walwarden-content-type' => 'application/json', 'idempotency-key' => 'k' . ++$key });
		my $call = $method eq 'GET' ? 'walwarden_rest.v1_get()' : sprintf q{walwarden_rest.v1_post(convert_to('%s', 'UTF8'))}, $json->encode($body // {});
		$script .= qq{
			BEGIN; SELECT set_config('request.headers', '$headers', true) \\g /dev/null
			SELECT $call AS answer \\gset
			SELECT current_setting('response.status'); SELECT regexp_replace(:'answer', '\\n', ' ', 'g'); COMMIT;};
	}
	my @lines = split /\n/, authority($script);
	return map {
		my ($status, $answer) = splice @lines, 0, 2;
		die "$_->[0] $_->[1]: $status $answer" if $status >= 400;
		$json->decode($answer);
	} @requests;
}
sub request { return (requests([@_]))[0]; }

# Sets for how many seconds a job waits that is tried again, or the usual times. What the
# function says is verified with the chain: set the usual ones before that.
sub pauses
{
	my ($seconds) = @_;
	$report_job //= authority(q{SELECT pg_get_functiondef('walwarden_internal.report_job(uuid, bigint, text, jsonb)'::regprocedure)});
	authority(defined $seconds ? $report_job =~ s/pauses CONSTANT integer\[\] := '\K[^']*/{$seconds}/r : $report_job);
	return;
}

# The chain of acme: whose it is, how many entries it has, and the newest checkpoint of it.
sub org_id { return authority(q{SELECT id FROM walwarden_internal.org WHERE slug = 'acme'}); }
sub chain_size { return authority(q{SELECT max(seq) FROM walwarden_internal.audit_entry WHERE org_id = '} . org_id() . q{'}); }
sub checkpoint { return authority('SELECT note FROM walwarden_internal.checkpoint'); }

# The runner, which is started, has followed the chain to its end and signed what it read.
sub await_checkpoint
{
	my ($what) = @_;
	return wait_for(sub { authority("SELECT size FROM walwarden_internal.checkpoint AS c WHERE size = (SELECT max(seq) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = c.org_id)") eq known('size') }, $what);
}

1;
