/*
 * stat.c
 *		How many authentications were accepted and refused, and why: counters in
 *		shared memory, of all databases together, since the server's start.
 *
 * Locking: none. Each counter exists once in each of STRIPES stripes, and a process
 * adds to those of its stripe, so that the accepted ones of many processes do not
 * meet in one cache line. A reader adds the stripes up; sums of different
 * counters are of slightly different moments.
 *
 * Invariants: one attempt is counted once, by identity.c or, where a request
 * presents no single credential, by rest.c. Without preload nothing is counted.
 * The reasons of standing.c all stand in refusals[]; one that is missing there is
 * counted as other, which a test looks for.
 */
#include "walwarden.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/builtins.h"

#define STRIPES 32

/* Why an attempt was refused; the last one is for every other reason. */
static const char *const refusals[] = {
	"malformed",
	"unknown",
	"removed",
	"revoked",
	"expired",
	"value renewed",
	"disabled",
	"plan without API tokens",
	"owner disabled",
	"owner removed",
	"owner missing",
	"other",
};

#define OTHER ((int) lengthof(refusals) - 1)
#define ACCEPTED ((int) lengthof(refusals))

/* Whole cache lines, so that stripes do not share one. */
typedef union Stripe
{
	pg_atomic_uint64 counts[lengthof(refusals) + 1];
	char		padding[TYPEALIGN(PG_CACHE_LINE_SIZE, (lengthof(refusals) + 1) * sizeof(pg_atomic_uint64))];
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
		for (int j = 0; j <= ACCEPTED; j++)
			pg_atomic_init_u64(&stripes[i].counts[j], 0);
}

/* Count an attempt to authenticate. refusal: why it was refused; NULL when it was not. */
void
stat_count(const char *refusal)
{
	int			i = ACCEPTED;

	if (stripes == NULL)
		return;
	if (refusal != NULL)
		for (i = 0; i < OTHER && strcmp(refusals[i], refusal) != 0; i++)
			;
	pg_atomic_fetch_add_u64(&stripes[MyProcPid % STRIPES].counts[i], 1);
}

static void
put_row(ReturnSetInfo *rsinfo, const char *outcome, const char *reason, int counter)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	uint64		sum = 0;

	for (int i = 0; i < STRIPES; i++)
		sum += pg_atomic_read_u64(&stripes[i].counts[counter]);
	values[0] = CStringGetTextDatum(outcome);
	values[1] = CStringGetTextDatum(reason);
	values[2] = Int64GetDatum((int64) sum);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * walwarden._auth_counters() returns setof (outcome text, reason text, count bigint)
 *
 * One row for each reason, those that never occurred too; none without preload.
 */
PG_FUNCTION_INFO_V1(walwarden_auth_counters);
Datum
walwarden_auth_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (stripes == NULL)
		return (Datum) 0;
	put_row(rsinfo, "accepted", "active", ACCEPTED);
	for (int i = 0; i <= OTHER; i++)
		put_row(rsinfo, "refused", refusals[i], i);
	return (Datum) 0;
}
