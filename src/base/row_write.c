/*
 * row_write.c
 *		Writing one row of the extension's tables from C: as INSERT, UPDATE or DELETE would,
 *		without the cost of a plan and its start.
 *
 * Triggers for each row fire, defaults, generated columns, CHECK, NOT NULL, unique and foreign
 * keys hold as they do in a statement; the same privileges are needed, and a transaction that
 * only reads fails with the same error. Triggers for each statement, transition tables and rules
 * do not take part: the extension has none for these commands.
 *
 * Duties of the caller: row_lock() before a row is updated or deleted, or a lock that every
 * writer of it needs; and to look at the row again that row_lock() found. Each call is a command of
 * its own, whose effects are visible after it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/refuse.h"
#include "base/row_write.h"
#include "base/tables.h"

/* A command on one table. */
typedef struct Command
{
	Relation	heap;
	EState	   *estate;
	ResultRelInfo *target;
	TupleTableSlot *row;		/* as it is to be */
} Command;

/* columns: those that an update sets, from which the strength of its lock follows. */
static void
command_begin(Command *command, Oid relid, CmdType type, AclMode needed, int ncolumns, const AttrNumber *columns)
{
	Bitmapset  *updated = NULL;
	AclResult	allowed;

	PreventCommandIfReadOnly(type == CMD_INSERT ? "INSERT" : type == CMD_UPDATE ? "UPDATE" : "DELETE");
	command->heap = table_open(relid, RowExclusiveLock);
	allowed = pg_class_aclcheck(relid, GetUserId(), needed);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, RelationGetRelationName(command->heap));

	for (int i = 0; type == CMD_UPDATE && i < ncolumns; i++)
		updated = bms_add_member(updated, columns[i] - FirstLowInvalidHeapAttributeNumber);
	command->estate = CreateExecutorState();
	compat_init_range_table(command->estate, command->heap, updated);
	command->target = makeNode(ResultRelInfo);
	InitResultRelInfo(command->target, command->heap, 1, NULL, 0);
	command->estate->es_opened_result_relations = list_make1(command->target);
	ExecOpenIndices(command->target, false);
	command->estate->es_output_cid = GetCurrentCommandId(true);
	PushActiveSnapshot(GetTransactionSnapshot());
	command->estate->es_snapshot = RegisterSnapshot(GetActiveSnapshot());
	command->row = ExecInitExtraTupleSlot(command->estate, RelationGetDescr(command->heap), &TTSOpsVirtual);
	AfterTriggerBeginQuery();
}

static void
command_end(Command *command)
{
	AfterTriggerEndQuery(command->estate);
	UnregisterSnapshot(command->estate->es_snapshot);
	PopActiveSnapshot();
	ExecResetTupleTable(command->estate->es_tupleTable, false);
	ExecCloseResultRelations(command->estate);
	FreeExecutorState(command->estate);
	table_close(command->heap, NoLock);
	CommandCounterIncrement();
}

/* The default of each column that is not given. */
static void
set_defaults(Command *command, int ncolumns, const AttrNumber *columns)
{
	TupleTableSlot *row = command->row;
	TupleDesc	desc = row->tts_tupleDescriptor;

	memset(row->tts_isnull, true, desc->natts);
	for (int column = 1; column <= desc->natts; column++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);
		bool		given = attribute->attisdropped || attribute->attgenerated != '\0' ||
			(!attribute->atthasdef && attribute->attidentity == '\0');
		ExprState  *value;

		for (int i = 0; i < ncolumns && !given; i++)
			given = columns[i] == column;
		if (given)
			continue;
		value = ExecPrepareExpr((Expr *) build_column_default(command->heap, (AttrNumber) column), command->estate);
		row->tts_values[column - 1] = ExecEvalExpr(value, GetPerTupleExprContext(command->estate), &row->tts_isnull[column - 1]);
	}
}

/* Put the values in their columns; the others stay as they are. */
static void
set_values(TupleTableSlot *row, int ncolumns, const AttrNumber *columns, const NullableDatum *values)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (columns[i] > row->tts_tupleDescriptor->natts)
			elog(ERROR, "column %d is missing", columns[i]);
		row->tts_values[columns[i] - 1] = values[i].value;
		row->tts_isnull[columns[i] - 1] = values[i].isnull;
	}
	ExecStoreVirtualTuple(row);
	ItemPointerSetInvalid(&row->tts_tid);
}

/* A trigger that returns NULL would have the tables differ from the chain. */
static void
require_written(const Command *command)
{
	if (!ItemPointerIsValid(&command->row->tts_tid))
		refuse(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   psprintf("a trigger keeps a row of walwarden_internal.%s from being written", RelationGetRelationName(command->heap)),
			   "Find out who created it, and drop it.",
			   NULL);
}

/*
 * Insert a row. Returns a value of it as triggers have left it, that of a column whose type is
 * passed by value and that is not null; returned: 0 for none.
 */
Datum
row_insert(const char *table, int ncolumns, const AttrNumber *columns, const NullableDatum *values, AttrNumber returned)
{
	Command		command;
	Datum		result = (Datum) 0;
	bool		isnull = false;

	command_begin(&command, walwarden_relation_oid(table), CMD_INSERT, ACL_INSERT, 0, NULL);
	set_defaults(&command, ncolumns, columns);
	set_values(command.row, ncolumns, columns, values);
	ExecSimpleRelationInsert(command.target, command.estate, command.row);
	require_written(&command);
	if (returned != 0)
		result = slot_getattr(command.row, returned, &isnull);
	if (isnull)
		elog(ERROR, "unexpected null in walwarden_internal.%s", table);
	command_end(&command);
	return result;
}

/*
 * Lock the latest version of a row, as SELECT FOR UPDATE and the like do, until the end of the
 * transaction. It takes the place of the version that was found with the active snapshot,
 * which must be the transaction's own. Returns false if the row has been deleted.
 */
bool
row_lock(Row *row, LockTupleMode mode)
{
	TupleTableSlot *slot = table_slot_create(row->heap, NULL);
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(row->heap, &row->tuple->t_self, GetActiveSnapshot(), slot, GetCurrentCommandId(false), mode, LockWaitBlock,
										  IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	bool		locked = result == TM_Ok;

	if (locked)
	{
		heap_freetuple(row->tuple);
		row->tuple = ExecCopySlotHeapTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	if (!locked && result != TM_Deleted && result != TM_SelfModified)
		elog(ERROR, "unexpected result of locking a row of walwarden_internal.%s: %d", RelationGetRelationName(row->heap), result);
	return locked;
}

/* The place of a row, as the executor asks for it. */
static TupleTableSlot *
slot_of_row(Command *command, const Row *row)
{
	TupleTableSlot *slot = table_slot_create(command->heap, &command->estate->es_tupleTable);

	ExecForceStoreHeapTuple(row->tuple, slot, false);
	slot->tts_tid = row->tuple->t_self;
	return slot;
}

/* Change columns of a row that row_lock() has locked, none of which is of a key. */
void
row_update(const Row *row, int ncolumns, const AttrNumber *columns, const NullableDatum *values)
{
	Command		command;
	EPQState	epq;

	command_begin(&command, RelationGetRelid(row->heap), CMD_UPDATE, ACL_UPDATE, ncolumns, columns);
	heap_deform_tuple(row->tuple, RelationGetDescr(command.heap), command.row->tts_values, command.row->tts_isnull);
	set_values(command.row, ncolumns, columns, values);
	compat_epq_init(&epq, command.estate);
	ExecSimpleRelationUpdate(command.target, command.estate, &epq, slot_of_row(&command, row), command.row);
	EvalPlanQualEnd(&epq);
	require_written(&command);
	command_end(&command);
}

/* Delete a row that row_lock() has locked. */
void
row_delete(const Row *row)
{
	Command		command;
	EPQState	epq;

	command_begin(&command, RelationGetRelid(row->heap), CMD_DELETE, ACL_DELETE, 0, NULL);
	compat_epq_init(&epq, command.estate);
	ExecSimpleRelationDelete(command.target, command.estate, &epq, slot_of_row(&command, row));
	EvalPlanQualEnd(&epq);
	command_end(&command);
}
