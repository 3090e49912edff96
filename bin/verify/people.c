/*
 * people.c
 *		Who the members are that the entries of a bundle name only by commitments.
 *
 * The commitments of the last entry of each member count: a new subject gets a new salt.
 *
 * Invariants: a member whom people.json does not have was erased, or is not OK. Nobody FAILs
 * because of an entry that may just not be here. No more than MEMBERS_MAX members are remembered.
 */
#include "people.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "chain.h"
#include "common/canonical.h"
#include "common/hex.h"
#include "common/scan.h"
#include "common/syntax.h"
#include "digest.h"
#include "json.h"
#include "line.h"
#include "report.h"
#include "stop.h"

#define KINDS "member."

/* What the last entry of a member says. */
typedef struct Member
{
	char		id[UUID_TEXT_LEN];
	char		person[HASH_TEXT_LEN];
	bool		has_role;
	char		role[HASH_TEXT_LEN];
	bool		is_erased;
	bool		is_known;		/* people.json has it */
} Member;

static int
compare_members(const void *a, const void *b)
{
	return memcmp(((const Member *) a)->id, ((const Member *) b)->id, UUID_TEXT_LEN);
}

static Member *
find_member(const People *people, const char *id)
{
	Member		wanted;
	Member	  **found;

	memcpy(wanted.id, id, UUID_TEXT_LEN);
	found = tfind(&wanted, &people->members, compare_members);
	return found == NULL ? NULL : *found;
}

/* Whether the payload of an entry describes a member. */
static bool
read_member(Json payload, Member *member)
{
	Json		after = json_member(payload, "after");
	Json		id = json_plain(json_member(after, "id"));
	Json		person = json_plain(json_member(after, "person"));
	Json		role = json_member(after, "dbRole");
	Json		role_text = json_plain(role);

	memset(member, 0, sizeof(*member));
	if (id.data == NULL || !uuid_is_canonical(id.data, id.len) ||
		person.data == NULL || !hash_is_well_formed(person.data, person.len) || role.data == NULL)
		return false;
	memcpy(member->id, id.data, UUID_TEXT_LEN);
	memcpy(member->person, person.data, HASH_TEXT_LEN);
	member->has_role = role_text.data != NULL;
	if (member->has_role && !hash_is_well_formed(role_text.data, role_text.len))
		return false;
	if (member->has_role)
		memcpy(member->role, role_text.data, HASH_TEXT_LEN);
	else if (!json_equal(role, json_part("null", 4)))
		return false;
	member->is_erased = json_member(after, "erasedAt").data != NULL;
	return true;
}

void
people_take(People *people, const Entry *entry)
{
	Member		member;
	Member	   *known;

	if (entry->kind_len < strlen(KINDS) || memcmp(entry->kind, KINDS, strlen(KINDS)) != 0)
		return;
	if (!read_member(entry->payload, &member))
	{
		if (people->bad == 0)
			people->bad = entry->seq;
		return;
	}
	known = find_member(people, member.id);
	if (known == NULL)
	{
		if (people->nmembers++ >= MEMBERS_MAX)
			return;
		known = reallocate(NULL, sizeof(Member));
		memcpy(known->id, member.id, UUID_TEXT_LEN);
		if (tsearch(known, &people->members, compare_members) == NULL)
			stop("out of memory");
	}
	*known = member;
}

/* While people.json is read, and compared with the members of the chain. */
typedef struct Comparison
{
	const People *people;
	bool		is_malformed;
	size_t		strangers;		/* persons in no entry */
	char		stranger[UUID_TEXT_LEN];	/* the first of them */
	size_t		wrong;			/* persons who are not those of the chain */
	const char *problem;		/* of the first of them */
	char		id[UUID_TEXT_LEN];
	size_t		missing;		/* members who are not in people.json, and not
								 * erased */
	char		missed[UUID_TEXT_LEN];	/* the first of them */
} Comparison;

static void
commit(const char *prefix, Json salt, Json value, char *commitment)
{
	size_t		len = 0;
	char	   *text = json_text(value, &len);
	Part		parts[] = {{prefix, strlen(prefix)}, {salt.data, salt.len}, {LITERAL(":")}, {text, len}};
	uint8_t		digest[DIGEST_LEN];

	digest_parts(parts, 4, digest);
	hex_lower(digest, DIGEST_LEN, commitment);
	free(text);
}

static const char *
person_problem(const Member *member, Json salt, Json subject, Json role)
{
	char		commitment[HASH_TEXT_LEN];
	bool		has_role = role.data[0] == '"';

	commit("walwarden/person/v1:", salt, subject, commitment);
	if (memcmp(commitment, member->person, HASH_TEXT_LEN) != 0)
		return "is not the person in people.json";
	if (member->is_erased)
		return NULL;			/* so is the dbRole */
	if (has_role)
		commit("walwarden/dbrole/v1:", salt, role, commitment);
	if (has_role != member->has_role || (has_role && memcmp(commitment, member->role, HASH_TEXT_LEN) != 0))
		return "does not have the dbRole in people.json";
	return NULL;
}

/* CanonicalVisit: counts */
static void
count_member(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	(void) key;
	(void) key_len;
	(void) value;
	(void) value_len;
	++*(size_t *) arg;
}

/* CanonicalVisit: a person of people.json */
static void
compare_person(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	Comparison *comparison = arg;
	Json		person = json_part(value, value_len);
	Json		salt = json_plain(json_member(person, "salt"));
	Json		subject = json_member(person, "subject");
	Json		role = json_member(person, "dbRole");
	size_t		nmembers = 0;
	Member	   *member;
	const char *problem;

	if (!uuid_is_canonical(key, key_len) || !json_members(person, count_member, &nmembers) || nmembers != 3 ||
		salt.data == NULL || !hash_is_well_formed(salt.data, salt.len) ||
		subject.data == NULL || subject.data[0] != '"' ||
		role.data == NULL || (role.data[0] != '"' && role.data[0] != 'n'))
	{
		comparison->is_malformed = true;
		return;
	}
	member = find_member(comparison->people, key);
	if (member == NULL)
	{
		if (comparison->strangers++ == 0)
			memcpy(comparison->stranger, key, UUID_TEXT_LEN);
		return;
	}
	member->is_known = true;
	problem = person_problem(member, salt, subject, role);
	if (problem != NULL && comparison->wrong++ == 0)
	{
		comparison->problem = problem;
		memcpy(comparison->id, key, UUID_TEXT_LEN);
	}
}

/* For twalk_r(), in the order of ids. */
static void
find_missing(const void *node, VISIT which, void *arg)
{
	Comparison *comparison = arg;
	const Member *member = *(Member *const *) node;

	if ((which != postorder && which != leaf) || member->is_known || member->is_erased)
		return;
	if (comparison->missing++ == 0)
		memcpy(comparison->missed, member->id, UUID_TEXT_LEN);
}

void
people_report(const People *people, const Chain *chain, bool whole, Content text, Report *report)
{
	Comparison	comparison = {.people = people};

	if (text.data == NULL && people->nmembers == 0 && people->bad == 0)
		return;
	/* as psql writes it */
	if (text.data != NULL && text.len > 0 && text.len <= PEOPLE_MAX && text.data[text.len - 1] == '\n')
		text.len--;
	if (text.data != NULL && (!canonical_check(text.data, text.len, PEOPLE_MAX, 0, NULL, NULL) ||
							  !json_members(json_part(text.data, text.len), compare_person, &comparison) || comparison.is_malformed))
	{
		report_check(report, VERDICT_FAIL, "people: people.json has not the form of one");
		return;
	}
	twalk_r(people->members, find_missing, &comparison);
	if (people->bad > 0)
		report_check(report, VERDICT_FAIL, "people: entry %lld does not describe a member", (long long) people->bad);
	else if (text.data == NULL)
		report_check(report, VERDICT_SKIP, "people: people.json is not here");
	else if (!chain->sound)
		report_check(report, VERDICT_SKIP, "people: the chain is not sound");
	else if (people->nmembers > MEMBERS_MAX)
		report_check(report, VERDICT_SKIP, "people: there are more than %d members", MEMBERS_MAX);
	else if (!whole && comparison.wrong + comparison.missing + comparison.strangers > 0)
		report_check(report, VERDICT_SKIP, "people: %zu of them need the whole chain", comparison.wrong + comparison.missing + comparison.strangers);
	else if (comparison.wrong > 0)
		report_check(report, VERDICT_FAIL, "people: member %.36s %s", comparison.id, comparison.problem);
	else if (comparison.missing > 0)
		report_check(report, VERDICT_FAIL, "people: member %.36s is not in people.json and was not erased", comparison.missed);
	else if (comparison.strangers > 0)
		report_check(report, VERDICT_FAIL, "people: %.36s is in people.json and in no entry", comparison.stranger);
	else
		report_check(report, VERDICT_OK, "people: %zu members", people->nmembers);
}

void
people_free(People *people)
{
	tdestroy(people->members, free);
}
