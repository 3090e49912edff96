# The cache of organisations, owners and roles, where what is rare happens at once: the
# library is built with changes to src/token/org_cache.c and put in the place of the own one.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $library = `pg_config --pkglibdir`);
$library .= '/walwarden.so';
plan skip_all => 'only in the copy that test/run makes' unless $ENV{WORK} && index($library, "$ENV{WORK}/") == 0;
END { rename "$library.own", $library if defined $library && -e "$library.own"; }

# Changes: what stands there, and what takes its place.
sub rebuild
{
	my (@changes) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $file = "$dir/src/token/org_cache.c";
	system_or_bail('cp', '-a', 'Makefile', 'walwarden.control', 'META.json', 'sql', 'src', 'web', $dir);
	my $text = slurp_file($file);
	foreach (@changes)
	{
		my ($old, $new) = @$_;
		$text =~ s/\Q$old/$new/ or BAIL_OUT("org_cache.c has no $old");
	}
	unlink $file;
	append_to_file($file, $text);
	system_or_bail('make', '-s', '-C', $dir, 'with_llvm=no', "PG_CONFIG=$ENV{PG_CONFIG}", 'walwarden.so');
	rename $library, "$library.own" or BAIL_OUT("$library: $!") unless -e "$library.own";
	unlink $library;
	system_or_bail('cp', "$dir/walwarden.so", $library);
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme');
	CREATE TABLE token AS SELECT n, (walwarden.issue_token('acme', 'shared', '{databases:read}')).token FROM generate_series(1, 1000) AS n;
	CREATE FUNCTION opens(n bigint) RETURNS boolean LANGUAGE sql AS $$SELECT walwarden.authenticate(t.token) IS NOT NULL FROM token AS t WHERE t.n = $1$$;
	CREATE VIEW cache AS SELECT string_agg(name, ', ' ORDER BY name COLLATE "C") AS contexts, sum(total_bytes) AS bytes FROM pg_backend_memory_contexts WHERE name ~ '^walwarden (org|owners|roles)';
});

# A listing compares snapshots. One that does not list all subtransactions has none, although it counts
# those of the sessions before.
$node->safe_psql('postgres', q{
	CREATE TABLE written (n integer);
	CREATE FUNCTION nested(n integer) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			BEGIN INSERT INTO written VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END;
		END LOOP;
	END $$});
my @writers = map { $node->background_psql('postgres') } 1 .. 4;
# whichever of them comes first in the snapshot
$writers[$_]->query_safe('BEGIN') for 0 .. 3;
$writers[$_]->query_safe('SELECT nested(' . ($_ == 1 || $_ == 2 ? 100 : 3) . ')') for 0 .. 3;
$node->safe_psql('postgres', 'SELECT txid_current()');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden.list_tokens('acme') WHERE state = 'active'}), '1000', 'a listing while a snapshot cannot list all subtransactions');
$_->quit for @writers;

# A transaction that writes would keep nothing. The first cache is full with one entry, and making the second one fails half-way.
rebuild([ '#define ORG_CACHE_MAX 4096', '#define ORG_CACHE_MAX 1' ],
	[ 'HASHCTL		control = {0};', 'HASHCTL control = {0}; static int calls = 0; if (++calls == 5) elog(ERROR, "failed on purpose");' ]);
my ($ret, $out, $err) = $node->psql('postgres', "SET default_transaction_read_only = on;\nSELECT opens(1);\nSELECT opens(2);\nSELECT opens(3);\nSELECT contexts FROM cache;", on_error_stop => 0);
like($err, qr/^psql:\S+ ERROR:  failed on purpose$/m, 'a cache that cannot be completed');
is($out, "t\nt\nwalwarden org cache, walwarden orgs, walwarden owners, walwarden roles", 'is made again');

# Every entry is old at once, and a cache does not grow by reading it again.
rebuild([ 'ORG_CACHE_MAX_AGE (10 * 60 * USECS_PER_SEC)', 'ORG_CACHE_MAX_AGE (-1)' ]);
is($node->safe_psql('postgres', q{
	SET default_transaction_read_only = on;
	SELECT opens(1) \g /dev/null
	SELECT bytes AS before FROM cache \gset
	SELECT count(*) FILTER (WHERE opens(n)) FROM token;
	SELECT bytes = :before FROM cache}), "1000\nt", 'a cache whose entries grow old keeps its size');

$node->stop;
done_testing();
