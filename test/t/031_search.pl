# A search reads few entries of a long chain: which index serves it, and how many rows come
# out of that, with statistics and without. And who stands behind SET ROLE is found.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $entries = 100_000;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('long');
	SELECT walwarden.create_org('short');
});

# one login of several behind a shared role
$node->safe_psql('postgres', q{
	CREATE ROLE ops; SELECT walwarden.grant_operator('ops');
	CREATE ROLE ann LOGIN; CREATE ROLE ben LOGIN; CREATE ROLE cyd LOGIN; GRANT ops TO ann, ben, cyd;
});
for my $login (qw(ann ben cyd))
{
	$node->safe_psql('postgres', "SET ROLE ops; SELECT token_id FROM walwarden.issue_token('short', '$login''s')", extra_params => [ '-U', $login ]);
}
is($node->safe_psql('postgres', q{SELECT string_agg(actor, ', ' ORDER BY seq) FROM walwarden.search_audit('short', 'token.issued')}),
	'ann as ops, ben as ops, cyd as ops', 'each login is shown');
is($node->safe_psql('postgres', q{SELECT body #>> '{payload,after,name}' FROM walwarden.search_audit('short', actor => 'ben')}), q{ben's}, 'and found');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden.search_audit('short', actor => 'ops')}), '3', 'as is the role');

# every thousandth entry is of a rare kind, every ten-thousandth of a rarer one
$node->safe_psql('postgres', qq{
	INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
	SELECT o.id, CASE WHEN i % 10000 = 1 THEN 'token.leaked' WHEN i % 1000 = 1 THEN 'token.revoked' WHEN i % 2 = 0 THEN 'app.request.seen' ELSE 'app.job.done' END,
	       jsonb_build_object('actor', jsonb_build_object('kind', 'operator', 'role', CASE WHEN i % 5000 = 1 THEN 'rare' ELSE 'common' END, 'login', 'dba'),
	                          'object', jsonb_build_object('type', 'thing', 'id', (i % 1000)::text))::text
	  FROM walwarden_internal.org AS o, generate_series(1, $entries) AS i WHERE o.slug = 'long'});
# a time for each entry, as if one was made every minute: the function that finds a time reads this column
$node->safe_psql('postgres', q{
	ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL;
	ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid;
	UPDATE walwarden_internal.audit_entry AS e SET at = now() - make_interval(mins => (100001 - e.seq)::int) FROM walwarden_internal.org AS o WHERE o.slug = 'long' AND e.org_id = o.id;
});

# The rows that a call returns, the entries that it reads, and the indexes that its plans name.
sub search
{
	my ($arguments) = @_;
	my $from = -s $node->logfile;
	my $read = q{SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relid = 'walwarden_internal.audit_entry'::regclass};
	my $out = $node->safe_psql('postgres', qq{
		LOAD 'auto_explain';
		SET auto_explain.log_min_duration = 0;
		SET auto_explain.log_nested_statements = on;
		BEGIN;
		SELECT count(*) FROM walwarden.search_audit($arguments);
		SET auto_explain.log_min_duration = -1;
		$read;
		COMMIT});
	my ($rows, $entries_read) = split /\n/, $out;
	my $log = substr(slurp_file($node->logfile), $from);
	my %indexes = map { $_ => 1 } $log =~ /(?:using|Bitmap Index Scan on) (audit_entry_\w+)/g;
	my $scans = () = $log =~ /Seq Scan on audit_entry/g;
	return ($rows, $entries_read, join(' ', sort keys %indexes), $scans);
}

for my $statistics ('without statistics', 'with statistics')
{
	$node->safe_psql('postgres', $statistics =~ /^without/ ? 'VACUUM walwarden_internal.audit_entry' : 'VACUUM ANALYZE walwarden_internal.audit_entry');
	for my $case (
		[ q{'long'}, 100, 210, undef ],
		[ q{'long', 'token.revoked'}, 90, 200, 'audit_entry_by_kind' ],
		[ q{'long', 'token.leaked'}, 10, 40, 'audit_entry_by_kind' ],
		[ q{'long', 'token.'}, 100, 300, 'audit_entry_by_kind' ],
		[ q{'long', 'token.', max_rows => 10}, 10, 60, 'audit_entry_by_kind' ],
		[ q{'long', 'app.'}, 100, 500, undef ],
		[ q{'long', 'org.closed'}, 0, 10, 'audit_entry_by_kind' ],
		[ q{'long', object => 'thing:17'}, 100, 210, 'audit_entry_by_object' ],
		[ q{'long', 'token.leaked', object => 'thing:1'}, 10, 210, undef ],
		[ q{'long', object => 'thing:none'}, 0, 10, 'audit_entry_by_object' ],
		[ q{'long', 'token.', actor => 'rare'}, 20, 300, 'audit_entry_by_kind' ],
		[ q{'long', since => now() - interval '30 minutes'}, 30, 150, undef ],
		[ q{'long', until => now() - interval '60 days'}, 100, 260, undef ],
		[ q{'long', 'app.request.seen', since => now() - interval '40 days', until => now() - interval '39 days', max_rows => 1000}, 720, 1600, undef ],
		[ q{'long', actor => 'rare', since => now() - interval '10 days'}, 2, 15000, undef ],
		[ q{NULL, max_rows => 50}, 50, 150, undef ],
		[ q{kind => 'token.leaked'}, 10, 60, 'audit_entry_by_kind' ],
		[ q{object => 'thing:17', max_rows => 10}, 10, 60, 'audit_entry_by_object' ])
	{
		my ($arguments, $rows, $most, $index) = @$case;
		my ($found, $read, $indexes, $scans) = search($arguments);
		is($found, $rows, "$arguments, $statistics");
		cmp_ok($read, '<=', $most, "reads $read entries");
		like($indexes, qr/\b$index\b/, "by $index: $arguments, $statistics") if defined $index;
		is($scans, 0, 'and never all of them');
	}
}

done_testing();
