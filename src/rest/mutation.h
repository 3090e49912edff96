/*
 * mutation.h
 *		Mutations of REST v1: each takes effect once per idempotency key.
 */
#ifndef WALWARDEN_MUTATION_H
#define WALWARDEN_MUTATION_H

#include "postgres.h"

#include "rest/request.h"

extern Datum rest_mutate(RestRequest *request, const char *handler, const char *reader, const char *schema, bool locks_org, bytea *body, bool *isnull, bool *replayed);
extern Datum rest_mutate_without_key(RestRequest *request, const char *handler, const char *schema, bytea *body, bool *isnull);

#endif							/* WALWARDEN_MUTATION_H */
