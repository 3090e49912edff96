/*
 * tag.c
 *		Entity tags of REST v1 responses, and conditional requests (RFC 9110).
 *
 * A tag is a digest of the body, so it changes with whatever the body shows. To answer 304
 * without building the body, a backend remembers the tags of bodies that it has built, each
 * under a digest of all that the body followed from: the request, the head of the
 * organisation's chain, what is shown although no entry describes it, the scopes of
 * whoever reads, and the version of the extension. Nothing has to be forgotten when something
 * changes, because the digest is then another one.
 *
 * Invariants: the digest and the body are of one snapshot. Whatever an operation with tag
 * chain shows is described by the chain, or read by rest_state(), or depends on the clock
 * alone, about which rest_unchanged_until() decides. Rows that a dump brings along with
 * their entries are the exception: see docs/dumps.md.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/call.h"
#include "base/digest.h"
#include "common/hex.h"
#include "common/syntax.h"
#include "rest/fail.h"
#include "rest/request.h"
#include "rest/tag.h"

/* 128 bits of the digest, in hex, between quotes. */
#define TAG_BYTES 16
#define TAG_LEN (2 * TAG_BYTES + 2)

typedef struct Remembered
{
	bool		used;
	uint8		state[DIGEST_LEN];
	TimestampTz from;			/* the tag is right from then */
	TimestampTz until;			/* to then */
	char		tag[TAG_LEN + 1];
} Remembered;

/*
 * The first byte of the digest chooses a set; there the newest takes the place of the
 * oldest. In sets of one, two lists that a client asks for in turns could displace each
 * other for as long as nothing changes.
 */
#define SETS 64
#define WAYS 4
static Remembered remembered[SETS][WAYS];

/* Refuse a condition that is malformed, or one that would be ignored. */
static void
check_condition(const char *field, const char *list, bool supported)
{
	if (list == NULL)
		return;
	if (!supported)
		rest_fail_field("unsupported_condition", psprintf("the header %s does not apply to this operation", field), field,
						"Send If-None-Match with GET and HEAD, and If-Match with PATCH and DELETE.");
	if (entity_tag_match(list, strlen(list), "", 0, true) == TAG_LIST_MALFORMED)
		rest_fail_field("malformed", psprintf("the header %s must be * or a list of entity tags", field), field,
						"Send tags as they are in ETag, with their quotes.");
}

/* reads: it is GET or HEAD. changes_tagged: it changes or deletes a resource that has a tag. */
void
tag_check_conditions(const RestRequest *request, bool reads, bool changes_tagged)
{
	check_condition("If-None-Match", request->if_none_match, reads);
	check_condition("If-Match", request->if_match, changes_tagged);
}

/* The tag of a response with this body: json. */
char *
tag_of_body(Datum body)
{
	struct varlena *json = PG_DETOAST_DATUM_PACKED(body);
	DigestPart	part = {VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json)};
	uint8		digest[DIGEST_LEN];
	char	   *tag = palloc0(TAG_LEN + 1);

	digest_sha256(&part, 1, digest);
	tag[0] = tag[TAG_LEN - 1] = '"';
	hex_lower(digest, TAG_BYTES, &tag[1]);
	return tag;
}

/* Whether the client already has the response with this tag, as it says itself. */
bool
tag_is_known_to_client(const RestRequest *request, const char *tag)
{
	const char *list = request->if_none_match;

	return list != NULL && entity_tag_match(list, strlen(list), tag, strlen(tag), true) == TAG_MATCHES;
}

/*
 * Check If-Match before a change. reader: the handler that shows the resource; it ends the
 * request with 404 if there is none. The caller has locked the organisation.
 */
void
tag_require(const RestRequest *request, const char *reader)
{
	const char *list = request->if_match;
	const char *tag;

	if (list == NULL)
		return;
	tag = tag_of_body(rest_request_handle(request, reader, NULL));
	if (entity_tag_match(list, strlen(list), tag, strlen(tag), false) != TAG_MATCHES)
		rest_fail_field("tag_differs", "the resource is not the one that If-Match describes", "If-Match",
						"Read the resource again, and decide whether the change still applies.");
}

/* What rest_state() says that the body follows from. */
static text *
read_state(const RestRequest *request, const Shown *shown)
{
	Oid			types[] = {UUIDOID, TEXTOID, UUIDOID, INT4OID, TIMESTAMPTZOID, TEXTOID};
	NullableDatum args[] = {
		{.value = UUIDPGetDatum(&request->org_id)},
		{.value = CStringGetTextDatum(shown->schema)},
		{.value = PointerGetDatum(request->id),.isnull = shown->list_field != NULL || request->id == NULL},
		{.value = Int32GetDatum(request->max_rows)},
		{.value = TimestampTzGetDatum(request->after.at)},
		{.value = CStringGetTextDatum(request->after.id)}
	};

	return DatumGetTextPP(call_function("rest_state", lengthof(args), types, args, NULL));
}

/* Where the tag of a state is remembered, or would be. */
static Remembered *
place_of(const uint8 *state)
{
	Remembered *set = remembered[state[0] % SETS];
	Remembered *place = set;

	for (int i = 0; i < WAYS; i++)
	{
		if (set[i].used && memcmp(set[i].state, state, DIGEST_LEN) == 0)
			return &set[i];
		if (!set[i].used || (place->used && set[i].from < place->from))
			place = &set[i];
	}
	return place;
}

/* Whether the tag is still right at the time of the request. */
static bool
is_current(const Remembered *known, const uint8 *state)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	return known->used && memcmp(known->state, state, DIGEST_LEN) == 0 && known->from <= now && now <= known->until;
}

/*
 * The tag that the response to a request would have, if it is remembered; otherwise NULL.
 * state: receives the digest for tag_remember(). The active snapshot is that of the body.
 */
char *
tag_recall(const RestRequest *request, const Shown *shown, uint8 *state)
{
	const text *read = read_state(request, shown);
	StringInfoData of_request;
	DigestPart	parts[2];
	const Remembered *known;

	Assert(request->filters == NULL);
	initStringInfo(&of_request);
	appendStringInfo(&of_request, "%s %d " INT64_FORMAT " %s", request->operation, request->max_rows,
					 (int64) request->after.at, request->after.id);
	appendBinaryStringInfo(&of_request, (const char *) &request->org_id, sizeof(pg_uuid_t));
	if (request->id != NULL)
		appendBinaryStringInfo(&of_request, (const char *) request->id, sizeof(pg_uuid_t));
	for (int i = 0; shown->scopes != NULL && i < shown->scopes->n; i++)
		appendStringInfo(&of_request, " %s", text_to_cstring(shown->scopes->names[i]));
	appendStringInfoChar(&of_request, '\n');
	parts[0].data = of_request.data;
	parts[0].len = of_request.len;
	parts[1].data = VARDATA_ANY(read);
	parts[1].len = VARSIZE_ANY_EXHDR(read);
	digest_sha256(parts, lengthof(parts), state);

	known = place_of(state);
	return is_current(known, state) ? pstrdup(known->tag) : NULL;
}

/* Remember the tag of a body that was just built. state: from tag_recall(). */
void
tag_remember(const Shown *shown, Datum body, const char *tag, const uint8 *state)
{
	Oid			types[] = {TEXTOID, TEXTOID, JSONOID};
	NullableDatum args[] = {
		{.value = CStringGetTextDatum(shown->schema)},
		{.value = CStringGetTextDatum(shown->list_field == NULL ? "" : shown->list_field),.isnull = shown->list_field == NULL},
		{.value = body}
	};
	TimestampTz until = DatumGetTimestampTz(call_function("rest_unchanged_until", lengthof(args), types, args, NULL));
	Remembered *place = place_of(state);

	place->used = false;
	memcpy(place->state, state, DIGEST_LEN);
	place->from = GetCurrentStatementStartTimestamp();
	place->until = until;
	strlcpy(place->tag, tag, sizeof(place->tag));
	place->used = true;
}
