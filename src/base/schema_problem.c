/*
 * schema_problem.c
 *		Validation of JSON from outside against walwarden_internal.json_schema, so that the
 *		published schemas are also the enforced ones.
 *
 * Invariants: what comes in is always closed, whatever the schema says about additional
 * properties. No message quotes a value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/export.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/text.h"
#include "common/cron.h"
#include "common/syntax.h"

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
	const char *next_action;	/* or NULL */
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

static bool
reject_secret(Problem *problem, const Path *at)
{
	return reject(problem, at, "secret", "contains a token or a password; treat it as disclosed");
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

				return DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)) ? TYPE_INTEGER : TYPE_FRACTION;
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
	JsonbValue	key;

	while (json_next(&it, WJB_KEY, &key))
	{
		int			i = 0;

		while (i < schema->nproperties && !json_is(&key, schema->properties[i].name.data))
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
	problem->next_action = rule->next_action.data;
	return false;
}

static bool
object_fits(const Schema *schema, JsonbValue *value, const Path *at, Problem *problem)
{
	JsonbContainer *object = value->val.binary.data;
	JsonbValue *members = palloc(sizeof(JsonbValue) * Max(schema->nproperties, 1));
	bool	   *is_there = palloc(Max(schema->nproperties, 1));
	JsonbValue	found;
	int			nknown = 0;

	for (int i = 0; i < schema->nproperties; i++)
	{
		is_there[i] = member(object, schema->properties[i].name, &members[i]) != NULL;
		nknown += is_there[i];
	}
	if (schema->is_closed && nknown < JsonContainerSize(object))
		return reject_first_unknown(schema, object, at, problem);
	for (int i = 0; i < schema->required.n; i++)
		if (member(object, schema->required.list[i], &found) == NULL)
			return reject_missing(problem, at, schema->required.list[i]);
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
			return reject_secret(problem, at);
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
	JsonbValue	item;

	while (json_next(&it, WJB_ELEM, &item))
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
	JsonbValue	item;

	if (n < schema->min_items || (schema->max_items >= 0 && n > schema->max_items))
		return reject_size(problem, at, schema->min_items, schema->max_items, "items");
	if (schema->is_set && has_twice(array))
		return reject(problem, at, "duplicate", "contains the same item twice");
	it = JsonbIteratorInit(array);
	while (json_next(&it, WJB_ELEM, &item))
	{
		CHECK_FOR_INTERRUPTS();
		if (!fits(schema->items, &item, &there, problem))
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
is_among(const JsonTexts *values, const JsonbValue *value)
{
	for (int i = 0; i < values->n; i++)
		if (json_is(value, values->list[i].data))
			return true;
	return false;
}

static char *
join(const JsonTexts *values)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < values->n; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? ", " : "", values->list[i].data);
	return out.data;
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
string_fits(const Schema *schema, const JsonbValue *value, const Path *at, Problem *problem)
{
	JsonText	content = {value->val.string.val, value->val.string.len};
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
		return reject_secret(problem, at);
	if (is_too_long || length < schema->min_length || (schema->min_length > 0 && !is_visible(content, is_ascii)))
		return reject_size(problem, at, schema->min_length, schema->max_length, "characters");
	if (schema->values.n > 0 && !is_among(&schema->values, value))
		return reject(problem, at, "unknown_value", psprintf("is not one of: %s", join(&schema->values)));
	if (schema->pattern != NULL && !text_matches(cstring_to_text_with_len(content.data, content.len), schema->pattern))
		return reject(problem, at, "malformed", psprintf("does not match %s", text_to_cstring(schema->pattern)));
	return format_fits(schema, content, at, problem);
}

static bool
is_less(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(a), NumericGetDatum(b)));
}

static char *
number_text(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
}

static bool
integer_fits(const Schema *schema, Numeric number, const Path *at, Problem *problem)
{
	return (!is_less(number, schema->minimum) && !is_less(schema->maximum, number)) ||
		reject(problem, at, "out_of_range", psprintf("is not between %s and %s", number_text(schema->minimum), number_text(schema->maximum)));
}

/* Whether value matches schema. Otherwise problem receives the first violation. */
static bool
fits(Schema *schema, JsonbValue *value, const Path *at, Problem *problem)
{
	ValueType	type;

	check_stack_depth();
	schema = json_schema_target(schema);
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
			return string_fits(schema, value, at, problem);
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
	StringInfoData out;

	initStringInfo(&out);
	json_add_text(&out, "field", problem->field);
	json_add_text(&out, "reason", problem->reason);
	json_add_text(&out, "message", problem->message);
	if (problem->next_action != NULL)
		json_add_text(&out, "nextAction", problem->next_action);
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
		JsonbToJsonbValue(json, &value);
	if (fits(json_schema_get(schema), &value, &whole, &problem))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(problem_jsonb(&problem));
}
