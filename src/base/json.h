/*
 * json.h
 *		JSON that a gateway puts into a setting, and the strings in it; parts of a jsonb; writing
 *		JSON.
 */
#ifndef WALWARDEN_JSON_H
#define WALWARDEN_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern Jsonb *json_setting(const char *name, const char *value);
extern char *json_string(Jsonb *value, const char *key);
extern bool json_is(const JsonbValue *value, const char *text);
extern bool json_next(JsonbIterator **it, JsonbIteratorToken wanted, JsonbValue *part);
extern void json_add_text(StringInfo object, const char *name, const char *value);
extern void json_begin(StringInfo json);
extern Datum json_end(StringInfo json);
extern void json_append_text(StringInfo json, const char *value, int len);
extern void json_append_value(StringInfo json, Oid type, Datum value);

#endif							/* WALWARDEN_JSON_H */
