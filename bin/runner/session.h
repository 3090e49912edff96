/*
 * session.h
 *		The connection to the control database.
 */
#ifndef RUNNER_SESSION_H
#define RUNNER_SESSION_H

#include <stdbool.h>

#include <libpq-fe.h>

#include "config.h"

/* What came of a call. */
typedef enum ControlStatus
{
	CONTROL_DONE,
	CONTROL_NOTHING,			/* no job to claim */
	CONTROL_AWAY,				/* no connection: try again later */
	CONTROL_BUSY,				/* a lock, a conflict, no resources: try again
								 * later */
	CONTROL_INTERRUPTED,		/* by control_interrupt(): whether it was done
								 * is unknown */
	CONTROL_NOT_OURS,			/* the job belongs to another claim, or is in
								 * another state */
	CONTROL_NO_IDENTITY,		/* the token is not accepted, the one in the
								 * file neither */
	CONTROL_REFUSED				/* anything else: the configuration or a
								 * report is wrong */
} ControlStatus;

typedef struct Session
{
	const Config *config;
	PGconn	   *connection;
	bool		(*interrupted) (void);	/* asked after each signal, or NULL */
	int			patience;		/* seconds for a call, or 0 for the usual */
	char	   *message;		/* what the last call said if it was not DONE */
	char	   *hint;			/* what may help: a harmless line, or NULL */
} Session;

/*
 * Connects if there is no connection, sends one statement and waits for its result. *result is
 * the caller's to clear if DONE, else NULL. No wait is longer than its deadline.
 */
extern ControlStatus session_call(Session *session, const char *statement, int count, const char *const *values, PGresult **result);

/* Sets the message: one harmless line. */
extern void session_say(Session *session, const char *format,...) __attribute__((format(printf, 2, 3)));
extern void session_close(Session *session);

/* After fork(): gives up the connection without ending it, which is the parent's. */
extern void session_forget(Session *session);

#endif							/* RUNNER_SESSION_H */
