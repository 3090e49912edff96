/*
 * refuse.h
 *		Rejecting a call: an error with an SQLSTATE, a message and a hint, without the
 *		context of inner functions.
 */
#ifndef WALWARDEN_REFUSE_H
#define WALWARDEN_REFUSE_H

#include "postgres.h"

#include "base/compat.h"

/* The error context at the start of the outermost call of a public function. */
typedef struct OuterContext
{
	bool		known;
	ErrorContextCallback *stack;
} OuterContext;

extern OuterContext outer_context_enter(void);
extern void outer_context_leave(OuterContext previous);

extern char *refuse_shown(const text *value);
extern bool refuse_is_refusal(const ErrorData *error);
pg_noreturn extern void refuse(int sqlstate, const char *message, const char *hint, const char *detail);

#endif							/* WALWARDEN_REFUSE_H */
