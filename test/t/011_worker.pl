# With preload: uses are noted in shared memory and written by the worker, which
# also does what time asks for, in every database, and is in nobody's way.
use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @initdb = (extra => [ '--encoding=UTF8', '--locale=C' ]);
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, @initdb);
# by default nothing happens by itself: each part of the test asks for its rounds
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'walwarden'
walwarden.usage_flush_interval = 1d
walwarden.maintenance_interval = 7d
walwarden.verify_interval = 1d
walwarden.database = ''
autovacuum = off
restart_after_crash = on
CONF
$node->start;

sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }
sub state_of { my ($db, $query) = @_; my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }
sub wait_until { my ($db, $query, $what) = @_; ok($node->poll_query_until($db, $query), $what); }
sub set { my ($name, $value) = @_; $node->adjust_conf('postgresql.conf', "walwarden.$name", $value); $node->reload; }
sub last_use { my ($db) = @_; return sql($db, q{SELECT last_used_at FROM walwarden.list_tokens('acme')}); }
my $offset = 0;
sub wait_for_log
{
	my ($line) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if slurp_file($node->logfile, $offset) =~ $line;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}
sub dirty { return sql('postgres', q{SELECT dirty FROM walwarden_internal.usage_table()}); }

my %token;

sub install
{
	my ($db) = @_;
	$token{$db} = sql($db, q{
		SET client_min_messages = warning;
		CREATE EXTENSION walwarden CASCADE;
		SELECT walwarden.create_org('acme') \g /dev/null
		SELECT token FROM walwarden.issue_token('acme', 't', ARRAY['databases:read'])});
}

sub authenticate { my ($db) = @_; sql($db, "BEGIN READ ONLY; SELECT walwarden.authenticate('$token{$db}'); COMMIT"); }

my $stored = q{SELECT last_used_at IS NOT NULL FROM walwarden_internal.token_usage JOIN walwarden_internal.token ON id = token_id WHERE name = 't'};

sql('postgres', 'CREATE DATABASE one; CREATE DATABASE two; CREATE DATABASE bare');
install($_) for ('postgres', 'one', 'two');
wait_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden launcher' AND query = 'waiting for the next round'}, 'the launcher waits, and says so');

# the request path

is(last_use('one'), '', 'never used');
authenticate('one');
isnt(last_use('one'), '', 'a read-only use shows at once');
is(sql('one', $stored), 'f', 'and nothing was written');
authenticate('one');
is(dirty(), '1', 'one token is to be written');
# other processes of the server write WAL now and then: one quiet span in ten shows it
my $quiet = sql('one', qq{
	SELECT pg_current_wal_insert_lsn() AS before \\gset
	BEGIN READ ONLY;
	SELECT count(walwarden.authenticate('$token{one}')) FROM generate_series(1, 1000) \\g /dev/null
	COMMIT;
	SELECT pg_current_wal_insert_lsn() = :'before';
} x 10);
like($quiet, qr/t/, 'a thousand of them write no WAL');
is(sql('one', q{SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'token_usage'}), '0', 'and update no row');
sql('one', "SELECT walwarden.authenticate('$token{one}')");
is(sql('one', $stored), 'f', 'nor does a read-write one');

# a rollback takes no use back, a fixed snapshot is as good as any
sql('two', "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT walwarden.authenticate('$token{two}'); ROLLBACK");
isnt(last_use('two'), '', 'a use in a serializable transaction that rolls back counts');

# flush: all databases with the extension, at a reload of the setting
set('usage_flush_interval', '1s');
wait_until($_, $stored, "the worker writes last_used_at in $_") for ('one', 'two');
wait_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()', 'and then nothing is to be written');
is(sql('postgres', $stored), 'f', 'not where nobody used a token');
is(sql('one', q{SELECT date_trunc('milliseconds', last_used_at) = (SELECT date_trunc('milliseconds', last_used_at) FROM walwarden_internal.token_usage) FROM walwarden.list_tokens('acme')}), 't', 'the listing says what is stored');

# never backwards, and a row that is locked is come back to
set('usage_flush_interval', '1d');
sql('one', q{UPDATE walwarden_internal.token_usage SET last_used_at = '2100-01-01'});
authenticate('one');
set('usage_flush_interval', '1s');
wait_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()', 'a later time that is stored already');
is(sql('one', q{SELECT last_used_at = '2100-01-01' FROM walwarden_internal.token_usage}), 't', 'stays');
sql('one', q{UPDATE walwarden_internal.token_usage SET last_used_at = NULL});
my $other = $node->background_psql('one');
$other->query_safe('BEGIN; SELECT FROM walwarden_internal.token_usage FOR UPDATE');
authenticate('one');
authenticate('two');
wait_until('postgres', 'SELECT dirty = 1 FROM walwarden_internal.usage_table()', 'a locked row is not waited for');
$other->query_safe('COMMIT');
wait_until('one', $stored, 'and written when it is free');
$other->quit;

# a renewed token: the uses of its previous value and of its newest
set('usage_flush_interval', '1d');
sql('postgres', 'CREATE DATABASE turn');
install('turn');
sub renew { my $value = sql('turn', q{SELECT r.token FROM walwarden.list_tokens('acme') AS t, walwarden.renew_token(t.token_id, '1 day') AS r}); return $value; }
sub used { $token{turn} = $_[0]; authenticate('turn'); return; }
my $seen = q{SELECT last_used_at IS NOT NULL, previous_last_used_at IS NOT NULL FROM walwarden.list_tokens('acme')};
my $first = $token{turn};
my $second = renew();
is(sql('turn', $seen), 'f|f', 'neither value was used');
used($second);
is(sql('turn', $seen), 't|f', 'a use of the newest is none of the previous');
used($first);
is(sql('turn', $seen), 't|t', 'a use of the previous shows at once');
is(sql('turn', 'SELECT num_nulls(last_used_at, slot0_used_at, slot1_used_at) FROM walwarden_internal.token_usage'), '3', 'and nothing was written');
set('usage_flush_interval', '1s');
wait_until('turn', 'SELECT num_nulls(last_used_at, slot0_used_at, slot1_used_at) = 0 FROM walwarden_internal.token_usage', 'the worker writes both');
is(sql('turn', 'SELECT slot0_used_at > slot1_used_at AND last_used_at = slot0_used_at FROM walwarden_internal.token_usage'), 't', 'each its own');
wait_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()', 'and then nothing is to be written');
my $third = renew();
is(sql('turn', $seen), 't|t', 'the previous value was used before it was one');
renew();
is(sql('turn', $seen), 't|f', 'one that nobody used takes over no use of the value before');
used($third);
is(sql('turn', $seen), 't|t', 'its own use counts');
wait_until('turn', 'SELECT slot0_used_at = last_used_at FROM walwarden_internal.token_usage', 'and is written');
sql('turn', q{UPDATE walwarden_internal.credential SET created_at = created_at + interval '1 hour' WHERE valid_until > now()});
is(sql('turn', $seen), 't|f', 'a value made later than now, because the clock went back');
used($third);
is(sql('turn', $seen), 't|t', 'is listed as used');
sql('postgres', 'DROP DATABASE turn WITH (FORCE)');

# more tokens than places
sql('bare', 'SET client_min_messages = warning; CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org(\'acme\') IS NULL');
set('usage_flush_interval', '1d');
sql('bare', q{
	SET session_replication_role = replica;
	CREATE TABLE many AS SELECT i, gen_random_uuid() AS id, 'wal_' || encode(sha256(i::text::bytea), 'hex') AS token FROM generate_series(1, 70000) AS i;
	INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, created_at, created_by, audit_seq)
	SELECT m.id, (SELECT o.id FROM walwarden_internal.org AS o), 'many', 'api', '{}', now(), 'test', 1 FROM many AS m;
	INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, audit_seq)
	SELECT sha256(token::bytea), id, 'bearer', now(), 1 FROM many;
	INSERT INTO walwarden_internal.token_usage (token_id) SELECT id FROM many;
	ANALYZE;
	SELECT count(walwarden.authenticate(token)) FROM many});
# what finds no place wakes the worker, whatever its interval is; the session waits for it as it ends
is(sql('bare', 'SELECT slots FROM walwarden_internal.usage_table()'), '65536', 'the table has its size');
wait_until('bare', q{SELECT sum(uses) + (SELECT lost FROM walwarden_internal.usage_table()) = 70000 FROM walwarden_internal.token_with_org}, 'no use of them is lost unnoticed');
set('usage_flush_interval', '1s');
wait_until('bare', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()', 'all of them are written');
is(sql('bare', 'SELECT sum(uses), count(last_used_at), (SELECT lost FROM walwarden_internal.usage_table()) FROM walwarden_internal.token_usage'), '70000|70000|0', 'once each');
sql('bare', 'DROP EXTENSION walwarden; DROP TABLE many');

# maintenance, in both databases with the extension and quietly past the one without
sql($_, q{
	SELECT walwarden.set_org_retention('acme', '0');
	SELECT walwarden.disable_token(token_id) FROM walwarden.issue_token('acme', 'to be removed');
	SELECT token_id FROM walwarden.issue_token('acme', 'to expire', expires_at => clock_timestamp() + interval '0.2 s');
	SET session_replication_role = replica;
	INSERT INTO walwarden_internal.idempotency_key (holder, key_hash, request_hash, created_at)
	SELECT walwarden_internal.rest_key_holder(id), sha256('k'), sha256('r'), now() - interval '2 days' FROM walwarden_internal.token LIMIT 1;
}) for ('one', 'two');
set('maintenance_interval', '1s');
for my $db ('one', 'two')
{
	wait_until($db, q{SELECT count(*) = 2 FROM walwarden_internal.token WHERE removed_at IS NOT NULL}, "tokens are removed in $db");
	is(sql($db, q{SELECT string_agg(DISTINCT kind COLLATE "C", ' ' ORDER BY kind COLLATE "C") FROM walwarden_internal.audit_entry WHERE body LIKE '%"kind":"system"%'}),
		'token.expired token.removed', 'with entries, the expiry among them');
	wait_until($db, q{SELECT count(*) = 2 AND bool_and(ok) FROM walwarden_internal.verification}, "chains are verified in $db, and the verdicts stored");
	wait_until($db, q{SELECT count(*) = 0 FROM walwarden_internal.idempotency_key}, "old answers are purged in $db");
}
is(sql($_, q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', "all verifies in $_") for ('one', 'two');

# a guard that is weak is made strong; an organisation in use is left, and the others are not
sql('one', q{ALTER TABLE walwarden_internal.scope ENABLE TRIGGER refuse_change; SELECT walwarden.create_org('other'), walwarden.set_org_retention('other', '0')});
wait_until('one', q{SELECT tgenabled = 'A' FROM pg_trigger WHERE tgrelid = 'walwarden_internal.scope'::regclass AND tgname = 'refuse_change'}, 'a weak guard is made strong');
$other = $node->background_psql('one');
$other->query_safe(q{BEGIN; SELECT walwarden.set_org_retention('acme', '0')});
sql('one', q{SELECT walwarden.disable_token(token_id) FROM walwarden.issue_token('other', 'x')});
wait_until('one', q{SELECT count(*) = 1 FROM walwarden_internal.token AS t JOIN walwarden_internal.org AS o ON o.id = t.org_id WHERE o.slug = 'other' AND t.removed_at IS NOT NULL}, 'an organisation is done while another is locked');
$other->query_safe('ROLLBACK');
$other->quit;

# many tokens of one organisation: more than one batch
sql('two', q{SELECT count(walwarden.disable_token(token_id)) FROM (SELECT (walwarden.issue_token('acme', 'batch')).token_id FROM generate_series(1, 650)) AS t});
wait_until('two', q{SELECT count(*) = 650 FROM walwarden_internal.token WHERE name = 'batch' AND removed_at IS NOT NULL}, 'more tokens than one batch holds');
is(sql('two', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', 'all verifies');
is(sql('two', q{SELECT count(DISTINCT xmin::text) >= 3 FROM walwarden_internal.token WHERE name = 'batch'}), 't', 'in several transactions');

# what schedules ask for: once, and in more than one transaction
sql('two', q{
	WITH at AS (SELECT id AS org, clock_timestamp() AS now FROM walwarden_internal.org),
	made AS (INSERT INTO walwarden_internal.destination (org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq)
	         SELECT org, 'd', 'local', 'file:///srv', 0, now, now, 1 FROM at RETURNING id)
	INSERT INTO walwarden_internal.database (org_id, name, engine, connection_ref, destination_id, schedule, next_run_at, created_at, updated_at, audit_seq)
	SELECT org, 'd' || n, 'postgresql', 'd', made.id, '0 0 1 1 *', now - interval '14 hours', now, now, 1 FROM at, made, generate_series(1, 120) AS n});
wait_until('two', q{SELECT count(*) = 120 FROM walwarden_internal.job WHERE state = 'queued' AND trigger = 'schedule'}, 'what is due is queued without a call');
is(sql('two', q{SELECT max(n) <= 50 FROM (SELECT count(*) AS n FROM walwarden_internal.job GROUP BY xmin::text) AS t}), 't', 'at most 50 in a transaction');

# the extension comes and goes
sql('one', 'DROP EXTENSION walwarden');
install('one');
authenticate('one');
wait_until('one', $stored, 'after DROP and CREATE EXTENSION uses are written');
$other = $node->background_psql('one');
$other->query_safe('BEGIN; DROP EXTENSION walwarden');
authenticate('two');
sql('two', q{UPDATE walwarden_internal.token_usage SET last_used_at = NULL});
authenticate('two');
wait_until('two', $stored, 'a DROP EXTENSION that is under way holds up no other database');
$other->query_safe('ROLLBACK');
$other->quit;

# databases come and go between rounds and during them
sql('postgres', 'CREATE DATABASE copy TEMPLATE one');
$token{copy} = $token{one};
sql('copy', q{UPDATE walwarden_internal.token_usage SET last_used_at = NULL});
authenticate('copy');
wait_until('copy', $stored, 'a copy is served like its template');
authenticate('copy');
sql('postgres', 'DROP DATABASE copy');
wait_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()', 'what was noted of a dropped database is forgotten');

# a step that fails keeps neither the next one nor the next database from its turn
sub verified { my ($db) = @_; return sql($db, 'SELECT max(finished_at) FROM walwarden_internal.verification'); }
sub verified_after { my ($db, $at) = @_; wait_until($db, "SELECT max(finished_at) > '$at' FROM walwarden_internal.verification", "$db is verified again"); }
set('verify_interval', '0');
sql('postgres', 'CREATE DATABASE broken TEMPLATE one');
$token{broken} = $token{one};
sql('broken', q{CREATE OR REPLACE FUNCTION walwarden_internal.restore_guards() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'broken on purpose'; END$$});
$offset = -s $node->logfile;
ok(wait_for_log(qr/WARNING:  walwarden: maintenance failed on guards: broken on purpose\n.*walwarden: guards in database "broken"/s), 'an error is logged, with its database');
verified_after($_, verified($_)) for ('broken', 'two');

# nor do tokens that cannot be removed, of which there are more than a transaction removes
$offset = -s $node->logfile;
sql('broken', q{
	CREATE FUNCTION refuse_stuck() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'stuck on purpose'; END$$;
	CREATE TRIGGER stuck BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW WHEN (OLD.disabled_at IS NOT NULL AND OLD.name ~ 'stuck') EXECUTE FUNCTION refuse_stuck();
	SELECT walwarden.create_org('many'), walwarden.set_org_retention('many', '0') \g /dev/null
	BEGIN;
	SELECT walwarden.disable_token(t.token_id) FROM generate_series(1, 310) AS n, walwarden.issue_token('many', 'stuck ' || n) AS t \g /dev/null
	SELECT walwarden.disable_token(t.token_id) FROM generate_series(1, 310) AS n, walwarden.issue_token('many', 'free ' || n) AS t \g /dev/null
	COMMIT});
wait_until('broken', q{SELECT count(*) = 310 FROM walwarden_internal.token WHERE name ~ 'free' AND removed_at IS NOT NULL}, 'tokens are removed beside others that cannot be');
ok(wait_for_log(qr/WARNING:  walwarden: maintenance failed on token [0-9a-f-]{36}: stuck on purpose\n.*maintenance failed on [0-9]+ more tokens\n.*walwarden: tokens of .* in database "broken"/s), 'the first of which the log names');
verified_after($_, verified($_)) for ('broken', 'two');
is(sql('broken', q{SELECT count(v.reason) FROM walwarden_internal.org AS o, walwarden_internal.verify_chain(o.id, NULL, NULL) AS v}), '0', 'and the chain verifies');

# a worker that is busy for long: uses are written meanwhile, and it leaves when its database is to be copied or dropped
sql('broken', q{CREATE OR REPLACE FUNCTION walwarden_internal.restore_guards() RETURNS boolean LANGUAGE sql AS 'SELECT pg_sleep(1000) IS NULL'});
my $busy = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden maintenance' AND datname = 'broken' AND query = 'guards'};
wait_until('postgres', $busy, 'a worker is busy, and says with what');
is(sql('postgres', q{SELECT query FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'}), 'maintenance in database broken', 'so does the launcher');
for my $db ('one', 'broken')
{
	sql($db, 'UPDATE walwarden_internal.token_usage SET last_used_at = NULL');
	authenticate($db);
	wait_until($db, $stored, "uses in $db are written meanwhile");
}
wait_until('postgres', $busy, 'and it is busy still');
is(state_of('postgres', 'CREATE DATABASE copy TEMPLATE broken'), 'ok', 'CREATE DATABASE TEMPLATE does not fail for it');
sql('postgres', 'DROP DATABASE copy');
wait_until('postgres', $busy, 'it comes back');
is(state_of('postgres', 'DROP DATABASE broken'), 'ok', 'DROP DATABASE does not fail for it either');
ok(wait_for_log(qr/stopping the worker in database "broken"/), 'the log says why it left');
verified_after($_, verified($_)) for ('one', 'two');
set('verify_interval', '1d');

# the list of databases
is(state_of('postgres', q{ALTER SYSTEM SET walwarden.database = 'a b'}), '22023', 'a list that is none is refused');
set('database', q{'two, "Other"'});
$node->poll_query_until('one', q{SELECT setting = 'two, "Other"' FROM pg_settings WHERE name = 'walwarden.database'});
sql($_, 'UPDATE walwarden_internal.token_usage SET last_used_at = NULL') for ('one', 'two');
authenticate($_) for ('one', 'two');
wait_until('two', $stored, 'a database that is named is served');
is(sql('one', $stored), 'f', 'one that is not is not');
sql('one', "SELECT walwarden.authenticate('$token{one}')");
is(sql('one', $stored), 't', 'there the transaction writes, as without preload');
set('database', q{''});
# a template is not served, in sessions that noted uses before too
$node->poll_query_until('one', q{SELECT setting = '' FROM pg_settings WHERE name = 'walwarden.database'});
my $warm = sql('one', q{SELECT token FROM walwarden.issue_token('acme', 'warm')});
$other = $node->background_psql('one');
$other->query_safe("SELECT walwarden.authenticate('$warm')");
sql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
sql('one', 'UPDATE walwarden_internal.token_usage SET last_used_at = NULL');
$other->query_safe("SELECT walwarden.authenticate('$token{one}')");
is(sql('one', $stored), 't', 'in a template the transaction writes');
sql('postgres', 'ALTER DATABASE one IS_TEMPLATE false');
$other->quit;

# statistics
my $counted = q{SELECT string_agg(format('%s %s', reason, count), ', ' ORDER BY outcome, reason) FROM walwarden.stat_auth WHERE count > 0};
$node->restart;
my $reasons = join ',', sort(slurp_file('src/token/refusal.c') =~ /^\t\[REFUSAL_\w+\] = \{"(.*)",/mg);
like($reasons, qr/^active,.*unknown/, 'the reasons are read');
my $every = q{SELECT string_agg(reason, ',' ORDER BY reason COLLATE "C") FROM walwarden.stat_auth};
is(sql('one', $every), $reasons, 'each has a counter');
is(sql('one', q{SELECT sum(count) FROM walwarden.stat_auth}), '0', 'all begin at zero');
sql('one', q{CREATE ROLE nobody; CREATE ROLE op; CREATE ROLE web; SELECT walwarden.set_org_retention('acme', '1 day');
	SELECT walwarden.add_member('acme', 'bob'), walwarden.create_org('poor')});
my %bad = (
	unknown => "'wal_" . ('0' x 64) . "'",
	malformed => "'wal_x'");
my $made = sql('one', q{
	SELECT walwarden.add_member('acme', 'ann') \g /dev/null
	SELECT token_id AS t, token AS revoked FROM walwarden.issue_token('acme', 'x') \gset
	SELECT walwarden.revoke_token(:'t') \g /dev/null
	SELECT token_id AS t, token AS disabled FROM walwarden.issue_token('acme', 'x') \gset
	SELECT walwarden.disable_token(:'t') \g /dev/null
	SELECT token_id AS t, token AS renewed FROM walwarden.issue_token('acme', 'x') \gset
	SELECT walwarden.renew_token(:'t', '1 microsecond') \g /dev/null
	SELECT token AS expired FROM walwarden.issue_token('acme', 'x', expires_at => clock_timestamp() + interval '0.1 s') \gset
	SELECT token AS owned FROM walwarden.issue_token('acme', 'x', owner => 'bob') \gset
	SELECT walwarden.disable_member('acme', 'bob') \g /dev/null
	SELECT token AS poor FROM walwarden.issue_token('poor', 'x') \gset
	SELECT walwarden.set_plan('poor', 'free'), pg_sleep(0.2) \g /dev/null
	\echo :revoked :disabled :renewed :expired :owned :poor});
for my $value (values %bad, 'NULL', map { "'$_'" } split ' ', $made)
{
	is(state_of('one', "SELECT walwarden.authenticate($value)"), '28000', 'refused');
}
is(state_of('one', "SELECT walwarden.authorize('wal_', 'databases:read')"), '28000', 'refused by authorize');
sql('one', "SELECT walwarden.authorize('$token{one}', 'databases:read'), walwarden.authenticate('$token{one}')");
is(state_of('one', "SELECT walwarden.authorize('$token{one}', 'audit:read')"), '42501', 'a good token without the scope');
sql('one', "SELECT walwarden.introspect_token('wal_'), walwarden.introspect_token('$token{one}')");
# as PostgREST does it, with a role of its own
my $request = sub { return qq{BEGIN; SELECT set_config('request.headers', '$_[0]', true); $_[1]; COMMIT}; };
isnt(state_of('one', $request->('{"x-walwarden-token":"wal_"}', 'SELECT walwarden.pre_request()')), 'ok', 'refused by pre_request');
isnt(state_of('one', $request->('{"x-wallarmapi-uuid":"x"}', 'SELECT walwarden.pre_request()')), 'ok', 'half a pair');
isnt(state_of('one', $request->('{"x-wallarmapi-uuid":"x","x-wallarmapi-secret":"y"}', 'SELECT walwarden.pre_request()')), 'ok', 'no pair');
sql('one', $request->("{\"x-walwarden-token\":\"$token{one}\"}", 'SELECT walwarden.pre_request()'));
sql('one', $request->("{\"x-walwarden-token\":\"$token{one}\",\"x-walwarden-method\":\"GET\",\"x-walwarden-path\":\"/api/v1/profile\"}", 'SELECT walwarden_rest.v1_get()'));
sql('one', $request->('{"x-walwarden-token":"wal_","x-walwarden-method":"GET","x-walwarden-path":"/api/v1/profile"}', 'SELECT walwarden_rest.v1_get()'));
is(sql('one', $counted), 'active 5, disabled 1, expired 1, malformed 7, owner disabled 1, plan without API tokens 1, revoked 1, unknown 1, value renewed 1',
	'every attempt is counted once, under its reason');
is(sql('bare', q{SELECT count(*) FROM pg_extension WHERE extname = 'walwarden'}), '0', 'where the extension is not, nothing counts');
is(state_of('one', 'SET ROLE nobody; SELECT * FROM walwarden.stat_auth'), '42501', 'nobody reads them');
is(state_of('one', 'SET ROLE nobody; SELECT * FROM walwarden_internal.stat_auth_door()'), '42501', 'by the function neither');
is(state_of('one', 'GRANT pg_read_all_data TO nobody; SET ROLE nobody; SELECT * FROM walwarden.stat_auth'), '42501', 'nor with SELECT on everything');
is(sql('one', "SELECT walwarden.grant_operator('op'); SET ROLE op; $every"), "t\n$reasons", 'an operator does');
is(state_of('one', 'DROP ROLE op'), '2BP01', 'an operator is not dropped unnoticed');
is(sql('one', q{SELECT walwarden.revoke_operator('op')}), 't', 'an operator is revoked');
is(state_of('one', 'SET ROLE op; SELECT * FROM walwarden.stat_auth'), '42501', 'then it is refused');
is(state_of('one', 'DROP ROLE op'), 'ok', 'and can be dropped');

# crashes: of a worker's process, and of the server; what was noted and not written is lost, no more
sub survives
{
	my ($what) = @_;
	sql('one', 'UPDATE walwarden_internal.token_usage SET last_used_at = NULL');
	authenticate('one');
	wait_until('one', $stored, "after $what the worker goes on");
}
my $launcher = sql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'});
kill 'KILL', $launcher;
$node->poll_query_until('postgres', "SELECT pid <> $launcher FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'") or BAIL_OUT('no launcher');
survives('kill -9 of the launcher');
$node->stop('immediate');
$node->start;
survives('an immediate stop');
$launcher = sql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'});
is(sql('postgres', "SELECT pg_terminate_backend($launcher)"), 't', 'a launcher that is terminated');

# a standby notes nothing, writes nothing, and takes over when it is promoted
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay');
ok($standby->poll_query_until('postgres', q{SELECT query = 'waiting for the end of recovery' FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'}), 'on a standby the launcher waits');
$standby->safe_psql('one', "SELECT walwarden.authenticate('$token{one}')");
is($standby->safe_psql('one', q{SELECT used FROM walwarden_internal.usage_table()}), '0', 'and nothing is noted');
is($standby->safe_psql('one', q{SELECT count FROM walwarden.stat_auth WHERE outcome = 'accepted'}), '1', 'but counted');
wait_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden launcher'}, 'the launcher that was terminated comes back');
$node->stop('fast');
$standby->promote;
$standby->safe_psql('one', q{UPDATE walwarden_internal.token_usage SET last_used_at = NULL});
$standby->safe_psql('one', "SELECT walwarden.authenticate('$token{one}')");
ok($standby->poll_query_until('one', $stored), 'after promotion the worker goes on');
$standby->stop;

# no room for a worker of a database, beside the launchers of walwarden and of the server: said once, and tried again; then without preload
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$offset = -s $node->logfile;
$node->start;
authenticate('one');
ok($node->poll_query_until('postgres', q{SELECT dirty > 0 FROM walwarden_internal.usage_table()}), 'without a free worker uses stay noted');
ok(wait_for_log(qr/no background worker slot is free/), 'and the log says so');
like(slurp_file($node->logfile, $offset), qr/DETAIL:  Parallel queries take their workers from the same 2 slots, up to max_parallel_workers, which is 8\.\n.*HINT:  Set max_worker_processes /, 'and what to do');

# parallel queries take the workers: said once, however often it is tried, and when it is over
$node->append_conf('postgresql.conf', "max_worker_processes = 4\nwalwarden.usage_flush_interval = 1s");
$node->restart;
sql('postgres', q{CREATE TABLE busy AS SELECT generate_series(1, 1000) AS i; ALTER TABLE busy SET (parallel_workers = 8)});
# the round after the start needs a worker too
wait_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden launcher' AND query = 'waiting for the next round'}, 'the first round is over');
my $taker = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', q{
	SET max_parallel_workers_per_gather = 8; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SELECT count(pg_sleep(1000)) FROM busy} ], '>', \my $taken, '2>', \my $ended);
wait_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'parallel worker'}, 'a query has every worker');
$offset = -s $node->logfile;
authenticate('one');
ok(wait_for_log(qr/no background worker slot is free/), 'maintenance has none');
wait_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwarden launcher' AND state = 'idle' AND state_change > (SELECT max(query_start) FROM pg_stat_activity WHERE backend_type = 'parallel worker')}, 'it is tried again');
sql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%FROM busy' AND backend_type = 'client backend' AND pid <> pg_backend_pid()});
$taker->finish;
ok(wait_for_log(qr/a background worker slot is free again/), 'when there is one, the log says so');
wait_until('one', $stored, 'and uses are written');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /no background worker slot is free/g), 1, 'each was said once');
sql('postgres', 'DROP TABLE busy');

$node->append_conf('postgresql.conf', "max_worker_processes = 8\nshared_preload_libraries = ''");
$node->restart;
is(sql('one', q{SELECT count(*) FROM walwarden.stat_auth}), '0', 'without preload the view is empty');
is(sql('one', q{SELECT count(*) FROM walwarden_internal.usage_table() WHERE slots IS NULL}), '1', 'and no table');
sql('one', 'UPDATE walwarden_internal.token_usage SET last_used_at = NULL');
authenticate('one');
is(sql('one', $stored), 'f', 'a read-only use is not written');
sql('one', "SELECT walwarden.authenticate('$token{one}')");
is(sql('one', $stored), 't', 'a read-write one is');

# steps fail where a worker is made to leave, and nowhere else
my @failed = grep { /(ERROR|FATAL|PANIC):  / && /walwarden: .* in database "/ && !/terminating background worker|broken on purpose/ } split /^(?=\d{4}-)/m, slurp_file($node->logfile);
is(join('', @failed), '', 'no step failed');
$node->stop;
done_testing();
