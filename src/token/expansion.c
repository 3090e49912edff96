/*
 * expansion.c
 *		Refusing a call that the parser has multiplied: SELECT (f(...)).*
 *
 * The parser expands (f(...)).* into one call of f for each column. A function that
 * mints would mint as often, and the id in one column would not belong to the token in
 * the next. Such calls are copies of one node: equal, at the same place in the source,
 * run for the same row under the same snapshot, but not the same node. Two calls that
 * were written out have two places. A loop, or a set of rows, runs the same node again.
 * Each partition of a table has a copy of the node, but rows of its own. Of a function that
 * returns a set, the planner merges the copies.
 *
 * A sub-select in an argument is planned anew in each copy, so the nodes that stand for it
 * differ. Then the values of the arguments are compared in its place: a function of the
 * caller that is inlined also has calls at one place, but with values of their own.
 *
 * Invariants: a node is compared with a copy of the last one, whose plan may have gone.
 * Nothing is compared with the call of a query that has ended.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/refuse.h"
#include "token/expansion.h"

/* The last call that succeeded in this transaction, if its query still runs. */
static struct
{
	MemoryContext memory;		/* of the transaction; NULL: none yet */
	const FuncExpr *copy;		/* without sub-selects; NULL: no call */
	bool		subselects;		/* there were some: args is set */
	NullableDatum args[FUNC_MAX_ARGS];
	const FuncExpr *node;		/* may have gone */
	MemoryContext query;
	MemoryContext row;			/* the caller's, in which it evaluates one row */
	CommandId	snapshot;
}			last;

static void
expansion_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		last.memory = NULL;		/* it ends with the transaction */
		last.copy = NULL;
	}
}

void
expansion_init(void)
{
	RegisterXactCallback(expansion_xact_callback, NULL);
}

static void
forget_query(void *query)
{
	if (last.query == query)
		last.copy = NULL;
}

/* Call this once for each call site of a function that expansion_check() checks. */
void
expansion_watch(const FmgrInfo *flinfo)
{
	MemoryContextCallback *callback = MemoryContextAlloc(flinfo->fn_mcxt, sizeof(*callback));

	callback->func = forget_query;
	callback->arg = flinfo->fn_mcxt;
	MemoryContextRegisterResetCallback(flinfo->fn_mcxt, callback);
}

static CommandId
snapshot_of_statement(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot()->curcid : InvalidCommandId;
}

/* A copy in which a NULL stands for each sub-select. found: set to true if there is one. */
static Node *
without_subselects(Node *node, void *found)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC))
	{
		*(bool *) found = true;
		return (Node *) makeNullConst(exprType(node), exprTypmod(node), exprCollation(node));
	}
	return expression_tree_mutator(node, without_subselects, found);
}

/* Keep the values of the arguments of a call in the current memory context. */
static void
keep_args(FunctionCallInfo fcinfo, const FuncExpr *call)
{
	ListCell   *lc;

	foreach(lc, call->args)
	{
		int			i = foreach_current_index(lc);
		int16		typlen;
		bool		typbyval;

		last.args[i] = fcinfo->args[i];
		get_typlenbyval(exprType(lfirst(lc)), &typlen, &typbyval);
		if (!last.args[i].isnull)
			last.args[i].value = datumCopy(last.args[i].value, typbyval, typlen);
	}
}

/* Whether the values of the arguments are those of the last call, which has as many. */
static bool
same_args(FunctionCallInfo fcinfo)
{
	ListCell   *lc;

	foreach(lc, last.copy->args)
	{
		const NullableDatum *before = &last.args[foreach_current_index(lc)];
		const NullableDatum *now = &fcinfo->args[foreach_current_index(lc)];
		int16		typlen;
		bool		typbyval;

		get_typlenbyval(exprType(lfirst(lc)), &typlen, &typbyval);
		if (before->isnull != now->isnull ||
			(!now->isnull && !datum_image_eq(before->value, now->value, typbyval, typlen)))
			return false;
	}
	return true;
}

/*
 * Record a call that has succeeded, and refuse it if it is a copy of the call before.
 * The error takes both back. Call it with the memory context and the snapshot of the
 * caller. name: of the function, for the hint.
 */
void
expansion_check(FunctionCallInfo fcinfo, const char *name)
{
	const FmgrInfo *flinfo = fcinfo->flinfo;
	const FuncExpr *node = (const FuncExpr *) flinfo->fn_expr;
	CommandId	snapshot = snapshot_of_statement();
	const FuncExpr *copy;
	bool		subselects = false;
	MemoryContext context;

	if (node == NULL || !IsA(node, FuncExpr) || snapshot == InvalidCommandId)
		return;
	if (last.copy != NULL && last.snapshot == snapshot && last.node == node)
		return;
	copy = (const FuncExpr *) without_subselects((Node *) flinfo->fn_expr, &subselects);
	if (last.copy != NULL && last.snapshot == snapshot && last.row == CurrentMemoryContext &&
		last.copy->location == copy->location && last.subselects == subselects && equal(last.copy, copy) &&
		(!subselects || same_args(fcinfo)))
		refuse(ERRCODE_FEATURE_NOT_SUPPORTED,
			   psprintf("(%s(...)).* would call the function once for each column", name),
			   psprintf("Write SELECT * FROM walwarden.%s(...).", name),
			   NULL);

	last.copy = NULL;
	if (last.memory == NULL)
		last.memory = AllocSetContextCreate(TopTransactionContext, "walwarden last call", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(last.memory);
	context = MemoryContextSwitchTo(last.memory);
	copy = (const FuncExpr *) copyObjectImpl(copy);
	if (subselects)
		keep_args(fcinfo, copy);
	MemoryContextSwitchTo(context);
	last.subselects = subselects;
	last.node = node;
	last.query = flinfo->fn_mcxt;
	last.row = CurrentMemoryContext;
	last.snapshot = snapshot;
	last.copy = copy;			/* nothing can fail any more */
}
