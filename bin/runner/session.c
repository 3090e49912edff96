/*
 * session.c
 *		The connection to the control database.
 *
 * Invariants: no wait is longer than its deadline, also while the name of a host is resolved.
 * Signals are delivered while it waits. No text of libpq that reaches a log holds a parameter
 * or the connection string.
 */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boottime.h"
#include "resolver.h"
#include "text.h"

#define CONNECT_SECONDS 10
#define CALL_SECONDS 30

void
session_say(Session *session, const char *format,...)
{
	va_list		arguments;

	free(session->message);
	va_start(arguments, format);
	session->message = text_vformat(format, arguments);
	va_end(arguments);
	text_make_harmless(session->message);
}

static void
disconnect(Session *session)
{
	PQfinish(session->connection);
	session->connection = NULL;
}

void
session_close(Session *session)
{
	disconnect(session);
	free(session->message);
	session->message = NULL;
	free(session->hint);
	session->hint = NULL;
}

void
session_forget(Session *session)
{
	if (session->connection && PQsocket(session->connection) >= 0)
		close(PQsocket(session->connection));
	session->connection = NULL;
}

static int64_t
deadline_of(const Session *session, int usual)
{
	int			seconds = session->patience ? session->patience : usual;
	int			half = session->config->lease / 2 > 2 ? session->config->lease / 2 : 2;

	/* an answer that comes after the lease is worth nothing */
	return boottime_ms() + (seconds < half ? seconds : half) * 1000;
}

/* Waits for a descriptor. DONE if it is ready. */
static ControlStatus
wait_for(Session *session, int fd, short events, int64_t deadline)
{
	sigset_t	none;

	sigemptyset(&none);
	for (;;)
	{
		struct pollfd poll = {.fd = fd,.events = events};
		int64_t		left = deadline - boottime_ms();
		struct timespec timeout = {.tv_sec = left / 1000,.tv_nsec = left % 1000 * 1000000};
		int			ready;

		if (session->interrupted && session->interrupted())
		{
			session_say(session, "interrupted");
			return CONTROL_INTERRUPTED;
		}
		if (left <= 0)
		{
			session_say(session, "the control database does not answer");
			return CONTROL_AWAY;
		}
		ready = ppoll(&poll, 1, &timeout, &none);
		if (ready > 0)
			return CONTROL_DONE;
		if (ready < 0 && errno != EINTR)
		{
			session_say(session, "poll: %s", strerror(errno));
			return CONTROL_AWAY;
		}
	}
}

/* Gives up with the wait, which libpq would not. */
static ControlStatus
find_addresses(Session *session, int64_t deadline, Addresses *addresses)
{
	Resolver	resolver;
	ControlStatus status = CONTROL_DONE;
	char	   *error = NULL;

	if (!resolver_start(&resolver, session->config->control, &error))
	{
		session_say(session, "cannot connect: %s", error);
		free(error);
		return CONTROL_AWAY;
	}
	while (status == CONTROL_DONE && resolver.from >= 0)
	{
		status = wait_for(session, resolver.from, POLLIN, deadline);
		if (status == CONTROL_DONE)
			resolver_read(&resolver);
	}
	if (!resolver_end(&resolver, addresses, &error) && status == CONTROL_DONE)
	{
		session_say(session, "cannot connect: %s", error);
		status = CONTROL_AWAY;
	}
	free(error);
	return status;
}

static ControlStatus
connect_at(Session *session, int64_t deadline, const Addresses *addresses)
{
	/* what stands before dbname may be set there, what follows may not */
	const char *const names[] = {"application_name", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	"dbname", "client_encoding", "host", "hostaddr", "port", NULL};
	const char *const values[] = {"walwarden-runner", "10", "5", "3", "15000",
	session->config->control, "UTF8", addresses->host, addresses->hostaddr, addresses->port, NULL};
	ControlStatus status;

	session->connection = PQconnectStartParams(names, values, 1);
	for (PostgresPollingStatusType next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK;)
	{
		if (session->connection == NULL || next == PGRES_POLLING_FAILED || PQstatus(session->connection) == CONNECTION_BAD)
		{
			session_say(session, "cannot connect: %s", session->connection ? PQerrorMessage(session->connection) : "out of memory");
			disconnect(session);
			return CONTROL_AWAY;
		}
		status = wait_for(session, PQsocket(session->connection), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
		if (status != CONTROL_DONE)
		{
			disconnect(session);
			return status;
		}
		next = PQconnectPoll(session->connection);
	}
	PQsetnonblocking(session->connection, 1);
	return CONTROL_DONE;
}

static ControlStatus
connect_session(Session *session)
{
	int64_t		deadline = deadline_of(session, CONNECT_SECONDS);
	Addresses	addresses = {0};
	ControlStatus status;

	if (session->connection && PQstatus(session->connection) == CONNECTION_OK)
		return CONTROL_DONE;
	disconnect(session);
	status = find_addresses(session, deadline, &addresses);
	if (status == CONTROL_DONE)
		status = connect_at(session, deadline, &addresses);
	addresses_free(&addresses);
	return status;
}

static ControlStatus
lost(Session *session)
{
	session_say(session, "connection lost: %s", PQerrorMessage(session->connection));
	disconnect(session);
	return CONTROL_AWAY;
}

/* What may help against an error: the extension says it, unless it is not there. */
static void
take_hint(Session *session, const PGresult *result, const char *state)
{
	const char *hint = strcmp(state, "3F000") == 0 ? "In control, name the database in which walwarden is installed." :
		PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (hint == NULL)
		return;
	free(session->hint);
	session->hint = text_copy(hint);
	text_make_harmless(session->hint);
}

static ControlStatus
status_of_error(Session *session, const PGresult *result)
{
	static const struct
	{
		const char *state;		/* or its beginning */
		ControlStatus status;
	}			states[] = {
		{"28000", CONTROL_NO_IDENTITY}, {"55000", CONTROL_NOT_OURS}, {"42704", CONTROL_NOT_OURS},
		{"55P03", CONTROL_BUSY}, {"40", CONTROL_BUSY}, {"53", CONTROL_BUSY}, {"57014", CONTROL_BUSY},
		{"08", CONTROL_AWAY}, {"57P", CONTROL_AWAY}, {"25006", CONTROL_AWAY}
	};
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (state == NULL || PQstatus(session->connection) != CONNECTION_OK)
		return lost(session);
	session_say(session, "%s (%s)", text ? text : "failed", state);
	take_hint(session, result, state);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (text_begins(state, states[i].state))
		{
			/*
			 * a standby, or a server that ends: another connection may be
			 * better
			 */
			if (states[i].status == CONTROL_AWAY)
				disconnect(session);
			return states[i].status;
		}
	return CONTROL_REFUSED;
}

ControlStatus
session_call(Session *session, const char *statement, int count, const char *const *values, PGresult **result)
{
	int64_t		deadline;
	ControlStatus status = connect_session(session);
	PGresult   *next;

	*result = NULL;
	free(session->hint);
	session->hint = NULL;
	if (status != CONTROL_DONE)
		return status;
	deadline = deadline_of(session, CALL_SECONDS);
	if (!PQsendQueryParams(session->connection, statement, count, NULL, values, NULL, NULL, 0))
		return lost(session);
	for (;;)
	{
		int			unsent = PQflush(session->connection);

		if (unsent < 0)
			return lost(session);
		if (unsent == 0 && !PQisBusy(session->connection))
			break;
		status = wait_for(session, PQsocket(session->connection), POLLIN | (unsent ? POLLOUT : 0), deadline);
		if (status != CONTROL_DONE)
		{
			disconnect(session);
			return status;
		}
		if (!PQconsumeInput(session->connection))
			return lost(session);
	}
	*result = PQgetResult(session->connection);
	if (*result == NULL)
		return lost(session);
	if (PQresultStatus(*result) != PGRES_TUPLES_OK)
	{
		status = status_of_error(session, *result);
		PQclear(*result);
		*result = NULL;
	}
	/* a statement has one result; wait for the end of its transaction */
	while (session->connection)
	{
		while (PQisBusy(session->connection))
		{
			if (wait_for(session, PQsocket(session->connection), POLLIN, deadline) != CONTROL_DONE || !PQconsumeInput(session->connection))
			{
				/* whether it was committed is unknown */
				PQclear(*result);
				*result = NULL;
				return lost(session);
			}
		}
		next = PQgetResult(session->connection);
		if (next == NULL)
			break;
		if (*result && PQresultStatus(next) == PGRES_FATAL_ERROR)
		{
			/* the commit failed */
			status = status_of_error(session, next);
			PQclear(*result);
			*result = NULL;
		}
		PQclear(next);
	}
	return status;
}
