/*
 * slices.c
 *		Times statements against each other on one connection.
 *
 *		slices PROCESSORS SECONDS REPEAT LAST -- NAME SQL [PARAMETER...] [-- NAME SQL ...]
 *
 * Each statement is prepared; slices of REPEAT executions alternate in random
 * order for SECONDS, and for each slice "NAME MICROSECONDS MICROSECONDS" is printed: a
 * statement's time as its client sees it, and the processor time of the backend, as the
 * kernel has it. The parameter @token stands for the token of a random number from 1 to
 * LAST, anew for each execution, as bench.token() makes it.
 *
 * PROCESSORS says whether client and backend share one (1), or have one each (2), where
 * each message waits for the other side to wake up. Left to the scheduler it is now
 * this, now that.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <libpq-fe.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STATEMENTS 16
#define PARAMETERS 4

typedef struct Statement
{
	const char *name;
	const char *sql;
	const char *parameters[PARAMETERS];
	int			nparameters;
} Statement;

static PGconn *conn;

static void
fail(const char *what)
{
	fprintf(stderr, "slices: %s: %s", what, PQerrorMessage(conn));
	exit(1);
}

static double
read_us(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		fail("clock_gettime");
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double
now_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

static uint64_t
random_number(void)
{
	static uint64_t state = 0;

	/* splitmix64, not the same in each run */
	if (state == 0)
		state = (uint64_t) (now_us() * 1000);
	uint64_t	z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Keep a process on the nth of the processors that this one may use. */
static void
stay_on(pid_t pid, int nth)
{
	static cpu_set_t allowed;
	cpu_set_t	set;
	int			cpu = 0;

	if (CPU_COUNT(&allowed) == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		fail("sched_getaffinity");
	if (nth >= CPU_COUNT(&allowed))
		nth = 0;
	while (!CPU_ISSET(cpu, &allowed) || nth-- > 0)
		cpu++;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(pid, sizeof(set), &set) != 0)
		perror("slices: sched_setaffinity");
}

static void
execute(const Statement *s, uint64_t last)
{
	const char *values[PARAMETERS];
	char		token[100];
	PGresult   *result;

	for (int i = 0; i < s->nparameters; i++)
	{
		values[i] = s->parameters[i];
		if (strcmp(values[i], "@token") == 0)
		{
			snprintf(token, sizeof(token), "wal_%064" PRIu64, UINT64_C(1000000000000000001) + random_number() % last);
			values[i] = token;
		}
	}
	result = PQexecPrepared(conn, s->name, s->nparameters, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(s->name);
	PQclear(result);
}

int
main(int argc, char **argv)
{
	Statement	statements[STATEMENTS] = {0};
	int			n = 0;
	clockid_t	backend;
	double		end;
	int			repeat;
	uint64_t	last;

	if (argc < 8)
		return 2;
	repeat = atoi(argv[3]);
	last = strtoull(argv[4], NULL, 10);
	for (int i = 5; i < argc;)
	{
		Statement  *s = &statements[n++];

		if (n > STATEMENTS || strcmp(argv[i++], "--") != 0 || i + 1 >= argc)
			return 2;
		s->name = argv[i++];
		s->sql = argv[i++];
		while (i < argc && strcmp(argv[i], "--") != 0 && s->nparameters < PARAMETERS)
			s->parameters[s->nparameters++] = argv[i++];
	}

	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
		fail("connect");
	if (clock_getcpuclockid(PQbackendPID(conn), &backend) != 0)
		fail("clock_getcpuclockid");
	stay_on(0, 0);
	stay_on(PQbackendPID(conn), atoi(argv[1]) - 1);
	for (int i = 0; i < n; i++)
	{
		PGresult   *result = PQprepare(conn, statements[i].name, statements[i].sql, 0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			fail(statements[i].name);
		PQclear(result);
	}

	end = now_us() + atof(argv[2]) * 1e6;
	while (now_us() < end)
	{
		const Statement *s = &statements[random_number() % n];
		double		spent = read_us(backend);
		double		start = now_us();

		for (int i = 0; i < repeat; i++)
			execute(s, last);
		printf("%s\t%.3f\t%.3f\n", s->name, (now_us() - start) / repeat, (read_us(backend) - spent) / repeat);
	}
	PQfinish(conn);
	return 0;
}
