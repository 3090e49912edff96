/*
 * status_copy.h
 *		The columns of a token that its credentials have a copy of.
 */
#ifndef WALWARDEN_STATUS_COPY_H
#define WALWARDEN_STATUS_COPY_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "utils/uuid.h"

#include "base/tables.h"

typedef struct StatusCopy
{
	AttrNumber	credential;		/* column with the copy */
	AttrNumber	token;			/* column that is copied */
} StatusCopy;

#define STATUS_COPIES 9

extern const StatusCopy status_copies[STATUS_COPIES];

extern bool status_copy_is_equal(const StatusCopy *copy, TupleDesc credential, const Datum *values, const bool *nulls,
								 TupleDesc token, const Datum *token_values, const bool *token_nulls);
extern bool credential_is_of(const Row *credential, const pg_uuid_t *token_id);

#endif							/* WALWARDEN_STATUS_COPY_H */
