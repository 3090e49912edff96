# The host of the control database has a name, which a resolver may take its time for.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use RunnerTest;
use Test::More;

# A cluster that listens on TCP: names are for hosts.
my $cluster = cluster();
my $base = $RunnerTest::base;
$cluster->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'");
$cluster->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$cluster->restart;
my $port = $cluster->port;

# What resolves names in its place: two-addresses has one where nobody listens and one where the
# server does, hangs never gets an answer.
plan skip_all => 'there is no compiler' if system('command -v cc >/dev/null');
append_to_file("$base/resolver.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int			(*real) (const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");

	if (node && strcmp(node, "hangs.example") == 0)
	{
		FILE	   *file = fopen(getenv("HOME"), "w");

		if (file)
			fclose(file);
		for (;;)
			pause();
	}
	if (node && strcmp(node, "two-addresses.example") == 0)
	{
		int			failure = real("127.0.0.2", service, hints, result);

		return failure ? failure : real("127.0.0.1", service, hints, &(*result)->ai_next);
	}
	if (node && strstr(node, ".example"))
		return EAI_NONAME;
	return real(node, service, hints, result);
}
C
system_or_bail('cc', '-shared', '-fPIC', '-o', "$base/resolver.so", "$base/resolver.c", '-ldl');
$ENV{LD_PRELOAD} = "$base/resolver.so";
$ENV{HOME} = "$base/asked";

sub check { my ($control) = @_; write_config(control => $control); return (run_runner('--config', "$base/runner.conf", '--check'))[1]; }
like(check("host=two-addresses.example port=$port dbname=control"), qr/^ok   control: database control/m, 'of the addresses of a host each is tried');
like(check("host=nobody.example port=$port dbname=control"), qr/^FAIL control: cannot connect: the host name nobody.example is not resolved: Name or service not known$/m, 'a name that does not exist');
like(check("host=nobody.example,two-addresses.example port=1,$port dbname=control"), qr/^ok   control: database control/m, 'of several hosts as well, with the port of each');
like(check("host=nobody.example,@{[$cluster->host]} port=$port dbname=control"), qr/^ok   control: database control/m, 'a socket is one of them');
like(check("host=two-addresses.example hostaddr=127.0.0.1 port=$port dbname=control"), qr/^ok   control: database control/m, 'an address saves asking');
like(check("host=localhost,localhost port=1,2,$port dbname=control"), qr/^FAIL control: cannot connect: could not match 3 port numbers to 2 hosts$/m, 'lists that do not belong together');

# a name that is never resolved: SIGTERM does not wait for it
write_config(control => "host=hangs.example port=$port dbname=control");
my $pid = start_runner();
wait_for(sub { -e "$base/asked" }, 'a name is being resolved');
is(stop_runner($pid), 0, 'SIGTERM ends the runner all the same');
is_deeply([ processes($pid) ], [], 'and what resolves the name');
like(slurp($RunnerTest::log), qr/stopping\n\z/, 'there was nobody to give anything back to');

# and nothing waits longer for it than for an answer
write_config(control => "host=hangs.example port=$port dbname=control", lease => 3);
unlink "$base/asked";
$pid = start_runner();
wait_for(sub { slurp($RunnerTest::log) =~ /waiting for the control database: the control database does not answer/ }, 'it is given up in time');
is(stop_runner($pid), 0, 'and asked again');

done_testing();
