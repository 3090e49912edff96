# The plaintext of a token is nowhere on the server: not in the data directory,
# the WAL, the log or a dump, with everything logged that can be. And what a plan of the
# extension's own statements would contain is in no log, and with no client.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use File::Find;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = all
log_min_messages = debug5
log_min_error_statement = debug5
log_error_verbosity = verbose
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
debug_print_parse = on
debug_print_rewritten = on
debug_print_plan = on
log_executor_stats = on
track_activities = on
track_activity_query_size = 16kB
track_functions = all
wal_level = logical
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_verbose = on
auto_explain.log_analyze = on
CONF
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme');
	SELECT walwarden.add_member('acme', 'bob', 'member');
});

# issued one at a time, many in a statement, for a member, inside a function,
# in a transaction that rolls back, through a cursor
my @tokens = split /\n/, $node->safe_psql('postgres', q{
	SELECT token FROM walwarden.issue_token('acme', 'one', ARRAY['databases:read']);
	SELECT (walwarden.issue_token('acme', 'many ' || i)).token FROM generate_series(1, 100) AS i;
	SELECT token FROM walwarden.issue_token('acme', 'private', ARRAY['databases:read'], owner => 'bob');
	CREATE FUNCTION wrapped() RETURNS text LANGUAGE plpgsql AS $$DECLARE r record; BEGIN SELECT * INTO r FROM walwarden.issue_token('acme', 'wrapped'); RETURN r.token; END$$;
	SELECT wrapped();
	SELECT token FROM walwarden.renew_token((SELECT token_id FROM walwarden.token_list WHERE name = 'one'), '1 day');
	BEGIN;
	SELECT token FROM walwarden.issue_token('acme', 'undone');
	ROLLBACK;
	BEGIN;
	DECLARE c CURSOR FOR SELECT token FROM walwarden.issue_token('acme', 'cursor');
	FETCH ALL FROM c;
	COMMIT;
});
@tokens = grep { /^wal_[0-9a-f]{64}$/ } @tokens;
is(scalar @tokens, 106, '105 tokens issued, one renewed');

# The plans that are printed are those of the clients' statements. A plan prints a
# constant as the numbers of its bytes: no statement here contains a salt, a fingerprint
# or the id of the organisation.
sub bytes_of { my ($hex) = @_; return join ' ', unpack 'c*', pack 'H*', $hex; }
my @inner = map { bytes_of($_) } split /\n/, $node->safe_psql('postgres', q{
	SELECT encode(salt, 'hex') FROM walwarden_internal.member WHERE salt IS NOT NULL
	UNION ALL SELECT encode(fingerprint, 'hex') FROM walwarden_internal.credential
	UNION ALL SELECT replace(id::text, '-', '') FROM walwarden_internal.org});
cmp_ok(scalar @inner, '>', 100, 'salts, fingerprints and an id');
sub printed { my ($text) = @_; return scalar grep { index($text, $_) >= 0 } @inner; }
my $printed = slurp_file($node->logfile);
like($printed, qr/\{PLANNEDSTMT/, 'plans are in the log');
is(printed($printed), 0, 'without what is in the tables');
is(printed('LOG:  plan: :constvalue 36 [ -112 0 0 0 ' . $inner[0] . ' ]'), 1, 'which would be found');

# nor does a client get any, whoever it is
$node->safe_psql('postgres', q{CREATE ROLE nobody LOGIN; CREATE ROLE adm LOGIN; SELECT walwarden.add_member('acme', 'the admin', 'admin', 'adm')});
my $settings = join '', map { "SET $_;\n" } 'debug_pretty_print = off', 'client_min_messages = log', 'plan_cache_mode = force_custom_plan',
  map { "debug_print_$_ = on" } qw(parse rewritten plan), $node->pg_version >= 19 ? 'raw_parse' : ();
foreach my $case (
	[ 'nobody', q{SELECT * FROM walwarden.list_members('acme')}, 1 ],
	[ 'nobody', q{SELECT walwarden.revoke_token(gen_random_uuid())}, 1 ],
	[ 'adm', q{SELECT walwarden.set_member_role('acme', 'bob', 'read_only')} ],
	[ 'adm', q{SELECT token_id FROM walwarden.issue_token('acme', 'printed', '{databases:read}')} ],
	[ 'adm', q{SELECT count(*) FROM walwarden.token_list} ],
	[ 'adm', q{SELECT count(*) FROM walwarden.list_audit('acme')} ],
	[ 'postgres', q{SELECT walwarden.authenticate(token) FROM walwarden.issue_token('acme', 'used at once')} ],
	[ 'postgres', 'SELECT walwarden.run_maintenance()' ],
	[ 'postgres', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()' ])
{
	my ($role, $statement, $fails) = @$case;
	my ($ret, $out, $err) = $node->psql('postgres', "$settings$statement", extra_params => [ '-U', $role ]);
	is($ret == 0, !$fails, "$role: $statement");
	my $plans = () = $err =~ /\{PLANNEDSTMT/g;
	is($plans, 1, 'one plan is printed: of the statement');
	is(printed($err), 0, 'and nothing of the tables');
}
# the settings apply again afterwards, also after an error
my ($result, $plan, $notices) = $node->psql('postgres', "$settings SELECT walwarden.revoke_token(gen_random_uuid());\nSELECT walwarden.list_members('nope');\nSELECT 1", on_error_stop => 0);
my $plans = () = $notices =~ /\{PLANNEDSTMT/g;
is($plans, 3, 'afterwards plans are printed again');

# used: as parameters of the extended protocol, good and bad. A custom plan
# holds parameters as constants, so what prints plans prints them: off from here.
$node->append_conf('postgresql.conf', "debug_print_parse = off\ndebug_print_rewritten = off\ndebug_print_plan = off\nsession_preload_libraries = ''\n");
$node->restart;
my $bad = 'wal_' . join('', map { sprintf '%x', int rand 16 } 1 .. 64);
my $uses = 0;
for my $case ([ $tokens[0], 'authenticate(:t)', 1 ], [ $tokens[0], 'introspect_token(:t)', 1 ], [ $tokens[0], 'authorize(:t, :held)', 1 ],
	[ $tokens[0], 'authorize(:t, :missing)', 0 ], [ $tokens[0], 'authorize(:t, :missing || 1)', 0 ],
	[ $bad, 'authenticate(:t)', 0 ], [ $bad, 'authorize(:t, :t)', 0 ])
{
	my ($token, $call, $good) = @$case;
	for my $method (qw(extended prepared))
	{
		my $file = $node->basedir . '/use' . ++$uses . '.sql';
		append_to_file($file, "SELECT walwarden.$call;\n");
		my $bench = [ 'pgbench', '-n', '-t', 1, '-M', $method, '-D', "t=$token", '-D', 'held=databases:read', '-D', 'missing=audit:read', '-f', $file, $node->connstr('postgres') ];
		if ($good) { command_ok($bench, "$call works, $method") } else { command_fails($bench, "$call fails, $method") }
	}
}
$node->safe_psql('postgres', 'CHECKPOINT; SELECT pg_switch_wal()');

# a good or bad token as a literal: errors of authenticate and authorize hide
# the statement, and the context of a function around them
$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = warning\nlog_min_error_statement = error\nlog_executor_stats = off\n");
$node->restart;
$node->safe_psql('postgres', q{CREATE FUNCTION login(t text) RETURNS uuid LANGUAGE plpgsql AS $$BEGIN RETURN walwarden.authenticate(t); END$$});
my $from = -s $node->logfile;
my ($ret, $out, $err) = $node->psql('postgres', "SELECT walwarden.authenticate('$bad')");
isnt($ret, 0, 'a bad literal');
unlike($err, qr/CONTEXT/, 'the client gets no context');
$node->psql('postgres', "DO \$\$BEGIN PERFORM walwarden.authenticate('$bad'); END\$\$");
($ret, $out, $err) = $node->psql('postgres', "DO \$\$BEGIN EXECUTE 'SELECT walwarden.authenticate(''$bad'')'; END\$\$");
unlike($err, qr/CONTEXT|$bad/, 'nor from inside a function, where it would quote the statement');
($ret, $out, $err) = $node->psql('postgres', "DO \$\$BEGIN EXECUTE 'SELECT walwarden.authorize(''$tokens[0]'', ''audit:read'')'; END\$\$");
unlike($err, qr/CONTEXT|$tokens[0]/, 'nor where the scope is not held');
$node->psql('postgres', "SELECT login('$bad')");
$node->psql('postgres', "SELECT walwarden.authorize('$tokens[0]', 'audit:read')");
$node->psql('postgres', "DO \$\$BEGIN PERFORM walwarden.authorize('$tokens[0]', 'nope'); END\$\$");
# a secret of a pair: imported, refused for its length, imported again, cancelled
my $secret = join '', map { sprintf '%x', int rand 16 } 1 .. 40;
my $pair = "'acme', 'bob', '0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b'";
my $value = $node->safe_psql('postgres', "SELECT token FROM walwarden.import_legacy_credential($pair, '$secret')");
like($value, qr/^wal_/, 'a pair is imported');
($ret, $out, $err) = $node->psql('postgres', "SELECT walwarden.import_legacy_credential($pair, substr('$secret', 1, 31))");
like($err, qr/fewer than 32 characters/, 'a short secret is refused');
$node->psql('postgres', "DO \$\$BEGIN PERFORM walwarden.import_legacy_credential($pair, '$secret'); END\$\$");
$node->psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT walwarden.import_legacy_credential($pair, '$secret')");
$node->psql('postgres', "SELECT walwarden.issue_token('acme', '$bad')");
# a report of a token and of a pair: a bad source, a read-only transaction, a lock
my $leaked = $node->safe_psql('postgres', q{SELECT token FROM walwarden.issue_token('acme', 'leaked')});
my $whole = "0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b:$secret";
my $holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; SELECT walwarden.set_org_retention('acme', '8 days')});
for my $reported ($leaked, $whole)
{
	$node->psql('postgres', "DO \$\$BEGIN PERFORM walwarden.report_leaked_token('$reported', ''); END\$\$");
	$node->psql('postgres', "BEGIN READ ONLY; SELECT walwarden.report_leaked_token('$reported')");
	($ret, $out, $err) = $node->psql('postgres', "SET log_lock_waits = on; SET deadlock_timeout = '10ms'; SET lock_timeout = '100ms'; DO \$\$BEGIN EXECUTE 'SELECT walwarden.report_leaked_token(''$reported'')'; END\$\$");
	like($err, qr/could not revoke the token in time/, 'a lock');
	unlike($err, qr/CONTEXT|DETAIL|[0-9a-f]{8}-|\Q$reported\E/, 'the error tells nothing');
}
$holder->query_safe('ROLLBACK');
$holder->quit;
# a row that a foreign statement has locked, whose timeout is the server's
$holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; SELECT FROM walwarden_internal.token FOR UPDATE});
$node->psql('postgres', "SET lock_timeout = '100ms'; SELECT walwarden.report_leaked_token('$leaked')");
$holder->query_safe('ROLLBACK');
$holder->quit;
is($node->safe_psql('postgres', "SELECT walwarden.report_leaked_token('$leaked'), walwarden.report_leaked_token('$whole'), walwarden.report_leaked_token('$bad')"), 't|t|f', 'and reports that succeed');
my $log = substr(slurp_file($node->logfile), $from);
like($log, qr/still waiting/, 'the server logged that one waited');
my $errors = () = $log =~ /ERROR:/g;
is($errors, 18, 'eighteen errors are in the log');
unlike($log, qr/$secret/, 'none with the secret of a pair');
my @told = grep { /\Q$bad\E|\Q$tokens[0]\E|\Q$leaked\E/ } split /\n/, $log;
is(scalar @told, 1, 'one of them with a token')
  or diag(join "\n", @told);
like("@told", qr/STATEMENT: .*issue_token/, 'the statement in which a client gives a token as a name, which the server logs');

# nowhere: every file of the cluster, the dump, and the log up to the literals
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->stop;
push @tokens, $bad, $value, $leaked;
my $wanted = join '|', @tokens, $secret;
my $raw = join '|', map { quotemeta pack('H*', substr($_, 4)) } @tokens;
my ($files, $bytes, @found) = (0, 0);
find({ no_chdir => 1, wanted => sub {
	return unless -f $_;
	my $content = slurp_file($_);
	$content = substr($content, 0, $from) if $_ eq $node->logfile;
	$files++;
	$bytes += length $content;
	push @found, $_ if $content =~ /$wanted|$raw/;
} }, $node->data_dir, $node->logfile, $dump);
cmp_ok($files, '>', 900, "$files files searched");
ok(slurp_file($dump) =~ /COPY walwarden_internal\.credential/, 'the dump has fingerprints');
is("@found", '', "no token in $bytes bytes of data, WAL, log and dump");

# the search finds what is there
my $control = slurp_file($dump) . "x$tokens[7]x";
like($control, qr/$wanted/, 'and would find one');

done_testing();
