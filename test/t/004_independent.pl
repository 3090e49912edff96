# A verifier that shares no code with the extension, written from the
# documentation, agrees; and the documentation's worked example is right.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8 decode_utf8);
use Test::More;

my $verifier = 'test/verify_chain.py';
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION walwarden CASCADE;
	SELECT walwarden.create_org('acme', 'Acme é'), walwarden.create_org('other');
	SELECT walwarden.add_member('acme', 'bob 😀', 'member');
	SELECT walwarden.issue_token('acme', 'n ' || i, ARRAY['databases:read']) FROM generate_series(1, 50) AS i;
	SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('acme', max_rows => 10);
	SELECT walwarden.create_scope('a:b', 'label', 'description');
	SELECT walwarden.append_audit('app.odd', jsonb_build_object(chr(64307), 1, chr(128512), 2, E'\r', E'\t\u0001', 'é', NULL, '', '[]'::jsonb), gen_random_uuid(), 'other');
	SELECT walwarden.append_audit('app.char', to_jsonb(chr(i)), NULL, 'other') FROM generate_series(1, 1200) AS i;
});

sub export
{
	my ($where) = @_;
	return $node->safe_psql('postgres', qq{COPY (SELECT org_id, seq, body, encode(prev_hash, 'hex'), encode(hash, 'hex')
		FROM walwarden.audit_entry $where ORDER BY org_id, seq) TO STDOUT (FORMAT csv)});
}
sub verify
{
	my ($csv) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'python3', $verifier ], '<', \$csv, '>', \$out, '2>', \$err);
	return ($ok, $out . $err);
}

my ($ok, $out) = verify(export(''));
ok($ok, 'the independent verifier accepts all chains') or diag($out);
my $ours = $node->safe_psql('postgres', q{
	SELECT coalesce(o.id::text, '00000000-0000-0000-0000-000000000000') || ' ' || entries || ' ' || head_hash || ' ok'
	  FROM walwarden.verify_audit_chain() AS v LEFT JOIN walwarden.org AS o ON o.slug = v.org ORDER BY 1});
is(join("\n", sort split /\n/, $out), $ours, 'with the same counts and heads as verify_audit_chain');

my $csv = export('');
(my $changed = $csv) =~ s/n 17/n 18/;
($ok, $out) = verify($changed);
ok(!$ok && $out =~ /does not match its hash/, 'it finds a changed byte');
($ok, $out) = verify(export(q{WHERE NOT (kind = 'app.char' AND seq = 500)}));
ok(!$ok && $out =~ /entry 500 is missing/, 'and a missing entry');

# the worked example
my $page = decode_utf8(slurp_file('docs/audit-chain.md'));
my ($org) = $page =~ /The organisation is `([0-9a-f-]{36})`/;
my ($start) = $page =~ /starts from\s+([0-9a-f]{64})/;
my @entries = $page =~ /```json\n(.*?)\n```\s+([0-9a-f]{64})/gs;
is(scalar @entries, 4, 'two entries with their hashes');
is(sha256_hex("walwarden/audit/v1:$org"), $start, 'the start value');
is(sha256_hex(encode_utf8($start . $entries[0])), $entries[1], 'the hash of entry 1');
is(sha256_hex(encode_utf8($entries[1] . $entries[2])), $entries[3], 'the hash of entry 2');
my ($fingerprint, $commitment) = $page =~ /has the fingerprint\s+([0-9a-f]{64}).*?the commitment\s+([0-9a-f]{64})/s;
is(sha256_hex('wal_' . '0' x 64), $fingerprint, 'the fingerprint');
is(sha256_hex("walwarden/credential/v1:$org:$fingerprint"), $commitment, 'the commitment');
# and the server takes its two entries for true
my $insert = join ";\n", map {
	my ($seq, $prev) = ($_, $_ == 1 ? $start : $entries[1]);
	my $body = $entries[ 2 * $_ - 2 ];
	qq{INSERT INTO walwarden.audit_entry SELECT '$org', $seq, (b ->> 'at')::timestamptz, b ->> 'kind', (b ->> 'jobId')::uuid, b::text, '\\x$prev', '\\x$entries[2 * $_ - 1]'
	   FROM (SELECT \$body\$$body\$body\$::json) AS v(b)}
} 1, 2;
$node->safe_psql('postgres', encode_utf8($insert));
is($node->safe_psql('postgres', "SELECT entries, head_hash FROM walwarden._verify_chain('$org', NULL, NULL)"), "2|$entries[3]", 'the server accepts the example');

$node->stop;
done_testing();
