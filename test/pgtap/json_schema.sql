-- Validation of JSON from outside: each keyword, the order of the checks, and what a schema
-- must not have. sql/schema/*/schemas.sql are the schemas.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.problem(schema text, value jsonb, field text DEFAULT 'f') RETURNS text LANGUAGE sql AS $$
    SELECT p ->> 'reason' || ': ' || (p ->> 'message') || coalesce(' [' || (p ->> 'nextAction') || ']', '')
      FROM walwarden_internal.schema_problem(schema, value, field) AS p
$$;

-- keywords
SELECT is(pg_temp.problem(schema, value::jsonb), problem, schema || ' ' || left(value, 40))
  FROM (VALUES
    -- types: an integral number is an integer and nothing else
    ('{}', 'null', NULL), ('{"type": "integer"}', '1.0', NULL), ('{"type": "integer"}', '-1e2', NULL),
    ('{"type": "integer"}', '1.5', 'wrong_type: f is not of type integer'),
    ('{"type": ["object", "null"]}', 'null', NULL), ('{"type": ["object", "null"]}', '[]', 'wrong_type: f is not of type object or null'),
    ('{"type": "boolean"}', '"true"', 'wrong_type: f is not of type boolean'),
    -- const
    ('{"const": true}', 'true', NULL), ('{"const": true}', 'false', 'unknown_value: f must be true'),
    ('{"const": "a \"b\""}', '"c"', 'unknown_value: f must be a "b"'), ('{"const": {"a": [1]}}', '{"a": [1.0]}', NULL),
    ('{"const": {"a": [1]}}', '{"a": [2]}', 'unknown_value: f must be {"a": [1]}'),
    -- objects
    ('{"properties": {"a": {}, "b": {}}}', '{"b": 1, "a": 2}', NULL), ('{"properties": {}}', '{}', NULL),
    ('{"properties": {"a": {}}}', '{"c": 1, "b": 2}', 'unknown_field: f.b is not a known field'),
    ('{"properties": {"a": {}}, "additionalProperties": true}', '{"bb": 1, "c": 1}', 'unknown_field: f.c is not a known field'),
    ('{"properties": {}}', '{"\u200b\n": 1}', 'unknown_field: f.?? is not a known field'),
    ('{"properties": {}}', '{"wal_0123456789abcdef0123": 1}', 'unknown_field: f.wal_... is not a known field'),
    ('{"required": ["b", "a"]}', '{}', 'missing: f.b is missing'), ('{"required": ["b", "a"]}', '{"b": null}', 'missing: f.a is missing'),
    ('{"properties": {"a": {}}, "required": ["a", "b"]}', '{"a": 1}', 'missing: f.b is missing'),
    ('{"minProperties": 1}', '{}', 'empty: f has no fields'), ('{"minProperties": 1}', '{"a": 1}', NULL),
    ('{"properties": {"b": {"type": "null"}, "a": {"type": "null"}}}', '{"a": 1, "b": 1}', 'wrong_type: f.b is not of type null'),
    ('{"properties": {"a": {"properties": {"b": {"type": "null"}}}}}', '{"a": {"b": 1}}', 'wrong_type: f.a.b is not of type null'),
    ('{"type": "object"}', '{"a": {"b": ["pwd=x"]}}', 'secret: f contains a token or a password; treat it as disclosed'),
    ('{"type": "object"}', '{"password": "x"}', 'secret: f contains a token or a password; treat it as disclosed'),
    ('{"type": "object"}', '{"a": "b\u0001"}', NULL),
    -- rules
    ('{"x-rules": [{"when": {"a": 1}, "field": "b", "must": {"const": 2}, "nextAction": "do it"}]}', '{"a": 2}', NULL),
    ('{"x-rules": [{"when": {"a": 1}, "field": "b", "must": {"const": 2}, "nextAction": "do it"}]}', '{"a": 1, "b": 2}', NULL),
    ('{"x-rules": [{"when": {"a": 1}, "field": "b", "must": {"const": 2}, "nextAction": "do it"}]}', '{"a": 1}', 'missing: f.b is missing [do it]'),
    ('{"x-rules": [{"when": {"a": 1}, "field": "b", "must": {"const": 2}, "nextAction": "do it"}]}', '{"a": 1, "b": 3}', 'unknown_value: f.b must be 2 [do it]'),
    ('{"x-rules": [{"when": {}, "field": "b", "must": {"properties": {"d": {"type": "null"}, "c": {"type": "null"}}}, "nextAction": "do \"it\""}]}', '{"b": {"c": 1, "d": 1}}', 'wrong_type: f.b.d is not of type null [do "it"]'),
    -- arrays
    ('{"maxItems": 1}', '[1, 2]', 'out_of_range: f does not have 0 to 1 items'), ('{"minItems": 1, "maxItems": 2}', '[]', 'out_of_range: f does not have 1 to 2 items'),
    ('{"maxItems": 2}', '[1, 2]', NULL), ('{"uniqueItems": true}', '[1, "1", [1], [], {}, null]', NULL),
    ('{"uniqueItems": true}', '[2, {"a": 1, "b": 2}, 1, {"b": 2, "a": 1.0}]', 'duplicate: f contains the same item twice'),
    ('{"items": {"type": "null"}}', '[null, 1]', 'wrong_type: f[1] is not of type null'),
    ('{"items": {"properties": {"b": {"type": "null"}, "a": {"type": "null"}}}}', '[{"a": 1, "b": 1}]', 'wrong_type: f[0].b is not of type null'),
    ('{"items": {"items": {"properties": {"a": {"type": "null"}}}}}', '[[], [{}, {"a": 1}]]', 'wrong_type: f[1][1].a is not of type null'),
    ('{"type": "array"}', '[["\u0001"]]', 'malformed: f[0][0] contains a control character'),
    ('{"type": "array"}', '[9007199254740992]', 'out_of_range: f[0] is not between -9007199254740991 and 9007199254740991'),
    -- strings
    ('{}', '"a\u007f"', 'malformed: f contains a control character'), ('{}', '"\u0085"', 'malformed: f contains a control character'),
    ('{}', '"a\u200bb"', 'malformed: f contains an invisible character'), ('{}', '"gr\u00fc\u00dfe"', NULL),
    ('{}', '"user:pwd=x"', 'secret: f contains a token or a password; treat it as disclosed'), ('{}', '"s3://bucket/a=b"', NULL),
    ('{"x-secret": true, "maxLength": 8}', '"\u200bpwd=x"', NULL), ('{"x-secret": true, "maxLength": 8}', '"123456789"', 'out_of_range: f does not have 0 to 8 characters'),
    ('{"maxLength": 2}', '"\u00e4\u00f6"', NULL), ('{"maxLength": 2}', '"abc"', 'out_of_range: f does not have 0 to 2 characters'),
    ('{"minLength": 2}', '"\u00e4"', 'out_of_range: f does not have 2 to  characters'),
    ('{"minLength": 1, "maxLength": 9}', '"   "', 'out_of_range: f does not have 1 to 9 characters'), ('{"minLength": 1, "maxLength": 9}', '"\u3000\u0301"', 'out_of_range: f does not have 1 to 9 characters'),
    ('{"maxLength": 9}', '"   "', NULL), ('{"minLength": 1}', '"\u3000a"', NULL),
    ('{"enum": ["a", "b\u00e9"]}', '"b\u00e9"', NULL), ('{"enum": ["a", "b\u00e9"]}', '"c"', U&'unknown_value: f is not one of: a, b\00E9'),
    ('{"enum": ["a"]}', '1', NULL), ('{"pattern": "^[a-z]+$"}', '"abc"', NULL), ('{"pattern": "^[^\"\\\\]$"}', '"\\"', 'malformed: f does not match ^[^"\\]$'),
    ('{"format": "uuid"}', '"x"', NULL), ('{"format": "date-time"}', '"2024-02-29T24:00:00.000Z"', NULL),
    ('{"format": "date-time"}', '"2023-02-29T00:00:00Z"', 'malformed: f is not a UTC time like 2026-11-21T17:33:20Z'),
    ('{"format": "cron"}', '"0 3 * * *"', NULL), ('{"format": "cron"}', '"0 0 30 2 *"', 'malformed: f is not a five-field cron expression with a possible date'),
    -- integers
    ('{"minimum": 1}', '0', 'out_of_range: f is not between 1 and 9007199254740991'), ('{"maximum": 5}', '6', 'out_of_range: f is not between -9007199254740991 and 5'),
    ('{"minimum": 1, "maximum": 5}', '5.0', NULL), ('{}', '9007199254740991', NULL), ('{"maximum": 1e20}', '1e19', NULL), ('{}', '1e300', 'out_of_range: f is not between -9007199254740991 and 9007199254740991'),
    ('{}', '-9007199254740991', NULL), ('{}', '-9007199254740992', 'out_of_range: f is not between -9007199254740991 and 9007199254740991'), ('{"maximum": 5}', '-1e300', 'out_of_range: f is not between -9007199254740991 and 5'),
    ('{"minimum": -1e20}', '-1e19', NULL), ('{"maximum": 1e3}', '1001', 'out_of_range: f is not between -9007199254740991 and 1000'),
    ('{"minimum": 1}', '0.5', NULL),
    -- the order of the checks
    ('{"type": "string", "const": "x"}', '1', 'wrong_type: f is not of type string'),
    ('{"properties": {"a": {"type": "null"}}, "required": ["b"], "minProperties": 3}', '{"a": 1, "c": 1}', 'unknown_field: f.c is not a known field'),
    ('{"properties": {"a": {"type": "null"}}, "required": ["b"], "minProperties": 3}', '{"a": 1}', 'missing: f.b is missing'),
    ('{"properties": {"a": {"type": "null"}}, "minProperties": 3}', '{"a": 1}', 'empty: f has no fields'),
    ('{"maxItems": 1, "uniqueItems": true, "items": {"type": "null"}}', '[1, 1]', 'out_of_range: f does not have 0 to 1 items'),
    ('{"uniqueItems": true, "items": {"type": "null"}}', '[1, 1]', 'duplicate: f contains the same item twice'),
    ('{"maxLength": 1}', '"\u0001\u200bpwd=x"', 'malformed: f contains a control character'), ('{"maxLength": 1}', '"\u200bpwd=x"', 'malformed: f contains an invisible character'),
    ('{"maxLength": 1}', '"pwd=x"', 'secret: f contains a token or a password; treat it as disclosed'),
    ('{"maxLength": 1, "enum": ["a"]}', '"bb"', 'out_of_range: f does not have 0 to 1 characters'), ('{"enum": ["a"], "pattern": "^a"}', '"b"', 'unknown_value: f is not one of: a'),
    ('{"pattern": "^a", "format": "cron"}', '"b"', 'malformed: f does not match ^a')) AS v(schema, value, problem);
SELECT is(walwarden_internal.schema_problem('{"type": "null"}', '1', ''), '{"field": "body", "reason": "wrong_type", "message": "the body is not of type null"}', 'the body has no name');
SELECT is(pg_temp.problem('{"properties": {"a": {"type": "null"}}}', '{"a": 1}', ''), 'wrong_type: a is not of type null', 'nor a place in the path of a field');
SELECT is(pg_temp.problem(E'{ "type" :\n[ "array" ,"null" ] , "items":{"maxLength":\t2} } \n', '["abc"]'), 'out_of_range: f[0] does not have 0 to 2 characters', 'blanks in a schema');

-- what is not enforced is not accepted
SELECT throws_ok(format('SELECT walwarden_internal.schema_problem(%L, %L, %L)', schema, 'null', ''), 'XX000', NULL, coalesce(schema, 'no schema'))
  FROM (VALUES ('{"anyOf": [{}]}'), ('{"type": "float"}'), ('{"type": "number"}'), ('{"type": ["string", 1]}'), ('{"type": []}'), ('{"enum": []}'), ('{"enum": [null]}'), ('{"format": "ipv4"}'), ('{"uniqueItems": false}'), ('{"x-secret": 1}'), ('{"maxLength": -1}'), ('{"maxLength": "1"}'), ('{"minimum": "1"}'),
               ('{"items": true}'), ('{"properties": {"a": {"not": {}}}}'), ('{"properties": {"a": {}, "a": {}}}'), ('{"x-rules": [{"when": {}, "field": "a", "must": {}}]}'), ('{"x-rules": [{"if": 1}]}'), ('{"x-rules": [1]}'), ('{"x-rules": [{"when": 1, "field": "a", "must": {}, "nextAction": "x"}]}'), ('{"x-rules": [{"when": {}, "field": "a", "must": {}, "nextAction": 1}]}'),
               ('{"$ref": "Progress"}'), ('{"$ref": "#/components/schemas/NoSuchSchema"}'), ('NoSuchSchema'), (''), (NULL)) AS v(schema);
SELECT throws_ok($$SELECT walwarden_internal.schema_problem('{}', NULL, '')$$, 'XX000', NULL, 'no value');
SELECT throws_ok($$SELECT walwarden_internal.schema_problem('{"maxLength": 1.5}', 'null', '')$$, '22P02', NULL, 'a fraction counts nothing');
SELECT throws_ok($$SELECT walwarden_internal.schema_problem('{"properties": ["a", {}]}', 'null', '')$$, '22023', NULL, 'properties are no list');

-- every schema that JSON from outside meets, and those that it refers to
WITH RECURSIVE met(name) AS (
    SELECT o.request FROM walwarden_internal.rest_operation AS o WHERE o.request IS NOT NULL
    UNION
    SELECT unnest('{JobReport,DestinationReport,EvidenceReport,Progress}'::text[])
    UNION
    SELECT r[1] FROM met AS m JOIN walwarden_internal.json_schema AS s ON s.name = m.name, regexp_matches(s.schema::text, '"#/components/schemas/(\w+)"', 'g') AS r
)
SELECT is(pg_temp.problem(m.name, '[]', ''), (SELECT 'wrong_type: the body is not of type ' || CASE json_typeof(s.schema -> 'type') WHEN 'array' THEN 'object or null' ELSE 'object' END
                                                FROM walwarden_internal.json_schema AS s WHERE s.name = m.name), m.name)
  FROM met AS m;
SELECT is(pg_temp.problem(f.schema::text, '1'), 'wrong_type: f is not of type string', concat_ws(' ', f.operation, f.name)) FROM walwarden_internal.rest_filter AS f;

-- a change of a schema counts at once, for those that refer to it too, and so does its end
PREPARE report AS SELECT pg_temp.problem('JobReport', '{"error": {"class": "c", "message": "m", "retryable": true, "late": 1}}');
SELECT results_eq('report', $$VALUES ('unknown_field: f.error.late is not a known field')$$, 'before a change');
SAVEPOINT unchanged;
ALTER TABLE walwarden_internal.json_schema DISABLE TRIGGER refuse_change;
UPDATE walwarden_internal.json_schema SET schema = '{"type": "object"}' WHERE name = 'JobError';
SELECT results_eq('report', $$VALUES (NULL::text)$$, 'after it');
DELETE FROM walwarden_internal.json_schema WHERE name = 'JobError';
SELECT throws_ok('report', 'XX000', 'JSON schema JobError is missing', 'without it');
INSERT INTO walwarden_internal.json_schema VALUES ('JobError', '{"$ref": "#/components/schemas/Twin"}'), ('Twin', '{"$ref": "#/components/schemas/JobError"}');
SELECT throws_ok('report', 'XX000', 'JSON schema Twin refers to itself', 'one that says nothing');
UPDATE walwarden_internal.json_schema SET schema = '{"items": {"$ref": "#/components/schemas/Twin"}}' WHERE name = 'Twin';
SELECT is(pg_temp.problem('Twin', '[[[[]], "\u0001"]]'), 'malformed: f[0][1] contains a control character', 'one that contains itself');
CREATE TEMP TABLE deep AS SELECT (repeat('[', 5000) || repeat(']', 5000))::jsonb AS value;
SET LOCAL max_stack_depth = '200kB';
SELECT throws_ok($$SELECT walwarden_internal.schema_problem('Twin', value, '') FROM deep$$, '54001', NULL, 'values are not deeper than the stack');
ROLLBACK TO unchanged;
SELECT results_eq('report', $$VALUES ('unknown_field: f.error.late is not a known field')$$, 'a change that was rolled back');
SELECT is(count(*) FILTER (WHERE walwarden_internal.schema_problem(format('{"maxLength": %s}', i), '"abc"', '') IS NOT NULL), 3::bigint, 'more schemas than are kept') FROM generate_series(0, 999) AS i;
SELECT ok(count(*) BETWEEN 1 AND 200, 'and no more are') FROM pg_backend_memory_contexts WHERE name = 'walwarden JSON schema';

-- secrets: a change of letter case, and what a quick look must not miss
SELECT is(walwarden_internal.holds_secret(v), expected, v)
  FROM (VALUES ('POSTGRES://u:p@h', true), ('a://b:c@', true), ('a://b:@', false), ('://u:p@h', false), ('a:/b:c@d', false), ('a//b:c@d', false), ('pwd:x', true), ('xpwd:x', false), ('_pwd = x', true),
               (E'Passwd"\n:\tx', true), ('password=', false), ('password= ', false), ('=password', false), (NULL, NULL)) AS v(v, expected);

-- times
SELECT is(walwarden_internal.is_time(v), expected, v)
  FROM (VALUES ('2024-02-29T00:00:00Z', true), ('2023-02-29T00:00:00Z', false), ('1900-02-29T00:00:00Z', false), ('2000-02-29T00:00:00Z', true), ('2026-04-31T00:00:00Z', false), ('2026-00-10T00:00:00Z', false),
               ('2026-01-00T00:00:00Z', false), ('0000-01-01T00:00:00Z', false), ('0001-01-01T00:00:00Z', true), ('9999-12-31T24:00:00Z', true), ('2026-01-01T24:00:00.000000Z', true), ('2026-01-01T24:00:00.000001Z', false),
               ('2026-01-01T24:00:01Z', false), ('2026-01-01T24:01:00Z', false), ('2026-01-01T23:59:60Z', false), ('2026-01-01T23:60:00Z', false), ('2026-01-01T00:00:00.Z', false), ('2026-01-01T00:00:00.1234567Z', false),
               ('2026-01-01T00:00:00', false), ('2026-01-01 00:00:00Z', false), ('2026-01-01T00:00:00z', false), (E'2026-01-01T00:00:00Z\n', false), ('Z', false), ('', false)) AS v(v, expected);

SELECT * FROM finish();
ROLLBACK;
