/*
 * json_schema.c
 *		Validation of JSON from outside against walwarden_internal.json_schema, so that the
 *		published schemas are also the enforced ones.
 *
 * A schema is compiled when a backend first needs it, and kept under its name, or under its
 * own text if it has none. So is one that another refers to.
 *
 * - A change of the table's rows needs ALTER TABLE, because a trigger refuses it. So the
 *   relcache invalidation of the table tells every backend that what it keeps is old. The
 *   callback only increments a generation; the next call forgets all of it.
 * - Within a call nothing is forgotten. What is compiled after an invalidation goes with
 *   the rest at the next call.
 * - What the transaction itself has stored is forgotten too: it can be stored again, or
 *   rolled back.
 *
 * Invariants: a keyword that is not known is an error of the schema, so that nothing is
 * taken for enforced that is not. What comes in is always closed, whatever the schema says
 * about additional properties. No message quotes a value.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "base/call.h"
#include "base/columns.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/json_schema.h"
#include "base/tables.h"
#include "base/text.h"
#include "common/cron.h"
#include "common/syntax.h"

#define REF_PREFIX "#/components/schemas/"
/* Of an integer: 2^53-1, where nothing else is said. */
#define LIMIT INT64CONST(9007199254740991)
#define LIMIT_TEXT "9007199254740991"

#define KEPT_MAX 200			/* schemas; the catalogue has fewer */

/* The types of values, of which each value has one: 1.0 is an integer and no number. */
static const char *const type_names[] = {"null", "boolean", "object", "array", "string", "number", "integer"};

typedef enum ValueType
{
	TYPE_NULL,
	TYPE_BOOLEAN,
	TYPE_OBJECT,
	TYPE_ARRAY,
	TYPE_STRING,
	TYPE_NUMBER,
	TYPE_INTEGER
} ValueType;

static const char *const format_names[] = {"uuid", "date-time", "cron"};

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

typedef struct Required
{
	JsonText	name;
	int			property;		/* its place among the properties, or -1 */
} Required;

/* If the object contains when, then the field is there and matches must. */
typedef struct Rule
{
	Jsonb	   *when;
	JsonText	field;
	Schema	   *must;
	const char *next_action;	/* JSON */
} Rule;

/* A NULL, and a list of none, is what the schema does not say. */
struct Schema
{
	JsonText	ref;			/* the name of another one, which counts alone */
	Schema	   *target;			/* that schema, once it was needed */
	int			types;			/* bits; 0 for any */
	const char *types_text;
	Jsonb	   *constant;
	const char *constant_text;
	const char *scope;			/* that whoever sends it needs, or NULL */
	/* of an object */
	bool		is_closed;		/* has properties */
	int			nproperties;
	Property   *properties;
	int			nrequired;
	Required   *required;
	int			min_properties;
	int			nrules;
	Rule	   *rules;
	/* of an array */
	int			min_items;
	int			max_items;		/* -1 without one, also below */
	bool		is_set;
	Schema	   *items;
	/* of a string */
	bool		is_secret;
	int			min_length;
	int			max_length;
	int			nvalues;
	JsonText   *values;
	const char *values_text;
	text	   *pattern;
	Format		format;
	/* of an integer */
	Numeric		minimum;
	const char *minimum_text;
	Numeric		maximum;
	const char *maximum_text;
};

/* Of items without a schema. */
static Schema anything = {.max_items = -1, .max_length = -1};

/* A part of the text of a schema. */
typedef struct Source
{
	const char *data;
	const char *end;
} Source;

/* A schema that is kept. */
typedef struct Kept
{
	struct Kept *next;
	Schema	   *schema;
	JsonText	key;			/* its name, or its text */
} Kept;

static MemoryContext kept_context = NULL;
static Kept *kept = NULL;
static int	nkept = 0;
static uint64 kept_generation = 0;

static uint64 generation = 0;
static Oid	table_oid = InvalidOid;

/*
 * Reading the text of a schema. It is JSON, because its type is.
 */

static const char *
skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* The end of the string that begins at p. */
static const char *
skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return Min(p + 1, end);
}

/* The end of the value that begins at p. */
static const char *
skip_value(const char *p, const char *end)
{
	int			depth = 0;

	while (p < end)
	{
		if (*p == '"')
			p = skip_string(p, end);
		else if (depth == 0 && strchr(",:]} \t\n\r", *p) != NULL)
			break;
		else
		{
			depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
			p++;
			if (depth == 0 && (p[-1] == '}' || p[-1] == ']'))
				break;
			continue;
		}
		if (depth == 0)
			break;
	}
	return p;
}

static bool
begins_with(Source source, char c)
{
	return source.data < source.end && *source.data == c;
}

/* What is in an array or an object, which begins with bracket. */
static Source
inside(Source source, char bracket)
{
	Source		content = {source.data + 1, source.end - 1};

	if (!begins_with(source, bracket))
		elog(ERROR, "JSON schema: expected %c at %.*s", bracket, (int) Min(source.end - source.data, 40), source.data);
	return content;
}

/* The next value of what is left of an array; moves rest past it. False at the end. */
static bool
next_value(Source *rest, Source *value)
{
	rest->data = skip_blanks(rest->data, rest->end);
	if (begins_with(*rest, ',') || begins_with(*rest, ':'))
		rest->data = skip_blanks(rest->data + 1, rest->end);
	if (rest->data == rest->end)
		return false;
	value->data = rest->data;
	value->end = rest->data = skip_value(rest->data, rest->end);
	if (value->data == value->end)
		elog(ERROR, "JSON schema: no value at %.*s", (int) Min(rest->end - rest->data, 40), rest->data);
	return true;
}

/* The next member of what is left of an object. */
static bool
next_member(Source *rest, Source *key, Source *value)
{
	return next_value(rest, key) && next_value(rest, value);
}

static int
count_values(Source list)
{
	Source		value;
	int			n = 0;

	while (next_value(&list, &value))
		n++;
	return n;
}

static char *
copy(Source source)
{
	return pnstrdup(source.data, source.end - source.data);
}

static Jsonb *
read_jsonb(Source source)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy(source))));
}

static JsonText
read_string(Source source)
{
	Source		content = inside(source, '"');
	JsonText	string;

	if (memchr(content.data, '\\', content.end - content.data) == NULL)
	{
		string.data = copy(content);
		string.len = content.end - content.data;
	}
	else
	{
		JsonbValue	value;

		(void) JsonbExtractScalar(&read_jsonb(source)->root, &value);
		string.data = pnstrdup(value.val.string.val, value.val.string.len);
		string.len = value.val.string.len;
	}
	return string;
}

/* A number that counts something. */
static int
read_count(Source source)
{
	int			count = pg_strtoint32(copy(source));

	if (count < 0)
		elog(ERROR, "JSON schema: %d counts nothing", count);
	return count;
}

static Numeric
read_number(Source source, const char **number_text)
{
	*number_text = copy(source);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(*number_text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* A keyword that may only be true. */
static bool
read_true(Source source)
{
	if (strcmp(copy(source), "true") != 0)
		elog(ERROR, "JSON schema: expected true");
	return true;
}

static bool
same_name(JsonText a, JsonText b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* The place of a string among names, of which there are n. */
static int
read_choice(Source source, const char *const *names, int n)
{
	JsonText	string = read_string(source);

	for (int i = 0; i < n; i++)
		if (strcmp(string.data, names[i]) == 0)
			return i;
	elog(ERROR, "JSON schema: %s is not known", string.data);
}

/* A list of strings, of which there is at least one, and how a message names them. */
static JsonText *
read_strings(Source source, const char *separator, int *n, const char **all)
{
	Source		list = inside(source, '[');
	Source		value;
	JsonText   *strings = palloc(sizeof(JsonText) * Max(count_values(list), 1));
	StringInfoData joined;

	initStringInfo(&joined);
	for (*n = 0; next_value(&list, &value); (*n)++)
	{
		strings[*n] = read_string(value);
		appendStringInfo(&joined, "%s%s", *n > 0 ? separator : "", strings[*n].data);
	}
	if (*n == 0)
		elog(ERROR, "JSON schema: a list is empty");
	*all = joined.data;
	return strings;
}

static Schema *compile(Source source);

/*
 * The keywords.
 */

static void
read_ref(Schema *schema, Source value)
{
	schema->ref = read_string(value);
	if (strncmp(schema->ref.data, REF_PREFIX, strlen(REF_PREFIX)) != 0)
		elog(ERROR, "JSON schema: %s does not begin with %s", schema->ref.data, REF_PREFIX);
	schema->ref.data += strlen(REF_PREFIX);
	schema->ref.len -= strlen(REF_PREFIX);
}

static void
read_type(Schema *schema, Source value)
{
	Source		list = {value.data, value.end};
	StringInfoData joined;

	if (begins_with(value, '['))
		list = inside(value, '[');
	initStringInfo(&joined);
	while (next_value(&list, &value))
	{
		int			type = read_choice(value, type_names, lengthof(type_names));

		appendStringInfo(&joined, "%s%s", schema->types != 0 ? " or " : "", type_names[type]);
		schema->types |= 1 << type;
	}
	if (schema->types == 0)
		elog(ERROR, "JSON schema: no type");
	schema->types_text = joined.data;
}

static void
read_const(Schema *schema, Source value)
{
	schema->constant = read_jsonb(value);
	schema->constant_text = begins_with(value, '"') ? read_string(value).data : copy(value);
}

static void
read_scope(Schema *schema, Source value)
{
	schema->scope = read_string(value).data;
}

static void
read_properties(Schema *schema, Source value)
{
	Source		members = inside(value, '{');
	Source		key;

	schema->is_closed = true;
	schema->properties = palloc(sizeof(Property) * Max(count_values(members) / 2, 1));
	while (next_member(&members, &key, &value))
	{
		Property   *property = &schema->properties[schema->nproperties];

		property->name = read_string(key);
		property->schema = compile(value);
		for (int i = 0; i < schema->nproperties; i++)
			if (same_name(schema->properties[i].name, property->name))
				elog(ERROR, "JSON schema: property %s is there twice", property->name.data);
		schema->nproperties++;
	}
}

static void
read_required(Schema *schema, Source value)
{
	const char *all;
	JsonText   *names = read_strings(value, ", ", &schema->nrequired, &all);

	schema->required = palloc(sizeof(Required) * schema->nrequired);
	for (int i = 0; i < schema->nrequired; i++)
		schema->required[i].name = names[i];
}

static void
read_min_properties(Schema *schema, Source value)
{
	schema->min_properties = read_count(value);
}

static void
read_rule(Rule *rule, Source source)
{
	Source		members = inside(source, '{');
	Source		key;
	Source		value;

	memset(rule, 0, sizeof(Rule));
	while (next_member(&members, &key, &value))
	{
		static const char *const parts[] = {"when", "field", "must", "nextAction"};

		switch (read_choice(key, parts, lengthof(parts)))
		{
			case 0:
				rule->when = read_jsonb(value);
				break;
			case 1:
				rule->field = read_string(value);
				break;
			case 2:
				rule->must = compile(value);
				break;
			case 3:
				rule->next_action = copy(value);
				break;
		}
	}
	if (rule->when == NULL || !JB_ROOT_IS_OBJECT(rule->when) || rule->field.data == NULL || rule->must == NULL || rule->next_action == NULL)
		elog(ERROR, "JSON schema: a rule is not complete");
}

static void
read_rules(Schema *schema, Source value)
{
	Source		list = inside(value, '[');

	schema->rules = palloc(sizeof(Rule) * Max(count_values(list), 1));
	while (next_value(&list, &value))
		read_rule(&schema->rules[schema->nrules++], value);
}

static void
read_min_items(Schema *schema, Source value)
{
	schema->min_items = read_count(value);
}

static void
read_max_items(Schema *schema, Source value)
{
	schema->max_items = read_count(value);
}

static void
read_unique_items(Schema *schema, Source value)
{
	schema->is_set = read_true(value);
}

static void
read_items(Schema *schema, Source value)
{
	schema->items = compile(value);
}

static void
read_secret(Schema *schema, Source value)
{
	schema->is_secret = read_true(value);
}

static void
read_min_length(Schema *schema, Source value)
{
	schema->min_length = read_count(value);
}

static void
read_max_length(Schema *schema, Source value)
{
	schema->max_length = read_count(value);
}

static void
read_enum(Schema *schema, Source value)
{
	schema->values = read_strings(value, ", ", &schema->nvalues, &schema->values_text);
}

static void
read_pattern(Schema *schema, Source value)
{
	schema->pattern = cstring_to_text(read_string(value).data);
}

static void
read_format(Schema *schema, Source value)
{
	schema->format = read_choice(value, format_names, lengthof(format_names));
}

static void
read_minimum(Schema *schema, Source value)
{
	schema->minimum = read_number(value, &schema->minimum_text);
}

static void
read_maximum(Schema *schema, Source value)
{
	schema->maximum = read_number(value, &schema->maximum_text);
}

/* What only describes a value. */
static void
read_nothing(Schema *schema, Source value)
{
}

static const struct
{
	const char *name;
	void		(*read) (Schema *schema, Source value);
}			keywords[] = {
	{"type", read_type},
	{"description", read_nothing},
	{"examples", read_nothing},
	{"properties", read_properties},
	{"required", read_required},
	{"additionalProperties", read_nothing},
	{"minProperties", read_min_properties},
	{"x-rules", read_rules},
	{"minLength", read_min_length},
	{"maxLength", read_max_length},
	{"pattern", read_pattern},
	{"format", read_format},
	{"enum", read_enum},
	{"x-secret", read_secret},
	{"writeOnly", read_nothing},
	{"x-required-scope", read_scope},
	{"minimum", read_minimum},
	{"maximum", read_maximum},
	{"items", read_items},
	{"minItems", read_min_items},
	{"maxItems", read_max_items},
	{"uniqueItems", read_unique_items},
	{"const", read_const},
	{"$ref", read_ref}
};

static Schema *
compile(Source source)
{
	Schema	   *schema = palloc(sizeof(Schema));
	Source		members = inside(source, '{');
	Source		key;
	Source		value;

	check_stack_depth();
	*schema = anything;
	while (next_member(&members, &key, &value))
	{
		JsonText	name = read_string(key);
		int			i = 0;

		while (i < lengthof(keywords) && strcmp(keywords[i].name, name.data) != 0)
			i++;
		if (i == lengthof(keywords))
			elog(ERROR, "JSON schema: keyword %s is not known", name.data);
		keywords[i].read(schema, value);
	}
	for (int i = 0; i < schema->nrequired; i++)
	{
		Required   *required = &schema->required[i];

		required->property = schema->nproperties - 1;
		while (required->property >= 0 && !same_name(schema->properties[required->property].name, required->name))
			required->property--;
	}
	return schema;
}

/*
 * Schemas that are kept.
 */

static void
table_has_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == table_oid)
		generation++;
}

static void
forget_old_schemas(void)
{
	if (kept_context == NULL)
	{
		kept_context = AllocSetContextCreate(TopMemoryContext, "walwarden JSON schemas", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(table_has_changed, (Datum) 0);
	}
	AcceptInvalidationMessages();
	if (kept_generation == generation && nkept < KEPT_MAX)
		return;
	kept = NULL;
	nkept = 0;
	MemoryContextReset(kept_context);
	kept_generation = generation;
}

/* The text of a schema of this name. */
static text *
read_schema(JsonText name)
{
	Snapshot	snapshot;
	Row			row;
	text	   *schema = NULL;

	table_oid = walwarden_relation_oid("json_schema");
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (row_find_text(&row, "json_schema", "json_schema_pkey", Anum_json_schema_name, cstring_to_text_with_len(name.data, name.len), snapshot))
	{
		schema = row_text(&row, Anum_json_schema_schema);
		if (TransactionIdIsCurrentTransactionId(row_xmin(&row)))
			generation++;
	}
	row_close(&row);
	UnregisterSnapshot(snapshot);
	if (schema == NULL)
		elog(ERROR, "JSON schema %s is missing", name.data);
	return schema;
}

/* key: the name of a schema, or a schema, which begins with a brace. */
static Schema *
find_schema(JsonText key)
{
	MemoryContext context;
	MemoryContext old;
	text	   *read = NULL;
	Source		source;
	Kept	   *found;

	for (found = kept; found != NULL; found = found->next)
		if (same_name(found->key, key))
			return found->schema;
	if (key.data[0] != '{')
		read = read_schema(key);
	source.data = read == NULL ? key.data : VARDATA_ANY(read);
	source.end = source.data + (read == NULL ? key.len : VARSIZE_ANY_EXHDR(read));
	source.data = skip_blanks(source.data, source.end);
	while (source.end > source.data && skip_blanks(source.end - 1, source.end) == source.end)
		source.end--;

	/* not kept unless it was compiled without an error */
	context = AllocSetContextCreate(CurrentMemoryContext, "walwarden JSON schema", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	found = palloc(sizeof(Kept));
	found->schema = compile(source);
	found->key.data = pnstrdup(key.data, key.len);
	found->key.len = key.len;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, kept_context);
	found->next = kept;
	kept = found;
	nkept++;
	return found->schema;
}

/* Begins a call. schema: as find_schema() has it. */
static Schema *
get_schema(const text *schema)
{
	JsonText	key = {text_to_cstring(schema), VARSIZE_ANY_EXHDR(schema)};

	forget_old_schemas();
	return find_schema(key);
}

/* How many properties need a scope, and which, in their order. schema: its name. */
int
json_schema_scopes(const text *schema, ScopedProperty **properties)
{
	const Schema *read = get_schema(schema);
	int			n = 0;

	*properties = palloc(sizeof(ScopedProperty) * Max(read->nproperties, 1));
	for (int i = 0; i < read->nproperties; i++)
	{
		const Property *property = &read->properties[i];

		if (property->schema->scope == NULL)
			continue;
		(*properties)[n].name = cstring_to_text_with_len(property->name.data, property->name.len);
		(*properties)[n++].scope = cstring_to_text(property->schema->scope);
	}
	return n;
}

/*
 * Validation.
 */

/* Where a value is. */
typedef struct Path
{
	const struct Path *around;	/* NULL: key is the name of the whole */
	JsonText	key;			/* of a member, or .data is NULL */
	int			index;			/* of an item */
} Path;

/* The first violation that was found. */
typedef struct Problem
{
	const char *field;
	const char *reason;			/* one of rest_reason */
	const char *message;
	const char *next_action;	/* JSON, or NULL */
} Problem;

static void
append_path(StringInfo out, const Path *at)
{
	if (at->around != NULL)
		append_path(out, at->around);
	if (at->key.data == NULL)
		appendStringInfo(out, "[%d]", at->index);
	else
		appendStringInfo(out, "%s%s", at->around != NULL && out->len > 0 ? "." : "", at->key.data);
}

static char *
path_text(const Path *at)
{
	StringInfoData out;

	initStringInfo(&out);
	append_path(&out, at);
	return out.data;
}

/* False, after saying why. message is an end of a sentence that begins with the field. */
static bool
reject_field(Problem *problem, const char *field, const char *reason, const char *message)
{
	problem->field = field[0] == '\0' ? "body" : field;
	problem->reason = reason;
	problem->message = psprintf("%s %s", field[0] == '\0' ? "the body" : field, message);
	problem->next_action = NULL;
	return false;
}

static bool
reject(Problem *problem, const Path *at, const char *reason, const char *message)
{
	return reject_field(problem, path_text(at), reason, message);
}

static bool
reject_missing(Problem *problem, const Path *at, JsonText name)
{
	Path		there = {at, name};

	return reject(problem, &there, "missing", "is missing");
}

/* max: -1 for no limit. */
static bool
reject_size(Problem *problem, const Path *at, int min, int max, const char *what)
{
	return reject(problem, at, "out_of_range", psprintf("does not have %d to %s %s", min, max < 0 ? "" : psprintf("%d", max), what));
}

/* The name of a field from outside must be made fit for a response. */
static bool
reject_unknown(Problem *problem, const Path *at, const JsonbValue *key)
{
	Path		there = {at, {pnstrdup(key->val.string.val, key->val.string.len), key->val.string.len}};
	Oid			type = TEXTOID;
	NullableDatum given = {.value = CStringGetTextDatum(path_text(&there))};
	char	   *field = TextDatumGetCString(call_function("field_name", 1, &type, &given, NULL));

	return reject_field(problem, field, "unknown_field", "is not a known field");
}

static bool fits(Schema *schema, JsonbValue *value, const Path *at, Problem *problem);

static ValueType
type_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return TYPE_NULL;
		case jbvBool:
			return TYPE_BOOLEAN;
		case jbvString:
			return TYPE_STRING;
		case jbvNumeric:
			{
				Datum		number = NumericGetDatum(value->val.numeric);
				Datum		whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));

				return DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)) ? TYPE_INTEGER : TYPE_NUMBER;
			}
		case jbvBinary:
			return JsonContainerIsObject(value->val.binary.data) ? TYPE_OBJECT : TYPE_ARRAY;
		default:
			elog(ERROR, "unexpected type of a JSON value: %d", (int) value->type);
	}
}

static JsonbValue *
member(JsonbContainer *object, JsonText key, JsonbValue *found)
{
	return getKeyJsonValueFromContainer(object, key.data, key.len, found);
}

/* Rejects the first member that the schema does not name. */
static bool
reject_first_unknown(const Schema *schema, JsonbContainer *object, const Path *at, Problem *problem)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		JsonText	name = {key.val.string.val, key.val.string.len};
		int			i = 0;

		if (token != WJB_KEY)
			continue;
		while (i < schema->nproperties && !same_name(schema->properties[i].name, name))
			i++;
		if (i == schema->nproperties)
			return reject_unknown(problem, at, &key);
	}
	elog(ERROR, "no unknown member was found");
}

static bool
rule_fits(const Rule *rule, JsonbValue *value, const Path *at, Problem *problem)
{
	Path		there = {at, rule->field};
	JsonbValue	found;

	if (!DatumGetBool(DirectFunctionCall2(jsonb_contains, JsonbPGetDatum(JsonbValueToJsonb(value)), JsonbPGetDatum(rule->when))))
		return true;
	if (member(value->val.binary.data, rule->field, &found) == NULL)
		reject_missing(problem, at, rule->field);
	else if (fits(rule->must, &found, &there, problem))
		return true;
	problem->next_action = rule->next_action;
	return false;
}

static bool
object_fits(const Schema *schema, JsonbValue *value, const Path *at, Problem *problem)
{
	JsonbContainer *object = value->val.binary.data;
	JsonbValue *members = palloc(sizeof(JsonbValue) * Max(schema->nproperties, 1));
	bool	   *is_there = palloc(Max(schema->nproperties, 1));
	int			nknown = 0;

	for (int i = 0; i < schema->nproperties; i++)
	{
		is_there[i] = member(object, schema->properties[i].name, &members[i]) != NULL;
		nknown += is_there[i];
	}
	if (schema->is_closed && nknown < JsonContainerSize(object))
		return reject_first_unknown(schema, object, at, problem);
	for (int i = 0; i < schema->nrequired; i++)
	{
		const Required *required = &schema->required[i];
		JsonbValue	found;

		if (!(required->property >= 0 ? is_there[required->property] : member(object, required->name, &found) != NULL))
			return reject_missing(problem, at, required->name);
	}
	if (JsonContainerSize(object) < schema->min_properties)
		return reject(problem, at, "empty", "has no fields");
	for (int i = 0; i < schema->nproperties; i++)
	{
		Path		there = {at, schema->properties[i].name};

		if (is_there[i] && !fits(schema->properties[i].schema, &members[i], &there, problem))
			return false;
	}
	for (int i = 0; i < schema->nrules; i++)
		if (!rule_fits(&schema->rules[i], value, at, problem))
			return false;
	if (!schema->is_closed)
	{
		const char *whole = JsonbToCString(NULL, object, value->val.binary.len);

		if (text_holds_secret(whole, strlen(whole)))
			return reject(problem, at, "secret", "contains a token or a password; treat it as disclosed");
	}
	return true;
}

static int
compare_items(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return compareJsonbContainers(&(*(Jsonb *const *) a)->root, &(*(Jsonb *const *) b)->root);
}

/* Whether an array has the same item twice. */
static bool
has_twice(JsonbContainer *array)
{
	int			n = 0;
	Jsonb	  **items = palloc(sizeof(Jsonb *) * Max(JsonContainerSize(array), 1));
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue	item;

	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			items[n++] = JsonbValueToJsonb(&item);
	qsort(items, n, sizeof(Jsonb *), compare_items);
	for (int i = 1; i < n; i++)
		if (compare_items(&items[i - 1], &items[i]) == 0)
			return true;
	return false;
}

static bool
array_fits(const Schema *schema, JsonbContainer *array, const Path *at, Problem *problem)
{
	int			n = JsonContainerSize(array);
	Path		there = {at};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (n < schema->min_items || (schema->max_items >= 0 && n > schema->max_items))
		return reject_size(problem, at, schema->min_items, schema->max_items, "items");
	if (schema->is_set && has_twice(array))
		return reject(problem, at, "duplicate", "contains the same item twice");
	it = JsonbIteratorInit(array);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (!fits(schema->items != NULL ? schema->items : &anything, &item, &there, problem))
			return false;
		there.index++;
	}
	return true;
}

static bool
is_printable_ascii(JsonText content)
{
	for (int i = 0; i < content.len; i++)
		if (content.data[i] < ' ' || content.data[i] > '~')
			return false;
	return true;
}

/* Whether a text has a character that leaves a mark. */
static bool
is_visible(JsonText content, bool is_ascii)
{
	if (!is_ascii)
		return text_has_character(cstring_to_text_with_len(content.data, content.len), VISIBLE_CHARACTER);
	for (int i = 0; i < content.len; i++)
		if (content.data[i] != ' ')
			return true;
	return false;
}

static bool
format_fits(const Schema *schema, JsonText content, const Path *at, Problem *problem)
{
	CronSchedule schedule;

	switch (schema->format)
	{
		case FORMAT_ANY:
			return true;
		case FORMAT_TIME:
			return time_is_well_formed(content.data, content.len) ||
				reject(problem, at, "malformed", "is not a UTC time like 2026-11-21T17:33:20Z");
		case FORMAT_CRON:
			return cron_parse(content.data, content.len, &schedule) ||
				reject(problem, at, "malformed", "is not a five-field cron expression with a possible date");
	}
	pg_unreachable();
}

static bool
string_fits(const Schema *schema, JsonText content, const Path *at, Problem *problem)
{
	int			length = pg_mbstrlen_with_len(content.data, content.len);
	bool		is_too_long = schema->max_length >= 0 && length > schema->max_length;
	bool		is_ascii = is_printable_ascii(content);

	if (schema->is_secret)
		return !is_too_long || reject_size(problem, at, 0, schema->max_length, "characters");
	if (!is_ascii)
	{
		text	   *whole = cstring_to_text_with_len(content.data, content.len);

		if (text_has_character(whole, CONTROL_CHARACTER))
			return reject(problem, at, "malformed", "contains a control character");
		if (text_has_character(whole, HIDDEN_CHARACTER))
			return reject(problem, at, "malformed", "contains an invisible character");
	}
	if (text_holds_secret(content.data, content.len))
		return reject(problem, at, "secret", "contains a token or a password; treat it as disclosed");
	if (is_too_long || length < schema->min_length || (schema->min_length > 0 && !is_visible(content, is_ascii)))
		return reject_size(problem, at, schema->min_length, schema->max_length, "characters");
	if (schema->nvalues > 0)
	{
		int			i = 0;

		while (i < schema->nvalues && !same_name(schema->values[i], content))
			i++;
		if (i == schema->nvalues)
			return reject(problem, at, "unknown_value", psprintf("is not one of: %s", schema->values_text));
	}
	if (schema->pattern != NULL && !text_matches(cstring_to_text_with_len(content.data, content.len), schema->pattern))
		return reject(problem, at, "malformed", psprintf("does not match %s", text_to_cstring(schema->pattern)));
	return format_fits(schema, content, at, problem);
}

static bool
is_less(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(a), NumericGetDatum(b)));
}

static bool
integer_fits(const Schema *schema, Numeric number, const Path *at, Problem *problem)
{
	if ((schema->minimum == NULL || !is_less(number, schema->minimum)) &&
		!is_less(schema->maximum != NULL ? schema->maximum : int64_to_numeric(LIMIT), number))
		return true;
	return reject(problem, at, "out_of_range",
				  psprintf("is not between %s and %s",
						   schema->minimum != NULL ? schema->minimum_text : "-" LIMIT_TEXT,
						   schema->maximum != NULL ? schema->maximum_text : LIMIT_TEXT));
}

/* Whether value matches schema. Otherwise problem receives the first violation. */
static bool
fits(Schema *schema, JsonbValue *value, const Path *at, Problem *problem)
{
	ValueType	type;

	check_stack_depth();
	for (int i = 0; schema->ref.data != NULL; i++)
	{
		if (i > KEPT_MAX)
			elog(ERROR, "JSON schema %s refers to itself", schema->ref.data);
		if (schema->target == NULL)
			schema->target = find_schema(schema->ref);
		schema = schema->target;
	}
	type = type_of(value);
	if (schema->types != 0 && (schema->types & 1 << type) == 0)
		return reject(problem, at, "wrong_type", psprintf("is not of type %s", schema->types_text));
	if (schema->constant != NULL && compareJsonbContainers(&JsonbValueToJsonb(value)->root, &schema->constant->root) != 0)
		return reject(problem, at, "unknown_value", psprintf("must be %s", schema->constant_text));
	switch (type)
	{
		case TYPE_OBJECT:
			return object_fits(schema, value, at, problem);
		case TYPE_ARRAY:
			return array_fits(schema, value->val.binary.data, at, problem);
		case TYPE_STRING:
			return string_fits(schema, (JsonText) {value->val.string.val, value->val.string.len}, at, problem);
		case TYPE_INTEGER:
			return integer_fits(schema, value->val.numeric, at, problem);
		default:
			return true;		/* has nothing but its type to check */
	}
}

/* {field, reason, message}, for a rule with its nextAction too. */
static Datum
problem_jsonb(const Problem *problem)
{
	const char *const members[][2] = {{"field", problem->field}, {"reason", problem->reason}, {"message", problem->message}};
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < lengthof(members); i++)
	{
		appendStringInfo(&out, "%s\"%s\": ", i == 0 ? "{" : ", ", members[i][0]);
		escape_json(&out, members[i][1]);
	}
	if (problem->next_action != NULL)
		appendStringInfo(&out, ", \"nextAction\": %s", problem->next_action);
	appendStringInfoChar(&out, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* walwarden_internal.schema_problem(schema text, value jsonb, field text) */
PG_FUNCTION_INFO_V1(walwarden_schema_problem);
Datum
walwarden_schema_problem(PG_FUNCTION_ARGS)
{
	text	   *schema;
	Jsonb	   *json;
	JsonbValue	value;
	Path		whole = {NULL};
	Problem		problem;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "a schema and a value are needed");
	schema = PG_GETARG_TEXT_PP(0);
	json = PG_GETARG_JSONB_P(1);
	whole.key.data = PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!JsonbExtractScalar(&json->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &json->root;
		value.val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
	if (fits(get_schema(schema), &value, &whole, &problem))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(problem_jsonb(&problem));
}
