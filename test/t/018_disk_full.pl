# A full disk, first that of the database, then that of the WAL: what is refused says
# so and leaves nothing half done, what was acknowledged stays, reading goes on, and
# with room again so does everything.
use strict;
use warnings;
use SmallDisk;    # before anything else
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $disk = $SmallDisk::path;

# Leaves so many bytes.
sub fill
{
	my ($left) = @_;
	my ($chunk, $room) = ('x' x 4096, 0);
	open my $filler, '>', "$disk/filler" or die "filler: $!";
	$filler->autoflush(1);
	$room += 4096 while syswrite $filler, $chunk;
	truncate $filler, $room - $left if $left;
	close $filler;
	return;
}
sub free { unlink "$disk/filler" or die "filler: $!"; return; }

my $node;
sub sql { my ($query) = @_; return $node->safe_psql('tight', $query); }
sub verdict { return sql(q{SELECT string_agg(DISTINCT coalesce(v.reason, 'ok'), '; ') FROM (SELECT reason FROM walwarden.verify_audit_chain() UNION ALL SELECT reason FROM walwarden.verify_audit_chain_sql(NULL)) AS v}); }

# What is changed, by a statement with a number in it, and how to see that it was.
my @changes = (
	[ 'issue',  q{SELECT token_id IS NOT NULL FROM walwarden.issue_token('acme', 'issued %1$d')}, q{EXISTS (SELECT FROM walwarden_internal.token WHERE name = 'issued %1$d')} ],
	[ 'renew',  q{SELECT token IS NOT NULL FROM walwarden.renew_token((SELECT renewed FROM given WHERE n = %1$d), '1 day')}, q{(SELECT count(*) FROM walwarden_internal.credential WHERE token_id = (SELECT renewed FROM given WHERE n = %1$d)) = 2} ],
	[ 'append', q{SELECT walwarden.append_audit('app.full', jsonb_build_object('n', %1$d, 'text', repeat('x', 400)), NULL, 'acme') > 0}, q{EXISTS (SELECT FROM walwarden_internal.audit_entry WHERE kind = 'app.full' AND (body::jsonb -> 'payload' -> 'data' ->> 'n')::int = %1$d)} ],
	[ 'revoke', q{SELECT walwarden.revoke_token((SELECT revoked FROM given WHERE n = %1$d))}, q{(SELECT revoked_at IS NOT NULL FROM walwarden_internal.token WHERE id = (SELECT revoked FROM given WHERE n = %1$d))} ],
	[ 'REST',   q{SELECT coalesce(post(%1$d) ->> 'name', 'refused ' || (current_setting('response.status')))}, q{EXISTS (SELECT FROM walwarden_internal.destination WHERE name = 'd%1$d')} ]);
my $each = 150;
sub prepare
{
	sql(q{CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('acme');
		CREATE TABLE given AS SELECT i AS n, (walwarden.issue_token('acme', 'used')).token AS used, (walwarden.issue_token('acme', 'renewed')).token_id AS renewed, (walwarden.issue_token('acme', 'revoked')).token_id AS revoked FROM generate_series(1, 150) AS i;
		CREATE TABLE api AS SELECT token FROM walwarden.issue_token('acme', 'api', (SELECT array_agg(name) FROM walwarden_internal.scope));
		CREATE FUNCTION post(n int) RETURNS json LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM set_config('request.headers', json_build_object('x-walwarden-token', (SELECT token FROM api), 'x-walwarden-method', 'POST', 'x-walwarden-path', '/api/v1/destinations',
				'x-walwarden-content-type', 'application/json', 'idempotency-key', n::text)::text, true);
			RETURN walwarden_rest.v1_post(convert_to(json_build_object('name', 'd' || n, 'provider', 'local', 'uri', 'file:///srv')::text, 'UTF8'));
		END
		$$;});
	return;
}

# Makes each change once for every number, in one session while there is one. Returns
# what was told of each: done, failed, or the status of REST v1; and the SQLSTATEs.
sub change
{
	my ($from, $to) = @_;
	my $script = join '', map { my $n = $_; map { my ($kind, $do) = @$_; sprintf("\\echo %s %d\n", $kind, $n) . sprintf("$do;\n", $n) } @changes } $from .. $to;
	# from a file: psql goes when the server does, and nobody would read the rest
	my $file = $node->basedir . "/changes$from";
	append_to_file($file, "\\set VERBOSITY sqlstate\n$script");
	my ($ret, $out, $err) = $node->psql('tight', "\\i $file", on_error_stop => 0);
	my (%told, $at);
	foreach (split /\n/, $out)
	{
		if (/^(\w+) (\d+)$/ && grep { $_->[0] eq $1 } @changes) { $at = "$1 $2"; $told{$at} = 'failed'; }
		elsif ($at) { $told{$at} = /^refused (\d+)/ ? $1 : 'done'; }
	}
	my %states = map { $_ => 1 } $err =~ /ERROR:\s+(\w{5})/g;
	return (\%told, join(' ', sort keys %states));
}

# Those whose outcome is not what was told.
sub wrong
{
	my ($told) = @_;
	my %see = map { $_->[0] => $_->[2] } @changes;
	my $values = join ', ', map { my ($kind, $n) = split / /; "('$_', '$told->{$_}', " . sprintf($see{$kind}, $n) . ')' } sort keys %$told;
	return sql(qq{SELECT coalesce(string_agg(what || ' ' || told, ', '), '') FROM (VALUES $values) AS v(what, told, is_there) WHERE (told = 'done') <> coalesce(is_there, false)});
}
sub count { my ($told, $outcome, $kind) = @_; return scalar grep { $told->{$_} eq $outcome && (!$kind || /^$kind /) } keys %$told; }

# The database's disk: everything of it is in a tablespace there.
$node = PostgreSQL::Test::Cluster->new('data');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum = off\nwalwarden.max_tokens_per_org = 100000\n");
$node->start;
mkdir "$disk/data" or die "data: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk/data'");
$node->safe_psql('postgres', 'CREATE DATABASE tight TABLESPACE small');
prepare();
# From 19 on what reads notes in a table's visibility map that all may see a page. The map
# takes room once; it is there after a table's first VACUUM.
sql('VACUUM');
sql('CHECKPOINT');

fill(0);
my ($told, $states) = change(1, $each);
is($states, '53100', 'a full disk is told as one');
foreach (@changes) { my $kind = $_->[0]; cmp_ok(count($told, $kind eq 'REST' ? '503' : 'failed', $kind), '>', $each / 2, "$kind was refused"); }
note(join ', ', map { my $kind = $_->[0]; my %n; $n{ $told->{$_} }++ foreach grep { /^$kind / } keys %$told; map { "$kind $_: $n{$_}" } sort keys %n } @changes);
is(scalar(keys %$told), $each * @changes, 'and the session went on each time');
is(wrong($told), '', 'what was refused is not there, what was not is');
is(verdict(), 'ok', 'the chains verify on a full disk');
is(sql('SELECT count(walwarden.authenticate(used)) FROM given'), $each, 'tokens work on a full disk');
cmp_ok(sql(q{SELECT count(*) FROM walwarden.token_list WHERE name = 'used' AND last_used_at IS NULL}), '>', 0, 'though not every use can be noted');
ok(slurp_file($node->logfile) =~ /LOG:  walwarden: REST request \w+ failed: .*SQLSTATE 53100/, 'the log says why REST v1 answered 503');

# A crash on a full disk. Recovery takes no room, a new connection does, because the
# server begins with writing a file of its own for it.
my $head = sql(q{SELECT entries || ',' || quote_literal(head_hash) FROM walwarden.verify_audit_chain('acme')});
$node->stop('immediate');
$node->start;
free();
is(sql("SELECT ok FROM walwarden.verify_audit_chain('acme', $head)"), 't', 'a crash on a full disk loses nothing');
is(verdict(), 'ok', 'the chains verify after it');
is(wrong($told), '', 'and all is as it was told');

my ($later) = change($each + 1, $each + 20);
is(count($later, 'done', 'issue') + count($later, 'done', 'append'), 40, 'with room again, tokens are issued and entries appended');
is(count($later, 'done', 'REST'), 20, 'and REST v1 changes');
my @again = grep { $told->{$_} ne 'done' } keys %$told;
my ($again) = change(1, $each);
is(scalar(grep { !/^issue/ && $again->{$_} eq 'failed' } @again), 0, 'what was refused is done when it is tried again');
is(verdict(), 'ok', 'the chains verify');
$node->stop;
system('rm', '-rf', "$disk/data");

# The WAL's disk. The server stops with a PANIC then, and starts once there is room.
$node = PostgreSQL::Test::Cluster->new('wal');
$node->init(extra => [ '--encoding=UTF8', '--locale=C', '--wal-segsize=1', "--waldir=$disk/wal" ]);
$node->append_conf('postgresql.conf', "fsync = on\nmax_wal_size = 10MB\nmin_wal_size = 2MB\nwal_recycle = off\nwalwarden.max_tokens_per_org = 100000\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE tight');
prepare();
foreach my $commit (qw(on off))
{
	$node->safe_psql('postgres', 'CHECKPOINT');
	fill(1024 * 1024);
	sql("ALTER DATABASE tight SET synchronous_commit = $commit");
	my $base = $commit eq 'on' ? 10_000 : 20_000;
	# tokens to revoke and to renew there are none at these numbers
	my $logged = -s $node->logfile;
	my ($told) = change($base, $base + 3000);
	ok(slurp_file($node->logfile, $logged) =~ /PANIC:  could not write to file .*No space left on device/, "synchronous_commit = $commit: the WAL's disk was full");
	my $left = 3000;    # it goes by itself
	while (-e $node->data_dir . '/postmaster.pid') { die 'the server did not stop' unless $left--; usleep(100_000); }
	$node->_update_pid(0);
	free();
	$node->start;
	cmp_ok(count($told, 'done'), '>', 100, 'some changes were acknowledged');
	delete $told->{$_} foreach grep { /^(?:renew|revoke)/ } keys %$told;
	# the last one of each may be there though nobody was told
	is(wrong({ map { $_ => $told->{$_} } grep { $told->{$_} eq 'done' } keys %$told }), '', 'each of them is there');
	is(verdict(), 'ok', 'the chains verify');
}
my ($end) = change(30_000, 30_010);
is(count($end, 'done', 'issue') + count($end, 'done', 'append') + count($end, 'done', 'REST'), 33, 'and the server goes on');
$node->stop;
done_testing();
