/*
 * signals.h
 *		Signals of the supervisor and of the processes that are forked from it.
 */
#ifndef RUNNER_SIGNALS_H
#define RUNNER_SIGNALS_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

/* Delivers signals that are blocked, for at most so long. */
extern void signals_wait(int64_t ms);

/*
 * What every process begins with that is forked from the supervisor: TERM, which also comes
 * when the supervisor dies, goes to on_term, and no other signal is blocked than those.
 */
extern void signals_begin(pid_t supervisor, void (*on_term) (int sig), const sigset_t *blocked);

#endif							/* RUNNER_SIGNALS_H */
