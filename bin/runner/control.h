/*
 * control.h
 *		The control database: the runner protocol, one statement a call.
 *
 * A connection is made when it is needed, and again after it was lost. The token goes as a
 * parameter only. It is read from its file, and read again when the server rejects it, so
 * that a token can be replaced while jobs run.
 */
#ifndef RUNNER_CONTROL_H
#define RUNNER_CONTROL_H

#include <stdbool.h>

#include "common/merkle.h"
#include "common/syntax.h"
#include "config.h"
#include "job.h"
#include "session.h"

typedef struct Control Control;

/* public_key: of the node, or NULL; it must outlive the connection. */
extern Control *control_new(const Config *config, const char *public_key);

/* The same token and registration for another process, without the connection. */
extern Control *control_inherit(const Control *control);
extern void control_free(Control *control);

/* After fork(): gives up the connection without ending it, which is the parent's. */
extern void control_forget(Control *control);

/* Calls are given up when interrupted, which is asked after each signal, returns true. */
extern void control_interrupt(Control *control, bool (*interrupted) (void));

/* From now on a call takes at most so many seconds: the process is about to end. */
extern void control_hurry(Control *control, int seconds);

/* What the last call said if it was not DONE: one harmless line. */
extern const char *control_message(const Control *control);

/* What may help, or NULL: one harmless line. */
extern const char *control_hint(const Control *control);

/* Reads the token file. False with a message. */
extern bool control_read_token(Control *control);

/* Each of the following registers the node first, once for each token. */

/* One job of these kinds, for these connections. */
extern ControlStatus control_claim(Control *control, const char *kinds, const Names *connections, Job **job);

/* The jobs that the node holds: an array of count. */
extern ControlStatus control_held(Control *control, Job ***jobs, int *count);

/* progress_json and detail_json may be NULL. */
extern ControlStatus control_heartbeat(Control *control, const Job *job, const char *progress_json);
extern ControlStatus control_report(Control *control, const Job *job, const char *state, const char *detail_json);
extern ControlStatus control_evidence(Control *control, const Job *job, const char *evidence_json);
extern ControlStatus control_release(Control *control, const Job *job);

/* What a preflight found of a destination. error: NULL if it is good. */
extern ControlStatus control_report_destination(Control *control, const char *destination_id, const char *error);

/* An entry of the chain. */
typedef struct ChainEntry
{
	int64_t		seq;
	uint8_t		hash[MERKLE_HASH_LEN];
} ChainEntry;

/* Entries of the chain of the node's organisation. */
typedef struct ChainPage
{
	char		org_id[UUID_TEXT_LEN + 1];
	ChainEntry *entries;		/* allocated */
	int			count;
} ChainPage;

/*
 * The entries after a seq, at most max of them. What a standby says is not taken: it may be
 * behind, and the chain would look shortened.
 */
extern ControlStatus control_chain(Control *control, int64_t after_seq, int max, ChainPage *page);

extern ControlStatus control_publish(Control *control, const char *note);

/*
 * The chain has another entry at seq than the known one, or none if seen is NULL. *accepted:
 * the entry by which an operator has accepted that, or 0.
 */
extern ControlStatus control_report_alarm(Control *control, int64_t seq, const char *known, const char *seen, int64_t *accepted);

/* A line about the server: its version and the database. For --check. Allocated. */
extern ControlStatus control_describe(Control *control, char **description);

/* Whether a connection of another kind leads to the same database. For --check. */
struct pg_conn;
extern bool control_is_same_database(Control *control, struct pg_conn *other);

#endif							/* RUNNER_CONTROL_H */
