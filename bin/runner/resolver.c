/*
 * resolver.c
 *		Names of hosts, resolved by a process that can be given up.
 *
 * As libpq does it: each host of the list in its turn, each of its addresses in the order of
 * getaddrinfo(). The name stays beside the address, for certificates and passfiles.
 */
#include "resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "conninfo.h"
#include "io.h"
#include "names.h"
#include "text.h"

#define HOST_ADDRESSES_MAX 8	/* that are tried of one host */

/* What the process writes begins with one of them. */
#define FOUND 'a'
#define NOT_FOUND 'e'

/* The lists of a connection string. Those that are not given are empty. */
typedef struct Hosts
{
	Names		host;
	Names		hostaddr;
	Names		port;
} Hosts;

static void
split(const char *list, Names *names)
{
	char	   *copy = text_copy(list);
	char	   *rest = copy;
	char	   *name;

	while ((name = strsep(&rest, ",")) != NULL)
		names_add(names, name);
	free(copy);
}

static void
hosts_free(Hosts *hosts)
{
	names_free(&hosts->host);
	names_free(&hosts->hostaddr);
	names_free(&hosts->port);
}

static const char *
item(const Names *names, size_t i)
{
	return i < names->count ? names->name[i] : "";
}

/* Whether a host of the list has to be resolved: it is neither an address nor a socket. */
static bool
is_name(const Hosts *hosts, size_t i)
{
	const char *host = item(&hosts->host, i);

	return *host && *host != '/' && *host != '@' && !*item(&hosts->hostaddr, i);
}

static void
read_hosts(const char *conninfo, Hosts *hosts)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	split(conninfo_value(options, "host"), &hosts->host);
	split(conninfo_value(options, "hostaddr"), &hosts->hostaddr);
	split(conninfo_value(options, "port"), &hosts->port);
	PQconninfoFree(options);
}

/* Whether there is a name to resolve, and the lists belong together: if not, libpq says so. */
static bool
has_names(const Hosts *hosts)
{
	bool		has = false;

	for (size_t i = 0; i < hosts->host.count; i++)
		has = has || is_name(hosts, i);
	return has && (hosts->hostaddr.count == 0 || hosts->hostaddr.count == hosts->host.count) &&
		(hosts->port.count <= 1 || hosts->port.count == hosts->host.count);
}

/* The lists with an item for each address. */
typedef struct Found
{
	Buffer		host;
	Buffer		hostaddr;
	Buffer		port;
	size_t		count;
} Found;

static void
add(Found *found, const char *host, const char *address, const char *port)
{
	const char *separator = found->count++ > 0 ? "," : "";

	buffer_format(&found->host, "%s%s", separator, host);
	buffer_format(&found->hostaddr, "%s%s", separator, address);
	buffer_format(&found->port, "%s%s", separator, port);
}

/* Returns what is wrong, or 0. */
static int
add_addresses(Found *found, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,.ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	int			failure = getaddrinfo(host, NULL, &hints, &all);
	int			tried = 0;

	if (failure != 0)
		return failure;
	for (const struct addrinfo *one = all; one && tried < HOST_ADDRESSES_MAX; one = one->ai_next, tried++)
	{
		char		address[NI_MAXHOST];

		if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0)
			add(found, host, address, port);
	}
	freeaddrinfo(all);
	return 0;
}

/* What the process has to say: the lists, each terminated, or a message. */
static Buffer
find_all(const Hosts *hosts)
{
	Found		found = {0};
	Buffer		answer = {0};
	char	   *error = NULL;

	for (size_t i = 0; i < hosts->host.count; i++)
	{
		const char *host = item(&hosts->host, i);
		const char *port = item(&hosts->port, hosts->port.count == 1 ? 0 : i);
		int			failure = 0;

		if (is_name(hosts, i))
			failure = add_addresses(&found, host, port);
		else
			add(&found, host, item(&hosts->hostaddr, i), port);
		if (failure != 0 && error == NULL)
			error = text_format("the host name %s is not resolved: %s", host, gai_strerror(failure));
	}
	if (found.count == 0)
		buffer_format(&answer, "%c%s", NOT_FOUND, error ? error : "no host name has an address");
	else
	{
		buffer_format(&answer, "%c", FOUND);
		buffer_add(&answer, found.host.data, found.host.len + 1);
		buffer_add(&answer, found.hostaddr.data, found.hostaddr.len + 1);
		buffer_add(&answer, found.port.data, found.port.len + 1);
	}
	return answer;
}

/*
 * The process. It has a copy of one thread only: no other of the runner's resolves names or
 * writes to a stream, and the C library sees to its own memory.
 */
static void
__attribute__((noreturn))
resolve(const Hosts *hosts, pid_t parent, int to)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* it may have died before the request was made */
	if (getppid() == parent)
	{
		Buffer		answer = find_all(hosts);

		(void) write_all(to, answer.data, answer.len);
	}
	_exit(0);
}

bool
resolver_start(Resolver *resolver, const char *conninfo, char **error)
{
	Hosts		hosts = {0};
	int			ends[2] = {-1, -1};
	pid_t		parent = getpid();
	bool		started = true;

	memset(resolver, 0, sizeof(*resolver));
	resolver->from = -1;
	read_hosts(conninfo, &hosts);
	if (has_names(&hosts))
	{
		started = pipe2(ends, O_CLOEXEC) == 0 && (resolver->pid = fork()) >= 0;
		if (started && resolver->pid == 0)
			resolve(&hosts, parent, ends[1]);
		if (started)
			resolver->from = ends[0];
		else
		{
			*error = text_format("cannot start a process that resolves a host name: %s", strerror(errno));
			resolver->pid = 0;
			if (ends[0] >= 0)
				close(ends[0]);
		}
		if (ends[1] >= 0)
			close(ends[1]);
	}
	hosts_free(&hosts);
	return started;
}

static void
stop_reading(Resolver *resolver)
{
	if (resolver->from >= 0)
		close(resolver->from);
	resolver->from = -1;
}

void
resolver_read(Resolver *resolver)
{
	char		chunk[4096];
	ssize_t		got = read(resolver->from, chunk, sizeof(chunk));

	if (got > 0)
		buffer_add(&resolver->found, chunk, (size_t) got);
	else if (got == 0 || errno != EINTR)
		stop_reading(resolver);
}

/* The next of the lists. */
static char *
take(const Buffer *found, size_t *at)
{
	char	   *text = *at < found->len ? text_copy(found->data + *at) : text_copy("");

	*at += strlen(text) + 1;
	return text;
}

bool
resolver_end(Resolver *resolver, Addresses *addresses, char **error)
{
	const Buffer *found = &resolver->found;
	bool		resolves = resolver->pid > 0;
	bool		resolved = found->len > 0 && found->data[0] == FOUND;
	size_t		at = 1;

	stop_reading(resolver);
	if (resolves)
	{
		kill(resolver->pid, SIGKILL);
		while (waitpid(resolver->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (resolved)
	{
		addresses->host = take(found, &at);
		addresses->hostaddr = take(found, &at);
		addresses->port = take(found, &at);
	}
	else if (resolves)
		*error = text_copy(found->len > 1 ? found->data + 1 : "the process that resolves a host name has died");
	buffer_free(&resolver->found);
	return resolved || !resolves;
}

void
addresses_free(Addresses *addresses)
{
	free(addresses->host);
	free(addresses->hostaddr);
	free(addresses->port);
	memset(addresses, 0, sizeof(*addresses));
}
