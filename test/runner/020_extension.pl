# The runner and the extension itself: what REST v1 asks for becomes a verified backup, a
# restored database and a drill, and what the API then says is true.
use strict;
use warnings;
use EngineTest;
use ExtensionTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $json = JSON::PP->new->canonical->utf8;
my $control = extension();
node_token('node-1', "$base/token");
make_key('node-1');
mkdir "$base/keys";
system_or_bail('cp', "$base/node-1.pem", "$base/keys/node-1.pem");
write_config(control => $control, signing_key => "$base/node-1.key", trusted_keys => "$base/keys", allow_in_place => 'scratch', lease => 60);

sub once
{
	my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", '--once');
	return $err;
}
sub restores { my ($id) = @_; return request('GET', "/restores/$id"); }

my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", '--check');
is($status, 0, '--check finds nothing wrong') or diag("$out$err");

# what a control database says that does not take the node, and what may help
$cluster->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; CREATE DATABASE bare');
$cluster->safe_psql('postgres', 'CREATE DATABASE other');
$cluster->safe_psql('other', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.grant_runner('runner')});
authority(q{SELECT walwarden.create_org('other')});
token_file("$base/api_token", authority(q{SELECT token FROM walwarden.issue_token('other', 'api', ARRAY['databases:read'])}));
for (
	[ 'a role without grant_runner()', $control =~ s/user=runner/user=stranger/r, 'token',
		qr/cannot register as node node-1: permission denied for register_node \(42501\)[.] Ask a superuser to authorise this role with walwarden[.]grant_runner\(\)[.]/ ],
	[ 'a database without the extension', $control =~ s/dbname=authority/dbname=bare/r, 'token',
		qr/cannot register as node node-1: schema "walwarden" does not exist \(3F000\)[.] In control, name the database in which walwarden is installed[.]/ ],
	[ 'another database with the extension', $control =~ s/dbname=authority/dbname=other/r, 'token',
		qr/the token is not accepted: invalid or inactive token \(28000\)[.] Was it issued in the database that control names[?] Check that the whole token was sent[.] .*/ ],
	[ 'a token of another kind', $control, 'api_token',
		qr/cannot register as node node-1: the token is not a node token \(42501\)[.] Use a token of kind node, .*/ ])
{
	my ($what, $wrong, $file, $line) = @$_;
	($status, $out) = run_runner('--config', write_config(control => $wrong, token_file => "$base/$file", signing_key => "$base/node-1.key"), '--check');
	is($status, 1, "$what: --check fails");
	like($out, qr/^FAIL control: $line$/m, "$what: and says what may help");
	unlike($out, qr/wal_[0-9a-f]{64}/, "$what: without the token");
}
write_config(control => $control, signing_key => "$base/node-1.key", trusted_keys => "$base/keys", allow_in_place => 'scratch', lease => 60);

my $destination = request('POST', '/destinations', { name => 'local', provider => 'local', uri => "file://$base/destination" });
my $database = request('POST', '/databases', { name => 'orders', connectionRef => 'orders', destinationId => $destination->{id}, objectives => { rtoSeconds => 3600 } });
my $backup = request('POST', "/databases/$database->{id}/backups")->{backupJobId};
my $log = once();
my $job = request('GET', "/backups/$backup");
is($job->{state}, 'completed', 'a backup is completed') or diag($log);
my ($artifact) = glob "$base/destination/$job->{artifact}{name}";
is($job->{artifact}{checksumSha256}, sha256_file($artifact), 'its artifact is at the destination');
is(request('GET', "/destinations/$destination->{id}")->{state}, 'verified', 'which works');
my $evidence = request('GET', "/evidence/$backup");
is($evidence->{state}, 'verified', 'with evidence');
is($evidence->{manifest}{artifact}{checksumSha256}, $job->{artifact}{checksumSha256}, 'about the artifact');
my ($public) = authority(q{SELECT public_key FROM walwarden.list_nodes('acme')});
is($evidence->{publicKey}, $public, 'signed with the key of the node');
my $summary = request('GET', "/databases/$database->{id}/recovery/summary");
is($summary->{verdict}, 'proven', 'recovery is proven');
my $window = $summary->{windows}[0]{windowId};
is($summary->{windows}[0]{from}, $summary->{windows}[0]{to}, 'for a point in time');

# a drill
my $drill = request('POST', '/restores', { databaseId => $database->{id}, backupJobId => $backup, kind => 'drill', mode => 'new_database', target => 'scratch' })->{restoreJobId};
$log = once();
is(restores($drill)->{state}, 'completed', 'a drill') or diag($log . $json->encode(restores($drill)));
is(restores($drill)->{validation}{result}, 'passed', 'passes');
ok(defined restores($drill)->{validation}{measured}{restoreSeconds}, 'and says how long it took');
my $proof = request('GET', "/recovery/windows/$window/proof");
is($proof->{basis}[0]{lastRestore}{restoreJobId}, $drill, 'the proof names it');
unlike($json->encode($proof->{notClaimed}), qr/no restore or drill/, 'and claims it');

# a restore
my $restore = request('POST', '/restores', { databaseId => $database->{id}, backupJobId => $backup, kind => 'restore', mode => 'new_database', target => 'scratch/restored' })->{restoreJobId};
$log = once();
is(restores($restore)->{state}, 'completed', 'a restore') or diag($log . $json->encode(restores($restore)));
is($cluster->safe_psql('restored', 'SELECT count(*) FROM item'), 100, 'the rows are there');

# a damaged artifact
my $mend = corrupt($artifact);
my $second = request('POST', '/restores', { databaseId => $database->{id}, backupJobId => $backup, kind => 'drill', mode => 'new_database', target => 'scratch' })->{restoreJobId};
$log = once();
is(restores($second)->{state}, 'failed', 'a drill of a damaged backup fails') or diag($log);
is(restores($second)->{error}{blames}, 'backup', 'because of the backup');
is(request('GET', "/recovery/windows/$window/proof")->{verdict}, 'refuted', 'which is refuted');
is(request('GET', "/databases/$database->{id}/recovery/candidate")->{candidate}, undef, 'and no candidate');
$mend->();

# a schedule queues a backup that a poll then does
authority("SELECT pg_sleep(0)");
request('POST', '/restores', { databaseId => $database->{id}, backupJobId => $backup, kind => 'drill', mode => 'new_database', target => 'scratch' });
$log = once();
is(request('GET', "/databases/$database->{id}/recovery/summary")->{verdict}, 'proven', 'a passing drill proves it again') or diag($log);
authority("UPDATE walwarden_internal.database SET schedule = '0 3 * * *', next_run_at = clock_timestamp() - interval '1 hour' WHERE id = '$database->{id}'");
$log = once();
my ($scheduled) = grep { $_->{trigger} eq 'schedule' } @{ request('GET', "/databases/$database->{id}/backups")->{backups} };
is($scheduled->{state}, 'completed', 'a scheduled backup') or diag($log);

# an expiry
authority("UPDATE walwarden_internal.job SET finished_at = finished_at - interval '20 days' WHERE id = '$backup'; UPDATE walwarden_internal.database SET schedule = NULL, next_run_at = NULL, retention_days = 10; SELECT walwarden.run_maintenance()");
$log = once();
is(request('GET', "/backups/$backup")->{state}, 'expired', 'a backup expires') or diag($log);
ok(!-e $artifact, 'and its artifact is gone');

is(authority('SELECT count(*) FROM walwarden.verify_audit_chain() WHERE NOT ok AND reason NOT LIKE \'%database%\''), 0, 'the chains say all of it');
is_deeply([ scratch() ], [], 'no scratch is left');
done_testing();
