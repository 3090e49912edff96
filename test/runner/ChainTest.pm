# What the tests of checkpoints share: the tree of RFC 6962 by its recursive definition, and
# signatures that openssl finds good.
package ChainTest;
use strict;
use warnings;
use Digest::SHA qw(sha256);
use Exporter 'import';
use MIME::Base64;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

our @EXPORT = qw(tree_root public_key key_id checkpoint_ok signature_ok known);

# Of the hashes of entries in hex, in base64.
sub tree_root { return encode_base64(root(map { pack 'H*', $_ } @_), ''); }

sub root
{
	my (@hashes) = @_;
	return sha256('') if !@hashes;
	return sha256("\0$hashes[0]") if @hashes == 1;
	my $split = 1;
	$split *= 2 while 2 * $split < @hashes;
	return sha256("\1" . root(@hashes[0 .. $split - 1]) . root(@hashes[$split .. $#hashes]));
}

# The public key of node-1, from the key in its files: 32 bytes.
sub public_key
{
	my $base = $RunnerTest::base;
	system_or_bail('openssl', 'pkey', '-pubin', '-in', "$base/node-1.pem", '-outform', 'DER', '-out', "$base/public.der");
	return substr slurp("$base/public.der"), -32;
}

# What stands in notes for that key: 4 bytes.
sub key_id { return substr sha256("node-1\n\1" . public_key()), 0, 4; }

# A note, in bytes, is the checkpoint of these entries, signed by node-1.
sub checkpoint_ok
{
	my ($note, $org, $hashes, $name) = @_;
	my ($signed, $signature) = $note =~ /\A(.*\n)\n\xE2\x80\x94 node-1 (\S+)\n\z/s or return fail("$name: $note");
	is($signed, sprintf("walwarden/%s\n%d\n%s\n", $org, scalar @$hashes, tree_root(@$hashes)), $name);
	my ($id, $bytes) = unpack 'a4 a64', decode_base64($signature);
	is(unpack('H*', $id), unpack('H*', key_id()), "$name: the id of the key");
	return signature_ok($signed, $bytes, $name);
}

# These bytes were signed by node-1, says openssl.
sub signature_ok
{
	my ($signed, $signature, $name) = @_;
	my $base = $RunnerTest::base;
	unlink "$base/signed", "$base/signature";
	append_to_file("$base/signed", $signed);
	append_to_file("$base/signature", $signature);
	return is(system('openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$base/node-1.pem", '-rawin', '-in', "$base/signed", '-sigfile', "$base/signature"), 0, "$name: the signature");
}

# What the node's own file says.
sub known
{
	my ($name) = @_;
	my ($value) = slurp("$RunnerTest::base/state/chain") =~ /^$name (.*)$/m;
	return $value;
}

1;
