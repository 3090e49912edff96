/*
 * log.h
 *		Messages to stderr, from where systemd takes them: one line an event.
 */
#ifndef RUNNER_LOG_H
#define RUNNER_LOG_H

/* The job that this process works on, named in each line; NULL in the supervisor. */
extern void log_job(const char *job_id);

/*
 * Writes one line: control characters become spaces, and a text that holds a token or a
 * password (src/common/syntax.h) is withheld. Callers pass no conninfo.
 */
extern void log_line(const char *format,...) __attribute__((format(printf, 1, 2)));

/* The same without the program's name, for whoever has just called it. */
extern void complain(const char *format,...) __attribute__((format(printf, 1, 2)));

#endif							/* RUNNER_LOG_H */
