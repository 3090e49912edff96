/*
 * stat.c
 *		Counters of authentications by outcome and reason, in shared memory, for all
 *		databases together, since server start.
 *
 * Locking: none. Each counter exists in each of STRIPES stripes, and a process uses only
 * its own stripe, so that processes do not contend for one cache line. A reader adds up
 * the stripes; the sums of different counters are from slightly different moments.
 *
 * Invariants: each attempt is counted once, by identity.c or, if the request does not
 * present exactly one credential, by rest/request.c. Without preload nothing is counted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/export.h"
#include "token/refusal.h"
#include "token/stat.h"

#define STRIPES 32

/* Whole cache lines, so that stripes do not share one. */
typedef union Stripe
{
	pg_atomic_uint64 counts[REFUSALS];
	char		padding[TYPEALIGN(PG_CACHE_LINE_SIZE, REFUSALS * sizeof(pg_atomic_uint64))];
} Stripe;

static Stripe *stripes = NULL;	/* NULL without preload */

Size
stat_shmem_size(void)
{
	return STRIPES * sizeof(Stripe);
}

/* Create or attach to the counters. The caller holds AddinShmemInitLock. */
void
stat_shmem_init(void)
{
	bool		found;

	stripes = ShmemInitStruct("walwarden statistics", STRIPES * sizeof(Stripe), &found);
	if (found)
		return;
	for (int i = 0; i < STRIPES; i++)
		for (int j = 0; j < REFUSALS; j++)
			pg_atomic_init_u64(&stripes[i].counts[j], 0);
}

/* Count an attempt to authenticate, by the reason of its refusal, if any. */
void
stat_count(Refusal refusal)
{
	if (stripes != NULL)
		pg_atomic_fetch_add_u64(&stripes[MyProcPid % STRIPES].counts[refusal], 1);
}

static void
put_row(ReturnSetInfo *rsinfo, const char *outcome, Refusal refusal)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	uint64		sum = 0;

	for (int i = 0; i < STRIPES; i++)
		sum += pg_atomic_read_u64(&stripes[i].counts[refusal]);
	values[0] = CStringGetTextDatum(outcome);
	values[1] = CStringGetTextDatum(refusal_name(refusal));
	values[2] = Int64GetDatum((int64) sum);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * walwarden_internal.auth_counters() returns setof (outcome text, reason text, count bigint)
 *
 * One row for each reason, including those with a count of 0; no rows without preload.
 */
PG_FUNCTION_INFO_V1(walwarden_auth_counters);
Datum
walwarden_auth_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (stripes == NULL)
		return (Datum) 0;
	put_row(rsinfo, "accepted", REFUSAL_NONE);
	for (int i = REFUSAL_NONE + 1; i < REFUSALS; i++)
		put_row(rsinfo, "refused", (Refusal) i);
	return (Datum) 0;
}
