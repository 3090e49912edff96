/*
 * conninfo.h
 *		Connection strings, taken apart.
 */
#ifndef RUNNER_CONNINFO_H
#define RUNNER_CONNINFO_H

#include <libpq-fe.h>

/* The value of a keyword, or NULL if it is empty or not there. options may be NULL. */
extern const char *conninfo_value(const PQconninfoOption *options, const char *keyword);

#endif							/* RUNNER_CONNINFO_H */
