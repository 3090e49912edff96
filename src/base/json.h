/*
 * json.h
 *		JSON that a gateway puts into a setting, and the strings in it.
 */
#ifndef WALWARDEN_JSON_H
#define WALWARDEN_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

extern Jsonb *json_setting(const char *name, const char *value);
extern char *json_string(Jsonb *value, const char *key);
extern bool json_is(const JsonbValue *value, const char *text);

#endif							/* WALWARDEN_JSON_H */
