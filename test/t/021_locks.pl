# A role without rights cannot lock an inner object, and nothing of hers depends on one.
# What she does with public objects stops nobody except people who read the public views.
#
# The server locks what a statement names before it checks rights, so a refusal proves
# little: the locks that a statement asks for and keeps count. Every statement that can
# name an object (at the end of this file) is tried against every object of the three
# schemas, as the catalogues list them:
# - while another session holds all of them locked, so that a request for a lock fails
#   with 55P03 instead of the refusal;
# - without that session; pg_locks then shows the locks that are kept;
# - in a transaction that stays open, while other sessions do what must not wait.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $extensions = `pg_config --sharedir`);
$extensions .= '/extension';
# scripts are put beside the installed ones: only in test/run's copy
plan skip_all => 'only in the copy that test/run makes' unless $ENV{WORK} && index($extensions, "$ENV{WORK}/") == 0;
my @added;
sub add_script { my ($name, $text) = @_; push @added, "$extensions/$name"; append_to_file("$extensions/$name", $text); }
END { unlink @added; }

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# autovacuum takes locks too
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 1\nmax_locks_per_transaction = 256\n");
$node->start;
sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }
# How a statement ends that waits for locks one second at most: an SQLSTATE, or ok.
sub outcome { my ($query) = @_; my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET lock_timeout = '1s'; $query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }
sub session { my ($role) = @_; return $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $role ]); }
# A session with a transaction of these statements, left open.
sub open_transaction
{
	my ($role, @statements) = @_;
	my $session = session($role);
	$session->query_safe($_) foreach 'SET client_min_messages = error', 'BEGIN', @statements;
	return $session;
}
sub end { my ($session) = @_; $session->query_safe('ROLLBACK'); $session->quit; }

sql(q{
	CREATE EXTENSION walwarden CASCADE;
	CREATE ROLE mallory LOGIN; CREATE ROLE web_anon; CREATE ROLE authenticator LOGIN NOINHERIT; GRANT web_anon TO authenticator; CREATE ROLE dba;
	GRANT CREATE, TEMP ON DATABASE postgres TO mallory;
	SELECT walwarden.grant_rest('web_anon', 'authenticator'), walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner');
	CREATE SCHEMA mal AUTHORIZATION mallory;
	SET ROLE mallory;
	CREATE TABLE mal.own (id int);
	CREATE TABLE mal.parts (id int) PARTITION BY LIST (id);
	CREATE SEQUENCE mal.counter;
	CREATE FUNCTION mal.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
});
my ($token, $id) = split /\|/, sql(q{SELECT token, token_id FROM walwarden.issue_token('acme', 'kept', '{databases:read,destinations:write}')});

# What must not wait. Each prints t.
sub request
{
	my ($method, $path, $call) = @_;
	return "\\c - authenticator\nSET ROLE web_anon; SELECT set_config('request.headers', '{\"x-walwarden-token\":\"$token\",\"x-walwarden-method\":\"$method\",\"x-walwarden-path\":\"/api/v1$path\","
	  . "\"x-walwarden-content-type\":\"application/json\",\"idempotency-key\":\"once\"}', false) \\g /dev/null\nSELECT walwarden_rest.v1_$call";
}
my @acts = (
	[ 'authenticate', "SELECT walwarden.authenticate('$token') IS NOT NULL" ],
	[ 'authorize', "SELECT walwarden.authorize('$token', 'databases:read') IS NOT NULL" ],
	[ 'issue and revoke', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.issue_token('acme', 'brief')} ],
	[ 'list', q{SELECT count(*) > 0 FROM walwarden.list_tokens('acme')} ],
	[ 'verify', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()} ],
	[ 'maintain', 'SELECT walwarden.run_maintenance() IS NOT NULL' ],
	[ 'make an operator', q{SELECT walwarden.grant_operator('dba') AND walwarden.revoke_operator('dba')} ],
	[ 'create a scope', q{BEGIN; SELECT walwarden.create_scope('own:read', 'Own', 'Own.'); ROLLBACK} ],
	[ 'GET', request('GET', '/databases', 'get()') . q{ -> 'databases' IS NOT NULL} ],
	[ 'POST', request('POST', '/destinations', q{post(convert_to('{"name":"d","provider":"local","uri":"file:///srv"}', 'UTF8'))}) . q{ -> 'id' IS NOT NULL} ]);
my $acts = join '', map { "\\echo act: $$_[0]\n$$_[1];\n" } @acts;
# The acts that did not succeed, with the SQLSTATEs: 55P03 for a lock.
sub hindered
{
	local $ENV{PGOPTIONS} = '-c lock_timeout=1s';
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$acts", on_error_stop => 0);
	my %said = map { /\A([^\n]*)\n(.*)\z/s ? ($1 => $2) : () } split /^act: /m, "$out\n";
	return join(', ', grep { ($said{$_} // '') ne "t\n" } map { $$_[0] } @acts) . join('', map { " $_" } $err =~ /ERROR:\s+(\w{5})/g);
}
is(hindered(), '', 'with nobody in the way everything is done');

# The objects, with parts for statements: a column, types, arguments. One of each kind is
# the sample. Of indexes and TOAST tables, which can be named too, only that is tried.
sql(qq{
	CREATE TABLE object AS
	WITH inside AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('walwarden', 'walwarden_internal', 'walwarden_rest')),
	rel AS (SELECT c.*, n.nspname FROM pg_class AS c JOIN inside AS n ON n.oid = c.relnamespace),
	toast AS (SELECT c.* FROM rel AS r JOIN pg_index AS i ON i.indrelid = r.reltoastrelid JOIN pg_class AS c ON c.oid IN (r.reltoastrelid, i.indexrelid)),
	given(name, value) AS (VALUES ('org', 'acme'), ('token_id', '$id'), ('subject', 'ann'), ('role', 'mallory'), ('name', 'x'), ('scope', 'databases:read'), ('token', 'x'), ('kind', 'app.x'), ('payload', '{}'), ('reason', 'x')),
	fun AS (SELECT p.*, n.nspname, a.*
	          FROM pg_proc AS p JOIN inside AS n ON n.oid = p.pronamespace
	         CROSS JOIN LATERAL (SELECT string_agg('NULL::' || t.type, ', ' ORDER BY u.n) AS nulls,
	                                    string_agg(coalesce(quote_literal(g.value), 'NULL') || '::' || t.type, ', ' ORDER BY u.n) AS given,
	                                    string_agg(CASE WHEN u.n = least(p.pronargs, 2) THEN ', RIGHTARG = ' ELSE ', LEFTARG = ' END || t.type, '' ORDER BY u.n) FILTER (WHERE u.n < 3) AS operands
	                               FROM unnest(p.proargtypes) WITH ORDINALITY AS u(type, n)
	                              CROSS JOIN LATERAL format_type(u.type, NULL) AS t(type)
	                               LEFT JOIN given AS g ON g.name = p.proargnames[u.n]) AS a)
	SELECT o.*, row_number() OVER (PARTITION BY o.kind, o.schema, o.class ORDER BY o.name, o.oid) = 1 AS sample FROM (
		SELECT 'r' AS kind, nspname AS schema, 'pg_class'::regclass AS classid, oid, format('%I.%I', nspname, relname) AS name, relkind::text AS class,
		       (SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = rel.oid AND attnum = 1) AS col, NULL AS types, NULL AS nulls, NULL AS given, NULL AS operands FROM rel
		UNION ALL SELECT DISTINCT 'r', 'pg_toast', 'pg_class'::regclass, oid, format('pg_toast.%I', relname), relkind::text, 'chunk_id', NULL, NULL, NULL, NULL FROM toast
		UNION ALL SELECT 't', n.nspname, 'pg_type'::regclass, t.oid, format('%I.%I', n.nspname, t.typname), t.typtype::text, NULL, NULL, NULL, NULL, NULL FROM pg_type AS t JOIN inside AS n ON n.oid = t.typnamespace
		UNION ALL SELECT 'f', nspname, 'pg_proc'::regclass, oid, format('%I.%I', nspname, proname), concat(prolang, prosqlbody IS NULL), NULL, oidvectortypes(proargtypes), nulls, given, operands FROM fun
		UNION ALL SELECT 's', nspname, 'pg_namespace'::regclass, oid, nspname, '', NULL, NULL, NULL, NULL, NULL FROM inside
		UNION ALL SELECT 'e', 'extension', 'pg_extension'::regclass, oid, extname, '', NULL, NULL, NULL, NULL, NULL FROM pg_extension WHERE extname = 'walwarden') AS o;
});
is(sql(q{SELECT DISTINCT d.classid::regclass FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	      WHERE e.extname = 'walwarden' AND d.deptype = 'e' AND (d.classid, d.objid) NOT IN (SELECT classid, oid FROM object)}), '', 'each kind of object of the extension is tried');

# What she tries: the lines at the end, and the server's functions that take an OID, for
# which she needs no USAGE on a schema.
my @tries = map { [ split /\|/, $_, 3 ] } grep { /^\w\|/ } <DATA>;
chomp $$_[2] foreach @tries;
sql(q{
	CREATE TABLE try (no serial, kind text, what text, statement text);
	INSERT INTO try (kind, what, statement) VALUES } . join(', ', map { '(' . join(', ', map { "\$q\$$_\$q\$" } @$_) . ')' } @tries) . q{;
	INSERT INTO try (kind, what, statement)
	SELECT 'a', 'a function by OID', format('SELECT pg_catalog.%I(', p.proname)
	       || string_agg(CASE WHEN u.n = 1 THEN '{i}' WHEN u.type = 'boolean'::regtype THEN 'false' WHEN u.type IN ('text'::regtype, 'name'::regtype) THEN '''''' ELSE '1' END || '::' || u.type::regtype, ', ' ORDER BY u.n) || ')'
	  FROM pg_proc AS p, unnest(p.proargtypes) WITH ORDINALITY AS u(type, n)
	 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND has_function_privilege('public', p.oid, 'execute')
	   AND p.proargtypes[0] IN ('oid'::regtype, 'regclass'::regtype, 'regproc'::regtype, 'regprocedure'::regtype)
	 GROUP BY p.oid
	HAVING every(u.n = 1 OR u.type IN ('boolean'::regtype, 'text'::regtype, 'name'::regtype, 'integer'::regtype, 'bigint'::regtype, 'smallint'::regtype));

	CREATE UNIQUE INDEX ON object (oid, classid); ANALYZE object;

	CREATE TABLE attempt AS
	SELECT a.n::int, a.what, a.try, a.kind, a.schema, a.name, a.sample, false AS asks,
	       replace(replace(replace(replace(replace(replace(replace(replace(replace(a.statement, '{o}', a.name), '{n}', a.n::text), '{c}', coalesce(a.col, 'x')), '{i}', a.oid::text),
	               '{types}', coalesce(a.types, '')), '{nulls}', coalesce(a.nulls, '')), '{given}', coalesce(a.given, '')), '{operands}', coalesce(a.operands, ', RIGHTARG = int')), '{owner}', quote_ident(current_user)) AS statement
	  FROM (SELECT row_number() OVER (ORDER BY t.no, o.schema, o.name, o.oid) AS n, t.kind AS try, t.what, t.statement, o.*
	          FROM try AS t JOIN object AS o ON CASE WHEN t.kind = 'a' THEN o.sample AND o.kind <> 'e' WHEN t.kind = 'i' THEN o.kind = 'r' WHEN t.kind IN ('r', 'x') THEN o.kind = 'r' AND (o.sample OR o.class NOT IN ('i', 't')) ELSE o.kind = t.kind END) AS a;

	-- the locks on these objects, and those of src/base/lock.c
	CREATE VIEW lock AS
	SELECT l.pid, o.schema, o.name, l.locktype, l.mode, l.granted FROM pg_locks AS l JOIN object AS o ON o.classid = 'pg_class'::regclass AND o.oid = l.relation WHERE l.locktype = 'relation'
	UNION ALL
	SELECT l.pid, o.schema, o.name, l.locktype, l.mode, l.granted FROM pg_locks AS l JOIN object AS o ON o.classid = l.classid AND o.oid = l.objid WHERE l.locktype = 'object'
	UNION ALL
	SELECT l.pid, 'walwarden_internal', 'an organisation', l.locktype, l.mode, l.granted FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.objsubid > 2;
	GRANT SELECT ON object, attempt, lock TO mallory;

	SET ROLE mallory;
	-- her locks, without those that she had
	CREATE FUNCTION mal.locks(had text[]) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(DISTINCT concat_ws(' ', l.schema, CASE WHEN l.locktype <> 'relation' THEN l.locktype END, l.mode), ', ') FROM lock AS l
		 WHERE l.pid = pg_backend_pid() AND concat_ws(' ', l.schema, l.name, l.mode) <> ALL (had) $$;
	-- Her attempts, each rolled back: how it ended, and which locks it gave her. A lock can
	-- outlive the subtransaction that failed, so look after failures too.
	CREATE FUNCTION mal.try(sample_only boolean, look boolean) RETURNS TABLE (n int, state text, message text, locks text) LANGUAGE plpgsql AS $$
	DECLARE
		a record;
		had text[] := '{}';
	BEGIN
		FOR a IN SELECT * FROM attempt AS t WHERE (t.sample OR NOT sample_only) AND t.try <> 'x' ORDER BY t.n LOOP
			n := a.n;
			locks := NULL;
			BEGIN
				EXECUTE a.statement;
				IF look THEN
					locks := mal.locks(had);
				END IF;
				RAISE EXCEPTION USING ERRCODE = '00001', MESSAGE = 'done';
			EXCEPTION WHEN OTHERS THEN
				state := SQLSTATE;
				message := SQLERRM;
			END;
			IF look AND a.asks AND mal.locks(had) IS NOT NULL THEN
				locks := mal.locks(had);
				had := ARRAY(SELECT concat_ws(' ', l.schema, l.name, l.mode) FROM lock AS l WHERE l.pid = pg_backend_pid());
			END IF;
			RETURN NEXT;
		END LOOP;
	END$$;
	-- Everything of a kind that she can do. Returns the number of locks it gives her.
	CREATE FUNCTION mal.do(this text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		a record;
	BEGIN
		FOR a IN SELECT * FROM attempt JOIN free USING (n) WHERE what = this AND try <> 'x' AND (state = '00001' OR locks IS NOT NULL) ORDER BY n LOOP
			BEGIN
				EXECUTE a.statement;
			EXCEPTION WHEN OTHERS THEN
			END;
		END LOOP;
		RETURN (SELECT count(*) FROM lock WHERE pid = pg_backend_pid());
	END$$;
});

# Makes all attempts and stores how they ended. psql makes those that no transaction may
# contain.
sub try_all
{
	my ($table, $sample_only, $look) = @_;
	my @as = (extra_params => [ '-U', 'mallory' ]);
	local $ENV{PGOPTIONS} = '-c lock_timeout=1ms -c client_min_messages=error';
	my $rows = $node->safe_psql('postgres', "COPY (SELECT * FROM mal.try($sample_only, $look)) TO STDOUT", @as) . "\n";
	my $outside = sql(qq{SELECT statement || E';\n\\\\o\n\\\\echo ' || n || '|:SQLSTATE|:LAST_ERROR_MESSAGE' FROM attempt WHERE (sample OR NOT $sample_only) AND try = 'x' ORDER BY n});
	$outside =~ s/^(?!\\)/\\o \/dev\/null\n/mg;
	my ($ret, $out) = $node->psql('postgres', $outside, on_error_stop => 0, @as);
	$rows .= join("\t", split(/\|/, $_, 3), '\N') . "\n" foreach split /\n/, $out;
	my $file = $node->basedir . "/$table";
	append_to_file($file, $rows);
	sql("CREATE TABLE $table (n int PRIMARY KEY, state text, message text, locks text); COPY $table FROM '$file'; UPDATE $table SET state = '00001' WHERE state = '00000'; GRANT SELECT ON $table TO mallory");
}
# A session that holds the strongest lock on everything: it has dropped the extension and
# not committed, so others still find the names.
sub hold_everything { return open_transaction('postgres', 'DROP EXTENSION walwarden CASCADE'); }

my $holder = hold_everything();
is(sql(q{SELECT name FROM object AS o WHERE o.kind <> 't' AND NOT EXISTS (SELECT FROM lock AS l WHERE l.name = o.name AND l.mode = 'AccessExclusiveLock')}), '', 'everything is held');
try_all('trapped', 'false', 'false');
sql(q{UPDATE attempt AS a SET asks = true FROM trapped AS t WHERE t.n = a.n AND t.state = '55P03'});
end($holder);
try_all('free', 'false', 'true');
is(sql(q{SELECT count(*) FROM attempt AS a LEFT JOIN free AS f USING (n) LEFT JOIN trapped AS t USING (n) WHERE f.n IS NULL OR t.n IS NULL}), 0, 'every attempt was made');
is(sql(q{SELECT a.statement FROM attempt AS a JOIN free AS f USING (n) WHERE f.state = '42601' AND a.try <> 'a'}), '', 'and parsed');

# The matrix is shown; only what must not depend on the number of objects is tested.
my $cell = q{
	SELECT a.what, a.schema, count(*) AS tried, count(*) FILTER (WHERE f.state = '42501') AS refused, count(*) FILTER (WHERE f.state NOT IN ('42501', '00001')) AS other, count(*) FILTER (WHERE f.state = '00001') AS done,
	       count(*) FILTER (WHERE a.asks) AS asks, string_agg(DISTINCT f.locks, '; ') AS keeps
	  FROM attempt AS a JOIN free AS f USING (n) GROUP BY a.what, a.schema};
note(sprintf('%-36s %-19s %6s %8s %6s %6s %6s  %s', qw(statement schema tried refused other done asks keeps)));
note(sprintf('%-36s %-19s %6d %8d %6d %6d %6d  %s', split /\|/, $_, 8)) foreach split /\n/, sql("$cell ORDER BY 1, 2");
sub none { my ($where, $what) = @_; is(sql("SELECT a.statement, f.state, f.message, f.locks, a.asks FROM attempt AS a JOIN free AS f USING (n) WHERE $where ORDER BY a.n LIMIT 20"), '', $what); }

# Inner objects by name: refused for the schema, before any lock.
my $inside = q{a.schema IN ('walwarden_internal', 'walwarden_rest', 'pg_toast') AND a.kind <> 's' AND a.try NOT IN ('a', 'i')};
none(qq{$inside AND f.state <> '42501' AND f.message <> 'no security label providers have been loaded'}, 'everything inside is refused');
none(qq{$inside AND f.message !~ '^permission denied for schema ' AND a.statement !~ '^(CREATE (TYPE|LANGUAGE|EVENT TRIGGER|OPERATOR CLASS)|SECURITY LABEL) '}, 'for the schema, or before the name is looked up');
none(qq{$inside AND (f.locks IS NOT NULL OR a.asks)}, 'before a lock is asked for');
# By OID: the server's functions lock what they look at, and nextval() keeps its lock even
# if it fails. The locks of a schema and of the extension itself stop only DROP.
none(q{a.try IN ('a', 'i') AND f.locks ~ 'object|advisory|ShareLock|ExclusiveLock' AND f.locks !~ '^\w+ (AccessShareLock|RowExclusiveLock)$'}, 'no lock by OID is stronger than ROW EXCLUSIVE');
none(q{a.kind IN ('s', 'e') AND a.try <> 'a' AND f.locks IS NOT NULL AND NOT (a.what = 'ALTER DEFAULT PRIVILEGES' AND f.locks ~ '^\w+ object AccessShareLock$' OR a.statement ~ '^(GRANT|REVOKE) ' AND f.locks ~ '^\w+ object AccessShareLock$' OR a.what = 'DEPENDS ON EXTENSION' AND f.locks = 'extension object AccessExclusiveLock')},
	'default privileges and GRANT lock a schema, dependence the extension; nothing else does');

# Public objects: she may use them and build on them, but not lock out readers. Only newer
# minor releases refuse an expression of a type without USAGE.
is(join(', ', split /\n/, sql(q{SELECT DISTINCT what FROM attempt JOIN free USING (n) WHERE schema = 'walwarden' AND try <> 'a' AND state = '00001' AND what <> 'an expression of its type' ORDER BY 1})),
	join(', ', 'ALTER DEFAULT PRIVILEGES', 'ANALYZE, CLUSTER, REINDEX', 'CREATE AGGREGATE, OPERATOR, CAST', 'CREATE FUNCTION of a column\'s type', 'CREATE FUNCTION that calls it', 'CREATE FUNCTION that reads it', 'CREATE INDEX',
		'CREATE POLICY of her own', 'CREATE RULE of her own', 'CREATE TABLE AS', 'CREATE TABLE LIKE', 'CREATE TABLE that calls it', 'CREATE TRIGGER', 'CREATE VIEW', 'DECLARE CURSOR', 'GRANT', 'LOCK TABLE', 'PREPARE', 'PREPARE FOR UPDATE',
		'PREPARE of its type', 'SELECT', 'VACUUM and others outside', 'call', 'definition by OID'), 'what she can do with what is public');
none(q{a.schema = 'walwarden' AND a.what IN ('ANALYZE, CLUSTER, REINDEX', 'GRANT', 'VACUUM and others outside') AND f.state = '00001' AND (f.locks IS NOT NULL AND NOT (a.statement ~ '^(GRANT|REVOKE) ' AND f.locks ~ '^walwarden (object )?AccessShareLock$') OR a.statement !~ '^(ANALYZE|VACUUM|GRANT|REVOKE|COPY) ')}, 'some of it is done with a warning and without effect');
none(q{a.schema = 'walwarden' AND f.locks ~ 'walwarden |extension' AND f.locks !~ '(^|, )walwarden (AccessShareLock|RowShareLock|RowExclusiveLock|object AccessShareLock)(, |$)'}, 'no lock on a public view is stronger than ROW EXCLUSIVE');
none(q{a.schema = 'walwarden' AND f.locks ~ '_internal|_rest|toast' AND (a.what NOT IN ('call', 'SELECT') OR f.locks ~ '(_internal|_rest|pg_toast) (?!AccessShareLock)')}, 'a call reads inner tables and locks them only for that');


# Everything of each kind that she can do, in an open transaction.
foreach (split /\n/, sql(q{SELECT what, count(locks) > 0 FROM attempt JOIN free USING (n) WHERE try <> 'x' AND (state = '00001' OR locks IS NOT NULL) GROUP BY what ORDER BY what}))
{
	my ($what, $kept) = /^(.*)\|([tf])$/;
	my $mallory = open_transaction('mallory');
	my $locks = $mallory->query_safe("SELECT mal.do(\$\$$what\$\$)");
	is(($locks > 0 ? 't' : 'f') . hindered(), $kept, "nobody waits for: $what ($locks locks kept)");
	end($mallory);
}

# More than she can do: the strongest lock on the public views, and one on each public
# function, each schema and the extension.
my $public = sql(q{SELECT string_agg(name, ', ') FROM object WHERE schema = 'walwarden' AND class = 'v'});
$holder = open_transaction('postgres', "LOCK TABLE $public IN ACCESS EXCLUSIVE MODE", map { "COMMENT ON $_ IS ''" } 'EXTENSION walwarden', split /\n/,
	sql(q{SELECT 'FUNCTION ' || oid::regprocedure FROM object WHERE kind = 'f' AND schema = 'walwarden' UNION ALL SELECT 'SCHEMA ' || name FROM object WHERE kind = 's'}));
is(hindered(), '', 'nobody waits for the public views');
is(outcome('SELECT count(*) FROM walwarden.token_list'), '55P03', 'except their readers');
end($holder);

# Two sessions of hers come close: one holds a lock on a view, the other waits for a
# stronger one, and readers wait behind it. A prepared transaction holds it without a
# session.
sub queue
{
	my ($first, $statement) = @_;
	my @sessions = (open_transaction('mallory', $first), session('mallory'));
	$sessions[1]->query_until(qr/^queued$/m, "\\echo queued\n$statement;\n");
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM lock WHERE NOT granted)}) or die 'nobody waits';
	return @sessions;
}
sub leave { my ($first, $second) = @_; end($first); $second->quit; }
my @queue = queue('PREPARE p AS SELECT FROM walwarden.token_list', 'CREATE RULE r AS ON INSERT TO walwarden.token_list DO INSTEAD NOTHING');
is(hindered(), '', 'nobody waits for a queue at a public view');
is(outcome('SELECT count(*) FROM walwarden.token_list'), '55P03', 'except its readers');
leave(@queue);
my $prepared = open_transaction('mallory', 'SELECT FROM walwarden.token_list');
$prepared->query_safe(q{PREPARE TRANSACTION 'kept'});
is(hindered() . outcome('SELECT count(*) FROM walwarden.token_list'), 'ok', 'nobody waits for a prepared transaction');
sql(q{ROLLBACK PREPARED 'kept'});
$prepared->quit;

# Maintenance does not wait for a table to restore its guard, because all who write would
# wait behind it. It restores the other guards, and this one in a later run.
my $weak = q{SELECT string_agg(tgrelid::regclass || ' ' || tgname, ', ' ORDER BY tgrelid::regclass::text) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND NOT tgisinternal AND tgenabled <> 'A'};
sql("ALTER TABLE walwarden_internal.$_ ENABLE TRIGGER signal_change") foreach qw(member org token);
my $locker = open_transaction('mallory', sprintf('DO $$BEGIN PERFORM nextval(%s::regclass); EXCEPTION WHEN OTHERS THEN NULL; END$$', sql(q{SELECT 'walwarden_internal.org'::regclass::oid})));
is(sql(q{SELECT mode FROM lock WHERE name = 'walwarden_internal.org'}), 'RowExclusiveLock', 'a stranger holds a lock on a table');
sql('SELECT walwarden.run_maintenance()');
is(sql($weak), 'walwarden_internal.org signal_change', 'the guards of other tables are restored');
end($locker);
sql('SELECT walwarden.run_maintenance()');
is(sql($weak), '', 'and this one when it has ended');

# The locks of src/base/lock.c are advisory, but no SQL function can take them.
$holder = open_transaction('postgres', q{SELECT walwarden.set_org_retention('acme', '8 days')});
my $keys = q{SELECT CASE WHEN l.c > 2147483647 THEN l.c - 4294967296 ELSE l.c END AS c, CASE WHEN l.o > 2147483647 THEN l.o - 4294967296 ELSE l.o END AS o FROM (SELECT classid::bigint AS c, objid::bigint AS o FROM pg_locks WHERE locktype = 'advisory') AS l};
is(sql(q{SELECT count(*) > 1, every(objsubid > 2) FROM pg_locks WHERE locktype = 'advisory'}), 't|t', 'an organisation and its chain are locked');
my $mallory = open_transaction('mallory', "CREATE TEMP TABLE key AS $keys");
is($mallory->query_safe('SELECT every(pg_try_advisory_lock(c::int, o::int)), every(pg_try_advisory_lock((c << 32) | (o & 4294967295))) FROM key'), 't|t', 'their numbers are free for others');
end($holder);
is(hindered(), '', 'and nobody waits for them');
$mallory->quit;

# Everybody may update pg_settings, and so lock it.
$mallory = open_transaction('mallory', 'LOCK TABLE pg_catalog.pg_settings IN ACCESS EXCLUSIVE MODE');
is(hindered(), '', 'nobody waits for pg_settings');
end($mallory);

# A publication of all tables includes the inner ones.
sql('CREATE PUBLICATION everything FOR ALL TABLES');
is(hindered(), '', 'everything is done while all tables are published');
sql('DROP PUBLICATION everything');

# This test can fail: with USAGE she locks inner objects, and authentication stops.
sql('GRANT USAGE ON SCHEMA walwarden_internal TO mallory');
$holder = hold_everything();
try_all('open', 'true', 'false');
end($holder);
my $opened = sql(q{SELECT DISTINCT what FROM attempt JOIN open USING (n) WHERE schema = 'walwarden_internal' AND try NOT IN ('a', 'i') AND state = '55P03'});
foreach my $what ('PREPARE', 'CREATE RULE', 'CREATE TRIGGER', 'REFERENCES', 'CREATE VIEW', 'COMMENT', 'DROP', 'ANALYZE, CLUSTER, REINDEX', 'VACUUM and others outside') { like($opened, qr/^\Q$what\E$/m, "with USAGE, $what asks for a lock"); }
$mallory = open_transaction('mallory', 'PREPARE inner_table AS SELECT FROM walwarden_internal.credential');
isnt($mallory->query_safe('SELECT mal.locks(\'{}\')'), '', 'and keeps it');
end($mallory);
@queue = queue('PREPARE inner_table AS SELECT FROM walwarden_internal.credential', 'CREATE RULE r AS ON INSERT TO walwarden_internal.credential DO INSTEAD NOTHING');
like(hindered(), qr/^authenticate, .* 55P03/, 'and authentication waits');
leave(@queue);
sql('REVOKE USAGE ON SCHEMA walwarden_internal FROM mallory');

# She builds on public objects everything that she can, and commits.
$mallory = session('mallory');
$mallory->query_safe('SET client_min_messages = error');
$mallory->query_safe("SELECT mal.do(\$\$$_\$\$)") foreach split /\n/, sql(q{SELECT DISTINCT what FROM attempt JOIN free USING (n) WHERE try <> 'x' AND state = '00001'});
$mallory->quit;
is(sql(q{SELECT DISTINCT o.schema, o.kind, d.classid::regclass, d.deptype FROM pg_depend AS d JOIN object AS o ON o.classid = d.refclassid AND o.oid = d.refobjid
	       WHERE (d.classid, d.objid) NOT IN (SELECT classid, oid FROM object)
	         AND (d.classid = 'pg_default_acl'::regclass OR NOT EXISTS (SELECT FROM pg_depend AS m JOIN object AS p ON p.classid = m.refclassid AND p.oid = m.refobjid WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype IN ('i', 'a')))
	         AND NOT (o.schema = 'walwarden' AND o.kind IN ('r', 'f', 't') AND d.deptype = 'n')
	       ORDER BY 1, 2}), "extension|e|pg_proc|x\nwalwarden|s|pg_default_acl|a\nwalwarden_internal|s|pg_default_acl|a\nwalwarden_rest|s|pg_default_acl|a", 'nothing of hers depends on other objects than public ones');
is(sql(q{SELECT name FROM object AS o WHERE schema = 'walwarden' AND kind IN ('r', 'f') AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid JOIN pg_class AS c ON c.oid = w.ev_class
	      WHERE c.relnamespace = 'mal'::regnamespace AND d.refclassid = o.classid AND d.refobjid = o.oid) AND name NOT IN (SELECT oid::regproc::text FROM pg_proc WHERE prorettype IN ('void'::regtype, 'trigger'::regtype))}),
	'', 'a view of hers stands over every public function and view');

# An update that replaces all public functions, and adds a column to all public views; and
# one that changes tables. Both begin as every update does.
my ($version) = slurp_file("$extensions/walwarden.control") =~ /^default_version *= *'(.*)'/m;
my $head = slurp_file('sql/upgrade/head.sql');
add_script("walwarden--$version--9.0.0.sql", $head . sql(q{
	SELECT pg_get_functiondef(oid) || ';' FROM object WHERE kind = 'f' AND schema = 'walwarden'
	UNION ALL
	SELECT format('CREATE OR REPLACE VIEW %s%s AS SELECT v.*, 1 AS later FROM (%s) AS v;', o.name, ' WITH (' || array_to_string(c.reloptions, ', ') || ')', rtrim(pg_get_viewdef(c.oid), ';'))
	  FROM object AS o JOIN pg_class AS c USING (oid) WHERE o.class = 'v' AND o.schema = 'walwarden'}));
add_script('walwarden--9.0.0--9.0.1.sql', $head . join("\n", map { "ALTER TABLE walwarden_internal.$_ ADD COLUMN later int;" } qw(org member token credential)));
my %update = map { $_ => "ALTER EXTENSION walwarden UPDATE TO '$_'" } '9.0.0', '9.0.1';
my $alone = "SET lock_timeout = 0; SET walwarden.audit_lock_timeout = '100ms'; ";
foreach my $view (split /, /, $public)
{
	$mallory = open_transaction('mallory', "PREPARE kept AS SELECT FROM $view");
	is(outcome($alone . $update{'9.0.0'}), '55P03', "an update does not wait long for $view");
	is(hindered(), '', 'and nobody waits for it');
	end($mallory);
}
# newer minor releases lock the extension before the script begins
$mallory = open_transaction('mallory', q{SELECT mal.do('DEPENDS ON EXTENSION')});
like(outcome("BEGIN; $update{'9.0.0'}; ROLLBACK"), qr/^(ok|55P03)$/, 'a session with lock_timeout does not wait long for the extension');
is(hindered(), '', 'and nobody waits for it');
end($mallory);
$mallory = open_transaction('mallory', 'LOCK TABLE pg_catalog.pg_settings IN ACCESS EXCLUSIVE MODE', map { "SELECT mal.do('$_')" } 'call', 'nextval() by OID');
is(outcome($update{'9.0.0'}), 'ok', 'an update succeeds beside her objects on everything public, and her locks on tables');
end($mallory);
is(sql(q{SELECT count(*) > 0 FROM pg_attribute WHERE attname = 'later' AND attrelid IN (SELECT oid FROM object WHERE schema = 'walwarden' AND class = 'v')}), 't', 'and views have a column more');
is(hindered(), '', 'everything is done after it');
$mallory = open_transaction('mallory', q{SELECT mal.do('nextval() by OID')});
is(outcome($alone . $update{'9.0.1'}), '55P03', 'one that changes tables does not wait long for them either');
is(hindered(), '', 'and nobody waits for it');
end($mallory);
is(outcome($update{'9.0.1'}), 'ok', 'and succeeds when she has ended');
is(hindered(), 'verify', 'everything is done after it, but verification names the columns, which this delta does not record');

# She cannot keep the extension from being dropped.
is(outcome('DROP EXTENSION walwarden'), '2BP01', 'objects on it are not dropped without CASCADE');
$mallory = open_transaction('mallory', q{SELECT mal.do('DEPENDS ON EXTENSION')});
is(outcome('DROP EXTENSION walwarden CASCADE'), '55P03', 'DROP waits for her lock');
end($mallory);
is(outcome('DROP EXTENSION walwarden CASCADE'), 'ok', 'and succeeds when she has ended');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname ~ '^walwarden'}) . sql('SELECT count(*) FROM mal.own'), '00', 'without a trace, and without her tables');

$node->stop;
done_testing();

__DATA__
r|PREPARE|PREPARE p{n} AS SELECT 1 FROM {o}
r|PREPARE FOR UPDATE|PREPARE p{n} AS SELECT 1 FROM {o} FOR UPDATE
r|PREPARE of a change|PREPARE p{n} AS INSERT INTO {o} DEFAULT VALUES
r|PREPARE of a change|PREPARE p{n} AS DELETE FROM {o}
r|PREPARE of a change|PREPARE p{n} AS UPDATE {o} SET {c} = NULL
r|PREPARE of a change|PREPARE p{n} AS MERGE INTO {o} USING mal.own ON true WHEN MATCHED THEN DELETE
r|SELECT|SELECT 1 FROM {o}
r|SELECT|EXPLAIN SELECT 1 FROM {o}
r|SELECT|SELECT pg_catalog.nextval('{o}')
r|SELECT|SELECT '{o}'::regclass
r|change|INSERT INTO {o} DEFAULT VALUES
r|change|DELETE FROM {o}
r|change|UPDATE {o} SET {c} = NULL
r|change|TRUNCATE {o}
r|DECLARE CURSOR|DECLARE c{n} CURSOR FOR SELECT 1 FROM {o}
r|LOCK TABLE|LOCK TABLE {o} IN ACCESS SHARE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN ROW SHARE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN ROW EXCLUSIVE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN SHARE UPDATE EXCLUSIVE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN SHARE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN EXCLUSIVE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o} IN ACCESS EXCLUSIVE MODE
r|LOCK TABLE, stronger|LOCK TABLE {o}
r|CREATE VIEW|CREATE VIEW mal.o{n} AS SELECT * FROM {o}
r|CREATE VIEW|CREATE TEMP VIEW o{n} AS SELECT 1 FROM {o}
r|CREATE VIEW|CREATE MATERIALIZED VIEW mal.o{n} AS SELECT 1 FROM {o} WITH NO DATA
r|CREATE VIEW of rows|CREATE VIEW mal.o{n} AS SELECT r FROM {o} AS r
r|CREATE VIEW of rows|CREATE VIEW mal.o{n} AS SELECT array_agg(r) AS r FROM {o} AS r
r|CREATE TABLE AS|CREATE TABLE mal.o{n} AS SELECT * FROM {o} WITH NO DATA
r|CREATE TABLE of rows|CREATE TABLE mal.o{n} AS SELECT r FROM {o} AS r WITH NO DATA
r|CREATE TABLE of rows|CREATE TABLE mal.o{n} AS SELECT ARRAY(SELECT r FROM {o} AS r) AS r WITH NO DATA
r|CREATE TABLE LIKE|CREATE TABLE mal.o{n} (LIKE {o} INCLUDING ALL)
r|CREATE TABLE INHERITS|CREATE TABLE mal.o{n} () INHERITS ({o})
r|CREATE TABLE INHERITS|CREATE TABLE mal.o{n} PARTITION OF {o} DEFAULT
r|CREATE TABLE INHERITS|ALTER TABLE mal.own INHERIT {o}
r|CREATE TABLE INHERITS|ALTER TABLE mal.parts ATTACH PARTITION {o} DEFAULT
r|REFERENCES|CREATE TABLE mal.o{n} (x uuid REFERENCES {o})
r|REFERENCES|ALTER TABLE mal.own ADD FOREIGN KEY (id) REFERENCES {o} NOT VALID
r|CREATE RULE|CREATE RULE o{n} AS ON INSERT TO {o} DO INSTEAD NOTHING
r|CREATE RULE|DROP RULE "_RETURN" ON {o}
r|CREATE RULE|ALTER RULE "_RETURN" ON {o} RENAME TO o{n}
r|CREATE RULE of her own|CREATE RULE o{n} AS ON INSERT TO mal.own DO ALSO SELECT 1 FROM {o}
r|CREATE RULE of her own|CREATE RULE o{n} AS ON INSERT TO mal.own DO ALSO DELETE FROM {o}
r|CREATE TRIGGER|CREATE TRIGGER o{n} BEFORE INSERT ON {o} FOR EACH ROW EXECUTE FUNCTION mal.trap()
r|CREATE TRIGGER|CREATE TRIGGER o{n} INSTEAD OF INSERT ON {o} FOR EACH ROW EXECUTE FUNCTION mal.trap()
r|CREATE TRIGGER|CREATE CONSTRAINT TRIGGER o{n} AFTER INSERT ON mal.own FROM {o} FOR EACH ROW EXECUTE FUNCTION mal.trap()
r|CREATE POLICY|CREATE POLICY o{n} ON {o}
r|CREATE POLICY of her own|CREATE POLICY o{n} ON mal.own USING (EXISTS (SELECT FROM {o}))
r|CREATE INDEX|CREATE INDEX ON {o} ({c})
r|CREATE INDEX|CREATE STATISTICS mal.o{n} ON {c}, {c} FROM {o}
r|CREATE PUBLICATION|CREATE PUBLICATION o{n} FOR TABLE {o}
r|OWNED BY|ALTER SEQUENCE mal.counter OWNED BY {o}.{c}
r|COMMENT|COMMENT ON TABLE {o} IS ''
r|COMMENT|COMMENT ON VIEW {o} IS ''
r|COMMENT|COMMENT ON COLUMN {o}.{c} IS ''
r|COMMENT|COMMENT ON INDEX {o} IS ''
r|COMMENT|COMMENT ON RULE "_RETURN" ON {o} IS ''
r|COMMENT|SECURITY LABEL ON TABLE {o} IS ''
r|ALTER|ALTER TABLE {o} ADD COLUMN o{n} int
r|ALTER|ALTER TABLE {o} OWNER TO mallory
r|ALTER|ALTER TABLE {o} SET SCHEMA mal
r|ALTER|ALTER TABLE {o} RENAME TO o{n}
r|ALTER|ALTER TABLE {o} DISABLE TRIGGER ALL
r|ALTER|ALTER TABLE {o} SET (autovacuum_enabled = off)
r|ALTER|ALTER VIEW {o} SET (security_barrier = off)
r|ALTER|ALTER INDEX {o} SET (fillfactor = 50)
r|ALTER|ALTER INDEX {o} ATTACH PARTITION {o}
r|ALTER|ALTER TABLE {o} ALTER {c} SET STATISTICS 1
r|ALTER|CREATE OR REPLACE VIEW {o} AS SELECT 1 AS x
r|DROP|DROP TABLE {o}
r|DROP|DROP VIEW {o}
r|DROP|DROP INDEX {o}
r|GRANT|GRANT ALL ON {o} TO mallory
r|GRANT|REVOKE ALL ON {o} FROM PUBLIC
r|ANALYZE, CLUSTER, REINDEX|ANALYZE {o}
r|ANALYZE, CLUSTER, REINDEX|CLUSTER {o}
r|ANALYZE, CLUSTER, REINDEX|REINDEX TABLE {o}
r|ANALYZE, CLUSTER, REINDEX|REINDEX INDEX {o}
r|ANALYZE, CLUSTER, REINDEX|REFRESH MATERIALIZED VIEW {o}
r|CREATE FUNCTION that reads it|CREATE FUNCTION mal.o{n}() RETURNS SETOF int BEGIN ATOMIC SELECT 1 FROM {o}; END
r|CREATE FUNCTION of a column's type|CREATE FUNCTION mal.o{n}(x {o}.{c}%TYPE) RETURNS int LANGUAGE sql RETURN 1
t|CREATE TABLE OF|CREATE TABLE mal.o{n} OF {o}
t|CREATE TABLE OF|ALTER TABLE mal.own OF {o}
t|CREATE TABLE with a column|CREATE TABLE mal.o{n} (x {o})
t|CREATE TABLE with a column|CREATE TABLE mal.o{n} (x {o}[])
t|CREATE TABLE with a column|ALTER TABLE mal.own ADD COLUMN o{n} {o}
t|CREATE TABLE with a column|ALTER TABLE mal.own ALTER COLUMN id TYPE {o} USING NULL
t|CREATE TYPE|CREATE DOMAIN mal.o{n} AS {o}
t|CREATE TYPE|CREATE TYPE mal.o{n} AS (x {o})
t|CREATE TYPE|CREATE TYPE mal.o{n} AS RANGE (subtype = {o})
t|CREATE FUNCTION of its type|CREATE FUNCTION mal.o{n}(x {o}) RETURNS int LANGUAGE sql AS 'SELECT 1'
t|CREATE FUNCTION of its type|CREATE FUNCTION mal.o{n}() RETURNS {o} LANGUAGE sql AS 'SELECT NULL'
t|CREATE FUNCTION of its type|CREATE FUNCTION mal.o{n}() RETURNS SETOF {o} LANGUAGE plpgsql AS 'BEGIN END'
t|CREATE FUNCTION of its type|CREATE FUNCTION mal.o{n}() RETURNS TABLE (x {o}) LANGUAGE plpgsql AS 'BEGIN END'
t|an expression of its type|CREATE FUNCTION mal.o{n}() RETURNS int BEGIN ATOMIC SELECT 1 WHERE NULL::{o} IS NULL; END
t|CREATE AGGREGATE, OPERATOR, CAST|CREATE AGGREGATE mal.o{n}(int) (SFUNC = int4pl, STYPE = {o})
t|CREATE AGGREGATE, OPERATOR, CAST|CREATE OPERATOR mal.@ (FUNCTION = int4pl, LEFTARG = {o}, RIGHTARG = int)
t|CREATE AGGREGATE, OPERATOR, CAST|CREATE CAST ({o} AS mal.own) WITH INOUT
t|CREATE AGGREGATE, OPERATOR, CAST|CREATE CAST (mal.own AS {o}) WITH INOUT
t|CREATE AGGREGATE, OPERATOR, CAST|CREATE OPERATOR CLASS mal.o{n} FOR TYPE {o} USING btree AS FUNCTION 1 int4pl(int, int)
t|an expression of its type|CREATE VIEW mal.o{n} AS SELECT 1 WHERE NULL::{o} IS NULL
t|CREATE VIEW of its type|CREATE VIEW mal.o{n} AS SELECT NULL::{o}
t|PREPARE of its type|PREPARE p{n}({o}) AS SELECT 1
t|PREPARE of its type|SELECT NULL::{o}
t|ALTER|ALTER TYPE {o} OWNER TO mallory
t|ALTER|ALTER TYPE {o} RENAME TO o{n}
t|ALTER|ALTER TYPE {o} ADD ATTRIBUTE o{n} int
t|COMMENT|COMMENT ON TYPE {o} IS ''
t|DROP|DROP TYPE {o}
t|GRANT|GRANT USAGE ON TYPE {o} TO mallory
f|call|SELECT {o}({given})
f|call|SELECT * FROM {o}({given})
f|call|CALL {o}({given})
f|PREPARE|PREPARE p{n} AS SELECT {o}({nulls})
f|PREPARE|PREPARE p{n} AS SELECT * FROM {o}({nulls})
f|DECLARE CURSOR|DECLARE c{n} CURSOR FOR SELECT {o}({nulls})
f|CREATE VIEW|CREATE VIEW mal.o{n} AS SELECT {o}({nulls}) AS x
f|CREATE VIEW|CREATE VIEW mal.o{n} AS SELECT 1 FROM {o}({nulls})
f|CREATE VIEW|CREATE MATERIALIZED VIEW mal.o{n} AS SELECT 1 FROM {o}({nulls}) WITH NO DATA
f|CREATE TABLE that calls it|CREATE TABLE mal.o{n} (x text DEFAULT {o}({nulls})::text)
f|CREATE TABLE that calls it|CREATE TABLE mal.o{n} (x text CHECK ({o}({nulls}) IS NOT NULL))
f|CREATE TABLE that calls it|CREATE TABLE mal.o{n} AS SELECT 1 FROM {o}({nulls}) WITH NO DATA
f|CREATE RULE of her own|CREATE RULE o{n} AS ON INSERT TO mal.own DO ALSO SELECT {o}({nulls})
f|CREATE POLICY of her own|CREATE POLICY o{n} ON mal.own USING ({o}({nulls}) IS NOT NULL)
f|CREATE INDEX|CREATE INDEX ON mal.own (({o}({nulls})))
f|CREATE TRIGGER|CREATE TRIGGER o{n} AFTER INSERT ON mal.own FOR EACH ROW EXECUTE FUNCTION {o}()
f|CREATE TRIGGER|CREATE TRIGGER o{n} AFTER INSERT ON mal.own FOR EACH ROW WHEN ({o}({nulls}) IS NOT NULL) EXECUTE FUNCTION mal.trap()
f|CREATE FUNCTION that calls it|CREATE FUNCTION mal.o{n}() RETURNS SETOF int BEGIN ATOMIC SELECT 1 FROM {o}({nulls}); END
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE OPERATOR mal.@ (FUNCTION = {o}{operands})
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE OPERATOR mal.@ (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int, RESTRICT = {o})
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE AGGREGATE mal.o{n}(text) (SFUNC = {o}, STYPE = text)
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE AGGREGATE mal.o{n}(text) (SFUNC = textcat, STYPE = text, FINALFUNC = {o})
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE CAST (text AS mal.own) WITH FUNCTION {o}({types})
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE TYPE mal.o{n} (INPUT = {o}, OUTPUT = {o})
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE LANGUAGE o{n} HANDLER {o}
f|CREATE AGGREGATE, OPERATOR, CAST|CREATE EVENT TRIGGER o{n} ON ddl_command_end EXECUTE FUNCTION {o}()
f|COMMENT|COMMENT ON FUNCTION {o}({types}) IS ''
f|ALTER|ALTER FUNCTION {o}({types}) COST 1
f|ALTER|ALTER FUNCTION {o}({types}) OWNER TO mallory
f|ALTER|ALTER FUNCTION {o}({types}) RENAME TO o{n}
f|ALTER|ALTER FUNCTION {o}({types}) SET SCHEMA mal
f|ALTER|ALTER FUNCTION {o}({types}) DEPENDS ON EXTENSION plpgsql
f|ALTER|CREATE OR REPLACE FUNCTION {o}({types}) RETURNS int LANGUAGE sql RETURN 1
f|DROP|DROP FUNCTION {o}({types})
f|GRANT|GRANT EXECUTE ON FUNCTION {o}({types}) TO mallory
s|COMMENT|COMMENT ON SCHEMA {o} IS ''
s|ALTER|ALTER SCHEMA {o} RENAME TO o{n}
s|ALTER|ALTER SCHEMA {o} OWNER TO mallory
s|DROP|DROP SCHEMA {o} CASCADE
s|GRANT|GRANT USAGE ON SCHEMA {o} TO mallory
s|GRANT|GRANT SELECT ON ALL TABLES IN SCHEMA {o} TO mallory
s|GRANT|GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {o} TO mallory
s|ALTER DEFAULT PRIVILEGES|ALTER DEFAULT PRIVILEGES IN SCHEMA {o} GRANT SELECT ON TABLES TO PUBLIC
s|CREATE in it|CREATE TABLE {o}.o{n} ()
s|CREATE in it|CREATE FUNCTION {o}.o{n}() RETURNS int LANGUAGE sql RETURN 1
s|CREATE in it|CREATE TYPE {o}.o{n} AS (x int)
s|CREATE in it|ALTER TABLE mal.own SET SCHEMA {o}
s|CREATE in it|CREATE SCHEMA {o}
s|CREATE PUBLICATION|CREATE PUBLICATION o{n} FOR TABLES IN SCHEMA {o}
s|CREATE PUBLICATION|CREATE PUBLICATION o{n} FOR ALL TABLES
e|COMMENT|COMMENT ON EXTENSION {o} IS ''
e|ALTER|ALTER EXTENSION {o} UPDATE
e|ALTER|ALTER EXTENSION {o} SET SCHEMA mal
e|ALTER|ALTER EXTENSION {o} ADD TABLE mal.own
e|ALTER|ALTER EXTENSION {o} DROP SCHEMA walwarden
e|DROP|DROP EXTENSION {o} CASCADE
e|CREATE in it|CREATE EXTENSION {o}
e|DEPENDS ON EXTENSION|ALTER FUNCTION mal.trap() DEPENDS ON EXTENSION {o}
e|REASSIGN OWNED|REASSIGN OWNED BY {owner} TO mallory
e|REASSIGN OWNED|DROP OWNED BY {owner}
e|REASSIGN OWNED|ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_global
i|nextval() by OID|SELECT pg_catalog.nextval({i}::regclass)
i|definition by OID|SELECT pg_catalog.pg_get_viewdef({i}::oid)
i|definition by OID|SELECT pg_catalog.table_to_xmlschema({i}::regclass, false, false, '')
x|VACUUM and others outside|VACUUM {o}
x|VACUUM and others outside|VACUUM (FULL, ANALYZE) {o}
x|VACUUM and others outside|REINDEX TABLE CONCURRENTLY {o}
x|VACUUM and others outside|REINDEX INDEX CONCURRENTLY {o}
x|VACUUM and others outside|CREATE INDEX CONCURRENTLY ON {o} ({c})
x|VACUUM and others outside|DROP INDEX CONCURRENTLY {o}
x|VACUUM and others outside|COPY {o} TO STDOUT

