/*
 * live_tokens.c
 *		How many live tokens an organisation has at most, so that its limit is checked
 *		without counting them each time. Live ones are neither revoked nor removed.
 *
 * A token begins to live with an entry of its own in the chain of its organisation. So there
 * are never more than the chain has entries; and after so many were counted, not more than
 * these and one for each entry since.
 *
 * Invariant: if the transaction that counted is rolled back, tokens that it had ended live
 * again, and its entries are gone. As many entries as it had appended, in whichever chain,
 * are therefore allowed for twice: once for what may live again, once for what the chain
 * loses.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"

#include "audit/chain_scan.h"
#include "audit/commit.h"
#include "base/export.h"
#include "base/tables.h"

#define ORGS 64					/* that a backend remembers */

/* What was counted in an organisation; its place is by a byte of its id, which is random. */
typedef struct Counted
{
	Oid			tokens;			/* the table: another one after DROP EXTENSION */
	pg_uuid_t	org_id;
	int64		most;			/* how many may live */
	int64		seq;			/* when the chain had that many entries */
} Counted;

static Counted counted[ORGS];

static Counted *
place_of(const pg_uuid_t *org_id)
{
	return &counted[org_id->data[0] % ORGS];
}

/* walwarden_internal.live_tokens_at_most(org_id): the caller has locked the organisation. */
PG_FUNCTION_INFO_V1(walwarden_live_tokens_at_most);
Datum
walwarden_live_tokens_at_most(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *org_id = PG_GETARG_UUID_P(0);
	const Counted *place = place_of(org_id);
	int64		seq = chain_last_seq(org_id);

	if (place->tokens == walwarden_relation_oid("token") &&
		memcmp(&place->org_id, org_id, sizeof(pg_uuid_t)) == 0 &&
		seq >= place->seq)
		PG_RETURN_INT64(Min(seq, place->most + seq - place->seq));
	PG_RETURN_INT64(seq);
}

/*
 * walwarden_internal.remember_live_tokens(org_id, n): n were counted. The caller has had the
 * organisation locked since before that.
 */
PG_FUNCTION_INFO_V1(walwarden_remember_live_tokens);
Datum
walwarden_remember_live_tokens(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *org_id = PG_GETARG_UUID_P(0);
	int64		appended = commit_appended();
	int64		seq = chain_last_seq(org_id);
	Counted    *place = place_of(org_id);

	place->tokens = walwarden_relation_oid("token");
	place->org_id = *org_id;
	place->most = PG_GETARG_INT64(1) + appended;
	place->seq = seq - appended;
	PG_RETURN_VOID();
}
