/*
 * digest.c
 *		SHA-256 by the server's own implementation, and lower-case hex.
 *
 * Invariant: a digest that cannot be computed is an error, never a result.
 */
#include "walwarden.h"

#include "common/cryptohash.h"
#include "common/sha2.h"

/*
 * SHA-256 over the concatenation of parts. digest has room for DIGEST_LEN bytes.
 */
void
digest_sha256(const DigestPart *parts, int nparts, uint8 *digest)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	bool		ok;

	StaticAssertStmt(DIGEST_LEN == PG_SHA256_DIGEST_LENGTH, "length of SHA-256");

	ok = ctx != NULL && pg_cryptohash_init(ctx) >= 0;
	for (int i = 0; ok && i < nparts; i++)
		ok = pg_cryptohash_update(ctx, parts[i].data, parts[i].len) >= 0;
	ok = ok && pg_cryptohash_final(ctx, digest, DIGEST_LEN) >= 0;
	if (ctx != NULL)
		pg_cryptohash_free(ctx);
	if (!ok)
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
