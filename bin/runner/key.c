/*
 * key.c
 *		The node's Ed25519 key.
 */
#include "key.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/signature.h"
#include "io.h"
#include "log.h"
#include "text.h"

SigningKey *
key_load(const char *path, char **error)
{
	static char no_passphrase[] = "";
	Buffer		pem = {0};
	BIO		   *bio;
	EVP_PKEY   *key = NULL;

	if (!read_file(path, KEY_FILE_MAX, &pem, error))
		return NULL;
	bio = BIO_new_mem_buf(pem.data, (int) pem.len);
	/* a passphrase is not asked for, because nobody is there to answer */
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase);
	BIO_free(bio);
	OPENSSL_cleanse(pem.data, pem.len);
	buffer_free(&pem);
	if (key && EVP_PKEY_id(key) == EVP_PKEY_ED25519)
		return key;
	*error = text_format("%s holds no Ed25519 private key in PEM without a passphrase", path);
	EVP_PKEY_free(key);
	return NULL;
}

void
key_free(SigningKey *key)
{
	EVP_PKEY_free(key);
}

/* A key that was loaded can do both of these, unless memory is out. */
static void
must_succeed(int result)
{
	if (result != 1)
	{
		complain("OpenSSL failed");
		abort();
	}
}

void
key_public_bytes(const SigningKey *key, unsigned char *public_key)
{
	size_t		len = PUBLIC_KEY_LEN;

	must_succeed(EVP_PKEY_get_raw_public_key(key, public_key, &len));
}

char *
key_public(const SigningKey *key)
{
	unsigned char raw[PUBLIC_KEY_LEN];
	Buffer		text = {0};

	key_public_bytes(key, raw);
	buffer_base64(&text, raw, sizeof(raw));
	return text.data;
}

void
key_sign_bytes(SigningKey *key, const void *data, size_t len, unsigned char *signature)
{
	size_t		signature_len = SIGNATURE_LEN;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	must_succeed(context != NULL);
	must_succeed(EVP_DigestSignInit(context, NULL, NULL, NULL, key));
	must_succeed(EVP_DigestSign(context, signature, &signature_len, data, len));
	EVP_MD_CTX_free(context);
}

char *
key_sign(SigningKey *key, const void *data, size_t len)
{
	unsigned char signature[SIGNATURE_LEN];
	Buffer		text = {0};

	key_sign_bytes(key, data, len, signature);
	buffer_base64(&text, signature, sizeof(signature));
	return text.data;
}
