/*
 * digest.c
 *		SHA-256.
 *
 * Computed by OpenSSL 3 if the server is built with it, otherwise through the
 * server's own interface, which creates a new context for each digest.
 *
 * Invariant: a digest that cannot be computed is an error, never a result.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"

#ifdef USE_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define DIGEST_BY_OPENSSL
#endif
#endif

#include "base/compat.h"
#include "base/digest.h"

/* Compute the digest of parts; false if that fails. */
#ifdef DIGEST_BY_OPENSSL
/*
 * OpenSSL's objects are created once per backend, because that costs several times as
 * much as a short digest.
 */
static bool
compute_sha256(const DigestPart *parts, int nparts, uint8 *digest)
{
	static EVP_MD *sha256 = NULL;
	static EVP_MD_CTX *ctx = NULL;
	bool		ok;

	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (ctx == NULL)
		ctx = EVP_MD_CTX_new();

	/* an earlier digest that failed half-way does no harm: this starts anew */
	ok = sha256 != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, sha256, NULL) == 1;
	for (int i = 0; ok && i < nparts; i++)
		ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
	ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	if (!ok)
		ERR_clear_error();		/* the whole backend shares the queue */
	return ok;
}
#else
static bool
compute_sha256(const DigestPart *parts, int nparts, uint8 *digest)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	bool		ok = ctx != NULL && pg_cryptohash_init(ctx) >= 0;

	for (int i = 0; ok && i < nparts; i++)
		ok = pg_cryptohash_update(ctx, parts[i].data, parts[i].len) >= 0;
	ok = ok && pg_cryptohash_final(ctx, digest, DIGEST_LEN) >= 0;
	if (ctx != NULL)
		pg_cryptohash_free(ctx);
	return ok;
}
#endif

/*
 * SHA-256 over the concatenation of parts. digest has room for DIGEST_LEN bytes.
 */
void
digest_sha256(const DigestPart *parts, int nparts, uint8 *digest)
{
	StaticAssertStmt(DIGEST_LEN == PG_SHA256_DIGEST_LENGTH, "length of SHA-256");

	if (!compute_sha256(parts, nparts, digest))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256 digest"),
				 errhint("Check the configuration of the server's cryptographic library.")));
}

/* A digest as a new value of type bytea. */
bytea *
digest_bytea(const uint8 *digest)
{
	bytea	   *result = palloc(VARHDRSZ + DIGEST_LEN);

	SET_VARSIZE(result, VARHDRSZ + DIGEST_LEN);
	memcpy(VARDATA(result), digest, DIGEST_LEN);
	return result;
}
