/*
 * limiter.c
 *		Rate limits of tokens, in shared memory, for all databases of the server.
 *
 * A token with a rate limit has a slot from its first use on. The slot counts the accepted
 * uses in a window of a minute by a clock that nobody can set. A window begins with the
 * first use after the last window has ended. There are walwarden.max_limited_tokens slots.
 * If none is free, those are freed whose token is revoked or removed, or whose window has
 * ended: a new slot would begin with the same state. No organisation takes them all: it gets
 * another one only while it has fewer than SHARE times as many as are free. By itself it gets
 * SHARE of SHARE + 1, the next one as much of what is left, and so on.
 *
 * Locking: the lock protects the tables of slots and organisations and the list of free
 * slots. The spinlock of a slot protects its content. A backend remembers the slot of a
 * token and checks under the spinlock whether it is still that token's, so that a use
 * takes only the spinlock.
 *
 * Invariants: in a window no more uses are accepted than the limit, whatever happens at the
 * same time. A slot is not freed within its window unless its token has ended for good:
 * a token that is disabled and enabled again goes on counting. Where a use cannot be
 * counted, it is refused.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/export.h"
#include "base/monotonic.h"
#include "base/settings.h"
#include "token/limiter.h"

#define WINDOW (60 * MONOTONIC_SECOND)
#define SHARE 3
#define TRANCHE "walwarden limiter"

typedef struct LimiterKey
{
	Oid			dbid;
	pg_uuid_t	token_id;
} LimiterKey;

typedef struct OrgKey
{
	Oid			dbid;
	pg_uuid_t	org_id;
} OrgKey;

struct LimiterSlot
{
	slock_t		mutex;
	bool		taken;
	bool		ended;			/* its token is revoked or removed */
	LimiterKey	key;
	OrgKey		org;			/* of the token */
	int			used;			/* in the window */
	int64		began;			/* the window */
	int			next_free;		/* if not taken; -1 at the end */
};

typedef struct LimiterEntry
{
	LimiterKey	key;			/* hash key */
	int			slot;
} LimiterEntry;

/* An organisation that has slots. */
typedef struct OrgEntry
{
	OrgKey		key;			/* hash key */
	int			held;			/* number of slots */
} OrgEntry;

typedef struct Limiter
{
	int			nslots;
	int			first_free;		/* -1 if none */
	int			nfree;
	int64		full_until;		/* no slot can be freed earlier */
	LimiterSlot slots[FLEXIBLE_ARRAY_MEMBER];
} Limiter;

static Limiter *limiter = NULL; /* NULL without preload */
static HTAB *entries;
static HTAB *orgs;
static LWLock *lock;

static Size
slots_size(void)
{
	return add_size(offsetof(Limiter, slots), mul_size(walwarden_max_limited_tokens, sizeof(LimiterSlot)));
}

void
limiter_shmem_request(void)
{
	RequestAddinShmemSpace(slots_size());
	RequestAddinShmemSpace(hash_estimate_size(walwarden_max_limited_tokens, sizeof(LimiterEntry)));
	RequestAddinShmemSpace(hash_estimate_size(walwarden_max_limited_tokens, sizeof(OrgEntry)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

/* Create or attach to the slots. The caller holds AddinShmemInitLock. */
void
limiter_shmem_init(void)
{
	HASHCTL		control = {0};
	bool		found;

	limiter = ShmemInitStruct("walwarden limiter", slots_size(), &found);
	if (!found)
	{
		limiter->nslots = walwarden_max_limited_tokens;
		limiter->first_free = 0;
		limiter->nfree = limiter->nslots;
		limiter->full_until = 0;
		for (int i = 0; i < limiter->nslots; i++)
		{
			LimiterSlot *slot = &limiter->slots[i];

			memset(slot, 0, sizeof(LimiterSlot));
			SpinLockInit(&slot->mutex);
			slot->next_free = i + 1 < limiter->nslots ? i + 1 : -1;
		}
	}
	control.keysize = sizeof(LimiterKey);
	control.entrysize = sizeof(LimiterEntry);
	entries = compat_shmem_hash("walwarden limiter entries", walwarden_max_limited_tokens, &control, HASH_ELEM | HASH_BLOBS);
	control.keysize = sizeof(OrgKey);
	control.entrysize = sizeof(OrgEntry);
	orgs = compat_shmem_hash("walwarden limiter organisations", walwarden_max_limited_tokens, &control, HASH_ELEM | HASH_BLOBS);
	lock = &GetNamedLWLockTranche(TRANCHE)->lock;
}

static inline bool
is_slot_of(const LimiterSlot *slot, const LimiterKey *key)
{
	return slot->taken && memcmp(&slot->key, key, sizeof(LimiterKey)) == 0;
}

/* Count a use, unless the window is full. The caller holds the spinlock of the slot. */
static bool
count_use(LimiterSlot *slot, int limit, RateState *rate)
{
	int64		now = monotonic_now();
	bool		accepted;

	if (now - slot->began >= WINDOW)
	{
		slot->began = now;
		slot->used = 0;
	}
	accepted = slot->used < limit;
	if (accepted)
		slot->used++;
	rate->limit = limit;
	rate->remaining = Max(limit - slot->used, 0);
	rate->reset = (int) ((slot->began + WINDOW - now + MONOTONIC_SECOND - 1) / MONOTONIC_SECOND);
	return accepted;
}

/* Make a slot free that is not taken any more. The caller holds the lock exclusively. */
static void
free_slot(int i)
{
	LimiterSlot *slot = &limiter->slots[i];
	OrgEntry   *org = hash_search(orgs, &slot->org, HASH_FIND, NULL);

	(void) hash_search(entries, &slot->key, HASH_REMOVE, NULL);
	if (org != NULL && --org->held == 0)
		(void) hash_search(orgs, &slot->org, HASH_REMOVE, NULL);
	slot->next_free = limiter->first_free;
	limiter->first_free = i;
	limiter->nfree++;
}

/* Free every slot whose token or window has ended. The caller holds the lock exclusively. */
static void
free_ended(void)
{
	int64		now = monotonic_now();
	int64		next_end = now + WINDOW;	/* of whoever comes now */

	if (now < limiter->full_until)
		return;
	for (int i = 0; i < limiter->nslots; i++)
	{
		LimiterSlot *slot = &limiter->slots[i];
		bool		over;

		if (!slot->taken)
			continue;
		SpinLockAcquire(&slot->mutex);
		over = slot->ended || now - slot->began >= WINDOW;
		if (over)
			slot->taken = false;	/* from here on nobody counts in it */
		else
			next_end = Min(next_end, slot->began + WINDOW);
		SpinLockRelease(&slot->mutex);
		if (over)
			free_slot(i);
	}
	limiter->full_until = next_end;
}

/* The slot of a token, or NULL. The caller holds the lock. */
static LimiterSlot *
find_slot(const LimiterKey *key)
{
	LimiterEntry *entry = hash_search(entries, key, HASH_FIND, NULL);

	return entry == NULL ? NULL : &limiter->slots[entry->slot];
}

/* Whether an organisation may take another slot. The caller holds the lock exclusively. */
static bool
is_within_share(const OrgKey *org)
{
	const OrgEntry *entry = hash_search(orgs, org, HASH_FIND, NULL);

	return (entry == NULL ? 0 : entry->held) < (int64) limiter->nfree * SHARE;
}

/* Give a token a slot; NULL if there is none. The caller holds the lock exclusively. */
static LimiterSlot *
take_slot(const LimiterKey *key, const pg_uuid_t *org_id)
{
	OrgKey		org = {.dbid = key->dbid,.org_id = *org_id};
	OrgEntry   *org_entry;
	LimiterEntry *entry;
	LimiterSlot *slot;
	bool		found;

	if (!is_within_share(&org))
	{
		free_ended();
		if (!is_within_share(&org))
			return NULL;
	}
	org_entry = hash_search(orgs, &org, HASH_ENTER_NULL, &found);
	if (org_entry == NULL)
		return NULL;
	if (!found)
		org_entry->held = 0;
	entry = hash_search(entries, key, HASH_ENTER_NULL, NULL);
	if (entry == NULL)
		return NULL;
	org_entry->held++;
	entry->slot = limiter->first_free;
	slot = &limiter->slots[entry->slot];
	limiter->first_free = slot->next_free;
	limiter->nfree--;
	SpinLockAcquire(&slot->mutex);
	slot->key = *key;
	slot->org = org;
	slot->used = 0;
	slot->began = monotonic_now();
	slot->taken = true;
	slot->ended = false;
	SpinLockRelease(&slot->mutex);
	return slot;
}

/*
 * Count a use of a token with a rate limit; REFUSAL_NONE if it is within the limit.
 * remembered: belongs to this file; NULL at first, and kept with the cached token. Raises
 * no error.
 */
Refusal
limiter_use(const pg_uuid_t *token_id, const pg_uuid_t *org_id, int limit, LimiterSlot **remembered, RateState *rate)
{
	LimiterSlot *slot = *remembered;
	LimiterKey	key;
	bool		accepted = false;
	bool		counted = false;

	if (limiter == NULL)
		return REFUSAL_NO_LIMITER;
	key.dbid = MyDatabaseId;
	key.token_id = *token_id;
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		counted = is_slot_of(slot, &key);
		if (counted)
			accepted = count_use(slot, limit, rate);
		SpinLockRelease(&slot->mutex);
	}
	if (!counted)
	{
		LWLockAcquire(lock, LW_SHARED);
		slot = find_slot(&key);
		if (slot == NULL)
		{
			LWLockRelease(lock);
			LWLockAcquire(lock, LW_EXCLUSIVE);
			slot = find_slot(&key);
			if (slot == NULL)
				slot = take_slot(&key, org_id);
		}
		if (slot != NULL)
		{
			/* the lock keeps the slot where it is */
			SpinLockAcquire(&slot->mutex);
			accepted = count_use(slot, limit, rate);
			SpinLockRelease(&slot->mutex);
		}
		LWLockRelease(lock);
		*remembered = slot;
	}
	if (slot == NULL)
		return REFUSAL_NO_LIMITER;
	return accepted ? REFUSAL_NONE : REFUSAL_RATE_LIMITED;
}

/* walwarden_internal.has_limiter() */
PG_FUNCTION_INFO_V1(walwarden_has_limiter);
Datum
walwarden_has_limiter(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(limiter != NULL);
}

/*
 * Tokens that this transaction ends, newest subtransaction first. In
 * TopTransactionContext.
 */
typedef struct Ended
{
	pg_uuid_t	token_id;
	int			nest_level;
	struct Ended *next;
} Ended;

static Ended *ended = NULL;

/* The counter of a token ends with this transaction, if it commits. */
void
limiter_release(const pg_uuid_t *token_id)
{
	Ended	   *token;

	if (limiter == NULL)
		return;
	token = MemoryContextAlloc(TopTransactionContext, sizeof(Ended));
	token->token_id = *token_id;
	token->nest_level = GetCurrentTransactionNestLevel();
	token->next = ended;
	ended = token;
}

/* walwarden_internal.release_limiter(token_id uuid) */
PG_FUNCTION_INFO_V1(walwarden_release_limiter);
Datum
walwarden_release_limiter(PG_FUNCTION_ARGS)
{
	limiter_release(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

static void
release(const pg_uuid_t *token_id)
{
	LimiterKey	key;
	LimiterSlot *slot;

	key.dbid = MyDatabaseId;
	key.token_id = *token_id;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(&key);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->ended = true;
		SpinLockRelease(&slot->mutex);
		limiter->full_until = 0;
	}
	LWLockRelease(lock);
}

static void
limiter_xact_callback(XactEvent event, void *arg)
{
	if (ended == NULL)
		return;
	if (event == XACT_EVENT_COMMIT)
		for (; ended != NULL; ended = ended->next)
			release(&ended->token_id);
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		ended = NULL;
}

static void
limiter_subxact_callback(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (ended != NULL && ended->nest_level >= level)
			ended = ended->next;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Ended *token = ended; token != NULL && token->nest_level >= level; token = token->next)
			token->nest_level = level - 1;
}

void
limiter_init(void)
{
	RegisterXactCallback(limiter_xact_callback, NULL);
	RegisterSubXactCallback(limiter_subxact_callback, NULL);
}
