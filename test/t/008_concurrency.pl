# Many clients on one chain and on several, in every isolation level, with
# rollbacks and savepoints: no fork, no gap, no error but those that say retry.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# on a machine that does much else, 16 clients in a row may wait for longer than the default
$node->append_conf('postgresql.conf', "max_connections = 60\nwalwarden.audit_lock_timeout = '180s'\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('org' || i) FROM generate_series(0, 7) AS i;
	CREATE TABLE done (org text, kind text);
});

my %script = (
	append => q{BEGIN;
SELECT walwarden.append_audit('app.one', '{}', NULL, :org);
INSERT INTO done VALUES (:org, 'app.one');
COMMIT;
},
	many => q{BEGIN;
INSERT INTO done SELECT :org, 'app.many' FROM generate_series(1, 5) AS i WHERE walwarden.append_audit('app.many', to_jsonb(i), NULL, :org) > 0;
COMMIT;
},
	undone => q{BEGIN;
SELECT walwarden.append_audit('app.undone', '{}', NULL, :org);
ROLLBACK;
},
	savepoint => q{BEGIN;
SELECT walwarden.append_audit('app.kept', '{}', NULL, :org);
SAVEPOINT s;
SELECT walwarden.append_audit('app.undone', '{}', NULL, :org);
ROLLBACK TO s;
SELECT walwarden.append_audit('app.kept', '{}', NULL, :org);
INSERT INTO done VALUES (:org, 'app.kept'), (:org, 'app.kept');
COMMIT;
},
	issue => q{BEGIN;
SELECT token_id FROM walwarden.issue_token(:org, 't', ARRAY['databases:read']) \gset
SELECT walwarden.revoke_token(:'token_id'::uuid);
INSERT INTO done VALUES (:org, 'token.issued'), (:org, 'token.revoked');
COMMIT;
});
$script{issue} =~ s/:'token_id'::uuid/:token_id/;
$script{issue} =~ s/SELECT token_id FROM/SELECT quote_literal(token_id) AS token_id FROM/;

for my $level ('read committed', 'repeatable read', 'serializable')
{
	for my $orgs (1, 8)
	{
		my @files;
		for my $name (sort keys %script)
		{
			my $file = $node->basedir . "/$name$orgs.sql";
			unlink $file;
			(my $body = $script{$name}) =~ s/:org\b/'org' || :n/g;
			append_to_file($file, "\\set n random(0, $orgs - 1)\n$body");
			push @files, '-f', "$file\@1";
		}
		(my $escaped = $level) =~ s/ /\\ /;
		local $ENV{PGOPTIONS} = "-c default_transaction_isolation=$escaped -c deadlock_timeout=100ms";
		my ($stdout, $stderr) = run_command([ 'pgbench', '-n', '-c', 16, '-j', 2, '-t', 40, '--max-tries=10000', @files, $node->connstr('postgres') ]);
		like($stdout, qr/number of transactions actually processed: 640\/640/, "$level, $orgs chains: every transaction succeeds in the end")
		  or diag($stdout . $stderr);
		unlike($stderr, qr/duplicate key|23505/, "$level, $orgs chains: no duplicate key");
		is($node->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain()}), 't', "$level, $orgs chains: all verify");
	}
}
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (
		SELECT org, kind COLLATE "C", count(*) FROM done GROUP BY 1, 2
		EXCEPT ALL
		SELECT o.slug, e.kind, count(*) FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id GROUP BY 1, 2) AS lost}),
	'0', 'every committed change has its entry');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden_internal.audit_entry WHERE kind = 'app.undone'}), '0', 'and none that was rolled back');
is($node->safe_psql('postgres', q{SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql(NULL)}), 't', 'in SQL too');
$node->stop;
done_testing();
