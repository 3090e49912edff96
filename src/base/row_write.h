/*
 * row_write.h
 *		Writing rows of the extension's tables from C.
 */
#ifndef WALWARDEN_ROW_WRITE_H
#define WALWARDEN_ROW_WRITE_H

#include "postgres.h"

#include "nodes/lockoptions.h"

#include "base/tables.h"

extern Datum row_insert(const char *table, int ncolumns, const AttrNumber *columns, const NullableDatum *values, AttrNumber returned);
extern bool row_lock(Row *row, LockTupleMode mode);
extern void row_update(const Row *row, int ncolumns, const AttrNumber *columns, const NullableDatum *values);
extern void row_delete(const Row *row);

#endif							/* WALWARDEN_ROW_WRITE_H */
