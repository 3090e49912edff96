/*
 * tables.h
 *		Reading the extension's tables from C. The column numbers are in the columns.h
 *		of the wing that reads the table.
 */
#ifndef WALWARDEN_TABLES_H
#define WALWARDEN_TABLES_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup.h"
#include "access/skey.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* A row of a table. The table stays open until row_close(). */
typedef struct Row
{
	Relation	heap;
	HeapTuple	tuple;			/* a copy, or NULL if not found */
} Row;

extern Oid	walwarden_relation_oid(const char *name);
extern Relation walwarden_table_open(const char *name);
extern Relation walwarden_index_open(const char *name);
extern SysScanDesc walwarden_scan_begin(Relation heap, const char *index, AttrNumber null_column, Snapshot snapshot, int nkeys, ScanKey keys);
extern void walwarden_check_type(TupleDesc desc, const Oid *types, int ntypes);

extern bool row_find(Row *row, const char *table, const char *index, int nkeys, ScanKey keys, Snapshot snapshot);
extern bool row_find_text(Row *row, const char *table, const char *index, AttrNumber column, const text *key, Snapshot snapshot);
extern bool row_find_uuid(Row *row, const char *table, const char *index, AttrNumber column, const pg_uuid_t *key, Snapshot snapshot);
extern void row_of_value(Row *row, const char *table, HeapTupleHeader value);
extern void row_close(Row *row);
extern TransactionId row_xmin(const Row *row);
extern Datum row_get(const Row *row, AttrNumber column, bool *isnull);
extern bool row_has(const Row *row, AttrNumber column);
extern pg_uuid_t row_uuid(const Row *row, AttrNumber column);
extern text *row_text(const Row *row, AttrNumber column);
extern bool row_text_is(const Row *row, AttrNumber column, const char *value, size_t len);

#endif							/* WALWARDEN_TABLES_H */
