/*
 * call.c
 *		Calling the extension's own functions by name, and working as its owner.
 *
 * Invariants: a name is looked up only in the extension's schema. The caller saves
 * the user first and restores it on every way out. While the extension works as its
 * owner, no statement or plan is printed: anybody can set debug_print_plan, and plans
 * contain rows of the tables as constants.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/call.h"

/*
 * Call a function of the schema by name, without the cost of planning a statement.
 * The result is in the current memory context. isnull: NULL if the function must
 * not return null.
 */
Datum
call_function(const char *name, int nargs, const Oid *types, const NullableDatum *args, bool *isnull)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	FmgrInfo	flinfo;
	NameData	proname;
	Oid			function;
	Datum		result = (Datum) 0;

	namestrcpy(&proname, name);
	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, NameGetDatum(&proname),
							   PointerGetDatum(buildoidvector(types, nargs)),
							   ObjectIdGetDatum(get_namespace_oid("walwarden_internal", false)));
	if (!OidIsValid(function))
		elog(ERROR, "function walwarden_internal.%s is missing", name);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*inner, &flinfo, nargs, DEFAULT_COLLATION_OID, NULL, NULL);
	if (nargs > 0)
		memcpy(inner->args, args, sizeof(NullableDatum) * nargs);
	for (int i = 0; flinfo.fn_strict && i < nargs; i++)
		inner->isnull |= args[i].isnull;
	if (!inner->isnull)
		result = FunctionCallInvoke(inner);
	if (isnull != NULL)
		*isnull = inner->isnull;
	else if (inner->isnull)
		elog(ERROR, "walwarden_internal.%s returned null", name);
	return result;
}

/* The row type that the running function returns, for as long as its call site. */
TupleDesc
call_site_row(FunctionCallInfo fcinfo)
{
	MemoryContext outer = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	TupleDesc	row;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	row = BlessTupleDesc(row);
	MemoryContextSwitchTo(outer);
	return row;
}

/* The current user. Call it before PG_TRY(), because user_restore() needs it afterwards. */
SavedUser
user_save(void)
{
	SavedUser	saved;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	saved.printing = compat_plan_printing();
	return saved;
}

/* Work as owner from now on. restriction: SECURITY_RESTRICTED_OPERATION, or 0. */
void
user_become(Oid owner, const SavedUser *saved, int restriction)
{
	const PlanPrinting none = {false};

	compat_set_plan_printing(&none);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE | restriction);
}

/* Work as the saved user again. */
void
user_restore(const SavedUser *saved)
{
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
	compat_set_plan_printing(&saved->printing);
}
