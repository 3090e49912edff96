/*
 * transition.c
 *		What an action does to the state of a token: a look-up in token_transition, which
 *		decides it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/export.h"
#include "base/refuse.h"
#include "base/tables.h"
#include "token/columns.h"

static const char *
way_out(const char *state)
{
	if (strcmp(state, "revoked") == 0)
		return "Issue a new token. A revoked token cannot be used again.";
	if (strcmp(state, "expired") == 0)
		return "Give the token a new expiry with walwarden.enable_token() first, or issue a new token.";
	if (strcmp(state, "disabled") == 0)
		return "Enable the token with walwarden.enable_token() first.";
	return "Enable its owner first, or change the plan of its organisation.";
}

/* walwarden_internal.transition(action text, state text) */
PG_FUNCTION_INFO_V1(walwarden_transition);
Datum
walwarden_transition(PG_FUNCTION_ARGS)
{
	const char *action;
	const char *state;
	ScanKeyData keys[2];
	Row			row;
	text	   *event;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "action or state is null");
	action = text_to_cstring(PG_GETARG_TEXT_PP(0));
	state = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ScanKeyInit(&keys[0], Anum_token_transition_action, BTEqualStrategyNumber, F_TEXTEQ, PG_GETARG_DATUM(0));
	ScanKeyInit(&keys[1], Anum_token_transition_from_state, BTEqualStrategyNumber, F_TEXTEQ, PG_GETARG_DATUM(1));
	if (!row_find(&row, "token_transition", "token_transition_pkey", lengthof(keys), keys, GetActiveSnapshot()))
		refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, psprintf("cannot %s a token that is %s", action, state), way_out(state), NULL);
	event = row_text(&row, Anum_token_transition_event);
	row_close(&row);
	if (event == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(event);
}
