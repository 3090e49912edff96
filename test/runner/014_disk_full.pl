# A full disk: of the destination, and of the node. What is refused says so, nothing is left,
# and the backup is not to blame.
use strict;
use warnings;
use SmallDisk;    # before anything else
use EngineTest;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $disk = $SmallDisk::path;

my $cluster = cluster();
my $base = $RunnerTest::base;

# Leaves so many bytes.
sub fill
{
	my ($left) = @_;
	my $free = (split ' ', qx{df -Pk '$disk' | tail -n 1})[3] * 1024;
	system_or_bail('fallocate', '--length', $free - $left, "$disk/filler") if $free > $left;
	return;
}

# about 12 MB as a dump
$cluster->safe_psql('orders', 'CREATE TABLE filler AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b FROM generate_series(1, 350000)');
write_config();
my %new = (mode => 'new_database', target => 'scratch/restored');
my $b = completed_ok(backup(), 'a backup');
cmp_ok($b->{artifact}{sizeBytes}, '>', 8 << 20, 'is large enough');
my @stored = objects();

# the destination's: in the middle of the dump, and with no room for anything
mkdir "$disk/destination";
write_config(local_root => "$disk/destination");
destination(uri => "file://$disk/destination");
for my $left (4 << 20, 0)
{
	fill($left);
	my $job = backup();
	is("$job->{state} $job->{error}{class} $job->{error}{retryable}", 'failed destination_failed 1', "$left bytes are left at the destination") or diag($job->{log});
	like($job->{error}{message}, qr/No space left on device/, 'the message');
	is(qx{find '$disk/destination' -type f}, '', 'nothing is left there');
	unlink "$disk/filler";
}
my $again = completed_ok(backup(), 'with room again it works');
completed_ok(expire($again), 'and is removed');

# the node's
mkdir "$disk/work";
destination();
write_config(work => "$disk/work");
fill(4 << 20);
my $job = restore($b, %new);
is("$job->{error}{class} $job->{error}{blames} $job->{error}{retryable}", 'disk_full node 1', 'no room for the artifact') or diag($job->{log});
is(join(' ', @{ $job->{order} }), 'downloading failed', 'is found before it is fetched');
is_deeply([ glob "$disk/work/*" ], [], 'nothing is left');
unlink "$disk/filler";
fill($b->{artifact}{sizeBytes} + (2 << 20));
$job = restore($b, kind => 'drill', mode => 'new_cluster', target => 'scratch');
is("$job->{error}{class} $job->{error}{blames} $job->{error}{retryable}", 'disk_full node 1', 'no room for a cluster') or diag($job->{log});
is_deeply([ glob "$disk/work/*" ], [], 'nothing is left');
unlink "$disk/filler";
is_deeply([ objects() ], \@stored, 'the backup is as it was');
completed_ok(restore($b, %new), 'with room again it is restored');

done_testing();
