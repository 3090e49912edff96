/*
 * cache.c
 *		A backend's cache of the tokens that it has authenticated. A hit costs one
 *		look-up in the backend's own memory.
 *
 * The protocol of base/invalidation.c ensures that a cached token is never stale. In
 * addition:
 *
 * - Each use first processes pending invalidation messages. An entry counts only if none
 *   of them was about it. The expiry is compared at each use.
 * - A miss stores its result only if invalidation_may_remember() allows it.
 * - Only active tokens are stored. A client that sends random values therefore neither
 *   fills the cache nor evicts entries.
 *
 * The cache holds at most CACHE_SIZE tokens; the clock algorithm chooses which to evict.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/digest.h"
#include "base/invalidation.h"
#include "token/cache.h"
#include "token/columns.h"
#include "token/credential.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/scope_list.h"
#include "token/status.h"

#define CACHE_SIZE 4096

typedef struct CacheEntry
{
	uint8		fingerprint[DIGEST_LEN];	/* hash key */
	ResolvedToken *token;
	uint64		generation;
	bool		used;			/* since the hand last passed it */
} CacheEntry;

static HTAB *entries = NULL;
static MemoryContext cache_context = NULL;
static CacheEntry *clock_face[CACHE_SIZE];	/* NULL: a free place */
static int	clock_hand = 0;
static int	clock_filled = 0;	/* places that were ever used */

/*
 * Whether an entry counts. Each change of a token's own row, or of its credentials, is of
 * its key; what else its status depends on is of no key.
 */
static inline bool
is_current(const CacheEntry *entry)
{
	return invalidation_is_current(entry->generation, &entry->token->status.token_id);
}

static uint32
fingerprint_hash(const void *key, Size keysize)
{
	uint32		hash;

	memcpy(&hash, key, sizeof(hash));
	return hash;
}

static CacheEntry *
find_entry(const uint8 *fingerprint)
{
	if (entries == NULL)
	{
		HASHCTL		control = {0};

		if (cache_context == NULL)
			cache_context = AllocSetContextCreate(TopMemoryContext, "walwarden tokens", ALLOCSET_DEFAULT_SIZES);
		control.keysize = DIGEST_LEN;
		control.entrysize = sizeof(CacheEntry);
		control.hash = fingerprint_hash;
		control.hcxt = cache_context;
		entries = hash_create("walwarden tokens", 256, &control, HASH_ELEM | HASH_FUNCTION | HASH_CONTEXT);
	}
	return hash_search(entries, fingerprint, HASH_FIND, NULL);
}

/* Remove the token from an entry. An identity may continue to use it. */
static void
drop_token(CacheEntry *entry)
{
	ResolvedToken *token = entry->token;

	entry->token = NULL;
	if (token == NULL)
		return;
	token->cached = false;
	if (token->pins == 0)
		pfree(token);
}

/* A free place on the clock: one that was never used, or the place of an evicted entry. */
static int
free_slot(void)
{
	CacheEntry *entry;

	if (clock_filled < CACHE_SIZE)
		return clock_filled++;
	for (;; clock_hand = (clock_hand + 1) % CACHE_SIZE)
	{
		entry = clock_face[clock_hand];
		if (entry == NULL || !entry->used || !is_current(entry))
			break;
		entry->used = false;
	}
	if (entry != NULL)
	{
		drop_token(entry);
		clock_face[clock_hand] = NULL;
		hash_search(entries, entry->fingerprint, HASH_REMOVE, NULL);
	}
	return clock_hand;
}

static void
store(const uint8 *fingerprint, ResolvedToken *token, uint64 generation)
{
	CacheEntry *entry = find_entry(fingerprint);

	if (entry != NULL)
		drop_token(entry);
	else
	{
		int			slot = free_slot();

		entry = hash_search(entries, fingerprint, HASH_ENTER, NULL);
		clock_face[slot] = entry;
	}
	entry->token = token;
	entry->generation = generation;
	entry->used = true;
	token->cached = true;
}

static Size
room_of(const text *value)
{
	return value == NULL ? 0 : MAXALIGN(VARSIZE_ANY(value));
}

static text *
put_text(char **at, const text *value)
{
	text	   *copy = (text *) *at;

	if (value == NULL)
		return NULL;
	memcpy(copy, value, VARSIZE_ANY(value));
	*at += room_of(value);
	return copy;
}

static Size
room_of_list(const ScopeList *list)
{
	Size		room = MAXALIGN(sizeof(text *) * list->n);

	for (int i = 0; i < list->n; i++)
		room += room_of(list->names[i]);
	return room;
}

static void
put_list(char **at, ScopeList *copy, const ScopeList *list)
{
	copy->n = list->n;
	copy->names = (text **) *at;
	*at += MAXALIGN(sizeof(text *) * list->n);
	for (int i = 0; i < list->n; i++)
		copy->names[i] = put_text(at, list->names[i]);
}

static Size
room_of_networks(const NetworkList *list)
{
	return MAXALIGN(sizeof(Network) * list->n);
}

static void
put_networks(char **at, NetworkList *copy, const NetworkList *list)
{
	copy->n = list->n;
	copy->networks = (Network *) *at;
	if (list->n > 0)
		memcpy(copy->networks, list->networks, sizeof(Network) * list->n);
	*at += room_of_networks(list);
}

/* A copy in one chunk of memory, which the caller frees with pfree(). */
static ResolvedToken *
flatten(const TokenStatus *status, MemoryContext context)
{
	Size		room = MAXALIGN(sizeof(ResolvedToken)) +
		room_of(status->org_slug) + room_of(status->kind) + room_of(status->role) + room_of(status->subject) +
		room_of_list(&status->scopes) + room_of_list(&status->effective) +
		room_of_networks(&status->networks);
	ResolvedToken *token = MemoryContextAllocZero(context, room);
	char	   *at = (char *) token + MAXALIGN(sizeof(ResolvedToken));

	token->status = *status;
	token->status.org_slug = put_text(&at, status->org_slug);
	token->status.kind = put_text(&at, status->kind);
	token->status.role = put_text(&at, status->role);
	token->status.subject = put_text(&at, status->subject);
	put_list(&at, &token->status.scopes, &status->scopes);
	put_list(&at, &token->status.effective, &status->effective);
	put_networks(&at, &token->status.networks, &status->networks);
	Assert(at == (char *) token + room);
	return token;
}

/* Look the token up in the tables; NULL, and the reason, if it is not active. */
static ResolvedToken *
resolve_anew(CredentialKind kind, const uint8 *fingerprint, Rejection *rejection)
{
	static MemoryContext scratch = NULL;
	MemoryContext save;
	TokenStatus status;
	uint64		generation;
	ResolvedToken *token;

	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext, "walwarden look-up", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(scratch);

	save = MemoryContextSwitchTo(scratch);
	token_status_of_credential(kind, fingerprint, &status, &generation);
	MemoryContextSwitchTo(save);
	if (status.state != TOKEN_ACTIVE)
	{
		rejection->refusal = status.refusal;
		rejection->is_known = status.kind != NULL && !status.is_uncommitted;
		rejection->token_id = status.token_id;
		return NULL;
	}
	token = flatten(&status, cache_context);
	token->kind = kind;
	if (invalidation_may_remember(generation, &status.token_id))
		store(fingerprint, token, generation);
	return token;
}

/*
 * The active token of a credential; NULL, and the reason, if there is none. The caller
 * releases it with cache_unpin(), and makes sure that no error can occur in between.
 */
ResolvedToken *
cache_resolve(CredentialKind kind, const uint8 *fingerprint, Rejection *rejection)
{
	CacheEntry *entry;
	ResolvedToken *token;

	AcceptInvalidationMessages();
	entry = find_entry(fingerprint);
	if (entry != NULL && is_current(entry) && entry->token->kind == kind)
	{
		token = entry->token;
		entry->used = true;
	}
	else
		token = resolve_anew(kind, fingerprint, rejection);
	if (token == NULL)
		return NULL;

	token->pins++;
	if (token->status.ends_at != DT_NOEND && token->status.ends_at <= GetCurrentTimestamp())
	{
		/* of a previous plaintext, the overlap may end before the token */
		bool		renewed = !token->status.has_expiry || token->status.ends_at < token->status.expires_at;

		return cache_reject(token, renewed ? REFUSAL_VALUE_RENEWED : REFUSAL_EXPIRED, rejection);
	}
	return token;
}

/* Release a token that is not accepted after all. Returns NULL. */
ResolvedToken *
cache_reject(ResolvedToken *token, Refusal refusal, Rejection *rejection)
{
	rejection->refusal = refusal;
	rejection->is_known = !token->status.is_uncommitted;
	rejection->token_id = token->status.token_id;
	cache_unpin(token);
	return NULL;
}

void
cache_unpin(ResolvedToken *token)
{
	Assert(token->pins > 0);
	if (--token->pins == 0 && !token->cached)
		pfree(token);
}

void
cache_init(void)
{
	invalidation_by_key("token", Anum_token_id);
	invalidation_by_key("credential", Anum_credential_token_id);
}
