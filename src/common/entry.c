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
#include "common/scan.h"
#include "common/syntax.h"

static const CanonicalMember wanted[ENTRY_MEMBERS] = {
	[ENTRY_ORG] = CANONICAL_MEMBER("org"),
	[ENTRY_SEQ] = CANONICAL_MEMBER("seq"),
	[ENTRY_OBJECT] = CANONICAL_MEMBER("object"),
	[ENTRY_BEFORE] = CANONICAL_MEMBER("before"),
	[ENTRY_AFTER] = CANONICAL_MEMBER("after"),
};

/* The first three members are compared byte by byte, so only kind and payload need a syntax check. */
bool
entry_body_is_valid(const EntryTexts *texts, const char *body, size_t len, CanonicalMember *members)
{
	const char *p = body;
	const char *end = body + len;
	const char *kind;
	const CanonicalMember *org = &members[ENTRY_ORG];
	const CanonicalMember *seq = &members[ENTRY_SEQ];

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
	memcpy(members, wanted, sizeof(wanted));
	if (!canonical_find(p, (size_t) (end - 1 - p), ENTRY_BODY_MAX, 1, members, ENTRY_MEMBERS) || end[-1] != '}')
		return false;

	return org->value != NULL && org->len == UUID_TEXT_LEN + 2 &&
		org->value[0] == '"' && memcmp(org->value + 1, texts->org_id, UUID_TEXT_LEN) == 0 &&
		seq->value != NULL && seq->len == texts->seq_len &&
		memcmp(seq->value, texts->seq, texts->seq_len) == 0;
}

bool
entry_members(const char *body, size_t len, CanonicalMember *members)
{
	CanonicalMember payload = CANONICAL_MEMBER("payload");

	memcpy(members, wanted, sizeof(wanted));
	return canonical_find(body, len, ENTRY_BODY_MAX, 0, &payload, 1) && payload.value != NULL &&
		canonical_find(payload.value, payload.len, ENTRY_BODY_MAX, 1, members, ENTRY_MEMBERS);
}

bool
entry_object(const char *body, size_t len, EntryObject *result)
{
	CanonicalMember outer = CANONICAL_MEMBER("payload");
	CanonicalMember members[] = {CANONICAL_MEMBER("object"), CANONICAL_MEMBER("token")};
	CanonicalMember id = CANONICAL_MEMBER("id");

	if (!canonical_find(body, len, ENTRY_BODY_MAX, 0, &outer, 1) || outer.value == NULL ||
		!canonical_find(outer.value, outer.len, ENTRY_BODY_MAX, 1, members, 2))
		return false;
	if (members[0].value == NULL && members[1].value != NULL)
		(void) canonical_find(members[1].value, members[1].len, ENTRY_BODY_MAX, 2, &id, 1);
	result->object = members[0].value;
	result->object_len = members[0].len;
	result->token_id = id.value;
	result->token_id_len = id.len;
	return result->object != NULL || result->token_id != NULL;
}
