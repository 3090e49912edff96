# From a backup to a verdict: a runner makes backups, follows the chain and signs it, the
# bundle comes over REST, and with every server stopped two verifiers that share no code judge
# it. Also the whole chain, as the page for auditors gets it, before and after a person is erased.
#   VERIFY                walwarden-verify
#   NODE_MODULES_RUNNER   node_modules with sigstore's verifier; default: beside this file
use strict;
use warnings;
use ChainTest;
use EngineTest;
use ExtensionTest;
use File::Basename;
use File::Copy;
use File::Path qw(make_path);
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $here = dirname(__FILE__);
my $cluster = cluster();
my $base = $RunnerTest::base;
my $json = JSON::PP->new->canonical->utf8;
my $control = extension();
node_token('node-1', "$base/token");
make_key('node-1');
write_config(control => $control, signing_key => "$base/node-1.key");

# A folder of trust, with the checkpoint that an auditor kept.
sub folder
{
	my ($name, $kept) = @_;
	make_path("$base/$name");
	append_to_file("$base/$name/node-1.vkey", sprintf "node-1+%s+%s\n", unpack('H*', key_id()), encode_base64("\1" . public_key(), ''));
	append_to_file("$base/$name/checkpoint", $kept) if defined $kept;
	return;
}

# Writes files below base.
sub put
{
	my ($directory, %files) = @_;
	for my $path (keys %files)
	{
		make_path(dirname("$base/$directory/$path"));
		append_to_file("$base/$directory/$path", $files{$path});
	}
	return;
}

# The bundle of these backups over REST, as a directory.
sub export_bundle
{
	my ($directory, $backups, %more) = @_;
	my $answer = request('POST', '/evidence/exports', { backupJobIds => $backups, %more });
	put($directory, map { my $text = $_->{text}; utf8::encode($text); ($_->{path} => $text) } @{ $answer->{files} });
	return;
}

# The whole chain, by the command that the page for auditors has.
my ($copy) = slurp("$here/../../docs/auditors.md") =~ /^(psql -X -c "COPY .*?) > whole\/chain\.tsv$/ms or die;
sub export_chain
{
	my ($directory) = @_;
	await_checkpoint("$directory: what came last is signed");
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($cluster->host, $cluster->port, 'authority');
	make_path("$base/$directory");
	system_or_bail('bash', '-c', "$copy > $base/$directory/chain.tsv");
	put($directory, checkpoint => checkpoint());
	return;
}
sub people { return authority(q{SELECT walwarden.export_people('acme')}); }

# What both verifiers say, and their exit code.
sub judged
{
	my ($directory, $folder, $code, $lines, $what) = @_;
	my (@codes, @out, $err);
	for ([ $ENV{VERIFY}, 'bundle' ], [ 'python3', "$here/../verify_bundle.py" ])
	{
		IPC::Run::run([ @$_, '--trust', "$base/$folder", "$base/$directory" ], '>', \my $out, '2>', \$err);
		push @codes, $? >> 8;
		push @out, $out;
	}
	is("@codes", "$code $code", "$what: exit code $code") or diag(@out, $err);
	is($out[0], $out[1], "$what: both say the same");
	is_deeply([ grep { !/^OK/ } split /\n/, $out[0] ], $lines, "$what: " . (@$lines ? 'only that' : 'nothing else')) or diag($out[0]);
	return $out[0];
}

my $destination = request('POST', '/destinations', { name => 'local', provider => 'local', uri => "file://$base/destination" });
my $database = request('POST', '/databases', { name => 'orders', connectionRef => 'orders', destinationId => $destination->{id} });
authority(q{
	CREATE ROLE ann LOGIN;
	SELECT walwarden.add_member('acme', 'ann@acme.example', 'owner', 'ann'), walwarden.add_member('acme', 'böb "the \\ builder" @acme.example', 'member');
	SELECT walwarden.append_audit('app.order.shipped', jsonb_build_object('note', E'\\t\\n\\x01" \\\\ ö'), NULL, 'acme')});
my $bob = authority(q{SELECT id FROM walwarden_internal.member WHERE subject LIKE 'böb%'});

my $pid = start_runner();
sub make_backup
{
	my $id = request('POST', "/databases/$database->{id}/backups")->{backupJobId};
	wait_for(sub { request('GET', "/backups/$id")->{state} eq 'completed' }, 'a backup is completed');
	await_checkpoint('and what it appended is signed');
	return $id;
}

# two backups, an auditor who keeps the checkpoint after the first, and a person who is erased
my $first = make_backup();
export_bundle('first', [$first]);
export_chain('whole');
my $kept = slurp("$base/first/checkpoint");
my $before = people();
folder('trust');
folder('kept', $kept);
my $second = make_backup();
authority(q{
	SELECT walwarden.remove_member('acme', subject), walwarden.erase_member('acme', subject) FROM walwarden_internal.member WHERE subject LIKE 'böb%'});
my $after = people();
export_bundle('both', [ $first, $second ], sinceSize => 0 + ($kept =~ /^(\d+)$/m)[0]);
export_chain('erased');

# the node gets another key, which it reads when the configuration is read again
for (qw(key pem)) { rename "$base/node-1.$_", "$base/old.$_" or die $!; }
make_key('node-1');
kill 'HUP', $pid;
wait_for(sub { authority(q{SELECT count(*) FROM walwarden.search_audit('acme', 'node.key_changed')}) eq '1' }, 'the chain records another key');
my $third = make_backup();
export_bundle('changed', [ $first, $third ]);
folder('keys');
copy("$base/trust/node-1.vkey", "$base/keys/node-1.old.vkey") or die $!;
for (qw(key pem)) { rename "$base/old.$_", "$base/node-1.$_" or die $!; }
is(stop_runner($pid), 0, 'the runner ends');
$cluster->stop;

# nothing is served from here on
my ($artifact, $rows) = map { (glob "$base/destination/*/$first.*.$_")[0] } qw(dump rows.json);
my $dump = basename($artifact);
my $said = judged('first', 'trust', 3, ["SKIP artifact $dump: it is not here"], 'a bundle of one backup');
like($said, qr/^OK inclusion: \d+ entries are in the tree$/m, 'proofs are in it');
like($said, qr/^OK manifest $first: signed by node-1, entry \d+ has it$/m, 'and a signed manifest');
make_path("$base/first/artifacts");
copy($_, "$base/first/artifacts") or die for $artifact, $rows;
$said = judged('first', 'trust', 0, [], 'with its artifact');
like($said, qr/^OK artifact \Q$dump\E: @{[-s $artifact]} bytes$/m, 'which was hashed');

my $mend = corrupt("$base/first/artifacts/$dump");
judged('first', 'trust', 1, ["FAIL artifact $dump: it has not the SHA-256 that the manifest names"], 'another byte in the artifact');
$mend->();
judged('first', 'kept', 0, [], 'the artifact again');

# what else says so
my $manifest = slurp("$base/first/backups/$first.manifest.json");
my ($signature) = $manifest =~ /"signature":"([^"]+)"/;
signature_ok($manifest =~ s/,"signature":"[^"]+"//r, decode_base64($signature), 'the manifest, by openssl');
($signature) = $kept =~ /^\xE2\x80\x94 node-1 (\S+)$/m;
signature_ok($kept =~ s/\n\K\n.*//sr, substr(decode_base64($signature), 4), 'the checkpoint, by openssl');
# the notes and proofs, by the verifier of a public transparency log
sub sigstore
{
	my ($directory) = @_;
	IPC::Run::run([ 'node', "$here/sigstore.mjs", $ENV{NODE_MODULES_RUNNER} // "$here/node_modules", "$base/trust/node-1.vkey", "$base/$directory" ], '>', \my $out, '2>', \my $err);
	return "$out$err";
}
for my $directory ('first', 'both')
{
	my @proofs = glob "$base/$directory/proofs/*";
	is(sigstore($directory), @proofs . " proofs hold\n", "the proofs of the bundle $directory, by sigstore");
}
my ($proof) = glob "$base/first/proofs/*";
my $sound = slurp($proof);
for ([ 'a hash', qr/^index \d+\n\K./m, qr/VerificationError: calculated root hash does not match/ ], [ 'the size that is signed', qr/^walwarden.*\n\K./m, qr/VerificationError: invalid checkpoint signature/ ])
{
	my ($what, $where, $error) = @$_;
	unlink $proof;
	append_to_file($proof, $sound =~ s/$where/$& eq '9' ? '8' : '9'/er);
	like(sigstore('first'), $error, "which finds $what changed");
}
unlink $proof;
append_to_file($proof, $sound);

# the second bundle continues the history of the first
sub absent { return map { "SKIP artifact @{[basename((glob qq{$base/destination/*/$_.*.dump})[0])]}: it is not here" } sort @_; }
my @absent = absent($first, $second);
$said = judged('both', 'kept', 3, \@absent, 'a bundle of two backups, and the checkpoint before');
like($said, qr/^OK older checkpoint: the tree begins with its \d+ entries$/m, 'which the consistency proof reaches');
folder('other', checkpoint_of_another());
judged('both', 'other', 1, ['FAIL older checkpoint: the consistency proof does not lead from it to the checkpoint', @absent], 'a checkpoint of another history');

# after a change of the key
$said = judged('changed', 'keys', 3, [ absent($first, $third) ], 'a bundle by two keys, for who has both');
like($said, qr/^OK manifest $_: signed by node-1, entry \d+ has it$/m, 'which signed a manifest each') for $first, $third;
judged('changed', 'trust', 1, ['FAIL checkpoint: it is signed with a key that is not trusted', 'SKIP inclusion: there is no sound checkpoint',
		"FAIL manifest $third: it is signed with a key that is not trusted", absent($first, $third)], 'for who has the former one');

# signed by the same key, of as many entries
sub checkpoint_of_another
{
	my ($body) = $kept =~ /\A(.*\n)\n/s;
	$body =~ s/^[^\n]+\n\z/encode_base64("\0" x 32)/em;
	unlink "$base/body";
	append_to_file("$base/body", $body);
	system_or_bail('openssl', 'pkeyutl', '-sign', '-inkey', "$base/node-1.key", '-rawin', '-in', "$base/body", '-out', "$base/body.signature");
	return "$body\n\xE2\x80\x94 node-1 " . encode_base64(key_id() . slurp("$base/body.signature"), '') . "\n";
}

# whole chains and persons
sub persons { my ($directory, $people) = @_; unlink "$base/$directory/people.json"; put($directory, 'people.json' => "$people\n"); return; }
judged('whole', 'trust', 3, ['SKIP people: people.json is not here'], 'a whole chain');
persons('whole', $before);
$said = judged('whole', 'trust', 0, [], 'with its persons');
like($said, qr/^OK checkpoint: \d+ entries, signed by node-1, root computed$/m, 'the root is computed');
like($said, qr/^OK people: 2 members$/m, 'who are two');
persons('whole', $after);
judged('whole', 'trust', 1, ["FAIL people: member $bob is not in people.json and was not erased"], 'who is missing was not erased yet');

for ([ 'after the erasure', $after ], [ 'the persons of before, which somebody kept', $before ])
{
	persons('erased', $_->[1]);
	judged('erased', 'kept', 0, [], $_->[0]);
}
my $made_up = $json->decode($before);
$made_up->{$bob}{salt} = 'ab' x 32;
persons('erased', $json->encode($made_up));
judged('erased', 'trust', 1, ["FAIL people: member $bob is not the person in people.json"], 'a made-up salt of the erased');
$made_up = $json->decode($before);
$made_up->{$bob}{subject} = 'mallory@acme.example';
persons('erased', $json->encode($made_up));
judged('erased', 'trust', 1, ["FAIL people: member $bob is not the person in people.json"], 'a made-up person');

done_testing();
