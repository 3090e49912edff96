# What a control database says is checked before it names a file, a connection or an argument
# of a program, exactly as REST v1 checks it: both are tried with test/references.json (the other
# by test/pgtap/references.sql). Programs are started with a listed environment. No secret is in a log, an
# argument or an environment.
use strict;
use warnings;
use File::Basename;
use JSON::PP;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

my $cluster = cluster();
my $base = $RunnerTest::base;
my $major = RunnerTest::major();

# Each program writes down what it is started with, and then is itself.
mkdir "$base/bin";
for my $program (map { s{.*/}{}r } grep { -x && !-d } glob "$ENV{RUNNER_BINDIR}/*")
{
	append_to_file("$base/bin/$program", <<"SH");
#!/bin/bash
{ printf '%s\\n' "\$0" "\$@"; cat /proc/\$\$/environ; } | tr '\\0' '\\n' >> $base/started
exec $ENV{RUNNER_BINDIR}/$program "\$@"
SH
	chmod 0755, "$base/bin/$program";
}
write_config("bindir.$major" => "$base/bin");

my $backup = q{{"id": "7c1f0b62-0000-4000-8000-000000000003", "fence": 1, "artifact": {"name": "%s", "sizeBytes": 1, "checksumSha256": "%s"}}};
my $hash = 'a' x 64;
my %destination = (id => '7c1f0b62-0000-4000-8000-000000000002', provider => 'local', uri => "file://$base/destination");
sub destination { my (%changed) = (%destination, @_); return '{' . join(', ', map { qq{"$_": "$changed{$_}"} } sort keys %changed) . '}'; }
sub database { my (%changed) = (id => '7c1f0b62-0000-4000-8000-000000000001', name => 'x', connectionRef => 'orders', method => 'pg_dump', @_); return '{' . join(', ', map { qq{"$_": "$changed{$_}"} } sort keys %changed) . '}'; }

my @evil = ('../../etc/EVIL', '-EVIL', '/EVIL', 'a/../EVIL', 'a//EVIL', 'EVIL;x', 'EVIL x', 'a$(EVIL)', "EVIL'' OR 1=1", 'EVIL' x 60, 'a/./EVIL', '.', 'EVIL/', 'EVIL=x', 'dbname=EVIL', '\u0000EVIL' =~ s/\\u0000/\\u0001/r);
# kind of job, members, the reference that is named
my @cases = (
	(map { [ 'backup', { database => database(connectionRef => $_) }, 'database.connectionRef' ] } @evil),
	(map { [ 'restore', { mode => '"new_database"', target => qq{"$_"}, backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => sprintf($backup, 'a', $hash) }, 'target' ] } @evil),
	(map { [ 'drill', { mode => '"new_database"', target => '"scratch"', backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => sprintf($backup, $_, $hash) }, 'backup.artifact.name' ] } grep { length($_) < 200 } @evil),
	(map { [ 'backup', { destination => destination(credentialRef => $_) }, 'destination.credentialRef' ] } @evil),
	(map { [ 'backup', { destination => destination(uri => $_) }, 'destination.uri' ] }
		'file:///EVIL/../x', 'file:///-EVIL', 'file:///EVIL x', 's3://EVIL', 'EVIL', '/EVIL', 'file:///a/./EVIL', 'file://EVIL@x/', 'file:///a?EVIL', '-EVIL://x'),
	[ 'backup', { destination => destination(provider => 's3') }, 'destination.uri' ],
	[ 'backup', { destination => destination(provider => 'EVIL') }, 'destination.provider' ],
	[ 'backup', { destination => destination(region => '-EVIL') }, 'destination.region' ],
	[ 'backup', { destination => destination(id => 'EVIL') }, 'destination.id' ],
	[ 'backup', { databaseId => '"EVIL"' }, 'databaseId' ],
	[ 'backup', { orgId => '"../EVIL"' }, 'orgId' ],
	[ 'backup', { database => database(method => 'EVIL') }, 'database.method' ],
	[ 'restore', { mode => '"EVIL"', target => '"scratch/x"', backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => sprintf($backup, 'a', $hash) }, 'mode' ],
	[ 'restore', { mode => '"new_database"', target => '"scratch/x"', backupJobId => '"EVIL"', backup => sprintf($backup, 'a', $hash) }, 'backup.id' ],
	[ 'restore', { mode => '"new_database"', target => '"scratch/x"', backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => sprintf($backup, 'a', "EVIL$hash") }, 'backup.artifact.checksumSha256' ],
	[ 'restore', { mode => '"new_database"', target => '"scratch/x"', backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => '{"fence": -1, "artifact": {}}' }, 'backup.fence' ],
	[ 'expire', { backupJobId => '"7c1f0b62-0000-4000-8000-000000000003"', backup => sprintf($backup, '../EVIL', $hash) }, 'backup.artifact.name' ],
	[ 'EVIL', {}, 'kind' ],
);
my %expected;
for my $case (@cases)
{
	my ($kind, $members, $reference) = @$case;
	my $id = backup_job(map { $_ => $members->{$_} =~ s/'/''/gr =~ s/''''/''/gr } keys %$members);
	control("UPDATE walwarden.job SET kind = '$kind' WHERE id = '$id'");
	$expected{$id} = [ $kind, $reference ];
}
my $pid = start_runner();
wait_until(q{NOT EXISTS (SELECT FROM walwarden.job WHERE state <> 'failed')}, 'every job with a bad reference has failed');
my %seen = map { my ($id, @rest) = split /\|/; ($id => \@rest) } split /\n/, control(q{SELECT id, kind, error ->> 'class', error ->> 'message', error ->> 'retryable' FROM walwarden.job});
my @wrong = grep { my ($kind, $reference) = @{ $expected{$_} }; "@{$seen{$_}}" ne "$kind bad_reference the job's $reference is not acceptable false" } sort keys %expected;
is_deeply([ map { [ $expected{$_}, $seen{$_} ] } @wrong ], [], scalar(@cases) . ' references, each named with the class bad_reference');
ok(!-e "$base/started", 'no program was started');
is_deeply([ scratch() ], [], 'nothing was made below work');
is_deeply([ glob "$base/destination/*" ], [], 'nor at the destination');

# an id that is no uuid cannot even be reported; the runner goes on
control(q{INSERT INTO walwarden.job (id, kind) VALUES ('../../EVIL', 'backup')});
wait_until(q{EXISTS (SELECT FROM walwarden.job WHERE id = '../../EVIL' AND state = 'claimed')}, 'a job whose id is no uuid is claimed');
wait_for(sub { slurp($RunnerTest::log) =~ /\.\.\/\.\.\/EVIL: could not be given back/ }, 'and is neither run nor reported');
control('DELETE FROM walwarden.job');

# what REST v1 accepts is accepted, and nothing else; {N} stands for N letters
my $json = JSON::PP->new->utf8;
my $references = $json->decode(slurp(dirname(__FILE__) . '/../references.json'));
my %place = (id => $destination{id}, provider => 's3', uri => 's3://bucket');
my (%field, @rows);
for my $field (sort keys %$references)
{
	for my $goodness (qw(good bad))
	{
		for my $reference (@{ $references->{$field}{$goodness} })
		{
			my @with = ref $reference ? @$reference : $reference;
			my $text = pop(@with) =~ s/\{(\d+)\}/'a' x $1/egr;
			my ($kind, %job) = ('backup', databaseId => '7c1f0b62-0000-4000-8000-000000000001', orgId => '0b6e1f9c-2f0c-4a57-9a52-7d1c3c6e0001',
				database => { id => '7c1f0b62-0000-4000-8000-000000000001', name => 'x', connectionRef => 'elsewhere', method => 'pg_dump' }, destination => \%place);
			$job{database}{connectionRef} = $text if $field eq 'connectionRef';
			$job{destination} = { %place, $field => $text } if $field eq 'credentialRef' || $field eq 'region';
			$job{destination} = { %place, provider => $with[0], uri => $text } if $field eq 'uri';
			if ($field eq 'target' || $field eq 'artifactName')
			{
				$kind = $with[0] // 'restore';
				%job = (%job, mode => $with[1] // 'new_database', target => $field eq 'target' ? $text : 'elsewhere/x', backupJobId => '7c1f0b62-0000-4000-8000-000000000003',
					backup => { id => '7c1f0b62-0000-4000-8000-000000000003', fence => 1, artifact => { name => $field eq 'target' ? 'a' : $text, sizeBytes => 1, checksumSha256 => $hash } });
			}
			my $id = sprintf '7c1f0b62-0000-4000-8001-%012x', scalar @rows;
			$field{$id} = [ $goodness, $field, $json->encode([ $reference ]) ];
			push @rows, "('$id', '$kind', \$job\$" . $json->encode({ id => $id, kind => $kind, %job }) . '$job$)';
		}
	}
}
control('INSERT INTO walwarden.job (id, kind, job) VALUES ' . join ', ', @rows);
wait_until(q{NOT EXISTS (SELECT FROM walwarden.job WHERE state <> 'failed')}, 'every job has failed');
my %bad = map { $_ => 1 } split /\n/, control(q{SELECT id FROM walwarden.job WHERE error ->> 'class' = 'bad_reference'});
is_deeply([ map { $field{$_} } grep { ($field{$_}[0] eq 'bad') != !!$bad{$_} } sort keys %field ], [], scalar(@rows) . ' references, as REST v1 judges them');
control('DELETE FROM walwarden.job');

# a good job
my $id = backup_job();
wait_until("(SELECT state = 'completed' FROM walwarden.job WHERE id = '$id')", 'a good job is completed');
is(stop_runner($pid), 0, 'the runner ends well');
my $started = slurp("$base/started");
like($started, qr{^\Q$base\E/bin/pg_dump$}m, 'what its programs were started with is known');
unlike($started, qr/EVIL/, 'nothing of a bad reference among it');
unlike($started, qr/wal_[0-9a-f]|password *=/i, 'no token or password');
unlike($started, qr/^(?!PG(SERVICE|SERVICEFILE|SYSCONFDIR|APPNAME|OPTIONS|CONNECT_TIMEOUT|HOST|PORT|USER|DATABASE|PASSFILE)=)(PG\w*|AWS_\w*|RCLONE_\w*|LD_\w*|PERL5LIB|TEST\w*)=/m, 'no variable that is not listed');
my $lines = slurp($RunnerTest::log);
unlike($lines, qr/wal_[0-9a-f]{64}|dbname=/, 'no token and no connection string in the log');
is_deeply([ grep { !/^walwarden-runner: / } split /\n/, $lines ], [], 'one line an event');

done_testing();
