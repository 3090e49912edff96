/*
 * origin.h
 *		Requests that another site has made a browser send.
 */
#ifndef WALWARDEN_ORIGIN_H
#define WALWARDEN_ORIGIN_H

#include "postgres.h"

/* Fields of a request, or NULL. */
typedef struct RequestOrigin
{
	const char *method;
	const char *path;
	const char *content_type;
	const char *idempotency_key;
	const char *session;
	const char *fetch_site;		/* Sec-Fetch-Site */
	const char *origin;
	const char *own_origin;		/* as nginx knows it */
} RequestOrigin;

extern void origin_check(const RequestOrigin *request);

#endif							/* WALWARDEN_ORIGIN_H */
