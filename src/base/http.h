/*
 * http.h
 *		Requests that PostgREST serves: whether this is one, and ending it.
 */
#ifndef WALWARDEN_HTTP_H
#define WALWARDEN_HTTP_H

#include "postgres.h"

#include "base/compat.h"

/* How a request ends. detail, hint and headers may be NULL; headers: members of a JSON object. */
typedef struct HttpRefusal
{
	int			status;
	const char *headers;
	const char *code;
	const char *message;
	const char *detail;
	const char *hint;
} HttpRefusal;

extern bool http_in_request(void);
pg_noreturn extern void http_refuse(const HttpRefusal *refusal);

#endif							/* WALWARDEN_HTTP_H */
