/*
 * token.c
 *		Token texts: mint, recognise, fingerprint.
 *
 * Invariants: the plaintext of a new token exists in the result of
 * walwarden_mint() only, every buffer that held it is wiped; the fingerprint is
 * SHA-256 of the whole text.
 */
#include "walwarden.h"

#include "funcapi.h"
#include "utils/builtins.h"

#define TOKEN_PREFIX "wal_"
#define TOKEN_PREFIX_LEN 4
#define TOKEN_RANDOM_LEN 32

static inline bool
is_lower_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* True for the one shape that a bearer token has. */
bool
token_is_well_formed(const char *text, size_t len)
{
	if (len != TOKEN_TEXT_LEN || memcmp(text, TOKEN_PREFIX, TOKEN_PREFIX_LEN) != 0)
		return false;
	for (size_t i = TOKEN_PREFIX_LEN; i < TOKEN_TEXT_LEN; i++)
		if (!is_lower_hex(text[i]))
			return false;
	return true;
}

/* True when a token stands anywhere in text, which then must not be stored. */
bool
text_contains_token(const char *text, size_t len)
{
	const char *end = text + len;

	for (const char *p = text; (size_t) (end - p) >= TOKEN_TEXT_LEN; p++)
	{
		p = memchr(p, TOKEN_PREFIX[0], (end - p) - TOKEN_TEXT_LEN + 1);
		if (p == NULL)
			return false;
		if (token_is_well_formed(p, TOKEN_TEXT_LEN))
			return true;
	}
	return false;
}

void
token_fingerprint(const char *text, size_t len, uint8 *fingerprint)
{
	DigestPart	part = {text, len};

	digest_sha256(&part, 1, fingerprint);
}

/*
 * walwarden._mint(OUT token text, OUT fingerprint bytea)
 *
 * The caller hands token to the client and to nobody else.
 */
PG_FUNCTION_INFO_V1(walwarden_mint);
Datum
walwarden_mint(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	uint8		random[TOKEN_RANDOM_LEN];
	char		token[TOKEN_TEXT_LEN];
	text	   *token_text;
	bytea	   *fingerprint;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes for a token"),
				 errhint("The system's source of randomness is not ready; try again.")));
	memcpy(token, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
	hex_lower(random, sizeof(random), token + TOKEN_PREFIX_LEN);
	explicit_bzero(random, sizeof(random));

	fingerprint = palloc(VARHDRSZ + DIGEST_LEN);
	SET_VARSIZE(fingerprint, VARHDRSZ + DIGEST_LEN);
	token_fingerprint(token, sizeof(token), (uint8 *) VARDATA(fingerprint));

	token_text = cstring_to_text_with_len(token, sizeof(token));
	explicit_bzero(token, sizeof(token));
	values[0] = PointerGetDatum(token_text);
	values[1] = PointerGetDatum(fingerprint);
	tuple = heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls);
	explicit_bzero(VARDATA(token_text), TOKEN_TEXT_LEN);

	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}
