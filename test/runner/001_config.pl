# Faults of the configuration: each names the file, the line and the reason, and the runner
# exits with 2 without having done anything.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

cluster();
my $base = $RunnerTest::base;
my $major = RunnerTest::major();

sub file
{
	my ($name, $mode, $text) = @_;
	unlink "$base/$name";
	append_to_file("$base/$name", $text);
	chmod $mode, "$base/$name";
	return "$base/$name";
}
mkdir "$base/$_" for 'empty', 'work/inner', 'shared';
chmod 0777, "$base/shared";
my $open_token = file('open', 0644, random_token());
my $same_database = file('same', 0600, sprintf "[orders]\nhost=%s\nport=%d\ndbname=orders\n\n[other]\ndbname=control\nport=%2\$d\nhost=%1\$s\n", $RunnerTest::cluster->host, $RunnerTest::cluster->port);
my $open_password = file('password', 0644, "[orders]\npassword=x\n");
my $writable = file('writable', 0666, "[orders]\n");
my $odd = file('odd', 0600, "[orders]\n[orders]\n[../x]\n");
my $slash = file('slash', 0600, "[a]\n[a/b]\n");
my $none = file('none', 0600, "# nothing\n");

# The line of a key is its place among the sorted keys.
my @cases = (
	[ 'nothing is missing', {}, '' ],
	[ 'an unknown key', { zebra => 1 }, qq{LINE(zebra): unknown key "zebra"} ],
	[ 'all that is required', { map { $_ => undef } qw(control token_file node services work state) },
		join "\n", map { "FILE: $_ is missing" } qw(control token_file node services work state) ],
	[ 'several at once', { lease => 'soon', poll => -1, max_jobs => '2x' }, join "\n",
		'LINE(lease): lease: "soon" is not a whole number from 3 to 3600', 'LINE(max_jobs): max_jobs: "2x" is not a whole number from 1 to 32', 'LINE(poll): poll: "-1" is not a whole number from 1 to 3600' ],
	[ 'a lease that is too short', { lease => 2 }, 'LINE(lease): lease: "2" is not a whole number from 3 to 3600' ],
	[ 'no value', { node => '' }, "LINE(node): node has no value\nFILE: node is missing" ],
	[ 'a node that is no name', { node => 'a/b' }, 'LINE(node): node: "a/b" is not a name: use at most 100 letters, digits and . _ -' ],
	[ 'a relative path', { work => 'work' }, 'LINE(work): work: work is not an absolute path' ],
	[ 'a directory that is not there', { work => "$base/gone" }, "LINE(work): work: $base/gone: No such file or directory" ],
	[ 'a file for a directory', { state => "$base/token" }, "LINE(state): state: $base/token is not a directory" ],
	(map { [ "$_ that others can change", { $_ => "$base/shared" }, "LINE($_): $_: $base/shared can be changed by others: chmod go-w" ] } qw(work state trusted_keys)),
	[ 'local_root that others can change', { local_root => "$base/shared" }, '' ],
	[ 'state of another user', { state => '/' }, "LINE(state): state: / cannot be written to by this user" ],
	[ 'trusted_keys of root', { trusted_keys => '/etc' }, '' ],
	[ 'a directory for a file', { token_file => "$base/work" }, "LINE(token_file): token_file: $base/work is not a file" ],
	[ 'directories that overlap', { state => "$base/work/inner" }, "LINE(state): state: $base/work/inner overlaps with work" ],
	[ 'a token that others can read', { token_file => $open_token }, "LINE(token_file): token_file: $open_token can be read by others: chmod 600" ],
	[ 'a token of another user', { token_file => '/etc/passwd' }, 'LINE(token_file): token_file: /etc/passwd belongs to another user' ],
	[ 'no token file', { token_file => "$base/gone" }, "LINE(token_file): token_file: $base/gone: No such file or directory" ],
	[ 'control by a service', { control => 'service=orders dbname=x' }, 'LINE(control): control names a service: services are the protected databases; write the connection itself' ],
	[ 'control with a password', { control => 'host=h dbname=x password=hidden' }, 'LINE(control): control has a password in it: use passfile, a certificate, or peer authentication' ],
	[ 'control that cannot be read', { control => 'hidden hidden' }, "LINE(control): control is not a connection string" ],
	[ 'control without a database', { control => 'host=h' }, 'LINE(control): control has no dbname' ],
	[ 'services that name the control database', { services => $same_database }, "LINE(services): services: section [other] in line 6 of $same_database is the control database, which is no protected database" ],
	[ 'services with a password that others can read', { services => $open_password }, "LINE(services): services: $open_password has a password in it and can be read by others: chmod 600" ],
	[ 'services that others can change', { services => $writable }, "LINE(services): services: $writable can be changed by others: chmod go-w" ],
	[ 'services with odd sections', { services => $odd }, "LINE(services): services: line 2 of $odd: [orders] is there twice\nLINE(services): services: line 3 of $odd: a section is a name in brackets: letters, digits and . _ / -" ],
	[ 'services without a section', { services => $none }, "LINE(services): services: $none has no section" ],
	[ 'targets that are not there', { targets => "$base/gone" }, "LINE(targets): targets: $base/gone: No such file or directory" ],
	[ 'targets with a slash', { targets => $slash }, "LINE(targets): targets: line 2 of $slash: [a/b] has a slash, at which the name of a target would end" ],
	[ 'in place without a target', { allow_in_place => 'scratch, other' }, 'LINE(allow_in_place): allow_in_place: targets has no section [other]' ],
	[ 'in place with odd names', { allow_in_place => '-x' }, 'LINE(allow_in_place): allow_in_place: "-x" is not a name' ],
	[ 'tools that are missing', { "bindir.$major" => "$base/empty" }, "LINE(bindir.$major): bindir.$major: $base/empty/pg_dump: No such file or directory" ],
	[ 'tools of no version', { 'bindir.new' => "$base/empty" }, 'LINE(bindir.new): bindir.new: name the major version of a server, such as bindir.15' ],
	[ 'a key that others can read', { signing_key => $open_token }, "LINE(signing_key): signing_key: $open_token can be read by others: chmod 600" ],
	[ 'rclone that is not there', { rclone_config => "$base/token" }, 'LINE(rclone_config): rclone_config: rclone is not on the PATH' ],
);
for my $case (@cases)
{
	my ($what, $changed, $expected) = @$case;
	my $path = write_config(%$changed);
	my %line;
	my $number = 0;
	$line{ (split / = /)[0] } = ++$number for split /\n/, slurp($path);
	$expected =~ s/LINE\(([^)]*)\)/"$path:$line{$1}"/ge;
	$expected =~ s/FILE/$path/g;
	local $ENV{PATH} = '/nowhere' if $what =~ /rclone/;
	my ($status, $out, $err) = run_runner('--config', $path, '--check');
	is($err, $expected eq '' ? '' : "$expected\n", $what);
	is($status, $expected eq '' ? 0 : 2, "$what: exit code");
	unlike("$out$err", qr/hidden/, "$what: no part of a connection string is shown") if $what =~ /control/;
}

# lines that are no pairs, and pairs that come twice
my $path = write_config();
append_to_file($path, "# a comment\n; another\n\nnonsense\nlease = 60\n");
my $lines = () = slurp($path) =~ /\n/g;
my ($status, $out, $err) = run_runner('--config', $path, '--check');
like($err, qr{^\Q$path\E:@{[$lines - 1]}: this is not "key = value"\n\Q$path\E:$lines: lease is given twice; line \d+ has it already\n$}, 'lines that are wrong');
is($status, 2, 'and its exit code');

chmod 0666, $path;
($status, $out, $err) = run_runner('--config', $path);
is($err, "$path can be changed by others: chmod go-w\n", 'a configuration that others can change');
($status, $out, $err) = run_runner('--config', "$base/gone");
is($err, "$base/gone: No such file or directory\n", 'no configuration');
is($status, 2, 'and its exit code');

# a token file that holds no token is a fault too, and is not shown
file('token', 0600, "hidden\n");
($status, $out, $err) = run_runner('--config', write_config());
like($err, qr/token_file: \Q$base\E\/token holds no token: wal_ and 64 hex digits/, 'a token file without a token');
unlike("$out$err", qr/hidden/, 'which is not shown');
is($status, 2, 'and its exit code');

# usage
for my $arguments ([ '--nonsense' ], [ 'nonsense' ], [ '--check', '--once' ], [ '--once', 'list', 'file:///a' ], ['list'], [ 'list', 'file:///a', 'b', 'c' ], [ 'list', '/a' ], [ 'list', 'file:///a/../b' ], [ 'list', 's3://a', '--config=x' ])
{
	is((run_runner('--config', write_config(), @$arguments))[0], 2, "usage: @$arguments");
}
like((run_runner('--help'))[1], qr/Usage:/, 'help');
like((run_runner('--version'))[1], qr/^walwarden-runner \d+\.\d+/, 'version');

done_testing();
