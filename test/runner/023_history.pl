# A superuser changes the history in the control database, the extension itself, and leaves it
# such that its own verification finds nothing. A node that has followed the chain does.
use strict;
use warnings;
use ChainTest;
use EngineTest;
use ExtensionTest;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $control = extension();
node_token('node-1', "$base/token");
make_key('node-1');
write_config(control => $control, signing_key => "$base/node-1.key");

my $org = org_id();
sub hashes { return split /\n/, authority("SELECT encode(hash, 'hex') FROM walwarden_internal.audit_entry WHERE org_id = '$org' ORDER BY seq"); }
sub verdict { return authority(q{SELECT CASE WHEN ok THEN 'ok' ELSE reason END FROM walwarden.verify_audit_chain('acme')}); }
sub log_has { my ($line) = @_; return sub { slurp($RunnerTest::log) =~ $line }; }
sub clear_log { unlink $RunnerTest::log if defined $RunnerTest::log; return; }

# Entries of the application, of which no table knows.
sub write_entries { my ($count) = @_; authority("SELECT walwarden.append_audit('app.order.shipped', jsonb_build_object('number', n), NULL, 'acme') FROM generate_series(1, $count) AS n"); return; }

# What a superuser does with the guards off, and on again afterwards.
sub unguarded
{
	my ($deed) = @_;
	authority(qq{
		BEGIN;
		ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL;
		$deed;
		ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append, ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
		COMMIT});
	return;
}

my $destination = request('POST', '/destinations', { name => 'local', provider => 'local', uri => "file://$base/destination" });
my $database = request('POST', '/databases', { name => 'orders', connectionRef => 'orders', destinationId => $destination->{id} });
sub request_backup { return request('POST', "/databases/$database->{id}/backups")->{backupJobId}; }
sub state_of { my ($id) = @_; return request('GET', "/backups/$id")->{state}; }

# The runner has done a job and followed the chain to its end, which it has signed.
sub works
{
	my ($pid, $what) = @_;
	my $id = request_backup();
	wait_for(sub { state_of($id) eq 'completed' }, "$what: a backup is completed");
	await_checkpoint("$what: and what it appended is signed");
	my $shown = request('GET', '/audit/verification')->{checkpoint};
	is($shown->{size} . ' ' . $shown->{root}, chain_size() . ' ' . tree_root(hashes()), "$what: the API shows the checkpoint");
	checkpoint_ok(checkpoint(), $org, [ hashes() ], $what);
	return;
}

# What was done is found, and no job claimed until an operator accepts.
sub found
{
	my ($what, $line, $deed) = @_;
	my $pid = start_runner();
	works($pid, "before: $what");
	write_entries(3);
	wait_for(sub { known('size') == chain_size() }, "$what: the node knows what is to be lost");
	is(stop_runner($pid), 0, 'the runner ends');
	my ($entry, $hash) = (known('size'), known('head'));
	$deed->($entry);
	is(verdict(), 'ok', "$what: the database finds nothing, without a head");
	is(authority("SELECT ok FROM walwarden.verify_audit_chain('acme', $entry, '$hash')"), 'f', "$what: with one it does");
	my ($status, $out) = run_runner('--config', "$base/runner.conf", '--check');
	is($status, 1, "$what: --check fails");
	like($out, qr/^FAIL chain: ALARM: entry $entry $line/m, "$what: and says why");
	my $id = request_backup();
	clear_log();
	$pid = start_runner();
	wait_for(log_has(qr/chain: ALARM: entry $entry $line/), "$what: so does the log");
	wait_for(sub { authority(q{SELECT count(*) FROM walwarden.list_audit('acme', 0, 1000) WHERE kind = 'audit.alarm' AND body::jsonb #>> '{payload,after,seq}' = '} . $entry . q{'}) eq '1' }, "$what: so does the chain");
	is(state_of($id), 'queued', "$what: no job is claimed");
	is(stop_runner($pid), 0, 'the runner ends');
	$pid = start_runner();
	authority("SELECT walwarden.accept_history('acme', 'node-1', 'known to be a test')");
	wait_for(sub { state_of($id) eq 'completed' }, "$what: until an operator accepts");
	like(slurp($RunnerTest::log), qr/chain: an operator has accepted it in entry \d+: it is read anew, from its beginning/, "$what: which the log says");
	works($pid, "after: $what");
	is(stop_runner($pid), 0, 'the runner ends');
	($status, $out) = run_runner('--config', "$base/runner.conf", '--check');
	is($status, 0, "$what: --check is content") or diag($out);
	return;
}

found('a lost tail', 'is missing', sub { my ($entry) = @_; unguarded("DELETE FROM walwarden_internal.audit_entry WHERE org_id = '$org' AND seq > $entry - 2") });

found('a lost tail that has grown again', 'has the hash', sub {
	my ($entry) = @_;
	unguarded("DELETE FROM walwarden_internal.audit_entry WHERE org_id = '$org' AND seq > $entry - 2");
	write_entries(7);
});

found('a back-dated entry, and all later hashes made anew', 'has the hash', sub {
	my ($entry) = @_;
	unguarded(qq{DO \$\$
		DECLARE
			e walwarden_internal.audit_entry;
			last walwarden_internal.audit_entry;
		BEGIN
			FOR e IN SELECT * FROM walwarden_internal.audit_entry WHERE org_id = '$org' AND seq >= $entry - 10 ORDER BY seq LOOP
				IF e.seq = $entry - 9 THEN
					e.body := overlay(e.body PLACING walwarden_internal.iso(last.at) FROM 8 FOR 27);
					e.at := last.at;
				END IF;
				IF e.seq >= $entry - 9 THEN
					e.prev_hash := last.hash;
					e.hash := sha256(convert_to(encode(e.prev_hash, 'hex') || e.body, 'UTF8'));
					UPDATE walwarden_internal.audit_entry AS f SET at = e.at, body = e.body, prev_hash = e.prev_hash, hash = e.hash WHERE (f.org_id, f.seq) = (e.org_id, e.seq);
				END IF;
				last := e;
			END LOOP;
		END \$\$});
});

# The copy takes the place of the database; restored, it lacks the settings of roles.
sub restore_copy
{
	my ($kept_as) = @_;
	$cluster->safe_psql('postgres', "ALTER DATABASE authority RENAME TO $kept_as");
	$cluster->safe_psql('postgres', 'ALTER DATABASE older RENAME TO authority');
	authority(q{SELECT walwarden.grant_runner('runner')});
	return;
}
$cluster->safe_psql('postgres', 'CREATE DATABASE older TEMPLATE authority');
found('an older copy, restored', 'is missing', sub { restore_copy('newer') });
$cluster->safe_psql('postgres', 'CREATE DATABASE older TEMPLATE authority');
found('an older copy, restored and continued', 'has the hash', sub {
	my ($entry) = @_;
	restore_copy('newest');
	write_entries($entry - chain_size() + 5);
});

# a node that has lost what it knew cannot sign less than it has published
unlink "$base/state/chain";
unguarded("DELETE FROM walwarden_internal.audit_entry WHERE org_id = '$org' AND seq > @{[chain_size()]} - 2");
clear_log();
my $pid = start_runner();
wait_for(log_has(qr/chain: the checkpoint was not accepted: the node has published a checkpoint of \d+ entries already \(55000\)/), 'a checkpoint that the database still knows');
is(stop_runner($pid), 0, 'the runner ends');

done_testing();
