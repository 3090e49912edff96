/*
 * noop.c
 *		What the extension is compared with, and nothing that it uses: built by
 *		bench/run into its temporary directory.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "utils/array.h"

PG_MODULE_MAGIC;

/* The least that a function in a policy can do. */
PG_FUNCTION_INFO_V1(bench_true);
Datum
bench_true(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/*
 * Milliseconds that SHA-256 takes over each text of an array, with 64 bytes before
 * it, as an entry is hashed. The texts are in memory, the context is kept, and
 * nothing but hashing is timed: no other SHA-256 on this machine is cheaper to call.
 */
PG_FUNCTION_INFO_V1(bench_sha256_ms);
Datum
bench_sha256_ms(PG_FUNCTION_ARGS)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_MD	   *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	unsigned char prefix[64] = {0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	instr_time	start;
	instr_time	end;
	Datum	   *texts;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &n);
	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < n; i++)
	{
		text	   *t = DatumGetTextPP(texts[i]);

		EVP_DigestInit_ex(ctx, sha256, NULL);
		EVP_DigestUpdate(ctx, prefix, sizeof(prefix));
		EVP_DigestUpdate(ctx, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
		EVP_DigestFinal_ex(ctx, digest, NULL);
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	EVP_MD_free(sha256);
	EVP_MD_CTX_free(ctx);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(end));
}
