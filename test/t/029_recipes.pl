# The recipes of the pages in an organisation of more tokens than anybody reads: what they find is what the tables hold,
# and what they do can be done again and again.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION walwarden CASCADE');
sub sql { return $node->safe_psql('postgres', $_[0]); }

# The blocks of SQL of a page, with the headings above them.
sub blocks {
	my ($page) = @_;
	my @found;
	my $heading = '';
	my $text = slurp_file($page);
	while ($text =~ /^#+ ([^\n]*)$|^```sql\n(.*?)^```/msg)
	{
		if (defined $2) { push @found, [ $heading, $2 ]; }
		else { $heading = $1; }
	}
	return @found;
}
my @pages = ('README.md', glob 'docs/*.md');

# 1,200 tokens. The oldest, one of each name that the pages use, ends within a week and was not used for long; a
# revoked one of the same name is newer. A node has reported another history.
sql(q{
	SET client_min_messages = warning;
	SELECT walwarden.create_org('acme'), walwarden.create_org('other');
	CREATE TABLE fixed AS
	SELECT w.name, t.token_id, t.token
	  FROM unnest('{ci,deploy,off}'::text[]) AS w(name), walwarden.issue_token('acme', w.name, '{databases:read}', now() + interval '3 days', labels => '{"customer": "4711"}') AS t;
	SELECT count(*) FROM generate_series(1, 1200) AS i, walwarden.issue_token('acme', 'filler ' || i) AS t;
	SELECT walwarden.revoke_token(t.token_id) FROM unnest('{ci,deploy}'::text[]) AS w(name), walwarden.issue_token('acme', w.name) AS t;
	INSERT INTO fixed SELECT 'renewed', r.token_id, r.token FROM walwarden.issue_token('acme', 'ci', '{databases:read}') AS t, walwarden.renew_token(t.token_id, '1 day') AS r;
	SELECT walwarden.disable_token(t.token_id) FROM walwarden.issue_token('acme', 'ci') AS t;
	SELECT walwarden.set_org_retention('acme', '3650 days');
	UPDATE walwarden_internal.token SET created_at = created_at - interval '91 days' WHERE id IN (SELECT token_id FROM fixed);
	CREATE ROLE runner;
	SELECT walwarden.grant_runner('runner');
	SELECT token AS node FROM walwarden.issue_token('acme', 'node-1', kind => 'node') \gset
	BEGIN;
	SELECT walwarden.authenticate(:'node');
	SET LOCAL ROLE runner;
	SELECT walwarden.register_node('node-1', '1'), walwarden.report_alarm(1, repeat('0', 64), NULL);
	COMMIT;
	ANALYZE});

# The same lists as the tables have them: without a caller, without a page.
sql(q{
	CREATE SCHEMA stored;
	CREATE VIEW stored.token_list AS SELECT * FROM walwarden_internal.token_with_org ORDER BY created_at DESC, token_id DESC;
	CREATE FUNCTION stored.list_tokens(org text) RETURNS SETOF stored.token_list LANGUAGE sql AS 'SELECT * FROM stored.token_list AS t WHERE t.org = $1';
	CREATE FUNCTION stored.get_token(id uuid) RETURNS SETOF stored.token_list LANGUAGE sql AS 'SELECT * FROM stored.token_list AS t WHERE t.token_id = $1';
	CREATE FUNCTION stored.find_tokens(handle text) RETURNS SETOF stored.token_list LANGUAGE sql AS
		$$SELECT * FROM stored.token_list AS t WHERE EXISTS (SELECT FROM walwarden_internal.credential AS c WHERE c.token_id = t.token_id AND encode(c.fingerprint, 'hex') LIKE $1 || '%')$$;
	CREATE FUNCTION stored.list_audit(org text) RETURNS SETOF walwarden_internal.audit_entry LANGUAGE sql AS
		'SELECT e.* FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id WHERE o.slug = $1 ORDER BY e.seq'});

# Every statement of the pages that reads a list finds the rows that it finds in the tables.
my $lists = qr/walwarden\.(list_tokens|get_token|find_tokens|token_list|list_audit)\b/;
my ($id, $token) = split /\|/, sql(q{SELECT token_id, token FROM fixed WHERE name = 'ci'});
my $tried = 0;
foreach my $page (@pages)
{
	foreach my $block (blocks($page))
	{
		foreach my $statement (map { s/--.*$//mgr } split /;[ \t]*\n|\\gset[^\n]*\n/, $block->[1])
		{
			next unless $statement =~ /^\s*SELECT\b/ and $statement =~ $lists;
			(my $name = "$page: $statement") =~ s/\s+/ /g;
			unlike($statement, qr/list_(?:tokens|audit)\([^()]*,/, "$name: no page");
			# new plaintexts and the time differ from one run to the next
			$statement = "SELECT count(*) FROM ($statement) AS q" if $statement =~ /renew_token/;
			$statement =~ s/now\(\) \+/'2100-01-01'::timestamptz +/g if $statement =~ /enable_token/;
			my @answers = map {
				my ($out, $err);
				$node->psql('postgres', "\\set token_id $id\n\\set old $id\n\\set token $token\nBEGIN;\n$_;\nROLLBACK;", stdout => \$out, stderr => \$err);
				$out . $err;
			} ($statement, $statement =~ s/$lists/stored.$1/gr);
			unlike($answers[0], qr/ERROR/, "$name: runs");
			is($answers[0], $answers[1], "$name: what the tables hold");
			# its handle is made up
			isnt($answers[0], '', "$name: something") unless $statement =~ /find_tokens\('/;
			$tried++;
		}
	}
}
cmp_ok($tried, '>=', 15, 'the recipes were found');

# By name, among all of them: the case that pages missed.
is(sql(q{SELECT count(*) FROM walwarden.token_list WHERE state = 'active' AND expires_at < now() + interval '7 days'}), '3', 'tokens that end within a week, however old');

# Rotations, as the page does them, several times in a row.
my %rotation = map { my $heading = $_; $heading => join("\n", map { $_->[1] } grep { $_->[0] eq $heading } blocks('docs/tokens.md')) } ('With one token', 'With two tokens');
foreach my $heading (sort keys %rotation)
{
	my $value = sql(q{SELECT r.token FROM walwarden.list_tokens('acme') AS t, walwarden.renew_token(t.token_id) AS r WHERE t.name = 'deploy' AND t.state = 'active'});
	foreach my $round (1 .. 3)
	{
		my ($out, $err);
		$node->psql('postgres', "\\set ON_ERROR_STOP on\n$rotation{$heading}\n\\echo new :token", stdout => \$out, stderr => \$err);
		is($err, '', "$heading, round $round");
		my ($new) = $out =~ /^new (wal_\w+)$/m;
		is(sql("SELECT (walwarden.introspect_token('$value') ->> 'active') || ' ' || (walwarden.introspect_token('$new') ->> 'active')"), 'false true', 'the value before has ended, the new one opens');
		is(sql(q{SELECT count(*) FROM walwarden.list_tokens('acme') WHERE name = 'deploy' AND state = 'active'}), '1', 'one token is active');
		$value = $new;
	}
}
# an unfinished one is not taken for finished
sql(q{SELECT token_id FROM walwarden.issue_token('acme', 'deploy')});
my ($out, $err);
isnt($node->psql('postgres', "\\set ON_ERROR_STOP on\n$rotation{'With two tokens'}", stdout => \$out, stderr => \$err), 0, 'two active tokens');
like($err, qr/more than one row returned for \\gset/, 'stop the rotation');
is(sql(q{SELECT count(*) FROM walwarden.list_tokens('acme') WHERE name = 'deploy' AND state = 'active'}), '2', 'before it does anything');

$node->stop;
done_testing();
