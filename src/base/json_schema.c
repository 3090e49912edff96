/*
 * json_schema.c
 *		The schemas of JSON from outside, as walwarden_internal.json_schema has them: reading
 *		and keeping them. schema_problem.c compares values with them.
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
 * Invariant: a keyword that is not known is an error of the schema, so that nothing is taken
 * for enforced that is not.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/call.h"
#include "base/columns.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/tables.h"

#define REF_PREFIX "#/components/schemas/"
#define LIMIT INT64CONST(9007199254740991)	/* 2^53-1 */

#define KEPT_MAX 200			/* schemas; the catalogue has fewer */

static const char *const type_names[] = {
	[TYPE_NULL] = "null",
	[TYPE_BOOLEAN] = "boolean",
	[TYPE_OBJECT] = "object",
	[TYPE_ARRAY] = "array",
	[TYPE_STRING] = "string",
	[TYPE_INTEGER] = "integer"
};

static const char *const format_names[] = {
	[FORMAT_ANY] = "uuid",
	[FORMAT_TIME] = "date-time",
	[FORMAT_CRON] = "cron"
};

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

/* What a schema without keywords is. */
static Schema anything = {
	.items = &anything,
	.max_items = -1,
	.max_length = -1
};

/*
 * Reading a schema.
 */

/*
 * A member of an object, and how it is read into the field at offset: into the whole struct if
 * that is left out, and not at all if the member only describes.
 */
typedef struct Keyword
{
	const char *name;
	void		(*read) (void *field, JsonbValue *value);
	size_t		offset;
} Keyword;

pg_noreturn static void
refuse_schema(const char *expected, JsonbValue *value)
{
	elog(ERROR, "JSON schema: expected %s instead of %s", expected, JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, 0));
}

static JsonbContainer *
open_object(JsonbValue *value)
{
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		refuse_schema("an object", value);
	return value->val.binary.data;
}

static JsonbContainer *
open_list(JsonbValue *value)
{
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		refuse_schema("a list", value);
	return value->val.binary.data;
}

static void
read_members(void *target, JsonbValue *object, const Keyword *keywords, int nkeywords)
{
	JsonbIterator *it = JsonbIteratorInit(open_object(object));
	JsonbValue	key;
	JsonbValue	value;

	check_stack_depth();
	while (json_next(&it, WJB_KEY, &key))
	{
		int			i = 0;

		while (i < nkeywords && !json_is(&key, keywords[i].name))
			i++;
		if (i == nkeywords)
			refuse_schema("a known keyword", &key);
		(void) JsonbIteratorNext(&it, &value, true);
		if (keywords[i].read != NULL)
			keywords[i].read((char *) target + keywords[i].offset, &value);
	}
}

/* The place of a string among names. */
static int
read_choice(JsonbValue *value, const char *const *names, int nnames)
{
	for (int i = 0; i < nnames; i++)
		if (json_is(value, names[i]))
			return i;
	refuse_schema("a known name", value);
}

static void
read_string(void *field, JsonbValue *value)
{
	JsonText   *string = field;

	if (value->type != jbvString)
		refuse_schema("a string", value);
	string->data = pnstrdup(value->val.string.val, value->val.string.len);
	string->len = value->val.string.len;
}

/* At least one string. */
static void
read_strings(void *field, JsonbValue *value)
{
	JsonTexts  *strings = field;
	JsonbContainer *list = open_list(value);
	JsonbIterator *it = JsonbIteratorInit(list);
	JsonbValue	item;

	if (JsonContainerSize(list) == 0)
		refuse_schema("strings", value);
	strings->list = palloc(sizeof(JsonText) * JsonContainerSize(list));
	while (json_next(&it, WJB_ELEM, &item))
		read_string(&strings->list[strings->n++], &item);
}

static void
read_text(void *field, JsonbValue *value)
{
	JsonText	string;

	read_string(&string, value);
	*(text **) field = cstring_to_text_with_len(string.data, string.len);
}

static void
read_number(void *field, JsonbValue *value)
{
	if (value->type != jbvNumeric)
		refuse_schema("a number", value);
	*(Numeric *) field = DatumGetNumericCopy(NumericGetDatum(value->val.numeric));
}

/* A number that counts something. */
static void
read_count(void *field, JsonbValue *value)
{
	int		   *count = field;
	Numeric		number;

	read_number(&number, value);
	*count = pg_strtoint32(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number))));
	if (*count < 0)
		refuse_schema("a count", value);
}

/* What may only be true. */
static void
read_true(void *field, JsonbValue *value)
{
	if (value->type != jbvBool || !value->val.boolean)
		refuse_schema("true", value);
	*(bool *) field = true;
}

static void
read_object(void *field, JsonbValue *value)
{
	(void) open_object(value);
	*(Jsonb **) field = JsonbValueToJsonb(value);
}

static void
read_constant(void *field, JsonbValue *value)
{
	Schema	   *schema = field;
	JsonText	string;

	schema->constant = JsonbValueToJsonb(value);
	if (value->type == jbvString)
	{
		read_string(&string, value);
		schema->constant_text = string.data;
	}
	else
		schema->constant_text = JsonbToCString(NULL, &schema->constant->root, 0);
}

static void
read_ref(void *field, JsonbValue *value)
{
	JsonText   *ref = field;

	read_string(ref, value);
	if (strncmp(ref->data, REF_PREFIX, strlen(REF_PREFIX)) != 0)
		refuse_schema(REF_PREFIX, value);
	ref->data += strlen(REF_PREFIX);
	ref->len -= strlen(REF_PREFIX);
}

static void
read_type(void *field, JsonbValue *value)
{
	Schema	   *schema = field;
	int			type = read_choice(value, type_names, lengthof(type_names));

	schema->types_text = schema->types == 0 ? type_names[type] : psprintf("%s or %s", schema->types_text, type_names[type]);
	schema->types |= 1 << type;
}

static void
read_types(void *field, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	item;

	if (value->type == jbvString)
	{
		read_type(field, value);
		return;
	}
	it = JsonbIteratorInit(open_list(value));
	while (json_next(&it, WJB_ELEM, &item))
		read_type(field, &item);
	if (((Schema *) field)->types == 0)
		refuse_schema("a type", value);
}

static void
read_format(void *field, JsonbValue *value)
{
	*(Format *) field = read_choice(value, format_names, lengthof(format_names));
}

static void read_schema(void *field, JsonbValue *value);

/* A list of names and schemas in turn; see schema_in_order(). */
static void
read_properties(void *field, JsonbValue *value)
{
	Schema	   *schema = field;
	JsonbContainer *list = open_list(value);
	JsonbIterator *it = JsonbIteratorInit(list);
	JsonbValue	item;

	schema->is_closed = true;
	schema->properties = palloc(sizeof(Property) * (JsonContainerSize(list) / 2));
	while (json_next(&it, WJB_ELEM, &item))
	{
		Property   *property = &schema->properties[schema->nproperties];

		read_string(&property->name, &item);
		for (int i = 0; i < schema->nproperties; i++)
			if (json_is(&item, schema->properties[i].name.data))
				elog(ERROR, "JSON schema: property %s is there twice", property->name.data);
		(void) JsonbIteratorNext(&it, &item, true);
		read_schema(&property->schema, &item);
		schema->nproperties++;
	}
}

static void
read_rules(void *field, JsonbValue *value)
{
	static const Keyword parts[] = {
		{"when", read_object, offsetof(Rule, when)},
		{"field", read_string, offsetof(Rule, field)},
		{"must", read_schema, offsetof(Rule, must)},
		{"nextAction", read_string, offsetof(Rule, next_action)}
	};
	Schema	   *schema = field;
	JsonbContainer *list = open_list(value);
	JsonbIterator *it = JsonbIteratorInit(list);
	JsonbValue	item;

	schema->rules = palloc(sizeof(Rule) * JsonContainerSize(list));
	while (json_next(&it, WJB_ELEM, &item))
	{
		read_members(&schema->rules[schema->nrules++], &item, parts, lengthof(parts));
		if (JsonContainerSize(item.val.binary.data) != lengthof(parts))
			refuse_schema("a rule with all its parts", &item);
	}
}

static void
read_schema(void *field, JsonbValue *value)
{
	static const Keyword keywords[] = {
		{"type", read_types},
		{"description", NULL},
		{"examples", NULL},
		{"properties", read_properties},
		{"required", read_strings, offsetof(Schema, required)},
		{"additionalProperties", NULL},
		{"minProperties", read_count, offsetof(Schema, min_properties)},
		{"x-rules", read_rules},
		{"minLength", read_count, offsetof(Schema, min_length)},
		{"maxLength", read_count, offsetof(Schema, max_length)},
		{"pattern", read_text, offsetof(Schema, pattern)},
		{"format", read_format, offsetof(Schema, format)},
		{"enum", read_strings, offsetof(Schema, values)},
		{"x-secret", read_true, offsetof(Schema, is_secret)},
		{"writeOnly", NULL},
		{"x-required-scope", read_text, offsetof(Schema, scope)},
		{"minimum", read_number, offsetof(Schema, minimum)},
		{"maximum", read_number, offsetof(Schema, maximum)},
		{"items", read_schema, offsetof(Schema, items)},
		{"minItems", read_count, offsetof(Schema, min_items)},
		{"maxItems", read_count, offsetof(Schema, max_items)},
		{"uniqueItems", read_true, offsetof(Schema, is_set)},
		{"const", read_constant},
		{"$ref", read_ref, offsetof(Schema, ref)}
	};
	Schema	   *schema = palloc(sizeof(Schema));

	*schema = anything;
	read_members(schema, value, keywords, lengthof(keywords));
	*(Schema **) field = schema;
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
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		anything.minimum = int64_to_numeric(-LIMIT);
		anything.maximum = int64_to_numeric(LIMIT);
		MemoryContextSwitchTo(old);
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
read_row(JsonText name)
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
	Oid			type = JSONOID;
	NullableDatum json = {0};
	JsonbValue	source;
	Kept	   *found;

	for (found = kept; found != NULL; found = found->next)
		if (found->key.len == key.len && memcmp(found->key.data, key.data, key.len) == 0)
			return found->schema;
	json.value = PointerGetDatum(key.data[0] == '{' ? cstring_to_text_with_len(key.data, key.len) : read_row(key));
	JsonbToJsonbValue(DatumGetJsonbP(call_function("schema_in_order", 1, &type, &json, NULL)), &source);

	/* not kept unless it was compiled without an error */
	context = AllocSetContextCreate(CurrentMemoryContext, "walwarden JSON schema", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	found = palloc(sizeof(Kept));
	read_schema(&found->schema, &source);
	found->key.data = pnstrdup(key.data, key.len);
	found->key.len = key.len;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, kept_context);
	found->next = kept;
	kept = found;
	nkept++;
	return found->schema;
}

/* Begins a call. key: as find_schema() has it. What is returned is good until the next call. */
Schema *
json_schema_get(const text *key)
{
	JsonText	text_of_key = {text_to_cstring(key), VARSIZE_ANY_EXHDR(key)};

	forget_old_schemas();
	return find_schema(text_of_key);
}

/* The schema that counts in the place of one that refers to another. */
Schema *
json_schema_target(Schema *schema)
{
	for (int i = 0; schema->ref.data != NULL; i++)
	{
		if (i > KEPT_MAX)
			elog(ERROR, "JSON schema %s refers to itself", schema->ref.data);
		if (schema->target == NULL)
			schema->target = find_schema(schema->ref);
		schema = schema->target;
	}
	return schema;
}
