# What sql/make_delta makes of two install scripts: the statements that lead from one to
# the other, and a refusal of what would break calls and views of users. Whether a server
# arrives where it should is in 013_upgrade.pl.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
sub write_file { my ($name, $text) = @_; open(my $file, '>', "$dir/$name") or die "$name: $!"; print $file $text; close $file; return; }
write_file('head.sql', "-- head from \@OLD\@ to \@NEW\@\n");

my $base = <<'SQL';
\echo It's a guard; really \quit
CREATE SCHEMA walwarden;
CREATE SCHEMA walwarden_internal;
CREATE FUNCTION walwarden_internal.bound(data bytea) RETURNS bytea LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT CASE WHEN data IS NULL THEN digest('', 'sha256'::text) ELSE digest(data, 'sha256'::text) END;
END;
SET LOCAL search_path = pg_catalog, pg_temp;
CREATE TABLE walwarden_internal.org (id integer, name text DEFAULT 'it''s; (one');
CREATE UNIQUE INDEX org_name ON walwarden_internal.org (name);
INSERT INTO walwarden_internal.org VALUES (1, '$$'), (2, E'\'');
CREATE TABLE walwarden_internal.member (id integer);
CREATE FUNCTION walwarden.member() RETURNS walwarden_internal.member LANGUAGE C AS 'MODULE_PATHNAME', 'door';
CREATE TYPE walwarden_internal.listed AS (id uuid, name text);
-- it's a comment; CREATE FUNCTION walwarden.none()
CREATE FUNCTION walwarden.list(org text, -- a slug, or NULL
        max_rows integer DEFAULT greatest(1, 2)) RETURNS SETOF walwarden_internal.listed LANGUAGE C AS 'MODULE_PATHNAME', 'door';
CREATE FUNCTION walwarden.all() RETURNS TABLE (id uuid, "name" text) LANGUAGE C AS 'MODULE_PATHNAME', 'door';
CREATE FUNCTION walwarden.set(org text, OUT was text) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    was := 'a;b'; -- LANGUAGE
END
$$;
CREATE FUNCTION walwarden_internal.set(org text) RETURNS text LANGUAGE sql AS $x$ SELECT $$;$$ || $1 $x$;
CREATE VIEW walwarden.listing WITH (security_barrier) AS SELECT * FROM walwarden.all();
CREATE VIEW walwarden.counts AS SELECT o.id, count(*) AS orgs, extract(epoch FROM now()) AS at, lower(o.name) FROM walwarden_internal.org AS o GROUP BY o.id;
CREATE VIEW walwarden_internal.counts AS SELECT o.* FROM walwarden_internal.org AS o;
DO $$ BEGIN EXECUTE format('CREATE FUNCTION walwarden_internal.document(a integer) RETURNS text LANGUAGE sql RETURN %L', (SELECT count(*) FROM walwarden_internal.org)); END $$;
DO $$ BEGIN EXECUTE format('CREATE FUNCTION walwarden_internal.catalogue_installed() RETURNS text LANGUAGE sql RETURN %L', 'x'); END $$;
SELECT pg_extension_config_dump('walwarden_internal.org', '');
REVOKE ALL ON SCHEMA walwarden, walwarden_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA walwarden, walwarden_internal FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden, walwarden_internal FROM PUBLIC;
GRANT SELECT ON walwarden.listing TO PUBLIC;
GRANT SELECT ON walwarden.counts TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    -- everyone
    walwarden.list(text, integer),
    walwarden.set(text)
TO PUBLIC;
DELETE FROM pg_init_privs WHERE false;
COMMENT ON FUNCTION walwarden.list(text, integer) IS 'Lists; it''s fine.';
COMMENT ON TABLE walwarden_internal.org IS 'Organisations.';
SQL

# Everything that is the same in each: made again of the rows.
my $always = squeeze(q{DO $$ BEGIN EXECUTE format('CREATE OR REPLACE FUNCTION walwarden_internal.document(a integer) RETURNS text LANGUAGE sql RETURN %L', (SELECT count(*) FROM walwarden_internal.org)); END $$;});
sub squeeze { my ($text) = @_; $text =~ s/^-- (?:head|What).*\n//mg; $text =~ s/\s+/ /g; $text =~ s/^ | $//g; return $text; }
# the pattern of each pair replaced
sub changed
{
	my (@pairs) = @_;
	my $text = $base;
	while (my ($from, $to) = splice(@pairs, 0, 2)) { $text =~ s/$from/$to/ or die "not found: $from"; }
	return $text;
}
sub delta
{
	my ($script, $hand) = @_;
	write_file('walwarden--1.0.0.sql', $base);
	write_file('walwarden--1.1.0.sql', $script);
	write_file('1.0.0--1.1.0.sql', $hand // '');
	my ($out, $err);
	my $ok = IPC::Run::run([ 'perl', 'sql/make_delta', "$dir/walwarden--1.0.0.sql", "$dir/walwarden--1.1.0.sql", "$dir/1.0.0--1.1.0.sql" ], '>', \$out, '2>', \$err);
	return ($ok ? 0 : $? >> 8, $out, $err);
}

my ($status, $out, $err) = delta($base);
is($status, 0, 'equal scripts');
like($out, qr/\A-- head from 1\.0\.0 to 1\.1\.0\n/, 'the head knows the versions');
is(squeeze($out), $always, 'there is nothing to do');

my $more = q{CREATE FUNCTION walwarden.more(a double precision DEFAULT 'x,y', VARIADIC b text[] DEFAULT '{}') RETURNS text LANGUAGE sql RETURN 'x'; };
foreach my $case (    # what, the change, the delta
	[ 'a body', [ 'a;b', 'c;d' ], q{CREATE OR REPLACE FUNCTION walwarden.set(org text, OUT was text) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$ BEGIN was := 'c;d'; -- LANGUAGE END $$; } . $always ],
	[ 'an attribute', [ 'plpgsql STABLE', 'plpgsql VOLATILE' ], q{CREATE OR REPLACE FUNCTION walwarden.set(org text, OUT was text) LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$ BEGIN was := 'a;b'; -- LANGUAGE END $$; } . $always ],
	[ 'a view that grows', [ 'lower\(o.name\)', 'lower(o.name), 1 AS more' ], q{CREATE OR REPLACE VIEW walwarden.counts AS SELECT o.id, count(*) AS orgs, extract(epoch FROM now()) AS at, lower(o.name), 1 AS more FROM walwarden_internal.org AS o GROUP BY o.id; } . $always ],
	[ 'a view that shows more than a function', [ 'SELECT \* FROM walwarden.all', 'SELECT *, 1 AS more FROM walwarden.all' ], q{CREATE OR REPLACE VIEW walwarden.listing WITH (security_barrier) AS SELECT *, 1 AS more FROM walwarden.all(); } . $always ],
	[ 'an inner function that takes the same by another name', [ 'walwarden_internal.set\(org', 'walwarden_internal.set(slug' ], q{DROP FUNCTION walwarden_internal.set(text); CREATE FUNCTION walwarden_internal.set(slug text) RETURNS text LANGUAGE sql AS $x$ SELECT $$;$$ || $1 $x$; } . $always . q{ CLOSED REVOKE ALL ON FUNCTION walwarden_internal.set(text) FROM PUBLIC;} ],
	[ 'an inner function that takes something else', [ 'walwarden_internal.set\(org text', 'walwarden_internal.set(org uuid' ], q{CREATE FUNCTION walwarden_internal.set(org uuid) RETURNS text LANGUAGE sql AS $x$ SELECT $$;$$ || $1 $x$; } . $always . q{ DROP FUNCTION walwarden_internal.set(text); CLOSED REVOKE ALL ON FUNCTION walwarden_internal.set(uuid) FROM PUBLIC;} ],
	[ 'an inner function and an inner view that go', [ '(?s)CREATE FUNCTION walwarden_internal.set.*?;\n|CREATE VIEW walwarden_internal.counts.*?;\n', '' ], $always . ' DROP FUNCTION walwarden_internal.set(text);' ],
	[ 'a new function', [ '(?=CREATE VIEW walwarden.listing)', $more, 'walwarden.set\(text\)', 'walwarden.set(text), walwarden.more(double precision, text[])' ],
		"$more$always CLOSED REVOKE ALL ON FUNCTION walwarden.more(double precision, text[]) FROM PUBLIC; GRANT EXECUTE ON FUNCTION walwarden.more(double precision, text[]) TO PUBLIC;" ],
	[ 'a function opened', [ ',\n    walwarden.set\(text\)', ",\n    walwarden.set(text), walwarden.all()" ], $always . ' GRANT EXECUTE ON FUNCTION walwarden.all() TO PUBLIC;' ],
	[ 'a function closed', [ ',\n    walwarden.set\(text\)', '' ], $always . ' REVOKE EXECUTE ON FUNCTION walwarden.set(text) FROM PUBLIC;' ],
	[ 'a view closed', [ 'GRANT SELECT ON walwarden.listing TO PUBLIC;', '' ], $always . ' REVOKE SELECT ON TABLE walwarden.listing FROM PUBLIC;' ],
	[ 'a right of a role taken', [ 'GRANT SELECT ON walwarden.counts TO pg_monitor;', '' ], $always . ' REVOKE SELECT ON TABLE walwarden.counts FROM pg_monitor;' ],
	[ 'a right of a role given', [ 'GRANT SELECT ON walwarden.counts', 'GRANT SELECT, INSERT ON walwarden.counts' ], $always . ' GRANT INSERT ON TABLE walwarden.counts TO pg_monitor;' ],
	[ 'a comment', [ 'fine', 'good' ], $always . q{ COMMENT ON FUNCTION walwarden.list(text, integer) IS 'Lists; it''s good.';} ],
	[ 'a comment that goes', [ 'COMMENT ON TABLE.*', '' ], $always . ' COMMENT ON TABLE walwarden_internal.org IS NULL;' ],
	[ 'what a dump keeps', [ "org', ''", "org', 'WHERE id > 1'" ], $always . q{ SELECT pg_extension_config_dump('walwarden_internal.org', 'WHERE id > 1');} ],
	[ 'what is written by hand', [ 'id integer, name', 'id bigint, name' ], $always ])
{
	my ($what, $change, $should) = @$case;
	my ($status, $out, $err) = delta(changed(@$change));
	# closing what is new to others is one statement; another follows every change of rights
	my $is = squeeze($out) =~ s/DO \$\$ BEGIN EXECUTE \(SELECT coalesce.*?END \$\$;/CLOSED/r;
	my $forgets = $is =~ s/((?:GRANT|REVOKE) [^;]*;) DELETE FROM pg_init_privs WHERE false;/$1/;
	is($forgets, $is =~ /GRANT|REVOKE/, "$what: rights that pg_dump does not know");
	is("$err$is", $should, "$what: the delta");
	is($status, 0, "$what: is made");
}

# the part that is written by hand, and what it has made is not made again
($status, $out, $err) = delta($base, "ALTER TABLE walwarden_internal.org ADD COLUMN a text;\n-- \@generated\nSELECT 'after';\n");
is("$err" . squeeze($out), "ALTER TABLE walwarden_internal.org ADD COLUMN a text; $always SELECT 'after';", 'what is generated stands where the hand part says');
my $by_hand = "CREATE OR REPLACE FUNCTION walwarden_internal.document(a integer) RETURNS text LANGUAGE sql RETURN 'y';\n";
($status, $out, $err) = delta($base, $by_hand);
is("$err" . squeeze($out), squeeze($by_hand), 'a function that the hand part makes');
$by_hand = "DROP FUNCTION walwarden_internal.set(text);\n";
($status, $out, $err) = delta(changed('(?s)CREATE FUNCTION walwarden_internal.set.*?;\n', ''), $by_hand);
is("$err" . squeeze($out) =~ s/ DROP FUNCTION .*//r, squeeze("$by_hand $always"), 'and one that it drops');

foreach my $case (    # what, the change, the refusal, the hand part
	[ 'an argument renamed', [ 'walwarden.list\(org', 'walwarden.list(slug' ], 'FUNCTION walwarden.list(text, integer) changes its arguments or its result' ],
	[ 'an argument more', [ 'walwarden.list\(org text,', 'walwarden.list(org text, plan text,', 'list\(text, integer\)', 'list(text, text, integer)', 'list\(text, integer\)', 'list(text, text, integer)' ], 'FUNCTION walwarden.list(text, integer) is gone or takes other arguments' ],
	[ 'a default changed', [ 'greatest\(1, 2\)', 'greatest(1, 3)' ], 'FUNCTION walwarden.list(text, integer) changes its arguments or its result' ],
	[ 'a result changed', [ 'RETURNS TABLE \(id uuid, "name" text\)', 'RETURNS TABLE (id uuid, "name" text, more text)' ], 'FUNCTION walwarden.all() changes its arguments or its result' ],
	[ 'a result by OUT changed', [ 'OUT was text', 'OUT before text' ], 'FUNCTION walwarden.set(text) changes its arguments or its result' ],
	[ 'a row type changed', [ 'listed AS \(id uuid', 'listed AS (more text, id uuid' ], 'TYPE walwarden_internal.listed changes, and FUNCTION walwarden.list(text, integer) takes or returns it' ],
	[ 'a table that is a result changed', [ 'member \(id integer', 'member (id integer, name text' ], 'TABLE walwarden_internal.member changes, and FUNCTION walwarden.member() takes or returns it' ],
	[ 'a second argument list', [ 'SELECT pg_extension', "CREATE FUNCTION walwarden.set(org text, more text DEFAULT NULL) RETURNS text LANGUAGE sql RETURN 'x';\nSELECT pg_extension" ], 'FUNCTION walwarden.set(text, text) has the name of FUNCTION walwarden.set(text), which makes calls ambiguous' ],
	[ 'a function dropped', [ '(?s)CREATE FUNCTION walwarden.set.*?\$\$;\n', '', ',\n    walwarden.set\(text\)', '' ], 'FUNCTION walwarden.set(text) is gone' ],
	[ 'a view dropped', [ 'CREATE VIEW walwarden.counts.*', '' ], 'VIEW walwarden.counts is gone' ],
	[ 'a column renamed', [ 'AS orgs', 'AS rows' ], 'VIEW walwarden.counts has other columns' ],
	[ 'a column in front', [ 'SELECT o.id, count', 'SELECT 1 AS more, o.id, count' ], 'VIEW walwarden.counts has other columns' ],
	[ 'a column less', [ ', lower\(o.name\)', '' ], 'VIEW walwarden.counts has other columns' ],
	[ 'a column in front of what a function gives', [ 'SELECT \* FROM walwarden.all', 'SELECT 1 AS more, * FROM walwarden.all' ], 'VIEW walwarden.listing has other columns' ],
	[ 'columns that cannot be read', [ 'SELECT o.id, count\(\*\) AS orgs', 'SELECT o.*, count(*) AS orgs' ], 'VIEW walwarden.counts has columns that cannot be read' ],
	[ 'a function bound before search_path is pinned', [ "digest\\(''", "digest('x'" ], 'FUNCTION walwarden_internal.bound(bytea) changes, and is made before search_path is pinned' ],
	[ 'a public view that the hand part drops', [ 'AS orgs', 'AS orgs' ], 'VIEW walwarden.counts is dropped by the hand part', 'DROP VIEW walwarden.counts;' ],
	[ 'and makes anew', [ 'AS orgs', 'AS orgs' ], 'VIEW walwarden.counts is dropped by the hand part', "DROP VIEW walwarden.counts;\nCREATE VIEW walwarden.counts AS SELECT 1 AS id;\n" ],
	[ 'a statement of another kind', [ 'SELECT pg_extension', "CREATE AGGREGATE walwarden.x (text);\nSELECT pg_extension" ], 'not understood: CREATE AGGREGATE' ],
	[ 'a right of what is not there', [ 'walwarden.list\(text, integer\),', 'walwarden.list(text),' ], 'not understood: GRANT EXECUTE' ],
	[ 'a script that is cut off', [ 'Organisations\.\';', 'Organisations' ], 'a script ends within a statement' ])
{
	my ($what, $change, $refusal, $hand) = @$case;
	my ($status, $out, $err) = delta(changed(@$change), $hand);
	like($err, qr/^make_delta: (?:1\.0\.0 to 1\.1\.0: )?\Q$refusal\E/m, "$what: is refused");
	is("$status$out", '1', "$what: and nothing is made");
}

done_testing();
