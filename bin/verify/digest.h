/*
 * digest.h
 *		SHA-256, by OpenSSL. None of these returns without a digest.
 */
#ifndef VERIFY_DIGEST_H
#define VERIFY_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

/* A part of what is digested. */
typedef struct Part
{
	const void *data;
	size_t		len;
} Part;

extern void digest_parts(const Part *parts, size_t nparts, uint8_t *digest);

/* Of one part: a MerkleDigest. */
extern void digest_bytes(const void *data, size_t len, uint8_t *digest);

/* Of all that a descriptor gives from here on, and its size. */
extern void digest_file(int fd, const char *name, uint8_t *digest, int64_t *size);

#endif							/* VERIFY_DIGEST_H */
