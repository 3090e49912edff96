# The recipe of docs/runner-restores.md for a lost control database: its blocks, as they stand.
use strict;
use warnings;
use EngineTest;
use File::Basename;
use File::Copy;
use File::Path;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $page = slurp(dirname(__FILE__) . '/../../docs/runner-restores.md');

# The blocks below a heading.
sub blocks
{
	my ($heading) = @_;
	my ($section) = $page =~ /^### \Q$heading\E\n(.*?)(?=^##|\z)/ms;
	my @found = $section =~ /^```sh\n(.*?)^```/msg;
	die "no block below $heading" unless @found;
	return @found;
}

my $cluster = cluster();
my $base = $RunnerTest::base;
my $key = make_key('node-1');
mkdir "$base/trusted";
copy("$base/node-1.pem", "$base/trusted/node-1.pem");
$cluster->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\narchive_mode = on\narchive_command = 'echo %f >> $base/archived'\n");
$cluster->append_conf('pg_hba.conf', "local replication all trust\n");
$cluster->restart;
$cluster->safe_psql('orders', q{CREATE ROLE clerk LOGIN; ALTER TABLE item OWNER TO clerk});
write_config(signing_key => $key, trusted_keys => "$base/trusted");
my $older = completed_ok(backup(), 'a dump');
my $dump = completed_ok(backup(), 'a newer dump');
my $tar = completed_ok(backup(method => 'pg_basebackup'), 'a base backup');

# the disaster
$cluster->stop;
my $archived = -s "$base/archived" // 0;
mkdir "$base/bin";
symlink $ENV{RUNNER}, "$base/bin/walwarden-runner";
mkdir "$base/cwd";

# Runs a block, and returns what it prints.
sub run_block
{
	my ($block, %variables) = @_;
	local %ENV = (%ENV, CONFIG => "$base/runner.conf", DESTINATION => "file://$base/destination", KEY => "$base/node-1.pem", %variables);
	local $ENV{PATH} = "$base/bin:$ENV{RUNNER_BINDIR}:$ENV{PATH}";
	my ($out, $err);
	IPC::Run::run([ 'bash', '-c', "cd '$base/cwd' || exit; set -e -o pipefail\n$block" ], '<', '/dev/null', '>', \$out, '2>', \$err);
	is($?, 0, 'the block ' . (split /\n/, $block)[0]) or diag($out . $err);
	return $out;
}
sub name_of { my ($b) = @_; return "7c1f0b62-0000-4000-8000-000000000001/$b->{id}.1"; }

my ($list, $fetch) = blocks('With a runner');
my @lines = split /\n/, run_block($list);
is(scalar(@lines), 4, 'the list has three backups');
like($lines[$_->[0]], qr/ signed .*\Q${\ name_of($_->[1])}\E/, 'the newest first') for [ 1, $tar ], [ 2, $dump ], [ 3, $older ];

# DESTINATION is a directory above, or below
my ($status, $out, $err);
mkdir "$base/above";
rename "$base/destination", "$base/above/destination" or die $!;
for (
	[ "$base/above", "destination/${\ name_of($tar)}", qr{: its destination is a directory below: add /destination to DESTINATION$} ],
	[ "$base/above/destination/7c1f0b62-0000-4000-8000-000000000001", "$tar->{id}.1", qr{: its destination is the directory above: leave out the last part of DESTINATION$} ])
{
	my ($directory, $name, $line) = @$_;
	my $config = write_config(local_root => "$base/above", trusted_keys => "$base/trusted");
	($status, $out, $err) = run_runner('--config', $config, 'list', "file://$directory");
	is($status, 1, "a list of $directory is not good");
	is(() = $out =~ /^- +- +elsewhere +- +\S+manifest[.]json$/mg, 3, 'all backups are elsewhere');
	like($err, $line, 'it is said where');
	is(() = $err =~ /\n/g, 1, 'once');
	($status, $out, $err) = run_runner('--config', $config, 'fetch', $name, "$base/cwd/rescue", "file://$directory");
	is($status, 1, 'nothing is fetched from there');
	like($err, $line, 'which says the same');
}
rename "$base/above/destination", "$base/destination" or die $!;
write_config(signing_key => $key, trusted_keys => "$base/trusted");

# a name that a terminal would obey
append_to_file("$base/destination/a\xC2\x9B31m.manifest.json", '{}');
($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'list', "file://$base/destination");
is($status, 1, 'a manifest that is none');
like($out, qr/malformed .* a  31m[.]manifest[.]json$/m, 'is listed without control characters');
like($err, qr/^a  31m[.]manifest[.]json: it is not a manifest in canonical JSON$/m, 'with the reason');
unlink "$base/destination/a\xC2\x9B31m.manifest.json";

# a dump, with a runner and by hand
run_block($fetch, NAME => name_of($dump));
my @verify = blocks('With plain tools');
my $said = run_block($verify[0]);
like($said, qr/Signature Verified Successfully/, 'OpenSSL verifies what was fetched');
like($said, qr{rescue/backup.dump: OK}, 'and sha256sum');
{
	my $repair = corrupt("$base/cwd/rescue/backup.dump");
	local $ENV{PATH} = "$base/bin:$ENV{PATH}";
	system("cd '$base/cwd' && KEY='$base/node-1.pem' bash -e -o pipefail -c '" . ($verify[0] =~ s/'/'\\''/gr) . "' >/dev/null 2>&1");
	isnt($?, 0, 'which find a byte that was changed');
	$repair->();
}

my $fresh = PostgreSQL::Test::Cluster->new('fresh');
$fresh->init;
$fresh->start;
my %fresh = (PGHOST => $fresh->host, PGPORT => $fresh->port);
run_block($_, %fresh) for blocks('Restore a dump');
is($fresh->safe_psql('orders', 'SELECT count(*) FROM item'), 100, 'the rows are back');
is($fresh->safe_psql('orders', q{SELECT tableowner FROM pg_tables WHERE tablename = 'item'}), 'clerk', 'with their owner');
$fresh->stop;

# the base backup, where the node is lost too: a file with what it takes to read the destination,
# and other keys that lead nowhere
rmtree("$base/cwd/rescue");
append_to_file("$base/rescue.conf", "local_root = $base/destination\ntrusted_keys = $base/trusted\ntoken_file = /nowhere\nbindir.15 = /nowhere\n");
chmod 0500, "$base/destination" or die $!;
my %lost = (CONFIG => "$base/rescue.conf");
is(scalar(my @again = split /\n/, run_block($list, %lost)), 4, 'the list needs no more');
run_block($fetch, %lost, NAME => name_of($tar));
chmod 0700, "$base/destination" or die $!;
like(run_block($verify[0]), qr{rescue/backup.tar.gz: OK}, 'sha256sum verifies the base backup');
run_block($_, WHERE => "$base/where") for blocks('Restore a base backup');
my ($rows) = run_command([ 'psql', '-XAtq', '-h', "$base/where", '-p', '5432', '-d', 'orders', '-c', 'SELECT count(*) FROM item' ]);
is($rows, 100, 'the rows are back');
system_or_bail('pg_ctl', '--silent', '--wait', '-D', "$base/where", 'stop');
is(-s "$base/archived" // 0, $archived, 'the copy has archived nothing');

done_testing();
