# pg_dump and restore: everything is kept, nothing is hashed again, tokens
# authenticate, what was altered does not load.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "timezone = 'UTC'");
$node->start;

sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }

# Every row of every table, in one digest.
sub contents
{
	my ($db) = @_;
	return join("\n", map {
		"$_ " . sql($db, "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM walwarden_internal.$_ AS t")
	} qw(scope role_override role_grant org member token credential token_usage node audit_entry));
}

sub verdict
{
	my ($db) = @_;
	return sql($db, q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain()}) . ' / '
	  . sql($db, q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain_sql(NULL)});
}

# Load a dump into a new database; the exit code and messages of psql.
my $loads = 0;
sub load
{
	my ($dump) = @_;
	my $db = 'loaded' . ++$loads;
	my $file = $node->basedir . "/$db.sql";
	unlink $file;
	append_to_file($file, $dump);
	sql('postgres', "CREATE DATABASE $db");
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', $file ], '>', \$out, '2>', \$err);
	return ($db, $ok, $err);
}

sql('postgres', q{CREATE ROLE ann; CREATE ROLE op; CREATE ROLE web; CREATE ROLE authn LOGIN; CREATE ROLE monitor; CREATE DATABASE src});
# pgcrypto in a schema of its own, walwarden does not mind
sql('src', q{CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto; CREATE EXTENSION walwarden});
sql('src', q{
	SELECT walwarden.create_org('acme', 'Acme é \ Ltd'), walwarden.create_org('zebra'), walwarden.create_org('poor', plan => 'free');
	SELECT walwarden.add_member('acme', 'ann', 'owner', 'ann'), walwarden.add_member('acme', 'bob', 'member'), walwarden.add_member('acme', 'gone', 'admin'), walwarden.add_member('acme', 'forgotten', 'member', 'op');
	SELECT walwarden.remove_member('acme', 'gone'), walwarden.remove_member('acme', 'forgotten'), walwarden.erase_member('acme', 'forgotten'), walwarden.disable_member('acme', 'bob'), walwarden.enable_member('acme', 'bob');
	SELECT walwarden.create_scope('invoices:read', 'Invoices', 'Read invoices.');
	SELECT walwarden.set_role_scopes('read_only', ARRAY['invoices:read']), walwarden.set_role_scopes('analyst', '{}'), walwarden.set_role_scopes('analyst', NULL);
	SELECT walwarden.grant_operator('op'), walwarden.trust_authenticator('authn'), walwarden.grant_rest('web', 'authn'), walwarden.grant_runner('web'), walwarden.revoke_runner('web'), walwarden.grant_monitor('monitor');
	SELECT walwarden.append_audit('app.x', to_jsonb(i), NULL, CASE i % 2 WHEN 0 THEN 'acme' ELSE 'zebra' END) FROM generate_series(1, 200) AS i;
	SELECT walwarden.append_audit('app.text', to_jsonb(E'tab\ttab newline\n backslash \\ quote " é € 😀'::text), gen_random_uuid(), 'acme');
});
my $token = sql('src', q{SELECT token FROM walwarden.issue_token('acme', 'kept', ARRAY['databases:read', 'invoices:read'])});
my $private = sql('src', q{SELECT token FROM walwarden.issue_token('acme', 'private', ARRAY['databases:read'], 'infinity', 'bob')});
my $revoked = sql('src', q{SELECT token FROM walwarden.issue_token('zebra', 'revoked')});
sql('src', q{SELECT walwarden.revoke_token(token_id, 'x') FROM walwarden.list_tokens('zebra')});
sql('src', "SELECT walwarden.authenticate('$token')");
# a token in each state that is stored, two values in their overlap, a pair, a node
my $renewed = sql('src', q{SELECT token FROM walwarden.renew_token((SELECT token_id FROM walwarden.list_tokens('acme') WHERE name = 'kept'), '7 days')});
sql('src', q{
	SELECT walwarden.disable_token(token_id, 'x') FROM walwarden.issue_token('acme', 'disabled', expires_at => 'infinity');
	SELECT walwarden.import_legacy_credential('acme', 'bob', '0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b', repeat('x', 32));
	SELECT walwarden.disable_token(token_id), walwarden.set_org_retention('zebra', '0'), walwarden.run_maintenance() FROM walwarden.issue_token('zebra', 'removed');
});
my $node_token = sql('src', q{SELECT token FROM walwarden.issue_token('acme', 'node', kind => 'node')});
sql('src', qq{SELECT walwarden.grant_runner('op'); BEGIN; SET LOCAL ROLE op; SELECT walwarden.authenticate('$node_token'), walwarden.register_node('n', '1', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='); COMMIT; SELECT walwarden.revoke_runner('op')});
# what a node has published, which the chain does not describe
sql('src', q{INSERT INTO walwarden_internal.checkpoint SELECT id, org_id, 1, sha256('x'), 'a note', public_key, now() FROM walwarden_internal.node});
# somebody signed in, and a link that nobody has used
my ($used, $unused) = map { sql('src', q{SELECT walwarden.sign_in_link('ann')}) } 1, 2;
isnt(sql('src', "SELECT walwarden_internal.sign_in(sha256('$used'), sha256('cookie'))"), '', 'a session');
is(verdict('src'), 'ok / ok', 'the source verifies');

my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('src') ]);
like($dump, qr/COPY walwarden_internal\.audit_entry/, 'the dump has entries');
unlike($dump, qr/COPY walwarden_internal\.(role|plan|permission|capability) /, 'and no built-in catalogue');
unlike($dump, qr/wal_[0-9a-f]{8}/, 'and no token');
like($dump, qr/\tgone\t/, 'and who was removed');
unlike($dump, qr/forgotten/, 'but nobody who was erased');
unlike($dump, qr/COPY walwarden_internal\.(session|sign_in_code) /, 'and no session and no sign-in code');
like($dump, qr/session\.started/, 'though the entry that one began');

my $settings = q{SELECT walwarden.grant_rest('web', 'authn')};

# as it is
my ($db, $ok, $err) = load($dump);
ok($ok, 'the dump loads') or diag($err);
is(contents($db), contents('src'), 'every row is the same');
like(verdict($db), qr/^setting \S+ of role "authn" is not \S+ in this database \/ setting /, 'a dump does not contain the settings of grant_rest()');
is(sql($db, $settings), 't', 'which makes them again');
is(verdict($db), 'ok / ok', 'the chains verify');
is(sql($db, "SELECT walwarden.authorize('$token', 'invoices:read') IS NOT NULL"), 't', 'a token authenticates there');
is(sql($db, "SELECT walwarden.authorize('$renewed', 'invoices:read') IS NOT NULL"), 't', 'its renewed value too');
is(sql($db, "SET ROLE web; SET request.headers = '{\"x-wallarmapi-uuid\": \"0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b\", \"x-wallarmapi-secret\": \"" . 'x' x 32 . "\"}'; BEGIN; SELECT walwarden.pre_request(); SELECT walwarden.current_subject(); COMMIT"), "\nbob", 'and a pair');
is(sql($db, "BEGIN; SELECT walwarden.authenticate('$private') IS NOT NULL; SELECT walwarden.current_subject(); COMMIT"), "t\nbob", 'a private one too');
isnt($node->psql($db, "SELECT walwarden.authenticate('$revoked')"), 0, 'a revoked one does not');
my $head = sql('src', q{SELECT entries || ',' || quote_literal(head_hash) FROM walwarden.verify_audit_chain('acme')});
is(sql($db, "SELECT ok FROM walwarden.verify_audit_chain('acme', $head)"), 't', 'the head is the source\'s');
is(sql($db, q{SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme') = (SELECT max(seq) + 1 FROM walwarden.list_audit('acme', 0, 1000))}), 't', 'and goes on from there');
is(verdict($db), 'ok / ok', 'still verifies');
is(sql($db, q{SELECT has_schema_privilege('web', 'walwarden_rest', 'usage')}), 't', 'grant_rest is kept');
is(sql($db, q{SET ROLE op; SELECT count(*) FROM walwarden.list_orgs()}), '3', 'the operator is one there');
is(sql($db, q{SET ROLE op; SELECT count(*) FROM walwarden.stat_auth}), '0', 'who may read the statistics');
is(sql($db, q{SET ROLE monitor; SELECT count(*) FROM walwarden.stat_auth}), '0', 'as may the monitor');
is(sql($db, q{SELECT string_agg(format('%s %s', kind, role), ', ') FROM walwarden.list_grants() WHERE agrees}), 'authenticator authn, monitor monitor, operator op, rest web', 'every grant holds there');
isnt($node->psql($db, q{SELECT walwarden.create_scope('invoices:read', 'x', 'y')}), 0, 'the custom scope is there');

# pgcrypto moves, walwarden does not mind
sql($db, q{CREATE SCHEMA elsewhere; ALTER EXTENSION pgcrypto SET SCHEMA elsewhere});
is(verdict($db), 'ok / ok', 'pgcrypto may move');

# rows in any order
(my $reversed = $dump) =~ s{(COPY walwarden_internal\.audit_entry [^\n]*\n)(.*?)(\n\\\.\n)}{$1 . join("\n", reverse split /\n/, $2) . $3}se;
($db, $ok, $err) = load($reversed);
ok($ok, 'rows in reverse order load') or diag($err);
is(contents($db), contents('src'), 'as the same rows');
sql($db, $settings);
is(verdict($db), 'ok / ok', 'and verify');

# altered: one byte of a body, one column beside it, one hash
for my $case (
	[ 'a byte of a body', sub { $_[0] =~ s/"data":17,/"data":18,/ } ],
	[ 'the column kind alone', sub { $_[0] =~ s/\tapp\.text\t/\tapp.texs\t/ } ],
	[ 'the column at alone', sub { $_[0] =~ s/(:\d\d)(\.\d+)?(\+00\tapp\.text\t)/$1.000001$3/ } ],
	[ 'a seq', sub { $_[0] =~ s/^([0-9a-f-]{36}\t)17(\t)/${1}9999$2/m } ],
	[ 'a hash', sub { $_[0] =~ s/(\\\\x[0-9a-f]{63})[0-9a-e]$/${1}f/m } ],
	[ 'the org of an entry', sub { $_[0] =~ s/^[0-9a-f-]{36}(\t17\t)/00000000-0000-0000-0000-000000000001$1/m } ])
{
	my ($what, $alter) = @$case;
	my $altered = $dump;
	ok($alter->($altered) && $altered ne $dump, "altered: $what");
	($db, $ok, $err) = load($altered);
	ok(!$ok, "does not load: $what");
	like($err, qr/audit_entry_is_valid/, "and says why: $what");
}

# a whole entry left out, or a state row: loads, and is found
(my $gap = $dump) =~ s/^[^\n]*\tapp\.text\t[^\n]*\n//m;
($db, $ok) = load($gap);
ok($ok, 'a dump without one entry loads');
like(sql($db, q{SELECT string_agg(reason, '; ') FROM walwarden.verify_audit_chain('acme')}), qr/entry is missing/, 'and verification names the gap');

# where a server role is missing
sql('postgres', q{DROP DATABASE } . $_) for map { "loaded$_" } 1 .. $loads;
$loads = 0;
sql('src', q{SELECT walwarden.revoke_rest('web')});
($dump) = run_command([ 'pg_dump', '-d', $node->connstr('src') ]);
my $before = contents('src');
sql('postgres', 'DROP ROLE ann; DROP ROLE monitor');
($db, $ok, $err) = load($dump);
ok($ok, 'loads where the roles of a member and of a monitor do not exist') or diag($err);
is(sql($db, q{SELECT role || ': ' || problem FROM walwarden.list_grants() WHERE NOT agrees}), 'monitor: role "monitor" does not exist in this server', 'which the list of grants says');
is(contents($db), $before, 'with all rows');
sql('postgres', 'CREATE ROLE ann');

# an older dump: who was erased since is there again, and the newer chain tells who
sql('src', q{SELECT walwarden.erase_member('acme', 'gone')});
my $erased = sql('src', q{SELECT string_agg(quote_literal(body::jsonb #>> '{payload,object,id}'), ', ') FROM walwarden_internal.audit_entry WHERE kind = 'member.erased'});
my $people = sql('src', q{SELECT string_agg(person, ' ' ORDER BY id) FROM walwarden_internal.member});
($db, $ok) = load($dump);
is(sql($db, "SELECT string_agg(subject, ' ') FROM walwarden_internal.member WHERE id IN ($erased) AND erased_at IS NULL"), 'gone', 'an older dump brings back who was erased since');
ok(sql($db, q{SELECT walwarden.erase_member('acme', 'gone')}), 'who is erased again');
is(sql($db, q{SELECT string_agg(person, ' ' ORDER BY id) FROM walwarden_internal.member}), $people, 'all are who they were');
is(verdict($db), 'ok / ok', 'and the chains verify');
$before = contents('src');

# custom format; then data only, with triggers disabled
my $file = $node->basedir . '/custom.dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('src') ], 'pg_dump -Fc');
sql('postgres', 'CREATE DATABASE custom');
command_ok([ 'pg_restore', '-d', $node->connstr('custom'), $file ], 'pg_restore');
is(contents('custom'), $before, 'the same rows');
is(verdict('custom'), 'ok / ok', 'which verify');
sql('postgres', 'CREATE DATABASE dataonly');
sql('dataonly', q{CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto; CREATE EXTENSION walwarden});
command_ok([ 'pg_restore', '--data-only', '--disable-triggers', '-d', $node->connstr('dataonly'), $file ], 'pg_restore --data-only --disable-triggers');
is(contents('dataonly'), $before, 'the same rows');
like(verdict('dataonly'), qr/^trigger append on walwarden_internal\.audit_entry is missing, altered or not ENABLE ALWAYS \/ trigger append/, 'verification reports that the triggers were left weak');
is(sql('dataonly', q{SELECT walwarden.run_maintenance()}), 't', 'maintenance makes them what they were');
is(verdict('dataonly'), 'ok / ok', 'and all verifies');

$node->stop;
done_testing();
