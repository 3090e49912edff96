# What a restore refuses, whom it blames, and that the target was not touched. The backup is
# blamed for its own bytes alone.
use strict;
use warnings;
use EngineTest;
use File::Copy;
use File::Path;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $key = make_key('node-1');
make_key('stranger');
mkdir "$base/trusted";
copy("$base/node-1.pem", "$base/trusted/node-1.pem");
my %signed = (signing_key => $key, trusted_keys => "$base/trusted");
write_config(%signed);
my $b = completed_ok(backup(), 'a backup');
my $other = completed_ok(backup(), 'another one');
my %new = (mode => 'new_database', target => 'scratch/restored');
my @uri = ("file://$base/destination");

# Refused, by a restore and by a drill, and nothing was made.
sub refused
{
	my ($what, $class, $blames, $message, %members) = @_;
	my $job = failed_as(restore($b, %new, %members), $class, $blames, $message, $what);
	failed_as(restore($b, %new, %members, kind => 'drill'), $class, $blames, $message, "$what, in a drill");
	is($cluster->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'restored' OR datname LIKE 'walwarden%'}), 0, "$what: the target is as it was");
	ok(!grep { $_ eq 'restoring' } @{ $job->{order} }, "$what: nothing was restored");
	return $job;
}

# the bytes of the artifact, and of what is beside it
for (['dump', 'artifact'], [ 'rows.json', 'row counts' ], [ 'roles.sql', 'roles' ])
{
	my ($ending, $what) = @$_;
	my $path = object_path($b, $ending);
	my $repair = corrupt($path);
	my $job = refused("a changed byte of the $what", 'artifact_changed', 'backup', qr/SHA-256/);
	ok(!$job->{error}{retryable}, 'is not tried again');
	$repair->();
	my $size = -s $path;
	copy($path, "$base/kept");
	truncate $path, $size - 10;
	refused("a truncated file of the $what", 'artifact_changed', 'backup', qr/\d+ bytes at the destination/);
	unlink $path;
	refused("a missing file of the $what", 'artifact_missing', 'backup', qr/is not at the destination/);
	copy("$base/kept", $path);
}

# the manifest
my $manifest = object_path($b, 'manifest.json');
my $text = slurp($manifest);
my $put = sub { unlink $manifest; append_to_file($manifest, $_[0]); };
$put->($text =~ s/"tables":1/"tables":2/r);
refused('a changed manifest', 'signature_invalid', 'backup', qr/does not belong to its content/);
my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'list', @uri);
is($status, 1, 'list fails');
like($out, qr/bad-signature .*\Q$b->{id}\E/, 'and names it');
like($out, qr/ signed .*\Q$other->{id}\E/, 'and the good one');
($status, $out, $err) = run_runner('--config', "$base/runner.conf", 'fetch', "7c1f0b62-0000-4000-8000-000000000001/$b->{id}.1", "$base/fetched", @uri);
is($status, 1, 'fetch refuses it');
ok(!-e "$base/fetched", 'and writes nothing');
$put->(substr $text, 0, -2);
refused('a cut manifest', 'manifest_damaged', 'backup', qr/canonical/);
$put->(slurp(object_path($other, 'manifest.json')));
refused('the manifest of another backup', 'manifest_damaged', 'backup', qr/is not the manifest of this backup/);
$put->($text =~ s/"signature":"[^"]*",//r);
refused('a manifest without its signature', 'manifest_unsigned', 'node', qr/not signed/);
$put->($text);
refused('an artifact that the control database knows otherwise', 'manifest_damaged', 'backup', qr/is not the manifest of this backup/,
	backup => { id => $b->{id}, fence => 1, artifact => { %{ $b->{artifact} }, checksumSha256 => '0' x 64 } });

# keys
copy("$base/stranger.pem", "$base/trusted/node-1.pem");
refused('a key that is not trusted', 'key_untrusted', 'node', qr/signed by a key that .*node-1.pem does not have/);
unlink "$base/trusted/node-1.pem";
refused('a node without a trusted key', 'key_untrusted', 'node', qr/no trusted key/);
append_to_file("$base/trusted/node-1.pem", slurp("$base/stranger.pem") . slurp("$base/node-1.pem"));
completed_ok(restore($b, %new, kind => 'drill'), 'the second of two keys of a node');
# signed anew by a stranger who names the node
{
	my $forged = $text =~ s/"tables":1/"tables":2/r =~ s/"signature":"[^"]*",//r;
	unlink "$base/trusted/node-1.pem";
	copy("$base/node-1.pem", "$base/trusted/node-1.pem");
	my $public = MIME::Base64::encode_base64(substr(qx{openssl pkey -pubin -in '$base/stranger.pem' -outform DER}, -32), '');
	$forged =~ s/"publicKey":"[^"]*"/"publicKey":"$public"/;
	append_to_file("$base/forged", $forged);
	my $signature = MIME::Base64::encode_base64(scalar qx{openssl pkeyutl -sign -inkey '$base/stranger.key' -rawin -in '$base/forged'}, '');
	$put->($forged =~ s/"snapshot"/"signature":"$signature","snapshot"/r);
	refused('a manifest that a stranger signed', 'key_untrusted', 'node', qr/does not have/);
	$put->($text);
}

# the destination: empty, away, elsewhere
rename "$base/destination", "$base/away";
mkdir "$base/destination";
ok(refused('an empty destination', 'manifest_missing', 'node', qr/is not at the destination/)->{error}{retryable}, 'may be another one: try again');
rmdir "$base/destination";
mkdir "$base/root";
write_config(%signed, local_root => "$base/root");
refused('a destination outside of local_root', 'destination_failed', 'node', qr/is not below local_root/);
append_to_file("$base/runner.conf", '');
rename "$base/away", "$base/root/destination";
destination(uri => "file://$base/root/gone");
refused('a destination that is not there', 'destination_failed', 'node', qr/No such file/);
symlink "$base/root/destination", "$base/root/link";
destination(uri => "file://$base/root/link");
refused('a destination behind a symbolic link', 'destination_failed', 'node', qr/link/);
my $refused = backup();
is($refused->{error}{class}, 'destination_failed', 'no backup goes there either');
destination(uri => "file://$base/root/destination");
rename "$base/root/destination/7c1f0b62-0000-4000-8000-000000000001", "$base/moved";
symlink "$base/moved", "$base/root/destination/7c1f0b62-0000-4000-8000-000000000001";
refused('a symbolic link in a destination', 'destination_failed', 'node', qr{7c1f0b62-0000-4000-8000-000000000001: });
unlink "$base/root/destination/7c1f0b62-0000-4000-8000-000000000001";
rename "$base/moved", "$base/root/destination/7c1f0b62-0000-4000-8000-000000000001";
completed_ok(restore($b, %new, kind => 'drill'), 'with all in its place it can be restored');

# the target
refused('a target that the node does not have', 'unknown_target', 'target', qr/no section elsewhere/, target => 'elsewhere/restored');
failed_as(restore($b, mode => 'new_database', target => 'scratch'), 'bad_reference', 'node', qr/the job's target is not acceptable/, 'a target without a name');
append_to_file("$base/targets", "[down]\nhost=$base\nport=1\ndbname=postgres\n");
ok(refused('a target that does not answer', 'connection_failed', 'target', qr/No such file/, target => 'down/restored')->{error}{retryable}, 'is tried again');

# without trusted_keys nothing is believed about who made a backup, and the report says so
write_config(local_root => "$base/root");
my $r = completed_ok(restore($b, %new, kind => 'drill'), 'without trusted_keys');
is_deeply((grep { $_->{name} eq 'signature' } @{ $r->{validation}{checks} })[0], { name => 'signature', result => 'not_run', detail => 'this node has no trusted_keys' }, 'the signature is not checked');

done_testing();
