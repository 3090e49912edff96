/*
 * json_schema.h
 *		The schemas of JSON from outside, compiled.
 */
#ifndef WALWARDEN_JSON_SCHEMA_H
#define WALWARDEN_JSON_SCHEMA_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

/* The types of values, of which each value has one: 1.0 is an integer. */
typedef enum ValueType
{
	TYPE_NULL,
	TYPE_BOOLEAN,
	TYPE_OBJECT,
	TYPE_ARRAY,
	TYPE_STRING,
	TYPE_INTEGER,
	TYPE_FRACTION				/* which no schema allows by name */
} ValueType;

typedef enum Format
{
	FORMAT_ANY,					/* uuid: another id is a missing resource */
	FORMAT_TIME,
	FORMAT_CRON
} Format;

typedef struct JsonText
{
	const char *data;			/* terminated, too */
	int			len;
} JsonText;

typedef struct Schema Schema;

typedef struct Property
{
	JsonText	name;
	Schema	   *schema;
} Property;

/* If the object contains when, then the field is there and matches must. */
typedef struct Rule
{
	Jsonb	   *when;
	JsonText	field;
	Schema	   *must;
	JsonText	next_action;
} Rule;

typedef struct JsonTexts
{
	int			n;
	JsonText   *list;
} JsonTexts;

/* What the schema does not say is NULL, none, or -1 for an upper limit. */
struct Schema
{
	JsonText	ref;			/* the name of another one, which counts alone */
	Schema	   *target;			/* that schema, once it was needed */
	int			types;			/* bits; 0 for any */
	const char *types_text;
	Jsonb	   *constant;
	const char *constant_text;
	text	   *scope;			/* that whoever sends it needs */
	/* of an object */
	bool		is_closed;		/* has properties */
	int			nproperties;
	Property   *properties;
	JsonTexts	required;
	int			min_properties;
	int			nrules;
	Rule	   *rules;
	/* of an array */
	int			min_items;
	int			max_items;
	bool		is_set;
	Schema	   *items;			/* always there, as minimum and maximum are */
	/* of a string */
	bool		is_secret;
	int			min_length;
	int			max_length;
	JsonTexts	values;
	text	   *pattern;
	Format		format;
	/* of an integer */
	Numeric		minimum;
	Numeric		maximum;
};

extern Schema *json_schema_get(const text *key);
extern Schema *json_schema_target(Schema *schema);

#endif							/* WALWARDEN_JSON_SCHEMA_H */
