/*
 * rest.h
 *		A request of REST v1 on its way from the gateway (rest.c) through the router
 *		(router.c) to a page of a list (answer.c).
 */
#ifndef WALWARDEN_REST_H
#define WALWARDEN_REST_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "shape.h"
#include "tables.h"

typedef enum Credential
{
	CREDENTIAL_NONE,
	CREDENTIAL_BAD,
	CREDENTIAL_GOOD				/* it is the identity of the transaction now */
} Credential;

/* walwarden.rest_request, as handlers get it. */
typedef struct RestRequest
{
	Credential	credential;
	Datum		values[Natts_rest_request];
	bool		nulls[Natts_rest_request];
} RestRequest;

/* rest.c */
extern void rest_request_read(RestRequest *request);
extern char *rest_request_string(const RestRequest *request, AttrNumber field);
extern void rest_request_set(RestRequest *request, AttrNumber field, Datum value);
extern Datum rest_request_datum(RestRequest *request);
extern char *rest_new_request_id(void);
extern Datum rest_call(const char *name, int nargs, const Oid *types, const NullableDatum *args, bool *isnull);

/* answer.c: where a page begins, for a client that was given it as a cursor */
typedef struct PageKey
{
	TimestampTz at;
	char		id[UUID_TEXT_LEN + 1];	/* a uuid, or a seq in decimal */
} PageKey;

extern bool cursor_read(const char *cursor, const char *operation, const pg_uuid_t *id, PageKey *key);

#endif							/* WALWARDEN_REST_H */
