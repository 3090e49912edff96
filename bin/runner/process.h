/*
 * process.h
 *		Programs that the runner starts: pg_dump, pg_restore, rclone and the like.
 *
 * A child gets the arguments and the environment that are listed, no shell, no inherited
 * descriptor but its three, and dies with its parent (PR_SET_PDEATHSIG). All children of
 * a job are in the process group of the job, so that the supervisor can end them at once.
 * Therefore start a server as "postgres", never with "pg_ctl start", which takes it out of
 * the group and out of the family; and start programs from the main thread, because it is
 * the end of the starting thread that ends a child.
 */
#ifndef RUNNER_PROCESS_H
#define RUNNER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "text.h"

/* What a child's standard input, output or error is connected to. */
#define STREAM_NULL (-1)		/* /dev/null */
#define STREAM_PIPE (-2)		/* a pipe whose other end the parent gets */

/* The arguments of a program. */
#define ARGUMENTS(...) ((const char *const[]) {__VA_ARGS__, NULL})

typedef struct Process
{
	pid_t		pid;
	int			in;				/* the parent's ends, or -1 */
	int			out;
	char	   *program;		/* its file name, for messages */
	struct ErrorTail *errors;	/* the end of its standard error */
} Process;

/*
 * Starts a program. argv and env end with NULL; env is the whole environment. in, out: a
 * descriptor, STREAM_NULL or STREAM_PIPE. Returns false, with a message in *error, if it
 * cannot be started.
 */
extern bool process_start(Process *process, const char *const *argv, const char *const *env, int in, int out, char **error);

/*
 * Waits for the end, closes the descriptors, and returns whether the exit code was 0.
 * Otherwise *error is the program's name, what ended it, and the last lines that it wrote to
 * its standard error, at most 900 bytes in all. A thread reads standard error meanwhile, so a
 * program that writes much does not block. Close or read to its end what the program still
 * writes to first: both of the parent's ends are closed before the wait.
 */
extern bool process_wait(Process *process, char **error);

/* Whether a signal ended the program that this message is about: somebody killed it, or it crashed. */
extern bool process_was_killed(const char *error);

/*
 * Runs a program to its end. input is its standard input, unless it is NULL. *output, unless
 * output is NULL, receives what it prints, whether it ends well or not, and at most limit
 * bytes. All input is written first: a program that is given much must print little.
 */
extern bool process_run(const char *const *argv, const char *const *env, const char *input, Buffer *output, size_t limit, char **error);

/*
 * Ends it with TERM, after two seconds with KILL, and waits for it. rclone takes TERM for the
 * end of its input and stores what it has: end that with kill(pid, SIGKILL) first.
 */
extern void process_kill(Process *process);

/* Where PATH has this program, allocated; NULL if it has not. */
extern char *process_find(const char *name);

#endif							/* RUNNER_PROCESS_H */
