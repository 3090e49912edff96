/*
 * entry.c
 *		The body of an audit entry.
 *
 * The body is canonical JSON, {"at":..,"jobId":..,"kind":..,"payload":{..}}, with the
 * organisation and the seq inside the payload.
 *
 * Invariants: no byte is read at or after the end. Nothing is allocated. A valid body is
 * canonical, so each content has exactly one body.
 */
#include "common/entry.h"

#include <string.h>

#include "common/canonical.h"
#include "common/syntax.h"

/* Values of members of a payload, or NULL. */
typedef struct Place
{
	const char *org;
	size_t		org_len;
	const char *seq;
	size_t		seq_len;
} Place;

/* CanonicalVisit */
static void
record_place(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Place	   *place = arg;

	if (key_len != 3)
		return;
	if (memcmp(key, "org", 3) == 0)
	{
		place->org = value;
		place->org_len = value_len;
	}
	else if (memcmp(key, "seq", 3) == 0)
	{
		place->seq = value;
		place->seq_len = value_len;
	}
}

/* Whether text is next, at *p; if so, moves *p past it. */
static inline bool
comes_next(const char **p, const char *end, const char *text, size_t len)
{
	if ((size_t) (end - *p) < len || memcmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

#define LITERAL(text) (text), sizeof(text) - 1

/* The first three members are compared byte by byte, so only kind and payload need a syntax check. */
bool
entry_body_is_valid(const EntryTexts *texts, const char *body, size_t len, const char **seq)
{
	const char *p = body;
	const char *end = body + len;
	const char *kind;
	Place		place = {0};

	if (len > ENTRY_BODY_MAX ||
		!comes_next(&p, end, LITERAL("{\"at\":\"")) ||
		!comes_next(&p, end, texts->at, ISO_TIME_LEN) ||
		!comes_next(&p, end, LITERAL("\",\"jobId\":")))
		return false;
	if (texts->job_id == NULL)
	{
		if (!comes_next(&p, end, LITERAL("null")))
			return false;
	}
	else if (!comes_next(&p, end, LITERAL("\"")) ||
			 !comes_next(&p, end, texts->job_id, UUID_TEXT_LEN) ||
			 !comes_next(&p, end, LITERAL("\"")))
		return false;
	if (!comes_next(&p, end, LITERAL(",\"kind\":\"")))
		return false;
	kind = p - 1;
	if (!comes_next(&p, end, texts->kind, texts->kind_len) ||
		!comes_next(&p, end, LITERAL("\",\"payload\":{")) ||
		!canonical_check(kind, texts->kind_len + 2, ENTRY_BODY_MAX, 1, NULL, NULL))
		return false;

	/* the payload, up to the closing brace of the body */
	p--;
	if (!canonical_check(p, (size_t) (end - 1 - p), ENTRY_BODY_MAX, 1, record_place, &place) || end[-1] != '}')
		return false;
	if (seq != NULL)
		*seq = place.seq;

	return place.org != NULL && place.org_len == UUID_TEXT_LEN + 2 &&
		place.org[0] == '"' && memcmp(place.org + 1, texts->org_id, UUID_TEXT_LEN) == 0 &&
		place.seq != NULL && place.seq_len == texts->seq_len &&
		memcmp(place.seq, texts->seq, place.seq_len) == 0;
}

/* A member that is looked for, and its value, or NULL. */
typedef struct Member
{
	const char *key;
	const char *value;
	size_t		len;
} Member;

/* CanonicalVisit, for members up to one without a key */
static void
find_members(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	for (Member *member = arg; member->key != NULL; member++)
		if (key_len == strlen(member->key) && memcmp(key, member->key, key_len) == 0)
		{
			member->value = value;
			member->len = value_len;
		}
}

bool
entry_object(const char *body, size_t len, EntryObject *result)
{
	Member		outer[] = {{.key = "payload"}, {.key = NULL}};
	Member		members[] = {{.key = "object"}, {.key = "token"}, {.key = NULL}};
	Member		token[] = {{.key = "id"}, {.key = NULL}};

	if (!canonical_check(body, len, ENTRY_BODY_MAX, 0, find_members, outer) || outer[0].value == NULL ||
		!canonical_check(outer[0].value, outer[0].len, ENTRY_BODY_MAX, 1, find_members, members))
		return false;
	if (members[0].value == NULL && members[1].value != NULL)
		(void) canonical_check(members[1].value, members[1].len, ENTRY_BODY_MAX, 2, find_members, token);
	result->object = members[0].value;
	result->object_len = members[0].len;
	result->token_id = token[0].value;
	result->token_id_len = token[0].len;
	return result->object != NULL || result->token_id != NULL;
}
