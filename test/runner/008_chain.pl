# The runner follows the chain of the control database, signs how far it came, and claims no
# job from a history that is not the one that it knows.
use strict;
use warnings;
use ChainTest;
use Digest::SHA qw(sha256_hex);
use EngineTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $file = "$base/state/chain";
my $org = '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0001';
make_key('node-1');
my %key = (signing_key => "$base/node-1.key");
write_config(%key);

sub log_has { my ($line) = @_; return sub { slurp($RunnerTest::log) =~ $line }; }
sub state_of { my ($id) = @_; return control("SELECT state FROM walwarden.job WHERE id = '$id'"); }
sub append { my ($count) = @_; control("INSERT INTO walwarden.entry SELECT n, encode(sha256(('later ' || n)::bytea), 'hex') FROM (SELECT coalesce(max(seq), 0) AS last FROM walwarden.entry) AS e, generate_series(last + 1, last + $count) AS n"); return; }
sub hashes { return split /\n/, control('SELECT hash FROM walwarden.entry ORDER BY seq'); }
sub clear_log { unlink $RunnerTest::log if defined $RunnerTest::log; return; }
sub once { my ($status, $out, $err) = run_runner('--config', "$base/runner.conf", '--once'); return ($status, $err); }
sub check
{
	my ($status, $out) = run_runner('--config', "$base/runner.conf", '--check');
	my ($line) = $out =~ /^(.*? chain: .*)$/m;
	return ($status, $line // $out);
}

sub last_note
{
	my $note = JSON::PP->new->allow_nonref->utf8->decode(control(q{SELECT coalesce((SELECT arguments FROM walwarden.call WHERE name = 'publish_checkpoint' ORDER BY seq DESC LIMIT 1), '""')}));
	utf8::encode($note);
	return $note;
}
sub notes { return control(q{SELECT count(*) FROM walwarden.call WHERE name = 'publish_checkpoint'}); }

# a new node
my ($status, $line) = check();
is($status, 0, '--check of a new node') or diag($line);
like($line, qr/^ok   chain: this node knows nothing of it, and will read it from its beginning$/, 'says that it is new');
ok(!-e $file, 'and changes nothing');
my $log;
($status, $log) = once();
is($status, 0, 'there is no job') or diag($log);
like($log, qr/^walwarden-runner: chain: this node knows nothing of it: it is read from its beginning$/m, 'but a chain');
like($log, qr/^walwarden-runner: chain: read up to entry 5$/m, 'which is read');
is(known('org'), $org, 'the file has the organisation');
is(known('size'), 5, 'the number of entries');
is(known('head'), (hashes())[-1], 'and the head');
is(sprintf('%o', (stat $file)[2] & 0777), '600', 'and is for nobody else');
checkpoint_ok(last_note(), $org, [ hashes() ], 'the checkpoint');
($status, $line) = check();
is("$status $line", '0 ok   chain: entry 5 is the one that this node knows', '--check compares');

# every size up to where three levels are complete, each from the file
for my $size (6 .. 17)
{
	append(1);
	($status, $log) = once();
	is(known('size'), $size, "$size entries") or diag($log);
	unlike($log, qr/beginning/, 'are read on') if $size == 6;
	is((split /\n/, last_note())[2], tree_root(hashes()), 'with their root');
}

# a job is done: the checkpoint follows at once, and nothing is published that is not new
control('TRUNCATE walwarden.call');
my $pid = start_runner();
wait_for(sub { notes() == 1 }, 'the checkpoint of a runner that has started');
my $id = backup_job();
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'a job');
append(3);
$id = backup_job();
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'a job after entries');
wait_for(sub { notes() == 2 }, 'is followed by a checkpoint');
checkpoint_ok(last_note(), $org, [ hashes() ], 'which has them');
unlike(slurp($RunnerTest::log), qr/chain: .*(?:ALARM|waiting|cannot|not accepted)/, 'nothing else is said');

# the process that follows dies, and the next one goes on
my ($follower) = grep { $_->[3] eq 'walwarden-chain' } processes($pid);
kill 'KILL', $follower->[0];
wait_for(log_has(qr/chain: its process was ended by signal 9/), 'the process that follows is killed');
append(1);
$id = backup_job();
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'another one follows, and jobs go on');
wait_for(sub { known('size') == 21 }, 'with what was kept');
($follower) = grep { $_->[3] eq 'walwarden-chain' } processes($pid);
kill 'HUP', $pid;
wait_for(sub { my ($next) = grep { $_->[3] eq 'walwarden-chain' } processes($pid); $next && $next->[0] != $follower->[0] }, 'another configuration takes another process');

# what cannot be kept is not seen
chmod 0500, "$base/state";
append(1);
wait_for(log_has(qr{chain: \Q$file\E: Permission denied}), 'the file cannot be written');
$id = backup_job();
wait_for(log_has(qr{chain: \Q$file\E: Permission denied}), 'it is said once');
is(scalar(() = slurp($RunnerTest::log) =~ /Permission denied/g), 1, 'and not again');
is(state_of($id), 'queued', 'no job is claimed');
chmod 0700, "$base/state";
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'until it can');
is(known('size'), 22, 'and is');

# a chain that cannot be read: not a reason to believe it
control(q{INSERT INTO walwarden.refusal VALUES ('chain_hashes', '42501')});
wait_for(log_has(qr/chain: it cannot be read: refused by the test \(42501\)/), 'the chain cannot be read');
$id = backup_job();
is(state_of($id), 'queued', 'no job is claimed');
control('DELETE FROM walwarden.refusal');
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'until it can');

# checkpoints are not taken: the chain is followed all the same
control(q{INSERT INTO walwarden.refusal VALUES ('publish_checkpoint', '22023')});
append(1);
$id = backup_job();
wait_for(log_has(qr/chain: the checkpoint was not accepted: refused by the test \(22023\)/), 'a checkpoint that is refused');
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'is no reason not to work');
control('DELETE FROM walwarden.refusal');
is(stop_runner($pid), 0, 'the runner ends');

# a long chain is read in bounded looks: ten pages of ten thousand, which begin with the last entry of the one before
control(q{TRUNCATE walwarden.entry; INSERT INTO walwarden.entry SELECT n, encode(sha256(n::text::bytea), 'hex') FROM generate_series(1, 100002) AS n});
unlink $file;
write_config(%key, poll => 3600);
control('TRUNCATE walwarden.call');
($status, $log) = once();
is("$status " . known('size'), '0 99991', 'as much of a long chain as a look reads') or diag($log);
is(notes(), 0, 'which is not signed yet');
($status, $log) = once();
is(known('size'), 100002, 'and the rest');
is((split /\n/, last_note())[1], 100002, 'is');
control('DELETE FROM walwarden.entry WHERE seq > 20');

# the alarm, which is found again after each start
sub hash_of { my ($seq) = @_; return control("SELECT hash FROM walwarden.entry WHERE seq = $seq"); }
unlink $file;
write_config(%key);
once();
my ($true, $false) = (hash_of(20), sha256_hex('other'));
control("UPDATE walwarden.entry SET hash = '$false' WHERE seq = 20");
append(2);
$id = backup_job();
my $alarm = qr/ALARM: entry 20 has the hash $false, and this node knows it with the hash $true; no job is claimed until an operator calls walwarden\.accept_history\(\)/;
($status, $line) = check();
is($status, 1, '--check of another history');
like($line, qr/^FAIL chain: $alarm$/, 'says it');
is(control('SELECT count(*) FROM walwarden.alarm'), 0, 'and leaves the alarm to the runner');
($status, $log) = once();
is($status, 1, 'one job of another history is none');
like($log, qr/^walwarden-runner: chain: $alarm$/m, 'the log says why');
is(control('SELECT seq, known, seen FROM walwarden.alarm'), "20|$true|$false", 'and the control database knows');
is(state_of($id), 'queued', 'the job waits');
is(known('alarm'), $false, 'the file has the alarm');
control("UPDATE walwarden.entry SET hash = '$true' WHERE seq = 20");
($status, $line) = check();
is($status, 1, 'it is not over when the entry is what it was');
control(q{INSERT INTO walwarden.refusal VALUES ('report_alarm', '55000')});
clear_log();
$pid = start_runner();
wait_for(log_has(qr/chain: the alarm could not be reported: refused by the test \(55000\)/), 'an alarm that cannot be reported');
like(slurp($RunnerTest::log), qr/chain: $alarm/, 'is in the log');
control('DELETE FROM walwarden.refusal; UPDATE walwarden.alarm SET accepted = 23');
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'until an operator accepts');
like(slurp($RunnerTest::log), qr/chain: an operator has accepted it in entry 23: it is read anew, from its beginning\n.*chain: read up to entry 22/s, 'then it is read anew');
wait_for(sub { (split /\n/, last_note())[1] == 22 }, 'and signed');
is(control('SELECT count(*) FROM walwarden.alarm'), 1, 'there was one alarm');
ok(!defined known('alarm'), 'which is over');

# a lost tail, while a job is under way: it ends, and no other begins
control('TRUNCATE walwarden.alarm');
$cluster->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
is(stop_runner($pid), 0, 'the runner ends');
$cluster->restart;
$cluster->safe_psql('orders', q{BEGIN; LOCK TABLE pg_catalog.pg_ts_config IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'block'});
clear_log();
$pid = start_runner();
$id = backup_job();
wait_until("(SELECT state = 'running' FROM walwarden.job WHERE id = '$id')", 'a job is under way');
$true = hash_of(22);
control('DELETE FROM walwarden.entry WHERE seq > 20');
wait_for(log_has(qr/chain: ALARM: entry 22 is missing, which this node knows with the hash $true; no job is claimed/), 'entries are lost');
wait_until('EXISTS (SELECT FROM walwarden.alarm)', 'which the control database knows');
is(control('SELECT seq, known, seen IS NULL FROM walwarden.alarm'), "22|$true|t", 'exactly');
my $other = backup_job();
$cluster->safe_psql('orders', q{ROLLBACK PREPARED 'block'});
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'the job is completed');
is(state_of($other), 'queued', 'the other one waits');
is(stop_runner($pid), 0, 'the runner ends');
is(state_of($other), 'queued', 'and still does');
is((run_runner('--config', "$base/runner.conf", '--check'))[0], 1, '--check fails');
control('UPDATE walwarden.alarm SET accepted = 21');
is((once())[0], 0, 'an accepted history');
is(state_of($other), 'completed', 'is worked for');

# an entry that is missing where this node has not been yet
control('TRUNCATE walwarden.alarm');
append(3);
control('DELETE FROM walwarden.entry WHERE seq = 22');
($status, $log) = once();
is($status, 1, 'a chain with a gap');
like($log, qr/chain: it cannot be followed: entry 22 of the chain is missing/, 'cannot be followed');
is(control('SELECT count(*) FROM walwarden.alarm'), 0, 'but is no other history');
control('UPDATE walwarden.entry SET seq = 22 WHERE seq = 23');

# of another organisation
control(q{CREATE OR REPLACE FUNCTION walwarden.current_org_id() RETURNS uuid LANGUAGE sql AS $$ SELECT '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0009'::uuid $$});
($status, $log) = once();
is($status, 1, 'another organisation');
like($log, qr/chain: it cannot be followed: the token is of organisation 0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0009, and what is known is of $org/, 'has another chain');
control("CREATE OR REPLACE FUNCTION walwarden.current_org_id() RETURNS uuid LANGUAGE sql AS \$\$ SELECT '$org'::uuid \$\$");
is((once())[0], 0, 'and this one its own');

# a file that is not what was written
my $good = slurp($file);
sub write_state { my ($text) = @_; unlink $file; append_to_file($file, $text); return; }
my ($size) = $good =~ /^size (\d+)$/m;
my %damaged = ('a changed number' => $good =~ s/^size \d+$/size 3/mr, 'a changed hash' => $good =~ s/^(head .)./$1z/mr, 'a lost end' => substr($good, 0, -1), 'a lost line' => $good =~ s/^node .*\n//mr,
	'nothing' => '', 'something more' => $good . "\n", 'too much' => $good . 'x' x 10000, 'NUL' => "\0" . $good, 'another format' => $good =~ s/chain 1/chain 2/r);
# the same with a digest that is right: what cannot be a state is none
for my $what ('a changed number', 'a lost line', 'another format')
{
	$damaged{"$what, and its digest"} = $damaged{$what} =~ s/^sha256 .*\n//mr;
	$damaged{"$what, and its digest"} .= 'sha256 ' . sha256_hex($damaged{"$what, and its digest"}) . "\n";
}
for my $what (sort keys %damaged)
{
	write_state($damaged{$what});
	($status, $line) = check();
	is("$status $line", "1 FAIL chain: $file is damaged: move it away to begin anew", "--check: $what");
}
$id = backup_job();
($status, $log) = once();
is($status, 1, 'a damaged file');
like($log, qr/chain: \Q$file\E is damaged: move it away to begin anew/, 'is said');
is(state_of($id), 'queued', 'and no job is claimed');
is(slurp($file), $damaged{(sort keys %damaged)[-1]}, 'it is not replaced');
write_state($good);
is((check())[0], 0, 'the true one is as good as before');
unlink $file;
($status, $log) = once();
is($status, 0, 'without a file');
like($log, qr/chain: this node knows nothing of it: it is read from its beginning/, 'the node begins anew, and says so');
is(state_of($id), 'completed', 'and works');

# a node without a key follows, and signs nothing
control('TRUNCATE walwarden.call');
append(1);
write_config();
($status, $log) = once();
is("$status " . known('size'), '0 23', 'a node without a key') or diag($log);
is(notes(), 0, 'signs nothing');

done_testing();
