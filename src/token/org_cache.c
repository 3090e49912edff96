/*
 * org_cache.c
 *		A cache of the data that tokens share: organisations, owners, and the scopes of
 *		roles.
 *
 * With these cached, the look-up of a token that is not in the token cache reads only
 * the row of its credential. The protocol of base/invalidation.c applies: entries are
 * dropped at the next change that is not of one token alone, and stored only if there was
 * none since before the snapshot.
 *
 * There is one more rule, because an entry comes from an earlier snapshot than the rows
 * that it is combined with, but all data of a decision must have been valid at the same
 * moment. Every row version in the decision, cached or just read, must be older than the
 * snapshot of every entry that was used. Then it was the current version at the time of
 * the oldest of these snapshots. Otherwise reading_consistent() returns false, and the
 * caller reads everything again.
 *
 * A row version that VACUUM has frozen counts as older than any entry, although it may be
 * younger than one. That does no harm. The entry is current, unless a commit changed it
 * whose message has not arrived. Such a commit has not returned to its client, or did so
 * while this call was running, and its change need not be in force yet.
 *
 * A listing has a cache of its own, of what its snapshot sees. It needs none of these rules,
 * but is used with that snapshot alone.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/varlena.h"

#include "base/export.h"
#include "base/invalidation.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "token/columns.h"
#include "token/org_cache.h"
#include "token/refusal.h"
#include "token/scope_list.h"

#define ORG_CACHE_MAX 4096		/* of each kind */
#define ORG_CACHE_MAX_AGE (10 * 60 * USECS_PER_SEC) /* before xids wrap around */

/* The origin of an entry. */
typedef struct Source
{
	TransactionId newest;		/* of the row versions that it was read from */
	TransactionId as_of;		/* xmin of the snapshot that read it */
} Source;

typedef struct OrgEntry
{
	pg_uuid_t	id;				/* hash key */
	Source		source;
	CachedOrg	org;
} OrgEntry;

typedef struct OwnerEntry
{
	pg_uuid_t	id;				/* hash key */
	Source		source;
	CachedOwner owner;
} OwnerEntry;

typedef struct RoleEntry
{
	char		name[64];		/* hash key */
	Source		source;
	ScopeList	scopes;
} RoleEntry;

/*
 * What a snapshot sees. Changes of the own transaction become visible by a later command, and
 * disappear with the part of it that made them.
 */
typedef struct Moment
{
	SnapshotData snapshot;
	TransactionId xid;			/* of the transaction, if it has one */
	SubTransactionId subid;		/* of the part of it that is running */
} Moment;

struct OrgCache
{
	MemoryContext memory;		/* of the entries, and of this */
	HTAB	   *orgs;
	HTAB	   *owners;
	HTAB	   *roles;
	uint64		generation;		/* of remembered */
	TimestampTz since;			/* of remembered */
	Moment	   *moment;			/* of a cache of one snapshot; otherwise NULL */
};

static OrgCache *remembered = NULL;

static HTAB *
make_table(MemoryContext context, const char *name, Size keysize, Size entrysize, int flags)
{
	HASHCTL		control = {0};

	control.keysize = keysize;
	control.entrysize = entrysize;
	control.hcxt = context;
	return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

/* A cache below parent, to which make_tables() adds the tables. */
static OrgCache *
make_cache(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "walwarden org cache", ALLOCSET_DEFAULT_SIZES);
	OrgCache   *cache = MemoryContextAllocZero(context, sizeof(OrgCache));

	cache->memory = context;
	cache->generation = invalidation_generation;
	cache->since = GetCurrentTimestamp();
	return cache;
}

static void
make_tables(OrgCache *cache)
{
	cache->owners = make_table(cache->memory, "walwarden owners", sizeof(pg_uuid_t), sizeof(OwnerEntry), HASH_BLOBS);
	cache->roles = make_table(cache->memory, "walwarden roles", sizeof(((RoleEntry *) 0)->name), sizeof(RoleEntry), HASH_STRINGS);
	cache->orgs = make_table(cache->memory, "walwarden orgs", sizeof(pg_uuid_t), sizeof(OrgEntry), HASH_BLOBS);
}

static bool
is_full(const OrgCache *cache)
{
	return cache->orgs != NULL &&
		(hash_get_num_entries(cache->orgs) >= ORG_CACHE_MAX || hash_get_num_entries(cache->owners) >= ORG_CACHE_MAX);
}

static void
drop_cache(OrgCache **cache)
{
	if (*cache != NULL)
		MemoryContextDelete((*cache)->memory);
	*cache = NULL;
}

/*
 * Begin a reading for one decision. remember: whether cached entries may be used, and made;
 * then generation is that of invalidation_begin(), called before the snapshot was taken.
 */
void
reading_begin(Reading *reading, Snapshot snapshot, uint64 generation, bool remember)
{
	reading->snapshot = snapshot;
	reading->generation = generation;
	reading->cache = NULL;
	reading->newest = FrozenTransactionId;
	reading->oldest_entry = InvalidTransactionId;
	if (!remember)
		return;
	if (remembered != NULL &&
		(!invalidation_is_current(remembered->generation, NULL) ||
		 GetCurrentTimestamp() - remembered->since > ORG_CACHE_MAX_AGE ||
		 is_full(remembered)))
		drop_cache(&remembered);
	if (remembered == NULL)
	{
		OrgCache   *cache = make_cache(CurrentMemoryContext);

		make_tables(cache);
		MemoryContextSetParent(cache->memory, TopMemoryContext);
		remembered = cache;
	}
	reading->cache = remembered;
}

/* Begin anew: what is remembered is older than a row that it was to be combined with. */
void
org_cache_forget(void)
{
	drop_cache(&remembered);
}

/* The copy of a snapshot that does not list all subtransactions lists none, whatever it says. */
static Size
subxip_size_of(const SnapshotData *snapshot)
{
	if (snapshot->suboverflowed && !snapshot->takenDuringRecovery)
		return 0;
	return snapshot->subxcnt * sizeof(TransactionId);
}

static void
set_moment(OrgCache *cache, Snapshot snapshot)
{
	Size		xip_size = snapshot->xcnt * sizeof(TransactionId);
	Size		subxip_size = subxip_size_of(snapshot);
	Moment	   *moment = MemoryContextAlloc(cache->memory, sizeof(Moment) + xip_size + subxip_size);

	moment->snapshot = *snapshot;
	moment->snapshot.xip = (TransactionId *) (moment + 1);
	moment->snapshot.subxip = moment->snapshot.xip + snapshot->xcnt;
	if (xip_size > 0)
		memcpy(moment->snapshot.xip, snapshot->xip, xip_size);
	if (subxip_size > 0)
		memcpy(moment->snapshot.subxip, snapshot->subxip, subxip_size);
	moment->xid = GetTopTransactionIdIfAny();
	moment->subid = GetCurrentSubTransactionId();
	cache->moment = moment;
}

static bool
same_bytes(const void *a, const void *b, Size size)
{
	return size == 0 || memcmp(a, b, size) == 0;
}

/* Whether a snapshot sees the same now. */
static bool
is_moment(const Moment *moment, Snapshot snapshot)
{
	const SnapshotData *seen = &moment->snapshot;

	return moment->xid == GetTopTransactionIdIfAny() && moment->subid == GetCurrentSubTransactionId() &&
		seen->curcid == snapshot->curcid && seen->xmin == snapshot->xmin && seen->xmax == snapshot->xmax &&
		seen->suboverflowed == snapshot->suboverflowed && seen->takenDuringRecovery == snapshot->takenDuringRecovery &&
		seen->xcnt == snapshot->xcnt && seen->subxcnt == snapshot->subxcnt &&
		same_bytes(seen->xip, snapshot->xip, seen->xcnt * sizeof(TransactionId)) &&
		same_bytes(seen->subxip, snapshot->subxip, subxip_size_of(seen));
}

/*
 * Begin one of many readings, most likely with the same snapshot, which share a cache from
 * the second on. *cache is NULL at first. It is in context, and goes with it.
 */
void
reading_begin_shared(Reading *reading, Snapshot snapshot, OrgCache **cache, MemoryContext context)
{
	reading_begin(reading, snapshot, invalidation_generation, false);
	if (*cache != NULL && (!is_moment((*cache)->moment, snapshot) || is_full(*cache)))
		drop_cache(cache);
	if (*cache == NULL)
	{
		OrgCache   *made = make_cache(context);

		set_moment(made, snapshot);
		*cache = made;
		return;
	}
	if ((*cache)->orgs == NULL)
		make_tables(*cache);
	reading->cache = *cache;
}

/* Record that a row version is part of the decision. */
void
reading_record(Reading *reading, TransactionId xmin)
{
	if (TransactionIdFollows(xmin, reading->newest))
		reading->newest = xmin;
}

/* Whether all data of the decision was valid at the same moment. */
bool
reading_consistent(const Reading *reading)
{
	return !TransactionIdIsValid(reading->oldest_entry) ||
		TransactionIdPrecedes(reading->newest, reading->oldest_entry);
}

/* Whether an entry can be used; if so, it becomes part of the decision. */
static bool
use_entry(Reading *reading, const Source *source)
{
	if (reading->cache->moment == NULL && !invalidation_is_current(reading->cache->generation, NULL))
		return false;
	reading_record(reading, source->newest);
	if (!TransactionIdIsValid(reading->oldest_entry) || TransactionIdPrecedes(source->as_of, reading->oldest_entry))
		reading->oldest_entry = source->as_of;
	return true;
}

/*
 * Whether the data just read may be cached. sub: the reading of this entry alone. Its
 * row versions become part of the decision of reading.
 */
static bool
may_keep_entry(Reading *reading, const Reading *sub, Source *source)
{
	reading_record(reading, sub->newest);
	source->newest = sub->newest;
	source->as_of = sub->snapshot->xmin;
	if (reading->cache == NULL)
		return false;
	return reading->cache->moment != NULL ||
		(invalidation_is_current(reading->cache->generation, NULL) && invalidation_may_remember(reading->generation, NULL));
}

/* A separate reading, for one entry of a decision. */
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
		reading_record(sub, row_xmin(&row));
		tokens = DatumGetBool(row_get(&row, Anum_plan_api_tokens, &isnull));
	}
	row_close(&row);
	return !isnull && tokens;
}

/* An organisation, or NULL if it does not exist. The result is valid until the next reading begins. */
const CachedOrg *
org_cache_org(Reading *reading, const pg_uuid_t *id)
{
	OrgEntry   *entry = reading->cache != NULL ? hash_search(reading->cache->orgs, id, HASH_FIND, NULL) : NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	Row			row;
	CachedOrg  *org = NULL;
	bool		found;

	if (entry != NULL && use_entry(reading, &entry->source))
		return &entry->org;

	found = row_find_uuid(&row, "org", "org_pkey", Anum_org_id, id, sub.snapshot);
	if (found)
	{
		reading_record(&sub, row_xmin(&row));
		org = palloc(sizeof(CachedOrg));
		org->slug = row_text(&row, Anum_org_slug);
		org->closed = row_has(&row, Anum_org_closed_at);
		org->has_tokens = plan_has_tokens(&sub, row_text(&row, Anum_org_plan));
	}
	row_close(&row);
	if (may_keep_entry(reading, &sub, &source) && found)
	{
		text	   *slug = copy_text(reading->cache->memory, org->slug);

		entry = hash_search(reading->cache->orgs, id, HASH_ENTER, NULL);
		entry->source = source;
		entry->org.slug = slug;
		entry->org.closed = org->closed;
		entry->org.has_tokens = org->has_tokens;
	}
	return org;
}

/* Whether a role has a capability. Roles are built in; only a new version changes them. */
bool
role_is_capable(const text *role, const char *capability, Snapshot snapshot)
{
	Row			row;
	bool		capable = false;

	if (row_find_text(&row, "role", "role_pkey", Anum_role_name, role, snapshot))
	{
		ScopeList	capabilities = scope_list_from_row(&row, Anum_role_capabilities);

		capable = scope_list_has(&capabilities, capability, strlen(capability));
	}
	row_close(&row);
	return capable;
}

/* walwarden_internal.is_capable(role text, capability text); false for no role */
PG_FUNCTION_INFO_V1(walwarden_is_capable);
Datum
walwarden_is_capable(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && !PG_ARGISNULL(1) &&
				   role_is_capable(PG_GETARG_TEXT_PP(0), text_to_cstring(PG_GETARG_TEXT_PP(1)), GetActiveSnapshot()));
}

/* A member as an owner of tokens, or NULL if it does not exist. The result is valid until the next reading begins. */
const CachedOwner *
org_cache_owner(Reading *reading, const pg_uuid_t *id)
{
	OwnerEntry *entry = reading->cache != NULL ? hash_search(reading->cache->owners, id, HASH_FIND, NULL) : NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	Row			row;
	CachedOwner *owner = NULL;
	bool		found;

	if (entry != NULL && use_entry(reading, &entry->source))
		return &entry->owner;

	found = row_find_uuid(&row, "member", "member_pkey", Anum_member_id, id, sub.snapshot);
	if (found)
	{
		reading_record(&sub, row_xmin(&row));
		owner = palloc(sizeof(CachedOwner));
		owner->subject = row_text(&row, Anum_member_subject);
		owner->role = row_text(&row, Anum_member_role);
		owner->has_nodes = role_is_capable(owner->role, "own_nodes", sub.snapshot);
		owner->refusal = row_has(&row, Anum_member_removed_at) ? REFUSAL_OWNER_REMOVED :
			row_has(&row, Anum_member_disabled_at) ? REFUSAL_OWNER_DISABLED : REFUSAL_NONE;
	}
	row_close(&row);
	if (may_keep_entry(reading, &sub, &source) && found)
	{
		text	   *subject = copy_text(reading->cache->memory, owner->subject);
		text	   *role = copy_text(reading->cache->memory, owner->role);

		entry = hash_search(reading->cache->owners, id, HASH_ENTER, NULL);
		entry->source = source;
		entry->owner.subject = subject;
		entry->owner.role = role;
		entry->owner.has_nodes = owner->has_nodes;
		entry->owner.refusal = owner->refusal;
	}
	return owner;
}

/* walwarden_internal.member_name(id text) */
PG_FUNCTION_INFO_V1(walwarden_member_name);
Datum
walwarden_member_name(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	char		lower[UUID_TEXT_LEN + 1] = {0};
	const CachedOwner *owner;
	Reading		reading;

	if (!uuid_is_well_formed(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), lower))
		PG_RETURN_NULL();
	reading_begin_shared(&reading, GetActiveSnapshot(), (OrgCache **) &fcinfo->flinfo->fn_extra, fcinfo->flinfo->fn_mcxt);
	owner = org_cache_owner(&reading, DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(lower))));
	if (owner == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(owner->subject == NULL ? cstring_to_text("erased") : copy_text(CurrentMemoryContext, owner->subject));
}

static int
compare_names(const void *a, const void *b)
{
	text	   *left = *(text *const *) a;
	text	   *right = *(text *const *) b;

	return varstr_cmp(VARDATA_ANY(left), VARSIZE_ANY_EXHDR(left), VARDATA_ANY(right), VARSIZE_ANY_EXHDR(right), C_COLLATION_OID);
}

/* All scopes of the catalogue, ordered by name. */
static ScopeList
all_scopes(Reading *sub)
{
	ScopeList	list = {0, NULL};
	int			room = 32;
	Relation	heap = walwarden_table_open("scope");
	SysScanDesc scan = systable_beginscan(heap, InvalidOid, false, sub->snapshot, 0, NULL);
	HeapTuple	tuple;

	list.names = palloc(sizeof(text *) * room);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, Anum_scope_name, RelationGetDescr(heap), &isnull);

		if (list.n == room)
			list.names = repalloc(list.names, sizeof(text *) * (room *= 2));
		if (!isnull)
			list.names[list.n++] = DatumGetTextPCopy(name);
		reading_record(sub, HeapTupleHeaderGetXmin(tuple->t_data));
	}
	systable_endscan(scan);
	table_close(heap, AccessShareLock);
	qsort(list.names, list.n, sizeof(text *), compare_names);
	return list;
}

/* The scopes of a role: its override, otherwise its own scopes; NULL stands for all scopes. */
static ScopeList
read_role_scopes(Reading *sub, const text *role)
{
	ScopeList	list = {0, NULL};
	Row			row;
	bool		overridden = false;
	bool		all = false;

	if (row_find_text(&row, "role_override", "role_override_pkey", Anum_role_override_role, role, sub->snapshot))
	{
		reading_record(sub, row_xmin(&row));
		overridden = row_has(&row, Anum_role_override_scopes);
		list = scope_list_from_row(&row, Anum_role_override_scopes);
	}
	row_close(&row);
	if (overridden)
		return list;

	if (row_find_text(&row, "role", "role_pkey", Anum_role_name, role, sub->snapshot))
	{
		reading_record(sub, row_xmin(&row));
		all = !row_has(&row, Anum_role_scopes);
		list = scope_list_from_row(&row, Anum_role_scopes);
	}
	row_close(&row);
	return all ? all_scopes(sub) : list;
}

/* The scopes that a role carries now; none for no role. The result is valid until the next reading begins. */
ScopeList
org_cache_role_scopes(Reading *reading, const text *role)
{
	RoleEntry  *entry = NULL;
	Reading		sub = sub_reading(reading);
	Source		source;
	ScopeList	scopes;
	ScopeList	none = {0, NULL};
	char		name[sizeof(entry->name)];

	if (role == NULL)
		return none;
	text_to_cstring_buffer(role, name, sizeof(name));
	if (reading->cache != NULL)
		entry = hash_search(reading->cache->roles, name, HASH_FIND, NULL);
	if (entry != NULL && use_entry(reading, &entry->source))
		return entry->scopes;

	scopes = read_role_scopes(&sub, role);
	if (may_keep_entry(reading, &sub, &source))
	{
		text	  **names = MemoryContextAlloc(reading->cache->memory, sizeof(text *) * Max(scopes.n, 1));

		for (int i = 0; i < scopes.n; i++)
			names[i] = copy_text(reading->cache->memory, scopes.names[i]);
		entry = hash_search(reading->cache->roles, name, HASH_ENTER, NULL);
		entry->source = source;
		entry->scopes.n = scopes.n;
		entry->scopes.names = names;
	}
	return scopes;
}

/* walwarden_internal.plan_has_tokens(plan text) */
PG_FUNCTION_INFO_V1(walwarden_plan_has_tokens);
Datum
walwarden_plan_has_tokens(PG_FUNCTION_ARGS)
{
	Reading		reading;

	reading_begin(&reading, GetActiveSnapshot(), invalidation_generation, false);
	PG_RETURN_BOOL(plan_has_tokens(&reading, PG_GETARG_TEXT_PP(0)));
}
