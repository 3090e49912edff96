# ALTER EXTENSION UPDATE leads to what CREATE EXTENSION makes, from every version
# that was released (sql/released), and keeps the data; and this library serves the
# SQL of those versions until then. Versions that never were, made of the present
# script by taking things away, try the mechanism itself.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $extensions = `pg_config --sharedir`);
$extensions .= '/extension';
# scripts are put beside the installed ones: in test/run's copy, nowhere else
plan skip_all => 'only in the copy that test/run makes' unless $ENV{WORK} && index($extensions, "$ENV{WORK}/") == 0;
my @added;
sub add_script { my ($name, $text) = @_; push @added, "$extensions/$name"; append_to_file("$extensions/$name", $text); }
END { unlink @added; }

my ($current) = slurp_file("$extensions/walwarden.control") =~ /^default_version *= *'(.*)'/m;
my $script = slurp_file("$extensions/walwarden--$current.sql");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
sub sql { my ($db, $query) = @_; return $node->safe_psql($db, $query); }
sub failure { my ($db, $query) = @_; my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$query"); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok'; }

# Every object of the extension, line by line, and all that was decided about it: what
# it is, then after a colon what is said of it.
# Rights are compared as they work: NULL stands for the default. pg_attver is a stamp
# that recent minor releases of the server put on columns.
my $shape = <<'SQL';
WITH ext AS (SELECT * FROM pg_extension WHERE extname = 'walwarden'),
member AS (SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
             FROM pg_depend AS d JOIN ext ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = ext.oid, pg_identify_object(d.classid, d.objid, 0) AS i
            WHERE d.deptype = 'e'),
inside AS (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname IN ('walwarden', 'walwarden_rest')),
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
    UNION ALL SELECT 'digest of the catalogues: ' || walwarden._catalogue_digest()
    ROWS OF CATALOGUES) AS l
 WHERE l.line IS NOT NULL ORDER BY l.line COLLATE "C";
SQL
my $rows = join ' ', map { "UNION ALL SELECT 'rows of $_: ' || t::text FROM walwarden.$_ AS t" . ($_ eq 'scope' ? ' WHERE builtin' : '') }
  qw(capability permission plan role scope token_transition job_state job_transition rest_error rest_schema rest_operation);
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

sql('postgres', 'CREATE DATABASE fresh');
sql('fresh', 'CREATE EXTENSION walwarden CASCADE');
my $should = sql('fresh', $shape);
my $digest = sql('fresh', 'SELECT walwarden._catalogue_installed()');

# C functions by their symbols: what they take and give
my $entries = q{SELECT DISTINCT concat_ws(' ', prosrc, oidvectortypes(proargtypes), prorettype::regtype, proisstrict, proretset, proallargtypes::regtype[], proargmodes) FROM pg_proc
	WHERE pronamespace = 'walwarden'::regnamespace AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') AND prosrc <> 'walwarden_door'};
my %entries = map { $_ => 1 } split /\n/, sql('fresh', $entries);
# what only the SQL of older versions calls
$entries{$_} = 1 for 'walwarden_rest_request  walwarden.rest_request f f';

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

# What must hold for an older version, from its installation on. Returns the database.
sub try_version
{
	my ($version) = @_;
	(my $db = "from_$version") =~ s/\W/_/g;

	sql('postgres', "CREATE DATABASE $db");
	sql($db, "CREATE EXTENSION pgcrypto; CREATE EXTENSION walwarden VERSION '$version'");
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
	my $api = sql($db, q{SELECT token FROM walwarden.issue_token('acme', 'api', (SELECT array_agg(name) FROM walwarden.scope WHERE builtin))});
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
	is(failure($db, 'SET SESSION AUTHORIZATION other; ALTER EXTENSION walwarden UPDATE'), '42501', "$version: another superuser is told to become the owner");

	is(failure($db, 'ALTER EXTENSION walwarden UPDATE'), 'ok', "$version: updates");
	is(differences(sql($db, $shape), $should), '', "$version: becomes what is installed now");
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
	sql('postgres', "CREATE DATABASE ${db}_loaded");
	my $file = $node->basedir . "/$db.sql";
	$node->command_ok([ 'pg_dump', '-d', $node->connstr($db), '-f', $file ], "$version: is dumped");
	$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr("${db}_loaded"), '-f', $file ], "$version: and restored");
	is(verdicts("${db}_loaded"), verdicts($db), "$version: with its chains");
	return $db;
}

# The update runs with a superuser's rights. What others planted in pgcrypto's schema,
# which is searched in a script, is not found: looks like what deltas use, and better.
# Default privileges neither stop it nor open what it makes.
sub try_hostile
{
	my ($version) = @_;
	(my $db = "hostile_$version") =~ s/\W/_/g;

	sql('postgres', 'CREATE ROLE mallory; CREATE ROLE bystander') unless sql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'mallory'});
	sql('postgres', "CREATE DATABASE $db");
	sql($db, "CREATE EXTENSION pgcrypto; CREATE EXTENSION walwarden VERSION '$version'; GRANT CREATE ON SCHEMA public TO mallory");
	sql($db, q{SET ROLE mallory;
		CREATE FUNCTION public.take() RETURNS void LANGUAGE plpgsql AS 'BEGIN IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN ALTER ROLE mallory SUPERUSER; END IF; END';
		CREATE FUNCTION public.same(oid, integer) RETURNS boolean LANGUAGE sql AS 'SELECT public.take(); SELECT $1 OPERATOR(pg_catalog.=) $2::oid';
		CREATE FUNCTION public.other(oid, integer) RETURNS boolean LANGUAGE sql AS 'SELECT public.take(); SELECT $1 OPERATOR(pg_catalog.<>) $2::oid';
		CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.same);
		CREATE OPERATOR public.<> (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.other);
		CREATE FUNCTION public.format(text, regprocedure, regrole) RETURNS text LANGUAGE sql AS 'SELECT public.take(); SELECT pg_catalog.format($1, $2::text, $3::text)';
		CREATE FUNCTION public.acldefault(text, oid) RETURNS aclitem[] LANGUAGE sql AS $$SELECT public.take(); SELECT pg_catalog.acldefault($1::"char", $2)$$});
	sql($db, 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC');
	is(failure($db, 'BEGIN; ALTER EXTENSION walwarden UPDATE; ROLLBACK'), 'ok', "$version: updates where default privileges close functions");
	sql($db, 'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC, bystander');
	is(failure($db, 'ALTER EXTENSION walwarden UPDATE'), 'ok', "$version: updates beside look-alikes");
	is(sql($db, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', "$version: and runs none of them");
	is(sql($db, q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'walwarden'::regnamespace AND has_function_privilege('bystander', oid, 'EXECUTE')}),
		sql('fresh', q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'walwarden'::regnamespace AND has_function_privilege('bystander', oid, 'EXECUTE')}),
		"$version: what is new is open to nobody more");
}

# Versions that were released: their scripts are kept as they were.
my @released = map { m{walwarden--(.*)\.sql$} } sort glob('sql/released/walwarden--*.sql');
note('no version was released') unless @released;
foreach my $version (@released)
{
	my $text = slurp_file("sql/released/walwarden--$version.sql");
	if ($version eq $current) { ok($text eq $script, "$version was released: its script is as it was"); next; }
	add_script("walwarden--$version.sql", $text);
	try_version($version);
	try_hostile($version);
}

# Versions that never were. 0.0.9 lacks a function, a row of a catalogue, a column and
# a table's place in dumps; 0.0.8 also what tells backends of changes.
sub without
{
	my ($text, @parts) = @_;
	foreach my $part (@parts)
	{
		my $times = () = $text =~ /$part/g;
		die "found $times times: $part" unless $times == 1;
		$text =~ s/$part//;
	}
	return $text;
}
sub taken { my ($text, $part) = @_; my @found = $text =~ /($part)/g; die "not once: $part" unless @found == 1; return $found[0]; }

my $function = qr/CREATE FUNCTION walwarden\.introspect_token\(token text\).*?;\n/s;
my $comment = qr/COMMENT ON FUNCTION walwarden\.introspect_token\(text\) IS\n'(?:[^']|'')*';\n/;
my $reason = qr/,\n    reason        text(?=\n\);)/;
my $dumped = qr/SELECT pg_extension_config_dump\('walwarden\.node', ''\);\n/;
my $v9 = without($script, $function, $comment, qr/    walwarden\.introspect_token\(text\),\n/, qr/    \('pro',  false\),\n/, $reason, $dumped);
my $signal = qr/CREATE TABLE walwarden\._standing_signal \(\);\n/;
my $signal_comment = qr/COMMENT ON TABLE walwarden\._standing_signal IS '[^']*';\n/;
my $signaller = qr/CREATE FUNCTION walwarden\._signal_change\(\).*?;\n/s;
my $list = qr/CREATE VIEW walwarden\._protecting_trigger AS.*? AS t\(relation, trigger, events, level, function\);\n/s;
my $v8 = without($v9, $signal, $signal_comment, $signaller);
$v8 =~ s/^ *\('\w+', *'signal_\w+',.*\n//mg;

my $owner = q{
DO $$
BEGIN
    IF (SELECT e.extowner::regrole::text FROM pg_catalog.pg_extension AS e WHERE e.extname = 'walwarden') <> quote_ident(current_user) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'walwarden is updated by its owner', HINT = 'SET ROLE to the owner of the extension.';
    END IF;
END
$$;
};
my $catalogue = sub { return "CREATE OR REPLACE FUNCTION walwarden._catalogue_installed() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '$_[0]';\n" };

add_script('walwarden--0.0.9.sql', $v9);
add_script('walwarden--0.0.8.sql', $v8);
(my $new_list = taken($v9, $list)) =~ s/CREATE VIEW/CREATE OR REPLACE VIEW/;
add_script('walwarden--0.0.8--0.0.9.sql', $owner . taken($v9, $signal) . taken($v9, $signal_comment) . taken($v9, $signaller) . $new_list . q{
REVOKE ALL ON TABLE walwarden._standing_signal FROM PUBLIC;
REVOKE ALL ON FUNCTION walwarden._signal_change() FROM PUBLIC;
DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT * FROM walwarden._protecting_trigger WHERE trigger ~ '^signal_' LOOP
        EXECUTE p.definition;
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', p.relation, p.trigger);
    END LOOP;
END
$$;
});
add_script("walwarden--0.0.9--$current.sql", $owner . taken($script, $function) . taken($script, $comment) . q{
REVOKE ALL ON FUNCTION walwarden.introspect_token(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION walwarden.introspect_token(text) TO PUBLIC;
ALTER TABLE walwarden.verification ADD COLUMN reason text;
ALTER TABLE walwarden.plan DISABLE TRIGGER refuse_change;
INSERT INTO walwarden.plan (name, api_tokens) VALUES ('pro', false);
ALTER TABLE walwarden.plan ENABLE ALWAYS TRIGGER refuse_change;
} . taken($script, $dumped) . $catalogue->($digest));

my $db9 = try_version('0.0.9');
try_version('0.0.8');

# the comparison finds what a delta may forget
foreach my $wrong (     # what, the change, what is named
	[ 'a right', 'REVOKE EXECUTE ON FUNCTION walwarden.introspect_token(text) FROM PUBLIC', 'right on function walwarden.introspect_token(text) 0 EXECUTE to PUBLIC' ],
	[ 'a closed function', 'GRANT EXECUTE ON FUNCTION walwarden._note_usage(uuid) TO PUBLIC', 'right on function walwarden._note_usage(uuid) 0 EXECUTE to PUBLIC' ],
	[ 'a column\'s right', 'GRANT SELECT (id) ON walwarden.org TO PUBLIC', 'right on relation walwarden.org 1 SELECT to PUBLIC' ],
	[ 'a comment', 'COMMENT ON FUNCTION walwarden.introspect_token(text) IS NULL', 'comment on function walwarden.introspect_token(text)' ],
	[ 'a trigger\'s state', 'ALTER TABLE walwarden.plan ENABLE TRIGGER refuse_change', 'relation walwarden.plan trigger refuse_change' ],
	[ 'a trigger', 'DROP TRIGGER signal_change ON walwarden.token', 'relation walwarden.token trigger signal_change' ],
	[ 'membership', 'ALTER EXTENSION walwarden DROP FUNCTION walwarden.introspect_token(text)', 'member function walwarden.introspect_token(pg_catalog.text)' ],
	[ 'a place in dumps', q{UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = 'walwarden'}, 'dumped walwarden' ],
	[ 'a condition of dumps', q{UPDATE pg_extension SET extcondition[1] = '' WHERE extname = 'walwarden'}, 'dumped walwarden' ],
	[ 'an owner', 'ALTER FUNCTION walwarden.introspect_token(text) OWNER TO other', 'function walwarden.introspect_token(text)' ],
	[ 'a pinned search_path', 'ALTER FUNCTION walwarden._note_usage(uuid) RESET ALL', 'function walwarden._note_usage(uuid)' ],
	[ 'a column', 'ALTER TABLE walwarden.token ADD COLUMN x int', 'relation walwarden.token column x' ],
	[ 'a default', 'ALTER TABLE walwarden.token ALTER COLUMN name SET DEFAULT 1', 'relation walwarden.token column name' ],
	[ 'a constraint', 'ALTER TABLE walwarden.audit_entry DROP CONSTRAINT audit_entry_holds', 'relation walwarden.audit_entry constraint audit_entry_holds' ],
	[ 'an index', 'DROP INDEX walwarden.token_live', 'relation walwarden.token_live' ],
	[ 'a row of a catalogue', q{ALTER TABLE walwarden.plan DISABLE TRIGGER refuse_change; UPDATE walwarden.plan SET api_tokens = true WHERE name = 'pro'; ALTER TABLE walwarden.plan ENABLE ALWAYS TRIGGER refuse_change}, 'rows of plan' ],
	[ 'the digest of the catalogues', $catalogue->('00'), 'function walwarden._catalogue_installed()' ],
	[ 'what an extension needs', q{DELETE FROM pg_depend WHERE classid = 'pg_extension'::regclass AND objid = (SELECT oid FROM pg_extension WHERE extname = 'walwarden')}, 'dependence of extension 0 n on extension pgcrypto' ])
{
	my ($what, $change, $named) = @$wrong;
	like(differences(sql('fresh', "SET allow_system_table_mods = on; BEGIN; $change; $shape; ROLLBACK"), $should), qr/^(?:missing|too much|different): \Q$named\E/m, "the comparison finds $what");
}
is(differences(sql('fresh', $shape), $should), '', 'and nothing else');

# a catalogue that somebody altered is not made good by an update: the digest is a
# constant of the delta
sql('postgres', 'CREATE DATABASE altered');
sql('altered', q{CREATE EXTENSION pgcrypto; CREATE EXTENSION walwarden VERSION '0.0.9';
	ALTER TABLE walwarden.plan DISABLE TRIGGER refuse_change; UPDATE walwarden.plan SET api_tokens = true WHERE name = 'free'; ALTER TABLE walwarden.plan ENABLE ALWAYS TRIGGER refuse_change;
	ALTER EXTENSION walwarden UPDATE});
is(sql('altered', q{SELECT DISTINCT reason FROM walwarden.verify_audit_chain_sql(NULL)}), 'the built-in catalogues are not as they were installed', 'an altered catalogue is reported after the update');

# Remembering tokens needs the signal: without it nothing is stored, with it the
# second time reads nothing.
my $scans = q{SELECT sum(pg_stat_get_xact_numscans(c.oid)) AS scans FROM pg_class AS c WHERE c.relnamespace = 'walwarden'::regnamespace AND c.relname LIKE ANY ('{credential%,token\_pkey,org\_pkey}')};
sub second_time
{
	my ($db) = @_;
	my $token = sql($db, q{SELECT token FROM walwarden.issue_token('acme', 'again', '{databases:read}')});
	my $session = $node->background_psql($db, on_error_stop => 0);
	$session->query("SELECT walwarden.authenticate('$token')") for 1 .. 2;
	my $reads = $session->query("BEGIN READ ONLY;\n$scans \\gset\nSELECT walwarden.authenticate('$token') \\g /dev/null\nSELECT scans - :scans FROM ($scans) AS s;\nCOMMIT;");
	return ($session, $token, $reads > 0 ? 'reads' : 'remembers');
}
sql('postgres', 'CREATE DATABASE nosignal');
sql('nosignal', q{CREATE EXTENSION pgcrypto; CREATE EXTENSION walwarden VERSION '0.0.8'; SELECT walwarden.create_org('acme')});
my ($session, $token, $how) = second_time('nosignal');
is($how, 'reads', 'without the signal nothing is remembered');
sql('nosignal', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme')});
is($session->query("SELECT walwarden.authenticate('$token') IS NULL"), '', 'so what is revoked is refused');
$session->quit;
($session, $token, $how) = second_time('nosignal');
sql('nosignal', 'ALTER EXTENSION walwarden UPDATE');
is($session->query(qq{SELECT walwarden.authenticate('$token') IS NOT NULL}), 't', 'a session that was there goes on');
$session->quit;
($session, $token, $how) = second_time('nosignal');
is($how, 'remembers', 'with it, it is');
sql('nosignal', q{SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme') WHERE state = 'active'});
is($session->query("SELECT walwarden.authenticate('$token') IS NULL"), '', 'and what is revoked is refused');
$session->quit;

# A column at the end, as a delta would add it, is none of the library's business.
sql('fresh', q{SELECT walwarden.create_org('acme')});
sql('fresh', join(';', map { "ALTER TABLE walwarden.$_ ADD COLUMN later text" } qw(plan scope role role_override role_grant org member token credential token_usage audit_entry)));
is(sql('fresh', q{SELECT token FROM walwarden.issue_token('acme', 'x', '{databases:read}') \gset
	BEGIN; SELECT walwarden.authenticate(:'token') IS NOT NULL, walwarden.has_scope('databases:read')}), 't|t', 'the library serves tables with a column more');

like(verdicts('fresh'), qr/^acme\|2\|\w+\|t\|$/m, 'and appends to the chain');

$node->stop;
done_testing();
