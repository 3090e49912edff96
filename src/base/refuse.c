/*
 * refuse.c
 *		The only way to reject a call, from C and from SQL.
 *
 * A refusal is a response to the caller of a public function. The server would add the
 * lines of inner functions as context and so bury the hint. They are left out; the
 * caller's own lines stay. Every other error keeps its whole context.
 *
 * Invariant: between outer_context_enter() and outer_context_leave() the saved stack
 * belongs to frames that are still active.
 */
#include "base/refuse.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/call.h"
#include "base/export.h"

/* Marks an error as a refusal. There are no translations in it. */
#define REFUSAL_DOMAIN "walwarden refusal"

static OuterContext outer = {false, NULL};

/*
 * From now on, refusals show only the current context. Of nested calls, the outermost
 * counts. The caller passes the result to outer_context_leave() on every way out.
 */
OuterContext
outer_context_enter(void)
{
	OuterContext previous = outer;

	if (!outer.known)
	{
		outer.known = true;
		outer.stack = error_context_stack;
	}
	return previous;
}

/* Undo outer_context_enter(). */
void
outer_context_leave(OuterContext previous)
{
	outer = previous;
}

/* detail may be NULL; message and hint may not. */
void
refuse(int sqlstate, const char *message, const char *hint, const char *detail)
{
	if (outer.known)
		error_context_stack = outer.stack;
	ereport_domain(ERROR, REFUSAL_DOMAIN,
				   (errcode(sqlstate),
					errmsg_internal("%s", message),
					detail == NULL ? 0 : errdetail_internal("%s", detail),
					errhint("%s", hint)));
}

/* A text from a caller, or NULL, as messages show it. */
char *
refuse_shown(const text *value)
{
	const Oid	type = TEXTOID;
	const NullableDatum arg = {PointerGetDatum(value), value == NULL};

	return TextDatumGetCString(call_function("shown", 1, &type, &arg, NULL));
}

/* Whether an error is a refusal, whose message is meant for the caller. */
bool
refuse_is_refusal(const ErrorData *error)
{
	return error->domain != NULL && strcmp(error->domain, REFUSAL_DOMAIN) == 0;
}

/*
 * walwarden_internal.refuse(state text, message text, hint text, detail text)
 */
PG_FUNCTION_INFO_V1(walwarden_refuse);
Datum
walwarden_refuse(PG_FUNCTION_ARGS)
{
	char	   *state;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		elog(ERROR, "a refusal needs an SQLSTATE, a message and a hint");
	state = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (strlen(state) != 5)
		elog(ERROR, "\"%s\" is not an SQLSTATE", state);
	refuse(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]),
		   text_to_cstring(PG_GETARG_TEXT_PP(1)),
		   text_to_cstring(PG_GETARG_TEXT_PP(2)),
		   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_VOID();
}
