# ALTER EXTENSION UPDATE leads to what CREATE EXTENSION makes, and keeps the data; the
# library serves the SQL of before until then. From every version that was released
# (sql/released) to the present one. The mechanism is tried on two versions that never
# were: the present script under another name, and one that comes after it, of parts
# that are changed here, with the delta that make builds.
use strict;
use warnings;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $extensions = `pg_config --sharedir`);
$extensions .= '/extension';
# scripts are put beside the installed ones: in test/run's copy, nowhere else
plan skip_all => 'only in the copy that test/run makes' unless $ENV{WORK} && index($extensions, "$ENV{WORK}/") == 0;
my @added;
sub write_file { my ($name, $text) = @_; open(my $file, '>', $name) or die "$name: $!"; print $file $text; close $file; return; }
sub add_script { my ($name, $text) = @_; push @added, "$extensions/$name"; write_file("$extensions/$name", $text); return; }
END { unlink @added; }

my ($current) = slurp_file("$extensions/walwarden.control") =~ /^default_version *= *'(.*)'/m;
my $script = slurp_file("$extensions/walwarden--$current.sql");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "walwarden.audit_lock_timeout = '50ms'\nautovacuum = off\n");
$node->start;
sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }
sub failure { my ($db, $query) = @_; my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }
sub create { my ($db, $version) = @_; sql('postgres', "CREATE DATABASE $db"); sql($db, "CREATE EXTENSION pgcrypto; CREATE EXTENSION walwarden VERSION '$version'"); return; }

# Every object of the extension, line by line, and all that was decided about it: what
# it is, then after a colon what is said of it.
# Rights are compared as they work: NULL stands for the default. pg_attver is a stamp
# that recent minor releases of the server put on columns.
my $shape = <<'SQL';
WITH ext AS (SELECT * FROM pg_extension WHERE extname = 'walwarden'),
member AS (SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
             FROM pg_depend AS d JOIN ext ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = ext.oid, pg_identify_object(d.classid, d.objid, 0) AS i
            WHERE d.deptype = 'e'),
inside AS (SELECT d.objid AS oid FROM pg_depend AS d JOIN ext ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = ext.oid WHERE d.classid = 'pg_namespace'::regclass AND d.deptype = 'e'),
rel AS (SELECT c.*, 'relation ' || c.oid::regclass AS name FROM pg_class AS c JOIN inside ON inside.oid = c.relnamespace),
fun AS (SELECT p.*, 'function ' || p.oid::regprocedure AS name FROM pg_proc AS p JOIN inside ON inside.oid = p.pronamespace),
-- whatever is there, whether it belongs to the extension or not
object AS (SELECT 'pg_class'::regclass AS classid, r.oid AS objid, r.name FROM rel AS r
           UNION ALL SELECT 'pg_proc'::regclass, f.oid, f.name FROM fun AS f
           UNION ALL SELECT 'pg_type'::regclass, t.oid, 'type ' || t.oid::regtype FROM pg_type AS t JOIN inside ON inside.oid = t.typnamespace
           UNION ALL SELECT 'pg_namespace'::regclass, n.oid, 'schema ' || n.oid::regnamespace FROM pg_namespace AS n JOIN inside ON inside.oid = n.oid),
acl(classid, objid, subid, acl, fallback) AS (
           SELECT 'pg_class'::regclass, r.oid, 0, r.relacl, acldefault('r', r.relowner) FROM rel AS r WHERE r.relkind IN ('r', 'v')
           UNION ALL SELECT 'pg_proc'::regclass, f.oid, 0, f.proacl, acldefault('f', f.proowner) FROM fun AS f
           UNION ALL SELECT 'pg_type'::regclass, t.oid, 0, t.typacl, acldefault('T', t.typowner) FROM pg_type AS t JOIN inside ON inside.oid = t.typnamespace WHERE t.typelem = 0
           UNION ALL SELECT 'pg_namespace'::regclass, n.oid, 0, n.nspacl, acldefault('n', n.nspowner) FROM pg_namespace AS n JOIN inside ON inside.oid = n.oid
           UNION ALL SELECT 'pg_class'::regclass, r.oid, a.attnum, a.attacl, NULL FROM rel AS r JOIN pg_attribute AS a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL)
SELECT replace(l.line, chr(10), ' ~ ') FROM (
    SELECT 'extension: ' || concat_ws(' ', extversion, extowner::regrole, extnamespace::regnamespace, extrelocatable) AS line FROM ext
    UNION ALL SELECT 'member ' || name FROM member
    UNION ALL SELECT 'dumped ' || c::regclass || ': ' || w FROM ext, unnest(extconfig, extcondition) AS u(c, w)
    UNION ALL SELECT 'dependence of ' || coalesce(o.name, 'extension') || ' ' || d.objsubid || ' ' || d.deptype::text || ' on ' || i.type || ' ' || i.identity
                FROM pg_depend AS d
                LEFT JOIN object AS o ON o.classid = d.classid AND o.objid = d.objid, pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) AS i
               WHERE (o.objid IS NOT NULL OR (d.classid = 'pg_extension'::regclass AND d.objid = (SELECT oid FROM ext)))
    UNION ALL SELECT f.name || ': ' || f.proowner::regrole || ' ' || pg_get_functiondef(f.oid) FROM fun AS f WHERE f.prokind <> 'a'
    UNION ALL SELECT r.name || ': ' || concat_ws(' ', r.relkind, r.relowner::regrole, r.relpersistence, r.relrowsecurity, r.relforcerowsecurity, r.relreplident, r.reloptions, r.reltablespace)
                  || CASE r.relkind WHEN 'v' THEN pg_get_viewdef(r.oid) WHEN 'i' THEN pg_get_indexdef(r.oid) ELSE '' END FROM rel AS r
    UNION ALL SELECT r.name || ' column ' || a.attname || ': ' || concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation, a.attidentity, a.attgenerated, a.attstorage, (SELECT string_agg(o, ',') FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_attver='), pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
                FROM rel AS r JOIN pg_attribute AS a ON a.attrelid = r.oid LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
               WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'i'
    UNION ALL SELECT r.name || ' constraint ' || k.conname || ': ' || concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint')) FROM rel AS r JOIN pg_constraint AS k ON k.conrelid = r.oid
    UNION ALL SELECT r.name || ' trigger ' || t.tgname || ': ' || concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger')) FROM rel AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL SELECT r.name || ' rule ' || w.rulename || ': ' || pg_get_ruledef(w.oid) FROM rel AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
    UNION ALL SELECT r.name || ' policy ' || p.polname FROM rel AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    UNION ALL SELECT 'type ' || t.oid::regtype || ': ' || concat_ws(' ', t.typtype, t.typowner::regrole, t.typnotnull, t.typdefault) FROM pg_type AS t JOIN inside ON inside.oid = t.typnamespace
    UNION ALL SELECT 'comment on ' || o.name || ': ' || obj_description(o.objid, o.classid::regclass::name) FROM object AS o WHERE obj_description(o.objid, o.classid::regclass::name) IS NOT NULL
    UNION ALL SELECT 'right on ' || o.name || ' ' || a.subid || ' ' || x.privilege_type || ' to ' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END || ': ' || x.is_grantable
                FROM acl AS a JOIN object AS o ON o.classid = a.classid AND o.objid = a.objid, aclexplode(coalesce(a.acl, a.fallback)) AS x
    -- pg_dump takes these for granted and dumps the difference
    UNION ALL SELECT 'dumped right on ' || o.name || ' ' || a.subid || ' ' || x.privilege_type || ' to ' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END
                FROM acl AS a JOIN object AS o ON o.classid = a.classid AND o.objid = a.objid
                LEFT JOIN pg_init_privs AS i ON i.classoid = a.classid AND i.objoid = a.objid AND i.objsubid = a.subid, aclexplode(coalesce(i.initprivs, a.fallback)) AS x
    UNION ALL SELECT 'digest of the catalogues: ' || walwarden_internal.catalogue_digest()
    ROWS OF CATALOGUES) AS l
 WHERE l.line IS NOT NULL ORDER BY l.line COLLATE "C";
SQL
my %seen;
# the row of maintenance_round is when a database got the extension
my @catalogues = grep { !$seen{$_}++ && !/\.maintenance_round$/ } $script =~ /^INSERT INTO (\S+)/mg;
my $rows = join ' ', map { "UNION ALL SELECT 'rows of $_: ' || t::text FROM $_ AS t" . (/\.scope$/ ? ' WHERE builtin' : '') } @catalogues;
$shape =~ s/ROWS OF CATALOGUES/$rows/;
# What differs, an object a line, and of one that is only different the place where it
# begins to be.
sub objects
{
	my %objects;
	foreach (split /\n/, $_[0]) { my ($object, $said) = split /: /, $_, 2; $objects{$object} .= ($said // '') . "\n"; }
	return %objects;
}
sub differences
{
	my %is = objects($_[0]);
	my %should = objects($_[1]);
	my @found;
	foreach my $object (sort keys %{ { %is, %should } })
	{
		my ($is, $should) = ($is{$object}, $should{$object});
		if (!defined $is) { push @found, "missing: $object"; }
		elsif (!defined $should) { push @found, "too much: $object"; }
		elsif ($is ne $should)
		{
			my $same = 0;
			$same++ while substr($is, $same, 1) eq substr($should, $same, 1);
			my $from = $same > 30 ? $same - 30 : 0;
			push @found, "different: $object", map { my ($what, $text) = @$_; "    $what " . substr($text, $from, 100) =~ tr/\n/ /r } [ 'is       ', $is ], [ 'should be', $should ];
		}
	}
	return join("\n", @found);
}

create('fresh', $current);

# C functions by their symbols: what they take and give
my $entries = q{SELECT DISTINCT concat_ws(' ', prosrc, oidvectortypes(proargtypes), prorettype::regtype, proisstrict, proretset, proallargtypes::regtype[], proargmodes) FROM pg_proc
	WHERE pronamespace::regnamespace::text ~ '^walwarden' AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') AND prosrc <> 'walwarden_door'};
my %entries = map { $_ => 1 } split /\n/, sql('fresh', $entries);

# Rows as they were; the columns of then.
sub contents
{
	my ($db, $columns) = @_;
	return join("\n", map { my ($table, $list) = split / /, $_, 2; "$table " . sql($db, "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT $list FROM $table) AS t") } split /\n/, $columns);
}
my $stored = q{SELECT c.oid::regclass || ' ' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_extension AS e, pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
	WHERE e.extname = 'walwarden' AND c.oid = ANY (e.extconfig) AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.oid ORDER BY 1};
sub verdicts
{
	my ($db) = @_;
	return sql($db, q{SELECT org, entries, head_hash, ok, reason FROM walwarden.verify_audit_chain() ORDER BY org}) . "\n"
	  . sql($db, q{SELECT org, entries, head_hash, ok, reason FROM walwarden.verify_audit_chain_sql(NULL) ORDER BY org});
}

# A request of REST v1, as PostgREST makes it.
sub request
{
	my ($token, $method, $path, $body, $key) = @_;
	my $headers = sprintf q{{"x-walwarden-token":"%s","x-walwarden-method":"%s","x-walwarden-path":"/api/v1%s","x-walwarden-content-type":"application/json"%s}}, $token, uc $method, $path, $key ? qq{,"idempotency-key":"$key"} : '';
	return "SELECT set_config('request.headers', '$headers', false) \\g /dev/null\nSELECT walwarden_rest.v1_$method(" . ($body ? "convert_to('$body', 'UTF8')" : '') . ')';
}

# What must hold of a version and its update to another, which is installed in the
# database of $fresh. Returns the database.
sub try_version
{
	my ($version, $to, $fresh) = @_;
	(my $db = "from_$version") =~ s/\W/_/g;
	my $update = "ALTER EXTENSION walwarden UPDATE TO '$to'";

	create($db, $version);
	is(join("\n", grep { !$entries{$_} } split /\n/, sql($db, $entries)), '', "$version: the library has its C functions, unchanged");

	# the old SQL with the new library
	my ($token, $gone) = split / /, sql($db, q{
		SELECT walwarden.create_org('acme', 'Acme Ltd'), walwarden.create_org('other') \g /dev/null
		SELECT walwarden.add_member('acme', 'ann', 'owner'), walwarden.add_member('acme', 'bob', 'member') \g /dev/null
		SELECT walwarden.create_scope('own:read', 'Own', 'Read own.'), walwarden.set_role_scopes('read_only', '{own:read}') \g /dev/null
		SELECT token AS gone FROM walwarden.issue_token('acme', 'gone', '{databases:read}') \gset
		SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme') \g /dev/null
		SELECT walwarden.append_audit('app.x', to_jsonb(i), NULL, 'acme') FROM generate_series(1, 20) AS i \g /dev/null
		SELECT token || ' ' || :'gone' FROM walwarden.issue_token('acme', 'kept', '{databases:read,own:read}')});
	my $private = sql($db, q{SELECT token FROM walwarden.issue_token('acme', 'private', '{databases:read}', owner => 'bob')});
	my $works = "BEGIN; SELECT walwarden.authenticate('$token') IS NOT NULL, walwarden.has_scope('databases:read'), walwarden.has_scope('databases:write'), walwarden.current_org(); COMMIT";
	is(sql($db, $works), 't|t|f|acme', "$version: a token works");
	is(sql($db, "BEGIN; SELECT walwarden.authenticate('$private') IS NOT NULL, walwarden.has_scope('databases:read'), walwarden.has_scope('databases:write'); COMMIT"), 't|t|f', "$version: a private one");
	is(sql($db, q{SELECT state FROM walwarden.list_tokens('acme') WHERE name = 'gone'}), 'revoked', "$version: one is revoked");
	is(failure($db, "SELECT walwarden.authenticate('$gone')"), '28000', "$version: and refused");
	is(sql($db, "SELECT walwarden.authorize('$token', 'own:read') IS NOT NULL"), 't', "$version: authorize");
	is(failure($db, "SELECT walwarden.authorize('$token', 'databases:write')"), '42501', "$version: refuses what the token does not hold");
	(my $renewed, my $old) = split / /, sql($db, q{SELECT token AS old FROM walwarden.issue_token('acme', 'renewed', '{databases:read}') \gset
		SELECT walwarden.disable_token(token_id), walwarden.enable_token(token_id), walwarden.update_token(token_id, 'other name') FROM walwarden.list_tokens('acme') WHERE name = 'renewed' \g /dev/null
		SELECT n.token || ' ' || :'old' FROM walwarden.list_tokens('acme') AS t, walwarden.renew_token(t.token_id) AS n WHERE t.name = 'other name'});
	is(failure($db, "SELECT walwarden.authenticate('$renewed')"), 'ok', "$version: a token is disabled, enabled, changed and renewed");
	is(failure($db, "SELECT walwarden.authenticate('$old')"), '28000', "$version: its old value is refused");
	my $api = sql($db, q{SELECT token FROM walwarden.issue_token('acme', 'api', (SELECT array_agg(name) FROM walwarden_internal.scope WHERE builtin))});
	my $destination = sql($db, request($api, 'post', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}', 'once') . q{ ->> 'id'});
	like($destination, qr/^[0-9a-f-]{36}$/, "$version: REST v1 changes");
	is(sql($db, request($api, 'get', "/destinations/$destination") . q{ ->> 'name'}), 'd', "$version: and answers");
	my $before = verdicts($db);
	unlike($before, qr/\|f\|/, "$version: the chains verify");
	my $columns = sql($db, $stored);
	my $rows = contents($db, $columns);

	# one connection lives through it
	my $witness = $node->background_psql($db, on_error_stop => 0);
	is($witness->query($works), 't|t|f|acme', "$version: a session authenticates before");

	# who is not the owner would own what is new
	sql('postgres', "CREATE ROLE other SUPERUSER") unless sql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'other'});
	is(failure($db, 'SET SESSION AUTHORIZATION other; ' . $update), '42501', "$version: another superuser is told to become the owner");

	is(failure($db, $update), 'ok', "$version: updates");
	is(differences(sql($db, $shape), sql($fresh, $shape)), '', "$version: becomes what is installed new");
	is(contents($db, $columns), $rows, "$version: the rows are as they were");
	is(verdicts($db), $before, "$version: so are the chains");
	is($witness->query($works), 't|t|f|acme', "$version: the session goes on");
	is(sql($db, request($api, 'post', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}', 'once') . q{ ->> 'id'}), $destination, "$version: REST v1 gives the answer of then under its key");
	sql($db, q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme') WHERE name = 'kept'});
	unlike($witness->query("SELECT walwarden.authenticate('$token')") // '', qr/-/, "$version: and honours what is revoked");
	$witness->quit;
	is(sql($db, q{SELECT walwarden.run_maintenance() IS NOT NULL}), 't', "$version: maintenance runs");
	unlike(verdicts($db), qr/\|f\|/, "$version: the chains verify, with what came later");

	# a dump of it loads where the extension was never an older one
	create("${db}_loaded", $to);
	my $file = $node->basedir . "/$db.sql";
	my ($none, $warnings) = run_command([ 'pg_dump', '-d', $node->connstr($db), '-f', $file ]);
	is($warnings, '', "$version: is dumped");
	$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr("${db}_loaded"), '-f', $file ], "$version: and restored");
	is(verdicts("${db}_loaded"), verdicts($db), "$version: with its chains");
	return $db;
}

# The update runs with a superuser's rights. What others planted in pgcrypto's schema,
# which is searched in a script, is not found: looks like what deltas use, and better.
# Default privileges neither stop it nor open what it makes.
sub try_hostile
{
	my ($version, $to, $fresh) = @_;
	(my $db = "hostile_$version") =~ s/\W/_/g;
	my $update = "ALTER EXTENSION walwarden UPDATE TO '$to'";
	my $open = q{SELECT count(*) FILTER (WHERE has_function_privilege('bystander', i.objid, 'EXECUTE')) AS functions FROM pg_depend AS i JOIN pg_extension AS e ON i.refobjid = e.oid AND i.deptype = 'e' AND e.extname = 'walwarden' WHERE i.classid = 'pg_proc'::regclass
		UNION ALL SELECT count(*) FROM pg_class AS c WHERE c.relnamespace::regnamespace::text ~ '^walwarden' AND c.relkind IN ('r', 'v') AND has_any_column_privilege('bystander', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
		UNION ALL SELECT count(*) FROM pg_type AS t, aclexplode(t.typacl) AS a WHERE t.typnamespace::regnamespace::text ~ '^walwarden' AND a.grantee = 'bystander'::regrole};

	sql('postgres', 'CREATE ROLE mallory; CREATE ROLE bystander') unless sql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'mallory'});
	create($db, $version);
	sql($db, 'GRANT CREATE ON SCHEMA public TO mallory');
	sql($db, q{SET ROLE mallory;
		CREATE FUNCTION public.take() RETURNS void LANGUAGE plpgsql AS 'BEGIN IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE mallory SUPERUSER; END IF; END';
		CREATE FUNCTION public.same(oid, integer) RETURNS boolean LANGUAGE sql AS 'SELECT public.take(); SELECT $1 OPERATOR(pg_catalog.=) $2::oid';
		CREATE FUNCTION public.other(oid, integer) RETURNS boolean LANGUAGE sql AS 'SELECT public.take(); SELECT $1 OPERATOR(pg_catalog.<>) $2::oid';
		CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.same);
		CREATE OPERATOR public.<> (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.other);
		CREATE FUNCTION public.format(text, regprocedure, regrole) RETURNS text LANGUAGE sql AS 'SELECT public.take(); SELECT pg_catalog.format($1, $2::text, $3::text)';
		CREATE FUNCTION public.acldefault(text, oid) RETURNS aclitem[] LANGUAGE sql AS $$SELECT public.take(); SELECT pg_catalog.acldefault($1::"char", $2)$$});
	sql($db, 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC');
	is(failure($db, "BEGIN; $update; ROLLBACK"), 'ok', "$version: updates where default privileges close functions");
	sql($db, 'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC, bystander; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, bystander; ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO bystander');
	is(failure($db, $update), 'ok', "$version: updates beside look-alikes");
	is(sql($db, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', "$version: and runs none of them");
	is(sql($db, $open), sql($fresh, $open), "$version: what is new is open to nobody more");
	return;
}

# Strangers may name what is public in views of their own, and read public views. Their
# objects do not stop an update, and what they lock stops it for a bounded time.
sub try_strangers
{
	my ($version, $to, $locked) = @_;    # locked: what becomes of an update while they read
	(my $db = "strangers_$version") =~ s/\W/_/g;
	my $update = "ALTER EXTENSION walwarden UPDATE TO '$to'";

	sql('postgres', 'CREATE ROLE stranger') unless sql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'stranger'});
	create($db, $version);
	sql($db, 'CREATE SCHEMA stranger AUTHORIZATION stranger');
	my @public = split /\n/, sql($db, q{
		SELECT CASE p.prorettype WHEN 'void'::regtype THEN 'count(*)' ELSE '*' END || ' FROM ' || p.oid::regproc || '(' || (SELECT coalesce(string_agg('NULL::' || a::regtype, ', '), '') FROM unnest(p.proargtypes) AS a) || ')' FROM pg_proc AS p WHERE p.pronamespace = 'walwarden'::regnamespace
		UNION ALL SELECT '* FROM ' || c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = 'walwarden'::regnamespace AND c.relkind = 'v'});
	my $named = 0;
	sql($db, join(';', 'SET ROLE stranger', map { $named++; "CREATE VIEW stranger.v$named AS SELECT $_" } @public));
	cmp_ok($named, '>', 0, "$version: a stranger has views over all that is public");
	my $type = sql($db, q{SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class AS c WHERE c.relnamespace = 'walwarden'::regnamespace AND has_type_privilege('stranger', c.reltype, 'USAGE')});
	is($type, '', "$version: but no column of a row type");

	my $reader = $node->background_psql($db, on_error_stop => 0);
	$reader->query('SET ROLE stranger; BEGIN; SELECT count(*) FROM walwarden.token_list');
	like(failure($db, "SET statement_timeout = '10min'; BEGIN; $update; ROLLBACK"), $locked, "$version: the update does not wait for ever for what they lock");
	$reader->query('ROLLBACK');
	is(sql($db, "BEGIN; $update; SHOW lock_timeout; ROLLBACK"), '50ms', "$version: but as long as the extension does");
	is(sql($db, "SET lock_timeout = '40ms'; BEGIN; $update; SHOW lock_timeout; ROLLBACK"), '40ms', "$version: or its session");
	is(failure($db, $update), 'ok', "$version: without that it succeeds");
	$reader->quit;
	is(sql($db, "SELECT count(*) FROM pg_class WHERE relnamespace = 'stranger'::regnamespace"), $named, "$version: and the views are there");
	return;
}

# Versions that were released: their scripts are kept as they were.
my @released = map { m{walwarden--((?:(?!--).)*)\.sql$} } sort glob('sql/released/walwarden--*.sql');
note('no version was released') unless @released;
foreach my $version (@released)
{
	my $text = slurp_file("sql/released/walwarden--$version.sql");
	if ($version eq $current) { is($script eq $text ? 'same' : 'another', 'same', "$version was released: its script is as it was"); next; }
	add_script("walwarden--$version.sql", $text);
	try_version($version, $current, 'fresh');
	try_hostile($version, $current, 'fresh');
	try_strangers($version, $current, qr/^(?:ok|55P03)$/);    # whether it replaces a view or not
}

# The next version, in a copy of the tree where this one was released.
my ($base, $next) = ("$current-base", "$current-next");
my $tree = PostgreSQL::Test::Utils::tempdir() . '/tree';
my @parts;
mkdir $tree;
system_or_bail('cp', '-a', 'Makefile', 'walwarden.control', 'sql', 'src', 'web', glob('*.so'), $tree);
unlink glob("$tree/sql/upgrade/*--*.sql"), glob("$tree/sql/released/*");
mkdir "$tree/sql/released";
find({ no_chdir => 1, wanted => sub { push @parts, $_ if /\.sql$/ } }, "$tree/sql/schema");
# of the one part that has it
sub edit
{
	my ($what, $change) = @_;
	my @found = grep { my $text = slurp_file($_); $text =~ $what } @parts;
	die scalar(@found) . " parts have $what" unless @found == 1;
	my $text = slurp_file($found[0]);
	my $times = $text =~ s/$what/$change->()/ge;
	die "$times times: $what" unless $times == 1;
	write_file($found[0], $text);
	return;
}
sub make { my ($target) = @_; system_or_bail('make', '-s', '-C', $tree, 'with_llvm=no', "DESTDIR=$tree/root", $target); return; }

write_file("$tree/sql/released/walwarden--$base.sql", $script);
(my $control = slurp_file("$tree/walwarden.control")) =~ s/^default_version.*/default_version = '$next'/m;
write_file("$tree/walwarden.control", $control);

# functions: bodies, one of them bound by others; one more that is public, one that is
# not; inner ones that change what they take, under the same types and under others
edit(qr/(CREATE FUNCTION walwarden_internal\.record_usage.*?\nBEGIN\n)/s, sub { "$1    -- as ever\n" });
edit(qr/(CREATE FUNCTION walwarden_internal\.iso\(.*?ELSE at::text) END;/s, sub { "$1 || '' END;" });
edit(qr/(?=CREATE FUNCTION walwarden\.introspect_token\()/, sub { q{CREATE FUNCTION walwarden.later(what text DEFAULT 'later, (or not)') RETURNS TABLE (a integer, b text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS 'SELECT 1, $1';
COMMENT ON FUNCTION walwarden.later(text) IS 'Later.';
CREATE FUNCTION walwarden_internal.later() RETURNS integer LANGUAGE sql RETURN 1;

} });
edit(qr/(    walwarden\.introspect_token\(text\),\n)/, sub { "$1    walwarden.later(text),\n" });
edit(qr/(CREATE FUNCTION walwarden_internal\.is_granted\(role name, )kinds/, sub { "$1any_of" });
edit(qr/(CREATE FUNCTION walwarden_internal\.speaks_for_many\(role name)/, sub { "$1, more text DEFAULT NULL" });
# rights and comments
edit(qr/    walwarden\.list_nodes\(text\),\n/, sub { '' });
edit(qr/(COMMENT ON FUNCTION walwarden\.introspect_token\(text\) IS\n')/, sub { "$1It''s another one. " });
edit(qr/(COMMENT ON TABLE walwarden_internal\.token IS ')/, sub { "$1Other. " });
edit(qr/COMMENT ON TABLE walwarden_internal\.node IS '[^']*(?:''[^']*)*';\n/, sub { '' });
# views that grow, one of them by another function, and a new one
edit(qr/CREATE VIEW walwarden\.stat_auth AS\s+SELECT \* FROM walwarden_internal\.stat_auth_door\(\)/, sub { q{CREATE FUNCTION walwarden_internal.stat_auth_later() RETURNS TABLE (outcome text, reason text, count bigint, since timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS 'BEGIN RETURN QUERY SELECT d.*, NULL::timestamptz FROM walwarden_internal.stat_auth_door() AS d; END';
CREATE VIEW walwarden.stat_auth AS
    SELECT * FROM walwarden_internal.stat_auth_later()} });
edit(qr/(CREATE VIEW walwarden\.token_list .*?f\.previous_last_used_at)/s, sub { "$1, NULL::text AS note" });
edit(qr/(?=CREATE VIEW walwarden\.token_list )/, sub { "CREATE VIEW walwarden.later_list AS SELECT 1 AS one;\n" });
edit(qr/(REVOKE ALL ON TYPE walwarden\.token_list)/, sub { "$1, walwarden.later_list" });
# by hand: a column of a described row, which is described once it has a value; rows of
# catalogues, one of which is part of the API's document; a table with its trigger
edit(qr/(CREATE TABLE walwarden_internal\.org \(.*?)(?=\n\);)/s, sub { "$1,\n    note         text" });
edit(qr/(CREATE FUNCTION walwarden_internal\.org_image\(.*?)(;\n)/s, sub { "$1\n        || CASE WHEN o.note IS NULL THEN '{}' ELSE jsonb_build_object('note', o.note) END$2" });
edit(qr/(\('node\.list', +'any', +')\{operator,/, sub { "$1\{operator,register_nodes," });
edit(qr/(\(503, 'unavailable', +')/, sub { "$1Later: " });
edit(qr/(\('member',\s+'\{[^}]*),readiness:read\}/, sub { "$1\}" });
edit(qr/(?=CREATE TABLE walwarden_internal\.node \()/, sub { "CREATE TABLE walwarden_internal.later (\n    id integer\n);\n\n" });
edit(qr/(?=    \('scope', +'refuse_builtin')/, sub { "    ('later', 'refuse_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT', 'refuse_change'),\n" });
edit(qr/(?=SELECT pg_extension_config_dump\('walwarden_internal\.node')/, sub { "SELECT pg_extension_config_dump('walwarden_internal.later', '');\n" });

make("walwarden--$next.sql");
add_script("walwarden--$base.sql", $script);
add_script("walwarden--$next.sql", slurp_file("$tree/walwarden--$next.sql"));
create('fresh_next', $next);
# what a hand part consists of
sub digest_of { my ($db) = @_; return sql($db, 'SELECT walwarden_internal.catalogue_installed()'); }
sub digest_is { my ($digest) = @_; return "CREATE OR REPLACE FUNCTION walwarden_internal.catalogue_installed() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '$digest';\n"; }
sub change_rows { my ($table, $change) = @_; return "ALTER TABLE walwarden_internal.$table DISABLE TRIGGER refuse_change;\n$change;\nALTER TABLE walwarden_internal.$table ENABLE ALWAYS TRIGGER refuse_change;\n"; }
sub make_triggers
{
	my ($which) = @_;
	return qq{
DO \$\$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT * FROM walwarden_internal.protecting_trigger WHERE $which LOOP
        EXECUTE p.definition;
        EXECUTE format('ALTER TABLE walwarden_internal.%I ENABLE ALWAYS TRIGGER %I', p.relation, p.trigger);
    END LOOP;
END
\$\$;
};
}

write_file("$tree/sql/upgrade/$base--$next.sql", q{
ALTER TABLE walwarden_internal.org ADD COLUMN note text;
CREATE TABLE walwarden_internal.later (
    id integer
);
} . change_rows('permission', q{UPDATE walwarden_internal.permission SET any_of = '{operator,register_nodes,manage_tokens}' WHERE action = 'node.list'})
  . change_rows('rest_error', q{UPDATE walwarden_internal.rest_error SET meaning = 'Later: ' || meaning WHERE status = 503})
  . change_rows('role', q{UPDATE walwarden_internal.role SET scopes = array_remove(scopes, 'readiness:read') WHERE name = 'member'})
  . change_rows('guard', q{INSERT INTO walwarden_internal.guard VALUES ('later', 'refuse_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT', 'refuse_change')})
  . change_rows('table_structure', q{DELETE FROM walwarden_internal.table_structure WHERE relation = 'org';
INSERT INTO walwarden_internal.table_structure SELECT s.* FROM walwarden_internal.present_structure() AS s WHERE s.relation IN ('org', 'later')})
  . digest_is(digest_of('fresh_next')) . "-- \@generated\n" . make_triggers(q{relation = 'later'}));
make('install');
my @installed;
find({ no_chdir => 1, wanted => sub { push @installed, $_ if m{/walwarden--\Q$base--$next\E\.sql$} } }, "$tree/root");
is(scalar(@installed), 1, 'make installs the delta');
add_script("walwarden--$base--$next.sql", slurp_file($installed[0]));

my $updated = try_version($base, $next, 'fresh_next');
try_hostile($base, $next, 'fresh_next');
try_strangers($base, $next, qr/^55P03$/);
is(failure($updated, q{TRUNCATE walwarden_internal.later}), '42501', 'a trigger of the hand part works');

# A role is built in, and no trigger signals its change. A session that remembers it forgets it at the update.
create('remembering', $base);
my $remembered = sql('remembering', q{SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'bob', 'member') \g /dev/null
	SELECT token FROM walwarden.issue_token('acme', 'private', '{databases:read,readiness:read}', owner => 'bob')});
my $remembers = $node->background_psql('remembering', on_error_stop => 0);
my $ready = "BEGIN; SELECT walwarden.authenticate('$remembered') IS NOT NULL, walwarden.has_scope('databases:read'), walwarden.has_scope('readiness:read'); COMMIT";
is($remembers->query($ready), 't|t|t', 'a session remembers a role');
sql('remembering', "ALTER EXTENSION walwarden UPDATE TO '$next'");
is($remembers->query($ready), 't|t|f', 'and has another one after an update that changes it');
$remembers->quit;
is(sql($updated, q{UPDATE walwarden_internal.org SET note = 'x' WHERE slug = 'acme'; SELECT reason FROM walwarden.verify_audit_chain('acme')}) =~ s/ [0-9a-f-]{36} / <id> /r,
	'org <id> differs from entry 1', 'a new column is described where it has a value');

# the comparison finds what a delta may forget
my $should = sql('fresh', $shape);
foreach my $wrong (     # what, the change, what is named
	[ 'a right', 'REVOKE EXECUTE ON FUNCTION walwarden.introspect_token(text) FROM PUBLIC', 'right on function walwarden.introspect_token(text) 0 EXECUTE to PUBLIC' ],
	[ 'a closed function', 'GRANT EXECUTE ON FUNCTION walwarden_internal.record_usage(uuid,smallint,timestamp with time zone) TO PUBLIC', 'right on function walwarden_internal.record_usage(uuid,smallint,timestamp with time zone) 0 EXECUTE to PUBLIC' ],
	[ 'a column\'s right', 'GRANT SELECT (id) ON walwarden_internal.org TO PUBLIC', 'right on relation walwarden_internal.org 1 SELECT to PUBLIC' ],
	[ 'a comment', 'COMMENT ON FUNCTION walwarden.introspect_token(text) IS NULL', 'comment on function walwarden.introspect_token(text)' ],
	[ 'a trigger\'s state', 'ALTER TABLE walwarden_internal.plan ENABLE TRIGGER refuse_change', 'relation walwarden_internal.plan trigger refuse_change' ],
	[ 'a trigger', 'DROP TRIGGER signal_change ON walwarden_internal.token', 'relation walwarden_internal.token trigger signal_change' ],
	[ 'membership', 'ALTER EXTENSION walwarden DROP FUNCTION walwarden.introspect_token(text)', 'member function walwarden.introspect_token(pg_catalog.text)' ],
	[ 'a place in dumps', q{UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = 'walwarden'}, 'dumped walwarden' ],
	[ 'a condition of dumps', q{UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'walwarden'}, 'dumped walwarden' ],
	[ 'an owner', 'ALTER FUNCTION walwarden.introspect_token(text) OWNER TO other', 'function walwarden.introspect_token(text)' ],
	[ 'a pinned search_path', 'ALTER FUNCTION walwarden_internal.record_usage(uuid,smallint,timestamp with time zone) RESET ALL', 'function walwarden_internal.record_usage(uuid,smallint,timestamp with time zone)' ],
	[ 'a column', 'ALTER TABLE walwarden_internal.token ADD COLUMN x int', 'relation walwarden_internal.token column x' ],
	[ 'a default', 'ALTER TABLE walwarden_internal.token ALTER COLUMN name SET DEFAULT 1', 'relation walwarden_internal.token column name' ],
	[ 'a constraint', 'ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid', 'relation walwarden_internal.audit_entry constraint audit_entry_is_valid' ],
	[ 'an index', 'DROP INDEX walwarden_internal.token_by_org', 'relation walwarden_internal.token_by_org' ],
	[ 'a row of a catalogue', q{ALTER TABLE walwarden_internal.plan DISABLE TRIGGER refuse_change; UPDATE walwarden_internal.plan SET api_tokens = true WHERE name = 'pro'; ALTER TABLE walwarden_internal.plan ENABLE ALWAYS TRIGGER refuse_change}, 'rows of walwarden_internal.plan' ],
	[ 'the digest of the catalogues', digest_is('00'), 'function walwarden_internal.catalogue_installed()' ],
	[ 'what an extension needs', q{DELETE FROM pg_depend WHERE classid = 'pg_extension'::regclass AND objid = (SELECT oid FROM pg_extension WHERE extname = 'walwarden')}, 'dependence of extension 0 n on extension pgcrypto' ])
{
	my ($what, $change, $named) = @$wrong;
	like(differences(sql('fresh', "SET allow_system_table_mods = on; BEGIN; $change; $shape; ROLLBACK"), $should), qr/^(?:missing|too much|different): \Q$named\E/m, "the comparison finds $what");
}

# a catalogue that somebody altered is not made good by an update, nor a table whose
# structure the delta records anew: the digest is a constant of the delta
foreach my $altered (
	[ 'catalogue', q{ALTER TABLE walwarden_internal.plan DISABLE TRIGGER refuse_change; UPDATE walwarden_internal.plan SET api_tokens = true WHERE name = 'free'; ALTER TABLE walwarden_internal.plan ENABLE ALWAYS TRIGGER refuse_change} ],
	[ 'table', q{ALTER TABLE walwarden_internal.org DROP CONSTRAINT org_slug_check} ])
{
	my ($what, $deed) = @$altered;
	create("altered_$what", $base);
	sql("altered_$what", $deed);
	sql("altered_$what", "ALTER EXTENSION walwarden UPDATE TO '$next'");
	is(sql("altered_$what", q{SELECT DISTINCT reason FROM walwarden.verify_audit_chain_sql(NULL)}), 'the built-in catalogues are not as they were installed', "an altered $what is reported after the update");
}

# Remembering tokens needs the signal: without it nothing is stored, with it the
# second time reads nothing. So an older version lacks it.
my ($signal) = slurp_file('src/base/invalidation.c') =~ /SIGNAL_RELATION "(\w+)"/;
my $early = "$current-early";
my $without = $script;
foreach my $part (qr/CREATE TABLE walwarden_internal\.$signal \(\);\n/, qr/COMMENT ON TABLE walwarden_internal\.$signal IS '[^']*';\n/, qr/CREATE FUNCTION walwarden_internal\.signal_change\(\).*?;\n/s)
{
	$without =~ s/$part// or die "not found: $part";
}
my @signals = $without =~ /^    (\('\w+', *'signal_\w+',.*\))[,;]\n/mg;
$without =~ s/(.*'signal_\w+',[^;]*;\n)/$1DELETE FROM walwarden_internal.guard WHERE trigger ~ '^signal_';\n/s or die 'no signals';
add_script("walwarden--$early.sql", $without);
write_file("$tree/sql/upgrade/$early--$base.sql", "CREATE TABLE walwarden_internal.$signal ();\n" . change_rows('guard', 'INSERT INTO walwarden_internal.guard (relation, trigger, timing, events, level, function) VALUES ' . join(', ', @signals))
	  . digest_is(digest_of('fresh')) . "-- \@generated\n" . make_triggers(q{trigger ~ '^signal_'}));
my ($delta, $errors) = run_command([ 'perl', 'sql/make_delta', "$extensions/walwarden--$early.sql", "$extensions/walwarden--$base.sql", "$tree/sql/upgrade/$early--$base.sql" ]);
is($errors, '', 'a delta from a version before');
add_script("walwarden--$early--$base.sql", "$delta\n");
my $scans = q{SELECT sum(pg_stat_get_xact_numscans(c.oid)) AS scans FROM pg_class AS c WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relname LIKE ANY ('{credential%,token\_pkey,org\_pkey}')};
sub second_time
{
	my ($db) = @_;
	my $token = sql($db, q{SELECT token FROM walwarden.issue_token('acme', 'again', '{databases:read}')});
	my $session = $node->background_psql($db, on_error_stop => 0);
	$session->query("SELECT walwarden.authenticate('$token')") for 1 .. 2;
	my $reads = $session->query("BEGIN READ ONLY;\n$scans \\gset\nSELECT walwarden.authenticate('$token') \\g /dev/null\nSELECT scans - :scans FROM ($scans) AS s;\nCOMMIT;");
	return ($session, $token, $reads > 0 ? 'reads' : 'remembers');
}
create('nosignal', $early);
sql('nosignal', q{SELECT walwarden.create_org('acme')});
my ($session, $token, $how) = second_time('nosignal');
is($how, 'reads', 'without the signal nothing is remembered');
sql('nosignal', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme')});
is($session->query("SELECT walwarden.authenticate('$token') IS NULL"), '', 'so what is revoked is refused');
$session->quit;
($session, $token, $how) = second_time('nosignal');
sql('nosignal', "ALTER EXTENSION walwarden UPDATE TO '$base'");
is(differences(sql('nosignal', $shape) =~ s/-base\b//gr, sql('fresh', $shape)), '', 'an older version gets it');
is($session->query(qq{SELECT walwarden.authenticate('$token') IS NOT NULL}), 't', 'a session that was there goes on');
$session->quit;
($session, $token, $how) = second_time('nosignal');
is($how, 'remembers', 'with it, it is');
sql('nosignal', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme') WHERE state = 'active'});
is($session->query("SELECT walwarden.authenticate('$token') IS NULL"), '', 'and what is revoked is refused');
$session->quit;

# A column at the end, as a delta would add it, is none of the library's business.
sql('fresh', q{SELECT walwarden.create_org('acme')});
sql('fresh', join(';', map { "ALTER TABLE walwarden_internal.$_ ADD COLUMN later text" } qw(plan scope role role_override role_grant org member token credential token_usage audit_entry)));
is(sql('fresh', q{SELECT token FROM walwarden.issue_token('acme', 'x', '{databases:read}') \gset
	BEGIN; SELECT walwarden.authenticate(:'token') IS NOT NULL, walwarden.has_scope('databases:read')}), 't|t', 'the library serves tables with a column more');

like(verdicts('fresh'), qr/^acme\|2\|\w+\|f\|column later was added to walwarden_internal\.audit_entry$/m, 'and appends to the chain; whoever added them is told');

$node->stop;
done_testing();
