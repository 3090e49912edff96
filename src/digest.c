/*
 * digest.c
 *		SHA-256, and lower-case hex.
 *
 * By OpenSSL 3 where the server is built with it, else by the server's own
 * interface, which makes a context anew for each digest.
 *
 * Invariant: a digest that cannot be computed is an error, never a result.
 */
#include "walwarden.h"

#include "common/cryptohash.h"
#include "common/sha2.h"

#ifdef USE_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define DIGEST_BY_OPENSSL
#endif
#endif

/*
 * The digest of parts, or false. What the implementation needs is made once per
 * backend: making it costs several times what a short digest does.
 */
#ifdef DIGEST_BY_OPENSSL
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

	/* a digest that was begun and given up is none: this begins anew */
	ok = sha256 != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, sha256, NULL) == 1;
	for (int i = 0; ok && i < nparts; i++)
		ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
	ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	if (!ok)
		ERR_clear_error();		/* the queue is the whole backend's */
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
				 errhint("The server's cryptographic library refused; see its configuration.")));
}

/* Two lower-case digits a byte, without a terminator. */
void
hex_lower(const uint8 *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 0xF];
	}
}
