/*
 * mint.c
 *		Random values: the texts of new tokens, and the salts of members.
 *
 * Invariants: the plaintext of a new token exists only in the result of
 * walwarden_mint(); every other buffer that held it is wiped.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/digest.h"
#include "base/export.h"
#include "common/hex.h"
#include "common/syntax.h"
#include "token/credential.h"

#define TOKEN_RANDOM_LEN 32
#define SALT_LEN 32

static void
fill_random(void *buffer, size_t len)
{
	if (!pg_strong_random(buffer, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes"),
				 errhint("Try again. The system's source of randomness is not ready.")));
}

/*
 * walwarden_internal.mint(OUT token text, OUT fingerprint bytea)
 *
 * The caller returns token only to the client.
 */
PG_FUNCTION_INFO_V1(walwarden_mint);
Datum
walwarden_mint(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	uint8		random[TOKEN_RANDOM_LEN];
	char		token[TOKEN_TEXT_LEN];
	text	   *token_text;
	uint8		fingerprint[DIGEST_LEN];
	Datum		values[2];
	bool		nulls[2] = {false, false};
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	fill_random(random, sizeof(random));
	memcpy(token, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
	hex_lower(random, sizeof(random), token + TOKEN_PREFIX_LEN);
	explicit_bzero(random, sizeof(random));

	bearer_fingerprint(token, sizeof(token), fingerprint);

	token_text = cstring_to_text_with_len(token, sizeof(token));
	explicit_bzero(token, sizeof(token));
	values[0] = PointerGetDatum(token_text);
	values[1] = PointerGetDatum(digest_bytea(fingerprint));
	tuple = heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls);
	explicit_bzero(VARDATA(token_text), TOKEN_TEXT_LEN);

	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* walwarden_internal.salt() */
PG_FUNCTION_INFO_V1(walwarden_salt);
Datum
walwarden_salt(PG_FUNCTION_ARGS)
{
	bytea	   *salt = palloc(VARHDRSZ + SALT_LEN);

	SET_VARSIZE(salt, VARHDRSZ + SALT_LEN);
	fill_random(VARDATA(salt), SALT_LEN);
	PG_RETURN_BYTEA_P(salt);
}
