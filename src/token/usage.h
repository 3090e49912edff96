/*
 * usage.h
 *		Uses of tokens.
 */
#ifndef WALWARDEN_USAGE_H
#define WALWARDEN_USAGE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/latch.h"
#include "utils/uuid.h"

#include "token/network.h"
#include "token/refusal.h"

/* The values of a token by column credential.slot. */
#define USAGE_SLOTS 2
#define USAGE_NO_SLOT (-1)

/* How many tokens a standby may report at a time. */
#define USAGE_REPORT_TOKENS 1000

typedef struct UsedCredential
{
	pg_uuid_t	token_id;
	int			slot;			/* or USAGE_NO_SLOT */
	TimestampTz created_at;
} UsedCredential;

/* The uses of a token, as counted from somewhere or as they are to be recorded. What a use changes comes first. */
typedef struct TokenUse
{
	pg_uuid_t	token_id;		/* a hash key */
	TimestampTz at;				/* the last use; DT_NOBEGIN if none */
	TimestampTz slot_at[USAGE_SLOTS];	/* of the value in each slot, likewise */
	int64		uses;
	NetworkAddress from;		/* of the last use */
	bool		based;			/* the counts are those to be recorded */
	Refusal		refusal;		/* the last */
	TimestampTz refused_at;		/* DT_NOBEGIN if never */
	int64		refusals;
} TokenUse;

/* What is kept with a cached token, so that its next use costs less. 0 at first. */
typedef struct UsageMemo
{
	TimestampTz recorded;		/* without preload: the last use on record */
	struct UsageEntry *entry;	/* as far as known */
} UsageMemo;

extern Size usage_shmem_size(void);
extern void usage_shmem_init(void);
extern void usage_record(const UsedCredential *used, const NetworkAddress *from, UsageMemo *memo);
extern void usage_record_refusal(const pg_uuid_t *token_id, Refusal refusal);
extern void usage_set_launcher(Latch *latch);
extern bool usage_wants_flush(void);
extern int	usage_collect(int *position, TokenUse *uses, int max);
extern void usage_set_base(TokenUse *use, int64 uses, int64 refusals);
extern void usage_is_on_record(const TokenUse *use);
extern List *usage_dirty_databases(void);
extern void usage_forget(Oid dbid);
extern uint64 usage_lost(void);
extern bool usage_reports(void);
extern void usage_set_reports_fail(bool fail);
extern bool usage_reports_fail(void);
extern int	usage_take(int *position, TokenUse *uses, int max);
extern void usage_give_back(const TokenUse *use);

#endif							/* WALWARDEN_USAGE_H */
