# A hot standby authenticates, lists and verifies what was replayed, refuses to
# change anything, and goes on after a promotion: every token as it was, sessions that
# were there too, and changes again.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')});
my ($id, $token) = split / /, $primary->safe_psql('postgres', q{SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 't', ARRAY['databases:read'])});
my $kept = $primary->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'kept', (SELECT array_agg(name) FROM walwarden_internal.scope))});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay');

is($standby->safe_psql('postgres', "SELECT walwarden.authorize('$token', 'databases:read')"), $id, 'authenticates on the standby');
is($standby->safe_psql('postgres', "SELECT walwarden.introspect_token('$token') ->> 'state'"), 'active', 'introspects');
is($standby->safe_psql('postgres', q{SELECT name, last_used_at IS NULL FROM walwarden.list_tokens('acme') WHERE name = 't'}), 't|t', 'lists, and notes no use');
# a node follows the chain, and publishes nothing
my $machine = $primary->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'node', kind => 'node')});
$primary->safe_psql('postgres', q{CREATE ROLE runner; SELECT walwarden.grant_runner('runner')});
my $as_node = "SET ROLE runner; BEGIN; SELECT walwarden.authenticate('$machine') \\g /dev/null\n";
$primary->safe_psql('postgres', "$as_node SELECT walwarden.register_node('node-1', '1', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='); COMMIT");
$primary->wait_for_catchup($standby, 'replay');
my $hashes = "$as_node SELECT * FROM walwarden.chain_hashes(0, 100)";
is($standby->safe_psql('postgres', $hashes), $primary->safe_psql('postgres', $hashes), 'a node reads the hashes');
my (undef, undef, $published) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$as_node SELECT walwarden.publish_checkpoint('x')");
like($published, qr/ERROR:\s+25006/, 'and publishes no checkpoint');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'verifies');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'in SQL too');
my ($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT walwarden.revoke_token('$id')");
like($err, qr/ERROR:\s+25006/, 'changes nothing');
($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT walwarden.append_audit('app.x', '{}', NULL, 'acme')");
like($err, qr/ERROR:\s+25006/, 'appends nothing');

# REST v1, as PostgREST asks
sub request { my ($method, $path, $call, $key) = @_; return qq{SELECT set_config('request.headers', '{"x-walwarden-token":"$kept","x-walwarden-method":"$method","x-walwarden-path":"/api/v1$path","x-walwarden-content-type":"application/json","idempotency-key":"$key"}', false) \\g /dev/null\nSELECT $call}; }
sub create { my ($name) = @_; return request('POST', '/destinations', qq{walwarden_rest.v1_post(convert_to('{"name":"$name","provider":"local","uri":"file:///srv"}', 'UTF8'))}, $name); }
my $destination = $primary->safe_psql('postgres', create('first') . q{ ->> 'id'});

# one session lives through it all, and remembers tokens
my $session = $standby->background_psql('postgres', on_error_stop => 0);
my $accepted = "SELECT walwarden.authorize('$token', 'databases:read') IS NOT NULL";
is($session->query($accepted), 't', 'a session on the standby authenticates') for 1 .. 2;

$primary->safe_psql('postgres', "SELECT walwarden.revoke_token('$id')");
$primary->wait_for_catchup($standby, 'replay');
isnt($standby->psql('postgres', "SELECT walwarden.authenticate('$token')"), 0, 'a revoke is in force once it is replayed');
is($session->query($accepted), '', 'in a session that has seen the token before, too');
is($standby->safe_psql('postgres', request('GET', "/destinations/$destination", q{walwarden_rest.v1_get() ->> 'id'}, '')), $destination, 'REST v1 answers what is asked for');
is($standby->safe_psql('postgres', create('second') . q{ -> 'error' ->> 'code'}), 'unavailable', 'and refuses to change anything');
my $head = $primary->safe_psql('postgres', q{SELECT entries || ',' || quote_literal(head_hash) FROM walwarden.verify_audit_chain('acme')});

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', "SELECT ok FROM walwarden.verify_audit_chain('acme', $head)"), 't', 'after promotion the head is the same');
is($session->query($accepted), '', 'what was revoked stays so');
is($session->query("SELECT walwarden.authorize('$kept', 'databases:read') IS NOT NULL"), 't', 'other tokens work');
is($session->query(q{SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme')}), $head =~ s/,.*//r + 1, 'and the chain goes on, in the session that was there');
$session->quit;
is($standby->safe_psql('postgres', create('first') . q{ ->> 'id'}), $destination, 'REST v1 gives the answer that the primary gave, under its key');
my ($new, $new_token) = split / /, $standby->safe_psql('postgres', q{SELECT token_id || ' ' || token FROM walwarden.issue_token('acme', 'new')});
is($standby->safe_psql('postgres', "SELECT walwarden.authenticate('$new_token')"), $new, 'a token is issued and works');
is($standby->safe_psql('postgres', "SELECT walwarden.revoke_token('$new')"), 't', 'and is revoked');
isnt($standby->psql('postgres', "SELECT walwarden.authenticate('$new_token')"), 0, 'and refused');
is($standby->safe_psql('postgres', q{SELECT last_used_at IS NOT NULL FROM walwarden.list_tokens('acme') WHERE name = 'kept'}), 't', 'uses are noted again');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'and verifies');
is($standby->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'in SQL too');
$standby->stop;
done_testing();
