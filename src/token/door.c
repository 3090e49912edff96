/*
 * door.c
 *		Doors: the only way from a caller without rights to code that runs with the
 *		rights of the owner.
 *
 * A door is a public function that checks its caller and then works as the extension's
 * owner. Every public function that manages something is a door, implemented by
 * walwarden_door() as SECURITY INVOKER. It records the caller, switches to the
 * extension's owner, and calls its inner function, which has the same name and argument
 * types in schema walwarden_internal. The inner function gets the caller from
 * walwarden_internal.caller() and checks the rows of walwarden_internal.permission.
 * A door that only a view calls is itself in walwarden_internal, where users cannot name
 * it; its name is the inner function's name followed by _door.
 *
 * Invariants: the caller is recorded before the switch. The user, lock_timeout and the
 * stack of doors are restored on every way out. An inner function runs with the default
 * collation, regardless of the arguments, and pins its own search_path.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/call.h"
#include "base/export.h"
#include "base/lock.h"
#include "base/refuse.h"
#include "base/settings.h"
#include "token/caller.h"
#include "token/door.h"
#include "token/expansion.h"

#define DOOR_SUFFIX "_door"

/* The inner function of a call site. */
typedef struct Inner
{
	FmgrInfo	flinfo;
	Oid			owner;
	NameData	door;			/* name of the public function */
	bool		changes;		/* it is VOLATILE, so it may change something */
	bool		expandable;		/* it changes something and returns columns */
	bool		secret;			/* an argument is: hide the statement */
} Inner;

typedef struct DoorFrame
{
	const char *door;
	Caller		caller;
	OuterContext outer_context; /* of the doors around this one */
	int			lock_wait;		/* around this one */
	struct DoorFrame *outer;
} DoorFrame;

static DoorFrame *current_door = NULL;

/*
 * Report an error of an inner function. Called in PG_CATCH(), with the memory context in
 * which the door was called.
 */
static pg_noinline void
rethrow(MemoryContext context, bool secret)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && error->hint == NULL)
	{
		/* a timeout of the server on a row; its message lacks a hint */
		static const char *const message = "could not lock a row of walwarden in time";
		static const char *const hint = "Try again. Another transaction is changing the same organisation or token. To find it, call pg_blocking_pids() while you wait.";

		if (!secret)
		{
			FlushErrorState();
			refuse(ERRCODE_LOCK_NOT_AVAILABLE, message, hint, error->detail);
		}
		error->message = pstrdup(message);
		error->hint = pstrdup(hint);
	}
	if (secret)
	{
		error->hide_stmt = true;
		error->hide_ctx = true;
		error->context = NULL;
		if (error->hint == NULL)
			error->detail = NULL;	/* the server's may contain a fingerprint */
		error->detail_log = NULL;	/* that of a deadlock quotes statements */
		FlushErrorState();
		ReThrowError(error);
	}
	PG_RE_THROW();
}

/* Whether a function takes a secret: an argument named secret or token, which comes before its results. */
static bool
takes_secret(HeapTuple proc)
{
	bool		isnull;
	Datum		names = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proargnames, &isnull);
	Datum	   *elements;
	int			n;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(names), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n && i < ((Form_pg_proc) GETSTRUCT(proc))->pronargs; i++)
	{
		const char *name = TextDatumGetCString(elements[i]);

		if (strcmp(name, "secret") == 0 || strcmp(name, "token") == 0)
			return true;
	}
	return false;
}

/* Turn the name of a view's door into the name of its inner function. */
static void
remove_door_suffix(NameData *name)
{
	char	   *suffix = strstr(NameStr(*name), DOOR_SUFFIX);

	if (suffix == NULL || strcmp(suffix, DOOR_SUFFIX) != 0)
		elog(ERROR, "function %s of walwarden_internal is not a door", NameStr(*name));
	memset(suffix, 0, NameStr(*name) + NAMEDATALEN - suffix);
}

/*
 * The inner function of a call site, looked up at the first call. Not inlined, because
 * its local variables must not be in a function with PG_TRY().
 */
static pg_noinline Inner *
get_inner(FmgrInfo *flinfo)
{
	Inner	   *inner = flinfo->fn_extra;
	HeapTuple	door_tuple;
	HeapTuple	inner_tuple;
	Form_pg_proc door;
	Oid			inner_schema;

	if (inner != NULL)
		return inner;
	inner = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Inner));
	door_tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	if (!HeapTupleIsValid(door_tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	door = (Form_pg_proc) GETSTRUCT(door_tuple);
	inner->door = door->proname;
	inner_schema = get_namespace_oid("walwarden_internal", false);
	if (door->pronamespace == inner_schema)
		remove_door_suffix(&inner->door);
	inner->changes = door->provolatile == PROVOLATILE_VOLATILE;
	inner->expandable = inner->changes && door->prorettype == RECORDOID;
	inner->secret = takes_secret(door_tuple);

	inner_tuple = SearchSysCache3(PROCNAMEARGSNSP, NameGetDatum(&inner->door),
								  PointerGetDatum(&door->proargtypes),
								  ObjectIdGetDatum(inner_schema));
	if (!HeapTupleIsValid(inner_tuple))
		elog(ERROR, "function %s has no inner function", NameStr(door->proname));
	inner->owner = ((Form_pg_proc) GETSTRUCT(inner_tuple))->proowner;
	fmgr_info_cxt(((Form_pg_proc) GETSTRUCT(inner_tuple))->oid, &inner->flinfo, flinfo->fn_mcxt);

	ReleaseSysCache(inner_tuple);
	ReleaseSysCache(door_tuple);
	if (inner->expandable)
		expansion_watch(flinfo);
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
	SavedUser	saved = user_save();
	volatile Datum result = (Datum) 0;
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback *save_context_stack = error_context_stack;
	const char *save_statement = debug_query_string;

	frame.door = NameStr(inner->door);
	caller_record(&frame.caller);
	frame.outer = current_door;

	InitFunctionCallInfoData(*inner_fcinfo, &inner->flinfo, PG_NARGS(), DEFAULT_COLLATION_OID,
							 fcinfo->context, fcinfo->resultinfo);
	memcpy(inner_fcinfo->args, fcinfo->args, sizeof(NullableDatum) * PG_NARGS());

	frame.outer_context = outer_context_enter();
	frame.lock_wait = lock_wait_bound(walwarden_audit_lock_timeout);
	PG_TRY();
	{
		current_door = &frame;
		if (inner->secret)
		{
			/* messages, for example on a lock wait, would quote the statement */
			error_context_stack = NULL;
			debug_query_string = NULL;
		}
		if (inner->changes)
			lock_forbid_prepare();
		user_become(inner->owner, &saved, 0);
		result = FunctionCallInvoke(inner_fcinfo);
	}
	PG_CATCH();
	{
		debug_query_string = save_statement;
		user_restore(&saved);
		lock_wait_restore(frame.lock_wait);
		current_door = frame.outer;
		outer_context_leave(frame.outer_context);
		rethrow(context, inner->secret);
	}
	PG_END_TRY();
	error_context_stack = save_context_stack;
	debug_query_string = save_statement;
	user_restore(&saved);
	lock_wait_restore(frame.lock_wait);
	current_door = frame.outer;
	outer_context_leave(frame.outer_context);
	if (inner->expandable)
		expansion_check(fcinfo, NameStr(inner->door));

	fcinfo->isnull = inner_fcinfo->isnull;
	return result;
}

/*
 * From now on, the caller of the running door is a person, whatever its role is. It ends
 * with the door; NULL ends it before. person: valid until then.
 */
void
door_act_for(const Person *person)
{
	if (current_door == NULL)
		elog(ERROR, "no door is running");
	current_door->caller.person = person;
}

/*
 * The caller of the running door, with its rights as of now. If the owner calls an inner
 * function directly, there is no caller; that is an error and does not count as an operator.
 */
void
door_caller(Caller *caller)
{
	if (current_door == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no walwarden function is running"),
				 errhint("Call the function of the same name in schema walwarden.")));
	*caller = current_door->caller;
	caller_describe(caller);
}

/* walwarden_internal.caller() */
PG_FUNCTION_INFO_V1(walwarden_caller);
Datum
walwarden_caller(PG_FUNCTION_ARGS)
{
	Caller		caller;

	door_caller(&caller);
	/* a person does not know the function that serves them */
	PG_RETURN_DATUM(caller_result(fcinfo, &caller, caller.person != NULL ? "this request" : current_door->door));
}
