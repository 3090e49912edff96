/*
 * fail.h
 *		Ending a request of REST v1 with an error response.
 */
#ifndef WALWARDEN_FAIL_H
#define WALWARDEN_FAIL_H

#include "postgres.h"

#include "base/compat.h"

pg_noreturn extern void rest_fail(const char *reason, const char *message, const char *extra);
pg_noreturn extern void rest_fail_field(const char *reason, const char *message, const char *name, const char *next_action);
pg_noreturn extern void rest_fail_unknown_parameter(const char *name, bool is_list);

#endif							/* WALWARDEN_FAIL_H */
