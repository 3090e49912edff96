/*
 * door.c
 *		The one way from a caller without rights to the code that works with the
 *		owner's.
 *
 * Every public function that manages something is walwarden_door(), SECURITY
 * INVOKER. It notes the caller, becomes the extension's owner and calls the
 * inner function, which has the same name behind an underscore and the same
 * argument types, in schema walwarden. The inner function asks walwarden._caller()
 * and decides by the rows of walwarden.permission.
 *
 * Invariants: the caller is taken before the switch; the user, lock_timeout and
 * the stack of doors are put back on every way out; an inner function runs with the default
 * collation, whatever the arguments carry, and pins its own search_path.
 */
#include "walwarden.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* What a call site keeps of its inner function. */
typedef struct Inner
{
	FmgrInfo	flinfo;
	Oid			owner;
	NameData	door;			/* name of the public function */
	bool		changes;		/* it is VOLATILE: it changes something */
	bool		secret;			/* an argument is one: no error shows the statement */
} Inner;

typedef struct DoorFrame
{
	const char *door;
	Caller		caller;
	struct DoorFrame *outer;
} DoorFrame;

static DoorFrame *current_door = NULL;

/* Whether an error is a refusal that this extension makes: they all have a hint. */
static bool
is_refusal(const ErrorData *error)
{
	static const int codes[] = {
		ERRCODE_INVALID_PARAMETER_VALUE, ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_UNDEFINED_OBJECT,
		ERRCODE_UNIQUE_VIOLATION, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ERRCODE_LOCK_NOT_AVAILABLE
	};

	for (int i = 0; i < lengthof(codes); i++)
		if (error->sqlerrcode == codes[i])
			return error->hint != NULL && !error->hide_stmt;
	return false;
}

/*
 * Report an error of an inner function. A refusal goes out as the door's own:
 * the lines of its inner functions would only bury the hint. Everything else
 * keeps its context. Called in PG_CATCH(), with the stack of contexts that the
 * door was called with.
 */
static pg_noinline void
rethrow(MemoryContext context, bool secret)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && error->hint == NULL)
	{
		/* the server's own timeout, at a row: it says less than a user needs */
		error->message = pstrdup("could not lock a row of walwarden in time");
		error->hint = pstrdup("Try again; another transaction is changing the same organisation or token. pg_blocking_pids() tells which while you wait.");
	}
	if (secret)
	{
		error->hide_stmt = true;
		error->hide_ctx = true;
		error->context = NULL;
		if (error->hint == NULL)
			error->detail = NULL;	/* the server's own can hold a fingerprint */
		FlushErrorState();
		ReThrowError(error);
	}
	if (!is_refusal(error))
		PG_RE_THROW();
	FlushErrorState();
	error->context = NULL;
	ThrowErrorData(error);
	pg_unreachable();
}

static bool
has_argument(HeapTuple proc, const char *wanted)
{
	bool		isnull;
	Datum		names = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proargnames, &isnull);
	Datum	   *elements;
	int			n;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		if (strcmp(TextDatumGetCString(elements[i]), wanted) == 0)
			return true;
	return false;
}

/*
 * The inner function of a call site, looked up at the first call. Not inlined:
 * its locals must not live beside a PG_TRY().
 */
static pg_noinline Inner *
get_inner(FmgrInfo *flinfo)
{
	Inner	   *inner = flinfo->fn_extra;
	HeapTuple	door_tuple;
	HeapTuple	inner_tuple;
	Form_pg_proc door;
	NameData	name;

	if (inner != NULL)
		return inner;
	inner = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Inner));
	door_tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	if (!HeapTupleIsValid(door_tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	door = (Form_pg_proc) GETSTRUCT(door_tuple);
	inner->door = door->proname;
	inner->changes = door->provolatile == PROVOLATILE_VOLATILE;
	inner->secret = has_argument(door_tuple, "secret");
	/* cppcheck-suppress legacyUninitvar ; it is written here */
	snprintf(NameStr(name), NAMEDATALEN, "_%s", NameStr(door->proname));

	inner_tuple = SearchSysCache3(PROCNAMEARGSNSP, NameGetDatum(&name),
								  PointerGetDatum(&door->proargtypes),
								  ObjectIdGetDatum(get_namespace_oid("walwarden", false)));
	if (!HeapTupleIsValid(inner_tuple))
		elog(ERROR, "function %s has no inner function", NameStr(door->proname));
	inner->owner = ((Form_pg_proc) GETSTRUCT(inner_tuple))->proowner;
	fmgr_info_cxt(((Form_pg_proc) GETSTRUCT(inner_tuple))->oid, &inner->flinfo, flinfo->fn_mcxt);

	ReleaseSysCache(inner_tuple);
	ReleaseSysCache(door_tuple);
	flinfo->fn_extra = inner;
	return inner;
}

PG_FUNCTION_INFO_V1(walwarden_door);
Datum
walwarden_door(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(inner_fcinfo, FUNC_MAX_ARGS);
	Inner	   *const inner = get_inner(fcinfo->flinfo);
	DoorFrame	frame;
	Oid			save_userid;
	int			save_sec_context;
	int			save_lock_timeout = LockTimeout;
	volatile Datum result = (Datum) 0;
	MemoryContext context = CurrentMemoryContext;

	frame.door = NameStr(inner->door);
	caller_note(&frame.caller);
	frame.outer = current_door;

	InitFunctionCallInfoData(*inner_fcinfo, &inner->flinfo, PG_NARGS(), DEFAULT_COLLATION_OID,
							 fcinfo->context, fcinfo->resultinfo);
	memcpy(inner_fcinfo->args, fcinfo->args, sizeof(NullableDatum) * PG_NARGS());

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	PG_TRY();
	{
		current_door = &frame;
		LockTimeout = lock_timeout_effective();
		if (inner->changes)
			lock_forbid_prepare();
		SetUserIdAndSecContext(inner->owner, save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
		result = FunctionCallInvoke(inner_fcinfo);
	}
	PG_CATCH();
	{
		SetUserIdAndSecContext(save_userid, save_sec_context);
		LockTimeout = save_lock_timeout;
		current_door = frame.outer;
		rethrow(context, inner->secret);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	LockTimeout = save_lock_timeout;
	current_door = frame.outer;

	fcinfo->isnull = inner_fcinfo->isnull;
	return result;
}

/*
 * walwarden._caller()
 *
 * The caller of the door that is running. An inner function called by hand, by
 * the owner, has none: that is an error and not an operator.
 */
PG_FUNCTION_INFO_V1(walwarden_caller);
Datum
walwarden_caller(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};
	Caller		caller;

	if (current_door == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no walwarden function is running"),
				 errhint("Call the public function, whose name has no underscore before it.")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	caller = current_door->caller;
	caller_describe(&caller);

	values[0] = CStringGetTextDatum(current_door->door);
	values[1] = NameGetDatum(&caller.role);
	values[2] = BoolGetDatum(caller.superuser);
	values[3] = BoolGetDatum(caller.is_operator);
	nulls[4] = caller.subject == NULL;
	values[4] = nulls[4] ? (Datum) 0 : CStringGetTextDatum(caller.subject);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
