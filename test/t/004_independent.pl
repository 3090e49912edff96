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
	CREATE ROLE ann;
	SELECT walwarden.add_member('acme', 'bob 😀', 'member'), walwarden.add_member('acme', 'ann', 'owner', 'ann'), walwarden.add_member('acme', 'gone');
	SELECT walwarden.set_member_role('acme', 'bob 😀', 'admin'), walwarden.remove_member('acme', 'gone'), walwarden.erase_member('acme', 'gone');
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
		FROM walwarden_internal.audit_entry $where ORDER BY org_id, seq) TO STDOUT (FORMAT csv)});
}
sub verify
{
	my ($csv, @options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'python3', $verifier, @options ], '<', \$csv, '>', \$out, '2>', \$err);
	return ($ok, $out . $err);
}

my ($ok, $out) = verify(export(''));
ok($ok, 'the independent verifier accepts all chains') or diag($out);
my $ours = $node->safe_psql('postgres', q{
	SELECT coalesce(o.id::text, '00000000-0000-0000-0000-000000000000') || ' ' || entries || ' ' || head_hash || ' ok'
	  FROM walwarden.verify_audit_chain() AS v LEFT JOIN walwarden_internal.org AS o ON o.slug = v.org ORDER BY 1});
is(join("\n", sort split /\n/, $out), $ours, 'with the same counts and heads as verify_audit_chain');

my $csv = export('');
(my $changed = $csv) =~ s/n 17/n 18/;
($ok, $out) = verify($changed);
ok(!$ok && $out =~ /does not match its hash/, 'it finds a changed byte');
($ok, $out) = verify(export(q{WHERE NOT (kind = 'app.char' AND seq = 500)}));
ok(!$ok && $out =~ /entry 500 is missing/, 'and a missing entry');
($ok, $out) = verify('');
ok(!$ok && $out =~ /no entries/, 'and that there is nothing, as when the export failed');

# an entry that is earlier than the one before it, hashed again: it is the last
my $last = (split /\n/, export(q{WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme')}))[-1];
my ($at) = $last =~ /^[^,]*,\d+,"\{""at"":""([^"]+)/;
my ($hash) = $last =~ /([0-9a-f]{64})$/;
my ($body) = $last =~ /^[^,]*,\d+,"(.*)",[0-9a-f]{64},[0-9a-f]{64}$/;
$body =~ s/""/"/g;
(my $earlier = $body) =~ s/\Q$at\E/2020-01-01T00:00:00.000000Z/;
my ($prev) = $last =~ /,([0-9a-f]{64}),[0-9a-f]{64}$/;
my $rehashed = sha256_hex($prev . $earlier);
$changed = $csv;
$changed =~ s/\Q$at\E(.*)$hash/2020-01-01T00:00:00.000000Z$1$rehashed/;
($ok, $out) = verify($changed);
ok(!$ok && $out =~ /is earlier than the one before/, 'and a time that goes back') or diag($out);

# who the members are, by a file that --help tells how to make
my ($help) = verify('', '--help');
ok($help, '--help');
my ($query) = slurp_file($verifier) =~ /"(SELECT coalesce\(json_object_agg.*?)" > people.json/s;
my $people = $node->basedir . '/people.json';
sub people { my ($json) = @_; unlink $people; append_to_file($people, $json); return ('--people', $people); }
my $known = $node->safe_psql('postgres', $query);
($ok, $out) = verify($csv, people($known));
ok($ok, 'every member is who the file says, or was erased') or diag($out);
for my $case (
	[ 'another subject', sub { $_[0] =~ s/"ann"/"eve"/ }, 'is not the person' ],
	[ 'another salt', sub { $_[0] =~ s/[0-9a-f]{64}/'0' x 64/e }, 'is not the person' ],
	[ 'another server role', sub { $_[0] =~ s/"dbRole" : "ann"/"dbRole" : "eve"/ }, 'does not have the dbRole' ],
	[ 'a member left out', sub { $_[0] =~ s/\{ "[0-9a-f-]{36}" : \{[^}]*\}, /{ / }, 'is not in the people file and was not erased' ])
{
	my ($what, $alter, $finding) = @$case;
	my $altered = $known;
	ok($alter->($altered), "altered: $what");
	($ok, $out) = verify($csv, people($altered));
	ok(!$ok && $out =~ /$finding/, "found: $what") or diag($out);
}

# the worked example
my $page = decode_utf8(slurp_file('docs/audit-chain.md'));
my ($org) = $page =~ /The organisation is `([0-9a-f-]{36})`/;
my ($start) = $page =~ /starts from\s+([0-9a-f]{64})/;
my @entries = $page =~ /```json\n(.*?)\n```\s+([0-9a-f]{64})/gs;
is(scalar @entries, 6, 'three entries with their hashes');
is(sha256_hex("walwarden/audit/v2:$org"), $start, 'the start value');
my $hash_before = $start;
for my $n (1 .. 3)
{
	my ($text, $shown) = @entries[ 2 * $n - 2, 2 * $n - 1 ];
	is(sha256_hex(encode_utf8($hash_before . $text)), $shown, "the hash of entry $n");
	$hash_before = $shown;
}
my ($salt) = $page =~ /The member's salt, in hex, is\s+([0-9a-f]{64})/;
my ($subject, $db_role) = $page =~ /of the subject `([^`]+)`, and `dbRole` that of the server role `([^`]+)`/;
like($entries[2], qr/"person":"${\ sha256_hex("walwarden\/person\/v1:$salt:$subject")}"/, 'the commitment of the person');
like($entries[2], qr/"dbRole":"${\ sha256_hex("walwarden\/dbrole\/v1:$salt:$db_role")}"/, 'and of their role');
my ($fingerprint, $commitment) = $page =~ /has the fingerprint\s+([0-9a-f]{64}).*?the commitment\s+([0-9a-f]{64})/s;
is(sha256_hex('wal_' . '0' x 64), $fingerprint, 'the fingerprint');
is(sha256_hex("walwarden/credential/v1:$org:$fingerprint"), $commitment, 'the commitment');
# and both verifiers take its entries for true
my @rows = map { my ($n, $prev) = ($_, $_ == 1 ? $start : $entries[ 2 * $_ - 3 ]); [ $n, $entries[ 2 * $n - 2 ], $prev, $entries[ 2 * $n - 1 ] ] } 1 .. 3;
$node->safe_psql('postgres', encode_utf8(join ";\n", map {
	my ($seq, $text, $prev, $shown) = @$_;
	qq{INSERT INTO walwarden_internal.audit_entry SELECT '$org', $seq, (b ->> 'at')::timestamptz, b ->> 'kind', (b ->> 'jobId')::uuid, b::text, '\\x$prev', '\\x$shown'
	   FROM (SELECT \$body\$$text\$body\$::json) AS v(b)}
} @rows));
is($node->safe_psql('postgres', "SELECT entries, head_hash, reason FROM walwarden_internal.verify_chain('$org', NULL, NULL)"), "3|$entries[5]|", 'the server accepts the example');
($ok, $out) = verify(export("WHERE org_id = '$org'"));
is($out, "$org 3 $entries[5] ok\n", 'so does the verifier beside it');

$node->stop;
done_testing();
