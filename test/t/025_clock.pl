# The server's clock steps, under libfaketime: 30 days ahead and back, two hours back. No
# live token is erased, no ended one opens again, and the chain's times never go back.
# Without the library (Debian: faketime) there is nothing to test.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless $library;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum = off\ntimezone = 'UTC'\n");

# The offset stands in a file that the server's processes read at each look at the clock.
# Its monotonic clock goes on.
my $offset = $node->basedir . '/clock';
sub clock
{
	my ($by) = @_;
	append_to_file("$offset.new", "$by\n");
	rename "$offset.new", $offset or die;
}
clock('+0');
{
	local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME_TIMESTAMP_FILE => $offset, FAKETIME_NO_CACHE => 1, DONT_FAKE_MONOTONIC => 1, FAKETIME_DONT_FAKE_MONOTONIC => 1);
	$node->start;
}

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }
sub opens { my ($token) = @_; return $node->psql('postgres', "SELECT walwarden.authenticate('$token')") == 0 ? 'opens' : 'closed'; }
sub state_of { my ($name) = @_; return sql("SELECT coalesce((SELECT state FROM walwarden.list_tokens('acme') WHERE name = '$name'), 'removed')"); }
sub issue { my ($name, $rest) = @_; return sql("SELECT token FROM walwarden.issue_token('acme', '$name'" . ($rest // '') . ')'); }
my $id = q{(SELECT token_id FROM walwarden.list_tokens('acme') WHERE name = '%s')};

my $true = time;
sql(q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'boss', 'owner'), walwarden.add_member('acme', 'bob')});
clock('+1d');
cmp_ok(sql('SELECT extract(epoch FROM clock_timestamp())::bigint'), '>', $true + 86000, 'the server believes the file');
clock('+0');

# 30 days ahead, without a single round before it
issue('disabled');
issue('live', ", expires_at => now() + interval '20 days'");
my $private = issue('private', ", owner => 'bob'");
sql(sprintf("SELECT walwarden.disable_token($id)", 'disabled'));
sql(q{SELECT walwarden.disable_member('acme', 'bob')});
clock('+30d');
sql('SELECT walwarden.run_maintenance()') for 1 .. 2;
is(state_of($_), { disabled => 'disabled', live => 'expired', private => 'inactive' }->{$_}, "30 days ahead: $_") for ('disabled', 'live', 'private');
sql(q{SELECT walwarden.enable_member('acme', 'bob')});
is(state_of('private'), 'disabled', 'a member who comes back loses no token either');
is(opens($private), 'closed', 'and gets none back that may be overdue');
clock('+0');
is(sql(sprintf("SELECT walwarden.enable_token($id)", 'disabled')), 't', 'back: it can be enabled');
is(state_of('live'), 'expired', 'what is on record as expired stays so');
sql('SELECT walwarden.run_maintenance()');
is(state_of('disabled'), 'active', 'nothing is gone');

# an outage of 30 days is no jump: after another 24 hours what is due is removed
sql(sprintf("SELECT walwarden.disable_token($id)", 'disabled'));
sql('SELECT walwarden.run_maintenance()');
clock('+30d');
sql('SELECT walwarden.run_maintenance()');
is(state_of('disabled'), 'disabled', 'after an outage removal waits');
clock(sprintf '+%dh', 30 * 24 + 12);
sql('SELECT walwarden.run_maintenance()');
is(state_of('disabled'), 'disabled', 'for 24 hours');
clock(sprintf '+%dh', 30 * 24 + 25);
sql('SELECT walwarden.run_maintenance()');
is(state_of($_), 'removed', "then $_ is removed") for ('disabled', 'live');

# two hours back
my $short = issue('short', ", expires_at => now() + interval '1 hour'");
my $old = issue('renewed');
sql(sprintf("SELECT FROM walwarden.renew_token($id)", 'renewed'));
clock(sprintf '+%dh', 30 * 24 + 27);
is(opens($short), 'closed', 'expired');
sql('SELECT walwarden.run_maintenance()');
clock(sprintf '+%dh', 30 * 24 + 25);
is(opens($short), 'closed', 'two hours back it does not open again');
is(state_of('short'), 'expired', 'and is listed as expired');
clock('+0');
is(opens($old), 'closed', 'nor does a value that was renewed');
issue('after');
is(sql(q{SELECT count(*) FROM (SELECT at < lag(at) OVER (ORDER BY seq) AS back FROM walwarden.list_audit('acme', 0, 1000)) AS e WHERE back}), '0', 'at never goes back in the chain');
is(sql('SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't', 'which verifies');

# schedules: an outage is made up for once, and a clock that goes back repeats nothing
sql(q{
	WITH at AS (SELECT o.id AS org, clock_timestamp() AS now FROM walwarden_internal.org AS o WHERE o.slug = 'acme'),
	made AS (INSERT INTO walwarden_internal.destination (org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq)
	         SELECT org, 'd', 'local', 'file:///srv', 0, now, now, 1 FROM at RETURNING id)
	INSERT INTO walwarden_internal.database (org_id, name, engine, connection_ref, destination_id, schedule, next_run_at, created_at, updated_at, audit_seq)
	SELECT org, 'd', 'postgresql', 'd', made.id, '0 * * * *', walwarden.cron_next('0 * * * *', now), now, now, 1 FROM at, made});
sub backups
{
	my ($by) = @_;
	clock($by);
	sql('SELECT walwarden.run_maintenance()') for 1 .. 2;
	sql(q{UPDATE walwarden_internal.job SET state = 'cancelled', done = true});
	return sql('SELECT count(*) FROM walwarden_internal.job');
}
is(backups('+0'), '0', 'a schedule that is not due');
is(backups('+14h'), '1', 'after 14 hours it was due once');
is(backups('+2h'), '1', 'it is not due again when the clock goes back');
is(backups('+13h'), '1', 'until the same time has come again');
is(backups('+15h'), '2', 'then it is');

# whoever connects without the library loaded sets no limit of their own
sql(q{ALTER DATABASE postgres SET walwarden.max_token_lifetime = '1d'; CREATE ROLE boss LOGIN; SELECT walwarden.grant_operator('boss')});
my ($ret, $out, $err) = $node->psql('postgres', q{SET walwarden.max_token_lifetime = 0; SELECT walwarden.issue_token('acme', 'x')}, extra_params => [ '-U', 'boss' ]);
like($err, qr/exceeds the maximum lifetime/, 'a setting made before the library was loaded does not count');

$node->stop;
done_testing();
