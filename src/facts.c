/*
 * facts.c
 *		What tokens have in common: organisations, owners and what roles carry,
 *		read from the tables and remembered.
 *
 * A look-up of a token that is not in the cache needs only the credential's row
 * where these are. They are kept by the protocol of cache.c: dropped at the next
 * generation, stored only if the generation is still the one from before the
 * snapshot.
 *
 * One rule more, because a remembered fact comes from an earlier snapshot than
 * the rows that it is combined with: a decision must be one that held at one
 * moment. Every row version that went into it, remembered or read now, has to be
 * older than the snapshot of every remembered fact: then it was the current
 * version at the time of the oldest of them, and all of it held then. Otherwise
 * reading_consistent() says no, and the caller reads everything anew.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#include "tables.h"

#define FACTS_MAX 4096			/* of each kind */
#define FACTS_MAX_AGE (10 * 60 * USECS_PER_SEC)	/* far less than it takes to use up half of all transaction ids */

/* Where a fact comes from. */
typedef struct Source
{
	TransactionId newest;		/* of the row versions that it was read from */
	TransactionId as_of;		/* xmin of the snapshot that read it */
	TimestampTz read_at;
} Source;

typedef struct OrgEntry
{
	pg_uuid_t	id;				/* hash key */
	Source		source;
	OrgFacts	facts;
} OrgEntry;

typedef struct OwnerEntry
{
	pg_uuid_t	id;				/* hash key */
	Source		source;
	OwnerFacts	facts;
} OwnerEntry;

typedef struct RoleEntry
{
	char		name[64];		/* hash key */
	Source		source;
	ScopeList	scopes;
} RoleEntry;

static MemoryContext memory = NULL;
static uint64 memory_generation = 0;
static HTAB *orgs;
static HTAB *owners;
static HTAB *roles;

static HTAB *
make_table(const char *name, Size keysize, Size entrysize, int flags)
{
	HASHCTL		control = {0};

	control.keysize = keysize;
	control.entrysize = entrysize;
	control.hcxt = memory;
	return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

/*
 * Begin to read for one decision. The caller has taken the snapshot after it read
 * cache_generation; remember: whether facts from earlier may be used.
 */
void
reading_begin(Reading *reading, Snapshot snapshot, uint64 generation, bool remember)
{
	reading->snapshot = snapshot;
	reading->generation = generation;
	reading->remember = remember;
	reading->newest = FrozenTransactionId;
	reading->oldest_fact = InvalidTransactionId;
	if (!remember)
		return;
	reading->now = GetCurrentTimestamp();
	if (memory != NULL &&
		(memory_generation != cache_generation ||
		 hash_get_num_entries(orgs) >= FACTS_MAX || hash_get_num_entries(owners) >= FACTS_MAX))
	{
		MemoryContextDelete(memory);
		memory = NULL;
	}
	if (memory == NULL)
	{
		memory = AllocSetContextCreate(TopMemoryContext, "walwarden facts", ALLOCSET_DEFAULT_SIZES);
		orgs = make_table("walwarden orgs", sizeof(pg_uuid_t), sizeof(OrgEntry), HASH_BLOBS);
		owners = make_table("walwarden owners", sizeof(pg_uuid_t), sizeof(OwnerEntry), HASH_BLOBS);
		roles = make_table("walwarden roles", sizeof(((RoleEntry *) 0)->name), sizeof(RoleEntry), HASH_STRINGS);
		memory_generation = cache_generation;
	}
}

/* A row version goes into the decision. */
void
reading_note(Reading *reading, TransactionId xmin)
{
	if (TransactionIdFollows(xmin, reading->newest))
		reading->newest = xmin;
}

/* Whether all that was read held at one moment. */
bool
reading_consistent(const Reading *reading)
{
	return !TransactionIdIsValid(reading->oldest_fact) ||
		TransactionIdPrecedes(reading->newest, reading->oldest_fact);
}

/* Whether a remembered fact can be used; if so, it goes into the decision. */
static bool
use_fact(Reading *reading, const Source *source)
{
	if (memory_generation != cache_generation || reading->now - source->read_at > FACTS_MAX_AGE)
		return false;
	reading_note(reading, source->newest);
	if (!TransactionIdIsValid(reading->oldest_fact) || TransactionIdPrecedes(source->as_of, reading->oldest_fact))
		reading->oldest_fact = source->as_of;
	return true;
}

/*
 * Whether what is being read now may be remembered; sub is the reading of this
 * fact alone. What it was read from goes into the decision of reading.
 */
static bool
keep_fact(Reading *reading, const Reading *sub, Source *source)
{
	reading_note(reading, sub->newest);
	source->newest = sub->newest;
	source->as_of = sub->snapshot->xmin;
	source->read_at = reading->now;
	return reading->remember && memory_generation == cache_generation && cache_may_store(reading->generation);
}

/* A reading of one fact, apart from the decision that it is for. */
static Reading
sub_reading(const Reading *reading)
{
	Reading		sub = *reading;

	sub.newest = FrozenTransactionId;
	return sub;
}

static text *
copy_text(MemoryContext context, const text *value)
{
	text	   *copy;

	if (value == NULL)
		return NULL;
	copy = MemoryContextAlloc(context, VARSIZE_ANY(value));
	memcpy(copy, value, VARSIZE_ANY(value));
	return copy;
}

static bool
plan_has_tokens(Reading *sub, const text *plan)
{
	Row			row;
	bool		isnull = true;
	bool		tokens = false;

	if (row_find_text(&row, "plan", "plan_pkey", Anum_plan_name, plan, sub->snapshot))
	{
		reading_note(sub, row_xmin(&row));
		tokens = DatumGetBool(row_get(&row, Anum_plan_api_tokens, &isnull));
	}
	row_close(&row);
	return !isnull && tokens;
}

/* An organisation; NULL where there is none. The result holds until the next reading begins. */
const OrgFacts *
facts_of_org(Reading *reading, const pg_uuid_t *id)
{
	OrgEntry   *entry = reading->remember ? hash_search(orgs, id, HASH_FIND, NULL) : NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	Row			row;
	OrgFacts   *facts = NULL;
	bool		found;

	if (entry != NULL && use_fact(reading, &entry->source))
		return &entry->facts;

	found = row_find_uuid(&row, "org", "org_pkey", Anum_org_id, id, sub.snapshot);
	if (found)
	{
		reading_note(&sub, row_xmin(&row));
		facts = palloc(sizeof(OrgFacts));
		facts->slug = row_text(&row, Anum_org_slug);
		facts->has_tokens = plan_has_tokens(&sub, row_text(&row, Anum_org_plan));
	}
	row_close(&row);
	if (keep_fact(reading, &sub, &source) && found)
	{
		text	   *slug = copy_text(memory, facts->slug);

		entry = hash_search(orgs, id, HASH_ENTER, NULL);
		entry->source = source;
		entry->facts.slug = slug;
		entry->facts.has_tokens = facts->has_tokens;
	}
	return facts;
}

/* A member as the owner of tokens; NULL where there is none. The result holds until the next reading begins. */
const OwnerFacts *
facts_of_owner(Reading *reading, const pg_uuid_t *id)
{
	OwnerEntry *entry = reading->remember ? hash_search(owners, id, HASH_FIND, NULL) : NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	Row			row;
	OwnerFacts *facts = NULL;
	bool		found;

	if (entry != NULL && use_fact(reading, &entry->source))
		return &entry->facts;

	found = row_find_uuid(&row, "member", "member_pkey", Anum_member_id, id, sub.snapshot);
	if (found)
	{
		reading_note(&sub, row_xmin(&row));
		facts = palloc(sizeof(OwnerFacts));
		facts->subject = row_text(&row, Anum_member_subject);
		facts->role = row_text(&row, Anum_member_role);
		facts->stopped = row_has(&row, Anum_member_removed_at) ? "owner removed" :
			row_has(&row, Anum_member_disabled_at) ? "owner disabled" : NULL;
	}
	row_close(&row);
	if (keep_fact(reading, &sub, &source) && found)
	{
		text	   *subject = copy_text(memory, facts->subject);
		text	   *role = copy_text(memory, facts->role);

		entry = hash_search(owners, id, HASH_ENTER, NULL);
		entry->source = source;
		entry->facts.subject = subject;
		entry->facts.role = role;
		entry->facts.stopped = facts->stopped;
	}
	return facts;
}

/* Every scope of the catalogue, by name. */
static ScopeList
all_scopes(Reading *sub)
{
	ScopeList	list = {0, NULL};
	int			room = 32;
	Relation	heap = walwarden_table_open("scope");
	Relation	index = walwarden_index_open("scope_pkey");
	SysScanDesc scan = systable_beginscan_ordered(heap, index, sub->snapshot, 0, NULL);
	HeapTuple	tuple;

	list.names = palloc(sizeof(text *) * room);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, Anum_scope_name, RelationGetDescr(heap), &isnull);

		if (list.n == room)
			list.names = repalloc(list.names, sizeof(text *) * (room *= 2));
		list.names[list.n++] = DatumGetTextPCopy(name);
		reading_note(sub, HeapTupleHeaderGetXmin(tuple->t_data));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return list;
}

/* What a role carries: its override, else its own, NULL for all. */
static ScopeList
read_role_scopes(Reading *sub, const text *role)
{
	ScopeList	list = {0, NULL};
	Row			row;
	bool		found;
	bool		isnull = true;
	Datum		scopes = (Datum) 0;

	if (row_find_text(&row, "role_override", "role_override_pkey", Anum_role_override_role, role, sub->snapshot))
	{
		reading_note(sub, row_xmin(&row));
		scopes = row_get(&row, Anum_role_override_scopes, &isnull);
	}
	if (!isnull)
		list = scope_list_from_array(scopes);
	row_close(&row);
	if (!isnull)
		return list;

	found = row_find_text(&row, "role", "role_pkey", Anum_role_name, role, sub->snapshot);
	if (found)
	{
		reading_note(sub, row_xmin(&row));
		scopes = row_get(&row, Anum_role_scopes, &isnull);
	}
	if (!isnull)
		list = scope_list_from_array(scopes);
	row_close(&row);
	if (found && isnull)
		return all_scopes(sub);
	return list;
}

/* The scopes that a role carries now. The result holds until the next reading begins. */
ScopeList
facts_role_scopes(Reading *reading, const text *role)
{
	RoleEntry  *entry = NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	ScopeList	scopes;
	char		name[sizeof(entry->name)];

	text_to_cstring_buffer(role, name, sizeof(name));
	if (reading->remember)
		entry = hash_search(roles, name, HASH_FIND, NULL);
	if (entry != NULL && use_fact(reading, &entry->source))
		return entry->scopes;

	scopes = read_role_scopes(&sub, role);
	if (keep_fact(reading, &sub, &source))
	{
		text	  **names = MemoryContextAlloc(memory, sizeof(text *) * Max(scopes.n, 1));

		for (int i = 0; i < scopes.n; i++)
			names[i] = copy_text(memory, scopes.names[i]);
		entry = hash_search(roles, name, HASH_ENTER, NULL);
		entry->source = source;
		entry->scopes.n = scopes.n;
		entry->scopes.names = names;
	}
	return scopes;
}
