/*
 * json_schema.h
 *		Validation of JSON from outside, and what else its schemas say.
 */
#ifndef WALWARDEN_JSON_SCHEMA_H
#define WALWARDEN_JSON_SCHEMA_H

#include "postgres.h"

/* A property that needs a scope of whoever sends it. */
typedef struct ScopedProperty
{
	text	   *name;
	text	   *scope;
} ScopedProperty;

extern int	json_schema_scopes(const text *schema, ScopedProperty **properties);

#endif							/* WALWARDEN_JSON_SCHEMA_H */
