# Bounds of use with preload: rate limits, networks, counts and the log of refusals; over
# TCP and a Unix socket, with several clients at once, over restarts, on a standby, and
# without preload.
use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
my $ipv6 = eval { require IO::Socket::IP; IO::Socket::IP->new(LocalHost => '::1', Listen => 1) } ? 1 : 0;
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'walwarden'
walwarden.usage_flush_interval = 1d
walwarden.maintenance_interval = 7d
walwarden.max_limited_tokens = 5
listen_addresses = '127.0.0.1@{[$ipv6 ? ',::1' : '']}'
autovacuum = off
CONF
$node->start;

sub sql { my ($query, $db) = @_; return $node->safe_psql($db // 'postgres', $query); }
sub state_of
{
	my ($query, %more) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query", %more);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok';
}
# as a role, from an address
sub from { my ($host, $role, $query) = @_; return state_of($query, connstr => "host=$host port=" . $node->port . " dbname=postgres user=$role"); }
sub use_of { my ($token, $client) = @_; return "SELECT walwarden.authenticate('$token'" . (defined $client ? ", '$client'" : '') . ')'; }
sub listed { my ($name, $columns, $server) = @_; return ($server // $node)->safe_psql('postgres', "SELECT $columns FROM walwarden.list_tokens('acme') WHERE name = '$name'"); }
sub set { my ($name, $value) = @_; $node->adjust_conf('postgresql.conf', "walwarden.$name", $value); $node->reload; }
my (%id, %token);
sub issue
{
	my ($name, $more) = @_;
	($id{$name}, $token{$name}) = split /\|/, sql("SELECT token_id, token FROM walwarden.issue_token('acme', '$name', '{databases:read}', $more)");
}

sql(q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme');
	CREATE ROLE plain LOGIN; CREATE ROLE gateway LOGIN;
	SELECT walwarden.trust_authenticator('gateway');
	CREATE FUNCTION opens(token text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM walwarden.authenticate(token);
		RETURN true;
	EXCEPTION WHEN program_limit_exceeded THEN
		RETURN false;
	END $$});

# a rate limit is exact, whoever uses the token at the same time
my $begun = time;
issue('eight', 'rate_limit => 100');
is(sql(q{SELECT body::jsonb -> 'payload' -> 'after' ->> 'rateLimit' FROM walwarden.list_audit('acme') ORDER BY seq DESC LIMIT 1}), '100', 'the entry has the limit');
my @clients = map {
	my %c = (out => '');
	$c{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "SELECT count(*) FILTER (WHERE opens('$token{eight}')) FROM generate_series(1, 500)" ], '>', \$c{out});
	\%c
} 1 .. 8;
my $accepted = 0;
foreach my $c (@clients) { $c->{run}->finish; $accepted += $c->{out}; }
SKIP: {
	skip 'the machine is too slow for one window', 2 if time - $begun >= 60;
	is($accepted, 100, 'of 4,000 uses by 8 clients as many are accepted as the limit says');
	is(listed('eight', 'uses, refusals, last_refused_reason'), '100|3900|rate_limited', 'and all are counted');
}
my ($ret, $out, $err) = $node->psql('postgres', use_of($token{eight}));
like($err, qr/ERROR:  the token has reached its rate limit\nDETAIL:  rateLimit=100, retryAfter=\d+\nHINT:  Try again in \d+ s\./, 'the error says how long to wait');
unlike($err, qr/wal_/, 'and has no token');
is(state_of("SELECT walwarden.authorize('$token{eight}', 'databases:read')"), '54000', 'authorize says the same');
is(state_of("BEGIN; SELECT walwarden.authenticate('$token{eight}'); COMMIT"), '54000', 'in a transaction too');

# another limit is in force at once, and what was used counts
sql("SELECT walwarden.update_token('$id{eight}', rate_limit => 101)");
is(state_of(use_of($token{eight})), 'ok', 'one more');
is(state_of(use_of($token{eight})), '54000', 'and no more');
sql("SELECT walwarden.update_token('$id{eight}', rate_limit => 0)");
is(state_of(use_of($token{eight})), 'ok', 'a limit is lifted');
is(listed('eight', 'rate_limit IS NULL'), 't', 'and shows no more');
sql("SELECT walwarden.update_token('$id{eight}', rate_limit => 100)");
is(state_of(use_of($token{eight})), '54000', 'set again, it does not begin anew');

# neither does a token that is disabled, renewed, or used in what rolls back
issue('once', 'rate_limit => 1');
is(state_of("BEGIN; SELECT walwarden.authenticate('$token{once}'); ROLLBACK"), 'ok', 'a use');
is(state_of(use_of($token{once})), '54000', 'counts if its transaction rolls back');
sql("SELECT walwarden.disable_token('$id{once}'), walwarden.enable_token('$id{once}')");
is(state_of(use_of($token{once})), '54000', 'a token that was disabled and enabled goes on counting');
my $renewed = sql("SELECT token FROM walwarden.renew_token('$id{once}', '1 hour')");
is(state_of(use_of($_)), '54000', 'both values of a renewed one count together') for ($token{once}, $renewed);

# places: 5 for all databases, of which one organisation does not get the last
issue($_, 'rate_limit => 5') for ('a', 'b', 'c');
is(state_of(use_of($token{$_})), 'ok', "$_ finds a place") for ('a', 'b');
is(state_of(use_of($token{c})), '28000', 'then there is none');
is(listed('c', 'uses, refusals, last_refused_reason'), '0|1|no_limiter', 'and the listing says why');
is(state_of("BEGIN; SELECT walwarden.revoke_token('$id{a}'); ROLLBACK"), 'ok', 'a revoke that rolls back');
is(state_of(use_of($token{c})), '28000', 'makes none');
is(state_of("BEGIN; SAVEPOINT s; SELECT walwarden.revoke_token('$id{a}'); ROLLBACK TO s; COMMIT"), 'ok', 'one in a savepoint');
is(state_of(use_of($token{c})), '28000', 'neither');
sql("SELECT walwarden.revoke_token('$id{a}')");
is(state_of(use_of($token{c})), 'ok', 'a revoke does');
sql('CREATE DATABASE other');
sql(q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme')}, 'other');
my $other = sql(q{SELECT token FROM walwarden.issue_token('acme', 'x', rate_limit => 5)}, 'other');
is($node->psql('other', use_of($other)), 0, 'another organisation gets the last, also in another database');
issue('late', 'rate_limit => 5');
sql("SELECT walwarden.create_org('third')");
my $third = sql(q{SELECT token FROM walwarden.issue_token('third', 'x', rate_limit => 5)});
is(state_of(use_of($third)), '28000', 'the next one finds none');
sql("SELECT walwarden.revoke_token('$id{b}')");
is(state_of(use_of($token{late})), '28000', 'one that is free again is not for who has three');
is(state_of(use_of($third)), 'ok', 'but for who has none');
sub issued_and_used { my ($more, $end) = @_; return "BEGIN; SELECT walwarden.authenticate(t.token) FROM walwarden.issue_token('acme', 'gone', '{}', $more) AS t; $end"; }
sql("SELECT walwarden.revoke_token('$id{c}')");
is(state_of(issued_and_used('rate_limit => 5', 'ROLLBACK')), '28000', 'a token that is not committed cannot take a place');
issue('d', 'rate_limit => 5');
is(state_of(use_of($token{d})), 'ok', 'and so leaves it to others');
is(state_of("BEGIN; SELECT walwarden.update_token('$id{d}', name => 'e'); SELECT walwarden.authenticate('$token{d}'); ROLLBACK"), 'ok', 'a token that was committed and changes can be used');
issue('f', 'rate_limit => 5');
is(state_of(use_of($token{f})), '28000', 'again there is none');
sql("SELECT walwarden.set_org_retention('acme', '0'), walwarden.disable_token('$id{d}')");
my $remove = q{SELECT walwarden_internal.expire_tokens_of(id, 300, NULL) FROM walwarden_internal.org WHERE slug = 'acme'};
is(state_of("BEGIN; SAVEPOINT s; $remove; ROLLBACK TO s; COMMIT"), 'ok', 'a removal that rolls back');
is(state_of(use_of($token{f})), '28000', 'makes none');
sql("$remove; SELECT walwarden.set_org_retention('acme', '7 days')");
is(state_of(use_of($token{f})), 'ok', 'a removal does');

# networks. The address of a connection counts, unless a gateway says from where
issue('v4', "networks => '{127.0.0.0/8}'");
issue('v6', "networks => '{::1/128}'");
issue('far', "networks => '{192.0.2.0/24,0.0.0.0/1,::/0}'");
is(from('127.0.0.1', 'plain', use_of($token{v4})), 'ok', 'IPv4');
is(listed('v4', 'last_used_from'), '127.0.0.1', 'is what the listing says');
is(from('127.0.0.1', 'plain', use_of($token{v6})), '28000', 'not in an IPv6 network');
is(from('127.0.0.1', 'postgres', use_of($token{v4})), 'ok', 'an operator over TCP');
is(from('127.0.0.1', 'plain', use_of($token{far})), 'ok', 'half of the IPv4 addresses');
SKIP: {
	skip 'no IPv6 here', 3 unless $ipv6;
	is(from('::1', 'plain', use_of($token{v6})), 'ok', 'IPv6');
	is(listed('v6', 'last_used_from'), '::1', 'is what the listing says');
	is(from('::1', 'plain', use_of($token{v4})), '28000', 'not in an IPv4 network');
}
is(state_of(use_of($token{$_})), '28000', "a Unix socket has no address: $_") for ('v4', 'v6', 'far');
is(listed('far', 'last_refused_reason'), 'network', 'the listing says why');
is(from('127.0.0.1', 'gateway', use_of($token{v4})), '28000', 'the address of a gateway is not that of its client');
is(from('127.0.0.1', 'gateway', use_of($token{v4}, '127.0.0.9')), 'ok', 'it says which that is');
is(listed('v4', 'last_used_from'), '127.0.0.9', 'and the listing too');
is(from('127.0.0.1', 'gateway', use_of($token{v4}, '::ffff:127.0.0.10')), 'ok', 'in IPv6 form');
is(listed('v4', 'last_used_from'), '127.0.0.10', 'it is the IPv4 address');
is(from('127.0.0.1', 'gateway', use_of($token{v4}, '192.0.2.1')), '28000', 'from elsewhere');
is(from('127.0.0.1', 'plain', use_of($token{v4}, '127.0.0.9')), '42501', 'others may not say so');
is(from('127.0.0.1', 'gateway', use_of($token{v4})), '28000', 'without an address again');
is(state_of(use_of($token{v4}, '127.0.0.1')), 'ok', 'an operator may say so');
issue('free', "labels => '{}'");
is(from('127.0.0.1', 'gateway', use_of($token{free})), 'ok', 'a token without networks needs no address');
is(listed('free', 'last_used_from IS NULL, uses'), 't|1', 'and then shows none');

# headers, as PostgREST passes them on
sub headers { my ($more) = @_; return qq{SELECT set_config('request.headers', ('{"x-walwarden-token":"$token{v4}"}'::jsonb || '$more')::text, false); SELECT walwarden.pre_request()}; }
is(from('127.0.0.1', 'gateway', headers('{"x-walwarden-client":"127.0.0.1"}')), 'ok', 'pre_request: a client in the network');
is(from('127.0.0.1', 'gateway', headers('{"x-walwarden-client":"192.0.2.1"}')), 'PGRST', 'one outside');
is(from('127.0.0.1', 'gateway', headers('{"x-walwarden-client":"unix:"}')), 'PGRST', 'one without an address');
is(from('127.0.0.1', 'gateway', headers('{}')), 'PGRST', 'none');
is(from('127.0.0.1', 'plain', headers('{"x-walwarden-client":"127.0.0.1"}')), '42501', 'a session that may not say so');
is(from('127.0.0.1', 'plain', headers('{}')), 'ok', 'its own address');

# the log: which token and why, once a minute, and not to the client
my $offset = -s $node->logfile;
issue('logged', "networks => '{192.0.2.0/24}'");
($ret, $out, $err) = $node->psql('postgres', "SET client_min_messages = debug1; \n" . join("\n", map { use_of($token{logged}) . ';' } 1 .. 3), on_error_stop => 0);
unlike($err, qr/$id{logged}|network/, 'a client is not told');
is(state_of(use_of($token{logged})), '28000', 'another session');
sql("SELECT walwarden.disable_token('$id{logged}')");
is(state_of(use_of($token{logged})), '28000', 'another reason');
is(state_of(use_of('wal_' . 'a' x 64)), '28000', 'an unknown token');
is(state_of(issued_and_used("networks => '{192.0.2.0/24}'", 'ROLLBACK')), '28000', 'a token that was never committed');
my $log = slurp_file($node->logfile, $offset);
is(join(',', $log =~ /LOG:  walwarden: token $id{logged} was refused: (.*)/g), 'network,disabled', 'the log has each reason once');
is(scalar(() = $log =~ /was refused/g), 2, 'and nothing of a token that does not exist');
unlike($log =~ s/.*LOG:  statement: .*//gr, qr/$token{logged}/, 'nor a value');
is(listed('logged', 'uses, refusals, last_refused_reason'), '0|5|disabled', 'the listing counts all');

# counts are on record after a flush, and none is lost at a restart
sub use_times { my ($n, $name) = @_; sql("SELECT count(walwarden.authenticate('$token{$name}')) FROM generate_series(1, $n)"); }
my $stored = "SELECT uses FROM walwarden_internal.token_usage WHERE token_id = '$id{free}'";
is(sql("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'token_usage'"), '0', 'until now nothing was written');
use_times(1000, 'free');
is(listed('free', 'uses'), '1001', 'a thousand uses');
set('usage_flush_interval', '1s');
ok($node->poll_query_until('postgres', "SELECT coalesce(($stored) = 1001, false)"), 'the worker writes them');
ok($node->poll_query_until('postgres', 'SELECT dirty = 0 FROM walwarden_internal.usage_table()'), 'and all others');
is(sql("SELECT uses, refusals, last_refused_reason FROM walwarden_internal.token_usage WHERE token_id = '$id{logged}'"), '0|5|disabled', 'refusals too');
is(listed('free', 'uses'), '1001', 'none is shown twice');
use_times(500, 'free');
is(listed('free', 'uses'), '1501', 'counting goes on');
# readers while uses are counted and flushed: never less than before
my $counter = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "SELECT count(walwarden.authenticate('$token{free}')) FROM generate_series(1, 300000)" ], '>', \my $used);
my ($last, $back) = (0, 0);
for (1 .. 60)
{
	my $now = listed('free', 'uses');
	$back++ if $now < $last;
	$last = $now;
	select(undef, undef, undef, 0.05);
}
$counter->finish;
is($back, 0, 'a count never goes back');
is(listed('free', 'uses'), 1501 + $used, 'and is exact');
set('usage_flush_interval', '1d');
use_times(10, 'free');
my $before = listed('free', 'uses');
$node->restart;
is(listed('free', 'uses'), $before, 'a restart loses none');
use_times(5, 'free');
is(listed('free', 'uses'), $before + 5, 'and counting goes on');
is(state_of(use_of($token{eight})), 'ok', 'rate limits begin anew');
my $on_record = sql($stored);
$node->stop('immediate');
$node->start;
my $after = listed('free', 'uses');
ok($after >= $on_record && $after <= $before + 5, "a crash loses at most what was not on record: $on_record, $after");
use_times(2, 'free');
is(listed('free', 'uses'), $after + 2, 'no more');

# a standby has a limiter of its own, and counts for nobody
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "listen_addresses = ''\n");
$standby->start;
sql("SELECT walwarden.update_token('$id{once}', rate_limit => 2)");
is(state_of(use_of($token{once})), 'ok', 'a use') for 1 .. 2;
is(state_of(use_of($token{once})), '54000', 'the limit on the primary');
$node->wait_for_catchup($standby, 'replay');
is($standby->psql('postgres', use_of($token{once})), 0, 'a standby counts for itself') for 1 .. 2;
($ret, $out, $err) = $standby->psql('postgres', use_of($token{once}));
like($err, qr/rate limit/, 'and has the limit');
isnt($standby->psql('postgres', use_of($token{v4})), 0, 'networks are in force there');
is(listed('once', 'uses', $standby), sql("SELECT uses FROM walwarden_internal.token_usage WHERE token_id = '$id{once}'"), 'it shows what is on record');
$standby->stop;

# the next window: uses are accepted again
ok($node->poll_query_until('postgres', "SELECT opens('$token{once}')"), 'after a minute a token is accepted again');
is(sql("SELECT count(*) FILTER (WHERE opens('$token{once}')) FROM generate_series(1, 10)") , '1', 'within its limit');

# without preload
sql('SELECT bool_and(ok) FROM walwarden.verify_audit_chain()');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(state_of(use_of($token{once})), '28000', 'without preload a token with a limit is refused');
is(state_of(use_of($token{free})), 'ok', 'one without is not');
is(state_of("SELECT walwarden.update_token('$id{free}', rate_limit => 5)"), '55000', 'no limit can be set');
is(state_of("SELECT walwarden.update_token('$id{once}', 'renamed')"), 'ok', 'one that is there stays');
is(listed('free', "concat(uses, refusals, last_used_from, last_refused_at, last_refused_reason), last_used_at IS NOT NULL"), '|t', 'and nothing is counted');
is(from('127.0.0.1', 'plain', use_of($token{v4})), 'ok', 'networks are in force');
is(state_of(use_of($token{v4})), '28000', 'as ever');
$offset = -s $node->logfile;
is(state_of(use_of($token{once}) . ";\n" . use_of($token{once}), on_error_stop => 0), '28000', 'refused twice');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /token $id{once} was refused: no_limiter/g), 1, 'and logged once in a session');
is(sql('SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', 'all verifies');
$node->stop;
done_testing();
