/*
 * fail.c
 *		Ending a request of REST v1 with an error response.
 *
 * Such a response stays an error with SQLSTATE WW000 until the last moment, so that everything
 * done before it is rolled back. Its detail is the JSON of the response; rest_reason says
 * its status.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/call.h"
#include "base/export.h"
#include "base/json.h"
#include "rest/fail.h"

/*
 * End the request with an error response. reason: one of walwarden_internal.rest_reason.
 * extra: a JSON object with more members of the error.
 */
void
rest_fail(const char *reason, const char *message, const char *extra)
{
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('W', 'W', '0', '0', '0')),
			 errmsg_internal("%s", message),
			 errdetail_internal("{\"reason\": \"%s\"%s%s", reason, extra[1] == '}' ? "" : ", ", extra + 1)));
}

/* walwarden_internal.rest_fail(reason text, message text, extra jsonb) */
PG_FUNCTION_INFO_V1(walwarden_rest_fail);
Datum
walwarden_rest_fail(PG_FUNCTION_ARGS)
{
	Jsonb	   *extra;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		elog(ERROR, "an error response needs a reason, a message and an object");
	extra = PG_GETARG_JSONB_P(2);
	rest_fail(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)), JsonbToCString(NULL, &extra->root, VARSIZE(extra)));
}

/* The same for a field of the request. name and next_action may be NULL. */
void
rest_fail_field(const char *reason, const char *message, const char *name, const char *next_action)
{
	StringInfoData extra;

	initStringInfo(&extra);
	if (name != NULL)
		json_add_text(&extra, "field", name);
	if (next_action != NULL)
		json_add_text(&extra, "nextAction", next_action);
	appendStringInfoString(&extra, extra.len == 0 ? "{}" : "}");
	rest_fail(reason, message, extra.data);
}

/* The same for a query parameter that the operation does not have. is_list: of a list. */
void
rest_fail_unknown_parameter(const char *name, bool is_list)
{
	Oid			type = TEXTOID;
	NullableDatum given = {.value = CStringGetTextDatum(name)};

	rest_fail_field("unknown_parameter", "unknown query parameter", TextDatumGetCString(call_function("field_name", 1, &type, &given, NULL)),
					is_list ? "Use only limit, cursor and the filters of the list." : "Send the request without query parameters.");
}
