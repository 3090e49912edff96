/*
 * digest.c
 *		SHA-256, by OpenSSL.
 */
#include "digest.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "stop.h"

#define CHUNK_LEN 262144

static void
must_succeed(int result)
{
	if (result != 1)
		stop("OpenSSL cannot compute SHA-256");
}

/* The one context, which keeps the algorithm: looking it up costs more than a short digest. */
static EVP_MD_CTX *
begin(void)
{
	static EVP_MD_CTX *context = NULL;
	bool		is_new = context == NULL;

	if (is_new)
		context = EVP_MD_CTX_new();
	must_succeed(context != NULL);
	must_succeed(EVP_DigestInit_ex(context, is_new ? EVP_sha256() : NULL, NULL));
	return context;
}

void
digest_parts(const Part *parts, size_t nparts, uint8_t *digest)
{
	EVP_MD_CTX *context = begin();

	for (size_t i = 0; i < nparts; i++)
		must_succeed(EVP_DigestUpdate(context, parts[i].data, parts[i].len));
	must_succeed(EVP_DigestFinal_ex(context, digest, NULL));
}

void
digest_bytes(const void *data, size_t len, uint8_t *digest)
{
	Part		part = {data, len};

	digest_parts(&part, 1, digest);
}

void
digest_file(int fd, const char *name, uint8_t *digest, int64_t *size)
{
	static uint8_t chunk[CHUNK_LEN];
	EVP_MD_CTX *context = begin();
	ssize_t		len;

	*size = 0;
	while ((len = read(fd, chunk, sizeof(chunk))) != 0)
	{
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			stop("%s cannot be read: %s", name, strerror(errno));
		must_succeed(EVP_DigestUpdate(context, chunk, (size_t) len));
		*size += len;
	}
	must_succeed(EVP_DigestFinal_ex(context, digest, NULL));
}
