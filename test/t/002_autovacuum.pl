# An index expression of an unprivileged role is run by autovacuum in a
# superuser's session: whoever looks at session_user there mints tokens for a
# stranger. The doors look at the current user.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum_naptime = 1\nlog_autovacuum_min_duration = 0\n");
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme');
	CREATE ROLE mallory LOGIN;
	CREATE SCHEMA mallory AUTHORIZATION mallory;
});
$node->safe_psql('postgres', q{
	SET SESSION AUTHORIZATION mallory;
	CREATE TABLE mallory.log (who name, session name, tried text, result text);
	CREATE FUNCTION mallory.try(what text, statement text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		BEGIN
			EXECUTE statement INTO result;
		EXCEPTION WHEN OTHERS THEN
			result := SQLSTATE;
		END;
		INSERT INTO mallory.log VALUES (current_user, session_user, what, result);
	END$$;
	CREATE FUNCTION mallory.trap(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF session_user <> 'mallory' THEN
			PERFORM mallory.try('issue', $q$SELECT token FROM walwarden.issue_token('acme', 'forged')$q$);
			PERFORM mallory.try('member', $q$SELECT walwarden.add_member('acme', 'mallory', 'owner', 'mallory')$q$);
			PERFORM mallory.try('operator', $q$SELECT walwarden.grant_operator('mallory')$q$);
			PERFORM mallory.try('list', $q$SELECT count(*) FROM walwarden.token_list$q$);
			PERFORM mallory.try('read', $q$SELECT count(*) FROM walwarden_internal.credential$q$);
			PERFORM mallory.try('reset', $q$SET SESSION AUTHORIZATION DEFAULT$q$);
		END IF;
		RETURN i;
	END$$;
	CREATE TABLE mallory.bait (i int) WITH (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0);
	CREATE INDEX ON mallory.bait (mallory.trap(i));
	INSERT INTO mallory.bait SELECT generate_series(1, 100);
});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM mallory.log WHERE tried = 'reset'}), 'autovacuum ran the index expression');
is($node->safe_psql('postgres', q{SELECT DISTINCT who <> session, session = (SELECT rolname FROM pg_roles WHERE oid = 10) FROM mallory.log}), 't|t',
	'as its owner, in a superuser\'s session');
is($node->safe_psql('postgres', q{SELECT DISTINCT tried, result FROM mallory.log ORDER BY 1}),
	"issue|42501\nlist|0\nmember|42501\noperator|42501\nread|42501\nreset|42501", 'and was refused everything');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden_internal.token}), '0', 'no token was minted');

# the same through ANALYZE and REINDEX by a superuser's own hand
$node->safe_psql('postgres', q{TRUNCATE mallory.log; ANALYZE mallory.bait; REINDEX TABLE mallory.bait; VACUUM FULL mallory.bait});
is($node->safe_psql('postgres', q{SELECT DISTINCT tried, result FROM mallory.log ORDER BY 1}),
	"issue|42501\nlist|0\nmember|42501\noperator|42501\nread|42501\nreset|42501", 'ANALYZE, REINDEX and VACUUM FULL are refused too');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden_internal.token}), '0', 'no token was minted');

# a materialized view of hers that a superuser refreshes
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION mallory; CREATE MATERIALIZED VIEW mallory.view AS SELECT mallory.trap(1) WITH NO DATA});
$node->safe_psql('postgres', q{TRUNCATE mallory.log; REFRESH MATERIALIZED VIEW mallory.view});
is($node->safe_psql('postgres', q{SELECT DISTINCT tried, result FROM mallory.log ORDER BY 1}),
	"issue|42501\nlist|0\nmember|42501\noperator|42501\nread|42501\nreset|42501", 'so is REFRESH MATERIALIZED VIEW');
is($node->safe_psql('postgres', q{SELECT count(*) FROM walwarden_internal.token}), '0', 'no token was minted');

$node->stop;
done_testing();
