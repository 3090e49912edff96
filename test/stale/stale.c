/*
 * stale.c
 *		Looks for a token that is answered by what was true before a change.
 *
 * Clients authenticate in a loop while one connection changes what the answer depends on.
 * After a change has returned, every client must have been answered in transactions that
 * started after that, and each answer must be the new one, both ways. What was rolled back
 * must not be seen at all.
 *
 * A mistake shows only if a client is looking the token up at the moment of a change, and
 * remembers what it found. A client that has the token in its memory does not look it up, and
 * one that looks it up because of the change is too late for the mistake. So something else
 * must make clients look it up at every moment:
 *
 *		changes		another connection changes a member of another organisation all the
 *					time, which makes everything old that clients remember.
 *		connections	clients connect anew after a few answers, and remember nothing. That
 *					needs no other change.
 *
 *		stale ROUNDS CLIENTS changes|connections	(connects as libpq's environment says)
 *
 * Prints a line a kind of change and a sum; exits with 1 when an answer was wrong.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum Expect
{
	EITHER,						/* a change is under way */
	YES,
	NO
} Expect;

/* What the clients ask and what must be answered; replaced as a whole. */
typedef struct Question
{
	char		token[80];
	const char *scope;
	Expect		expect;
	unsigned	epoch;
} Question;

typedef struct Kind
{
	const char *name;
	const char *scope;
	const char *change;			/* %s: id of the token */
	const char *back;			/* NULL: a new token each round */
} Kind;

/* owner: bob, whose private token is asked about; the other token is shared */
static const Kind kinds[] = {
	{"disable", "databases:read", "SELECT walwarden.disable_token('%s')", "SELECT walwarden.enable_token('%s')"},
	{"owner disabled", "databases:read", "SELECT walwarden.disable_member('acme', 'bob')", "SELECT walwarden.enable_member('acme', 'bob')"},
	{"owner's role reduced", "evidence:read", "SELECT walwarden.set_member_role('acme', 'bob', 'api_developer')", "SELECT walwarden.set_member_role('acme', 'bob', 'member')"},
	{"role emptied", "evidence:read", "SELECT walwarden.set_role_scopes('member', '{}')", "SELECT walwarden.set_role_scopes('member', NULL)"},
	{"plan", "databases:read", "SELECT walwarden.set_plan('acme', 'free')", "SELECT walwarden.set_plan('acme', 'team')"},
	{"revoke", "databases:read", "SELECT walwarden.revoke_token('%s')", NULL},
	{"renew", "databases:read", "SELECT token_id FROM walwarden.renew_token('%s')", NULL},
};

#define KINDS ((int) (sizeof(kinds) / sizeof(kinds[0])))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static Question question;
static int	answers_in_epoch[64];
static atomic_long calls, wrong;
static atomic_bool done;
static bool connect_anew;

/* Answers on a connection, at most, if clients connect anew. */
#define ANSWERS 6

static void
die(const char *what, PGconn *conn)
{
	fprintf(stderr, "stale: %s: %s", what, conn ? PQerrorMessage(conn) : "\n");
	exit(2);
}

static PGconn *
open_connection(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("connection", conn);
	return conn;
}

static PGconn *
open_client(void)
{
	PGconn	   *conn = open_connection();

	PQclear(PQprepare(conn, "q", "SELECT walwarden.authenticate($1) IS NOT NULL AND walwarden.has_scope($2)", 2, NULL));
	return conn;
}

static void
run(PGconn *conn, const char *statement)
{
	PGresult   *result = PQexec(conn, statement);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die(statement, conn);
	PQclear(result);
}

/* From now on this is asked, and this must be the answer. */
static void
ask(const char *token, const char *scope, Expect expect)
{
	pthread_mutex_lock(&lock);
	if (token)
		snprintf(question.token, sizeof(question.token), "%s", token);
	question.scope = scope;
	question.expect = expect;
	question.epoch++;
	memset(answers_in_epoch, 0, sizeof(answers_in_epoch));
	pthread_mutex_unlock(&lock);
}

/* Until every client has been answered in the present epoch. */
static void
await_answers(int clients)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < clients; i++)
		while (answers_in_epoch[i] == 0)
			pthread_cond_wait(&answered, &lock);
	pthread_mutex_unlock(&lock);
}

static void *
client(void *arg)
{
	int			number = (int) (long) arg;
	PGconn	   *conn = open_client();
	int			left = ANSWERS;

	while (!done)
	{
		Question	asked;
		const char *values[2];
		PGresult   *result;
		bool		yes;

		pthread_mutex_lock(&lock);
		asked = question;
		pthread_mutex_unlock(&lock);
		values[0] = asked.token;
		values[1] = asked.scope;
		result = PQexecPrepared(conn, "q", 2, values, NULL, NULL, 0);
		if (PQresultStatus(result) == PGRES_TUPLES_OK)
			yes = PQgetvalue(result, 0, 0)[0] == 't';
		else if (strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "28000") == 0)
			yes = false;
		else
			die("authenticate", conn);
		PQclear(result);
		calls++;
		if (connect_anew && --left <= 0)
		{
			PQfinish(conn);
			conn = open_client();
			left = 2 + random() % (ANSWERS - 1);
		}
		usleep(random() % 300);	/* or the change would never get a processor */

		/* it counts when nothing was under way from before it began until it was answered */
		pthread_mutex_lock(&lock);
		if (question.epoch == asked.epoch && asked.expect != EITHER)
		{
			if (yes != (asked.expect == YES))
				wrong++;
			answers_in_epoch[number]++;
			pthread_cond_signal(&answered);
		}
		pthread_mutex_unlock(&lock);
	}
	PQfinish(conn);
	return NULL;
}

static void *
writer(void *arg)
{
	PGconn	   *conn = open_connection();

	while (!done)
	{
		run(conn, "SELECT walwarden.set_member_sso('other', 'zoe', random() < 0.5)");
		usleep(random() % 1000);
	}
	PQfinish(conn);
	return NULL;
}

int
main(int argc, char **argv)
{
	int			rounds = argc > 1 ? atoi(argv[1]) : 1000;
	int			clients = argc > 2 ? atoi(argv[2]) : 8;
	const char *way = argc > 3 ? argv[3] : "changes";
	PGconn	   *conn = open_connection();
	pthread_t	threads[64],
				write_thread;
	long		total = 0;

	if (clients < 1 || clients > 64)
		die("1 to 64 clients", NULL);
	connect_anew = strcmp(way, "connections") == 0;
	if (!connect_anew && strcmp(way, "changes") != 0)
		die("changes or connections", NULL);
	for (int k = 0; k < KINDS; k++)
	{
		const Kind *kind = &kinds[k];
		char		id[40] = "",
					token[80] = "",
					change[200],
					back[200];
		long		wrong_before = wrong;

		for (int round = 0; round < rounds; round++)
		{
			bool		undone = kind->back != NULL && round % 2 == 1;

			if (round == 0 || kind->back == NULL)
			{
				PGresult   *result = PQexec(conn, k == 0 || kind->back == NULL
											? "SELECT token_id, token FROM walwarden.issue_token('acme', 'shared', '{databases:read}')"
											: "SELECT token_id, token FROM walwarden.issue_token('acme', 'private', '{databases:read,evidence:read}', owner => 'bob')");

				if (PQntuples(result) != 1)
					die("issue_token", conn);
				strcpy(id, PQgetvalue(result, 0, 0));
				strcpy(token, PQgetvalue(result, 0, 1));
				PQclear(result);
			}
			snprintf(change, sizeof(change), kind->change, id);
			snprintf(back, sizeof(back), kind->back ? kind->back : "SELECT", id);

			ask(token, kind->scope, YES);
			if (k == 0 && round == 0)
			{
				for (long i = 0; i < clients; i++)
					pthread_create(&threads[i], NULL, client, (void *) i);
				if (!connect_anew)
					pthread_create(&write_thread, NULL, writer, NULL);
			}
			await_answers(clients);

			/* a change that is rolled back for each that is committed */
			if (undone || kind->back == NULL)
			{
				run(conn, "BEGIN");
				run(conn, change);
				run(conn, "ROLLBACK");
				ask(token, kind->scope, YES);
				await_answers(clients);
				if (undone)
					continue;
			}
			ask(NULL, kind->scope, EITHER);
			run(conn, change);
			ask(NULL, kind->scope, NO);
			await_answers(clients);
			if (kind->back)
			{
				ask(NULL, kind->scope, EITHER);
				run(conn, back);
			}
		}
		total += rounds;
		printf("%-22s %6d rounds, %ld wrong answers\n", kind->name, rounds, wrong - wrong_before);
		fflush(stdout);
	}
	done = true;
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	if (!connect_anew)
		pthread_join(write_thread, NULL);
	printf("%-22s %6ld rounds, %ld calls, %ld wrong answers\n", "sum", total, (long) calls, (long) wrong);
	PQfinish(conn);
	return wrong == 0 ? 0 : 1;
}
