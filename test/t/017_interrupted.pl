# Changes that are cut off: by statement_timeout at whatever point it strikes, caught
# or not, by lock_timeout, by a cancel and by the end of the session. What was not done
# left nothing, what was done is whole; the identity and the user of the session are
# those from before, and the chain verifies each time.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "walwarden.max_tokens_per_org = 1000000\n");
$node->start;
sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# Changes: what ann, an owner, or REST v1 does so many times in a statement, with a name
# of the round in it, and how often it is seen to be done.
my $times = 30;
# the end of a timeout is under that timeout itself, and may be cut off by it
my $no_timeout = "SET statement_timeout = 0;\n" x 5;
my %changes = (
	issue => [ q{PERFORM walwarden.issue_token('acme', name)}, q{SELECT count(*) FROM walwarden_internal.token WHERE name = :'name'} ],
	renew => [ q{PERFORM walwarden.renew_token(token_id, '1 day') FROM walwarden.issue_token('acme', name)},
		q{SELECT count(*) / 2.0 FROM walwarden_internal.token AS t JOIN walwarden_internal.credential AS c ON c.token_id = t.id WHERE t.name = :'name'} ],
	revoke => [ q{PERFORM walwarden.revoke_token(token_id) FROM walwarden.issue_token('acme', name)},
		q{SELECT count(*) FILTER (WHERE revoked_at IS NOT NULL) + count(*) FILTER (WHERE revoked_at IS NULL) / 2.0 FROM walwarden_internal.token WHERE name = :'name'} ],
	append => [ q{PERFORM walwarden.append_audit('app.' || translate(name, ' 0123456789', '_abcdefghij'), '{}', NULL, 'acme')},
		q{SELECT count(*) FROM walwarden_internal.audit_entry WHERE kind = 'app.' || translate(:'name', ' 0123456789', '_abcdefghij')} ],
	identity => [ q{PERFORM walwarden.authenticate(token), walwarden.has_scope('databases:read') FROM walwarden.issue_token('acme', name, '{databases:read}')},
		q{SELECT count(*) FROM walwarden_internal.token WHERE name = :'name'} ]);

sql(qq{
	CREATE EXTENSION walwarden CASCADE;
	CREATE ROLE ann; CREATE ROLE gateway;
	SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner', 'ann'), walwarden.grant_rest('gateway', 'gateway');
	CREATE TABLE own AS SELECT * FROM walwarden.issue_token('acme', 'own', (SELECT array_agg(name) FROM walwarden_internal.scope));
	GRANT SELECT ON own TO ann, gateway;
	-- who one is, to be told the same before and after
	CREATE FUNCTION me() RETURNS text LANGUAGE sql BEGIN ATOMIC
		SELECT concat_ws(' ', current_user, session_user, (SELECT name FROM own WHERE token_id = walwarden.current_token_id()), walwarden.has_scope('databases:read'),
			current_setting('search_path'), current_setting('lock_timeout'), has_table_privilege('walwarden_internal.token'::regclass, 'SELECT'));
	END;
	CREATE FUNCTION post(key text) RETURNS text LANGUAGE plpgsql AS \$\$
	DECLARE
		answer json;
	BEGIN
		PERFORM set_config('request.headers', json_build_object('x-walwarden-token', (SELECT token FROM own), 'x-walwarden-method', 'POST', 'x-walwarden-path', '/api/v1/destinations',
			'x-walwarden-content-type', 'application/json', 'idempotency-key', key)::text, true);
		answer := walwarden_rest.v1_post(convert_to(json_build_object('name', key, 'provider', 'local', 'uri', 'file:///srv')::text, 'UTF8'));
		RETURN current_setting('response.status');
	END \$\$;
} . join '', map { qq{
	CREATE PROCEDURE $_(name text) LANGUAGE plpgsql AS \$\$ BEGIN FOR i IN 1 .. $times LOOP $changes{$_}[0]; END LOOP; END \$\$;
	-- within a transaction that goes on
	CREATE PROCEDURE ${_}_caught(name text) LANGUAGE plpgsql AS \$\$ BEGIN CALL $_(name); EXCEPTION WHEN query_canceled THEN PERFORM set_config('test.caught', me(), false); END \$\$;}
} keys %changes);
my $token = sql('SELECT token FROM own');
my $is_ann = 'ann postgres f "$user", public 0 f';
my $is_token = 'ann postgres own t "$user", public 0 f';

# Runs a script of \echo'ed questions; answers by question.
sub answers
{
	my ($script) = @_;
	my $file = $node->basedir . '/script';
	unlink $file;
	append_to_file($file, "\\set VERBOSITY sqlstate\n$script");
	my ($ret, $out) = $node->psql('postgres', "\\i $file", on_error_stop => 0);
	my (%answers, $question);
	foreach (split /\n/, $out) { if (/^\? (.*)/) { $question = $1; } elsif (defined $question) { $answers{$question} = $_; } }
	return \%answers;
}
sub tally { my ($hash) = @_; my %n; $n{$_}++ foreach values %$hash; return join(', ', map { "$_: $n{$_}" } sort keys %n); }

foreach my $change (sort keys %changes)
{
	my $seen = $changes{$change}[1];
	foreach my $how ('', '_caught')
	{
		# timeouts from far too short on, and at last none; new connections, which have
		# everything to read and to plan, and old ones
		my $script = '';
		foreach my $round (1 .. 40)
		{
			my $name = "$change$how $round";
			my $timeout = $round == 40 ? 0 : 1 + $round * $round / 16 % 100;
			$script .= "\\c -\n" if $round % 2;
			$script .= "RESET ROLE;\nSET ROLE ann;\nSET test.caught = 'no';\n\\set name '$name'\n";
			$script .= "BEGIN;\nSELECT walwarden.authenticate('$token') AS id \\gset\n" if $how;
			$script .= "SET statement_timeout = $timeout;\nCALL $change$how(:'name');\n\\set state :SQLSTATE\n$no_timeout\\echo ? $name state\n\\echo :state\n\\echo ? $name me\nSELECT me();\n\\echo ? $name caught\nSHOW test.caught;\n";
			$script .= "COMMIT;\n" if $how;
			$script .= "\\echo ? $name chain\nSELECT coalesce(reason, 'ok') FROM walwarden.verify_audit_chain('acme');\nRESET ROLE;\n\\echo ? $name seen\n$seen;\n";
		}
		my $answers = answers($script);
		my %of = map { my $what = $_; $what => { map { s/ $what$//r => $answers->{$_} } grep { / $what$/ } keys %$answers } } qw(state me caught chain seen);
		my $cut = $how ? grep { $_ ne 'no' } values %{ $of{caught} } : grep { $_ eq '57014' } values %{ $of{state} };
		cmp_ok($cut, '>', 0, "$change$how: was cut off");
		cmp_ok($cut, '<', 40, "$change$how: not always");
		note("$change$how: $cut of 40 cut off; seen " . tally($of{seen}));
		is(tally($of{chain}), 'ok: 40', "$change$how: the chain verifies each time");
		# renewed and revoked ones count twice where only the first half was done
		is(join(', ', grep { $of{seen}{$_} !~ /^(?:0|$times)(?:\.0*)?$/ } sort keys %{ $of{seen} }), '', "$change$how: each time all is done, or nothing");
		if ($how)
		{
			is(join(', ', grep { $of{caught}{$_} ne 'no' && ($of{caught}{$_} ne $is_token || $of{seen}{$_} > 0) } sort keys %{ $of{caught} }), '', "$change$how: caught as who one was, with nothing done");
			my %me = map { $_ => 1 } values %{ $of{me} };
			delete $me{$is_token};
			# who was let finish has the identity of the last token
			delete $me{ $is_token =~ s/own //r } if $change eq 'identity';
			is(join(', ', keys %me), '', "$change$how: and goes on so");
		}
		else
		{
			is(join(', ', grep { ($of{state}{$_} eq '00000') != ($of{seen}{$_} > 0) } keys %{ $of{state} }), '', "$change: as it was told");
			is(tally($of{me}), "$is_ann: 40", "$change: and the session is whose it was");
		}
	}
}

# REST v1 answers even then; the same key again does it once.
{
	my $script = "SET ROLE gateway;\n";
	foreach my $round (1 .. 120)
	{
		$script .= "\\c -\nSET ROLE gateway;\n" if $round % 3 == 0;
		$script .= "SET statement_timeout = @{[ 1 + $round % 20 ]};\n\\echo ? d$round\nSELECT post('d$round');\n$no_timeout";
	}
	my $answers = answers($script);
	# cut off before or after the answer is made: an error, and no answer
	$_ //= 'none' foreach @$answers{ map { "d$_" } 1 .. 120 };
	note('REST v1: ' . tally($answers));
	is(join(', ', sort grep { !/^(?:201|503|none)$/ } values %$answers), '', 'REST v1 answers 201 or 503, or the statement fails');
	cmp_ok(scalar(grep { $_ eq '503' } values %$answers), '>', 0, 'some were cut off, and answered');
	my %there = map { $_ => 1 } split /\n/, sql('SELECT name FROM walwarden_internal.destination');
	is(join(', ', grep { !!$there{$_} != ($answers->{$_} eq '201') } sort keys %$answers), '', 'what was answered 201 is there, and nothing else');
	my $again = answers("SET ROLE gateway;\n" . join '', map { "\\echo ? d$_\nSELECT post('d$_');\n" } 1 .. 120);
	is(tally($again), '201: 120', 'the same keys again are answered');
	is(sql('SELECT count(*), count(DISTINCT name) FROM walwarden_internal.destination'), '120|120', 'and done once');
	is(sql(q{SELECT count(*) FROM walwarden_internal.audit_entry WHERE kind = 'destination.created'}), '120', 'with an entry each');
}
is(sql(q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain_sql(NULL)}), 'ok', 'the chains verify in SQL too');

# While the organisation is locked by another session.
my $holder = $node->background_psql('postgres');
my %ending = (
	'55P03' => [ "SET lock_timeout = '20ms'", undef ],
	'57014' => [ "SET statement_timeout = '50ms'", undef ],
	'57014 ' => [ "SET statement_timeout = 0", 'pg_cancel_backend' ],
	'57P01' => [ "SET statement_timeout = 0", 'pg_terminate_backend' ]);
foreach my $state (sort keys %ending)
{
	my ($set, $end) = @{ $ending{$state} };
	my $how = $end // $set;
	foreach my $change (sort keys %changes)
	{
		my $before = sql('SELECT count(*) FROM walwarden_internal.audit_entry');
		$holder->query_safe(q{BEGIN});
		$holder->query_safe(q{SELECT walwarden.issue_token('acme', 'holder')});
		my $script = "\\set VERBOSITY sqlstate\nSET ROLE ann;\n$set;\nCALL $change('locked');\nRESET lock_timeout;\n${no_timeout}SELECT me();";
		my ($out, $err) = ('', '');
		my $file = $node->basedir . '/waiting';
		unlink $file;
		append_to_file($file, $script);
		my $waiting = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ], '>', \$out, '2>', \$err);
		if ($end)
		{
			$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'}) or die 'nobody waits';
			sql("SELECT $end(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'");
		}
		$waiting->finish;
		like($err, qr/(?:ERROR|FATAL):\s+@{[ $state =~ s, ,,r ]}/, "$change, $how: is refused");
		is($out, "$is_ann\n", "$change, $how: and the session is whose it was") unless ($end // '') eq 'pg_terminate_backend';
		$holder->query_safe('COMMIT');
		is(sql('SELECT count(*) FROM walwarden_internal.audit_entry'), $before + 1, "$change, $how: nothing is written but by who held the lock");
	}
	is(sql(q{SELECT string_agg(DISTINCT coalesce(reason, 'ok'), '; ') FROM walwarden.verify_audit_chain()}), 'ok', "$how: the chains verify");
}
$holder->quit;
is(sql(qq{SET ROLE ann; CALL issue('at last'); RESET ROLE; SELECT count(*) FROM walwarden_internal.token WHERE name = 'at last'}), $times, 'and all goes on');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left behind');
$node->stop;
done_testing();
