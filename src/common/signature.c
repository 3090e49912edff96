/*
 * signature.c
 *		Ed25519, by OpenSSL.
 *
 * Invariants: what cannot be verified is not valid. OpenSSL's queue of errors, which the
 * whole process shares, is as it was.
 */
#include "common/signature.h"

#include <limits.h>
#include <string.h>

#ifdef WALWARDEN_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#endif

#include "common/base64_text.h"

/* Whether the bytes between the first and the last are all value. */
static bool
is_filled(const uint8_t *key, uint8_t value)
{
	for (size_t i = 1; i < PUBLIC_KEY_LEN - 1; i++)
		if (key[i] != value)
			return false;
	return true;
}

/*
 * The points whose order divides 8 are those whose y, without the sign of x, is 0, 1 or
 * -1, also written with the prime p added, or one of two others.
 */
bool
public_key_is_sound(const uint8_t *public_key)
{
	static const uint8_t order_8[2][PUBLIC_KEY_LEN] = {
		{0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0,
		0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05},
		{0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F,
		0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A}
	};
	uint8_t		y[PUBLIC_KEY_LEN];

	memcpy(y, public_key, PUBLIC_KEY_LEN);
	y[PUBLIC_KEY_LEN - 1] &= 0x7F;
	if (is_filled(y, 0x00) && y[PUBLIC_KEY_LEN - 1] == 0x00)
		return y[0] > 0x01;
	if (is_filled(y, 0xFF) && y[PUBLIC_KEY_LEN - 1] == 0x7F)
		return y[0] < 0xEC || y[0] > 0xEE;
	return memcmp(y, order_8[0], PUBLIC_KEY_LEN) != 0 && memcmp(y, order_8[1], PUBLIC_KEY_LEN) != 0;
}

bool
public_key_read(const char *text, size_t len, uint8_t *public_key)
{
	return base64_decode(text, len, public_key, PUBLIC_KEY_LEN);
}

#ifdef WALWARDEN_OPENSSL

bool
signature_is_supported(void)
{
	return true;
}

/* Whether signature, of SIGNATURE_LEN bytes, is public_key's over message. */
static bool
signature_is_valid(const uint8_t *public_key, const uint8_t *signature, const void *message, size_t len)
{
	EVP_PKEY   *key;
	EVP_MD_CTX *ctx;
	bool		valid;

	if (!public_key_is_sound(public_key))
		return false;
	ERR_set_mark();
	key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, PUBLIC_KEY_LEN);
	ctx = EVP_MD_CTX_new();
	valid = key != NULL && ctx != NULL &&
		EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestVerify(ctx, signature, SIGNATURE_LEN, message, len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	ERR_pop_to_mark();
	return valid;
}

bool
key_id_of(const char *name, size_t name_len, const uint8_t *public_key, uint8_t *key_id)
{
	static const uint8_t ed25519[] = {'\n', 0x01};
	EVP_MD_CTX *ctx;
	uint8_t		digest[EVP_MAX_MD_SIZE];
	bool		computed;

	ERR_set_mark();
	ctx = EVP_MD_CTX_new();
	computed = ctx != NULL &&
		EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
		EVP_DigestUpdate(ctx, name, name_len) == 1 &&
		EVP_DigestUpdate(ctx, ed25519, sizeof(ed25519)) == 1 &&
		EVP_DigestUpdate(ctx, public_key, PUBLIC_KEY_LEN) == 1 &&
		EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_pop_to_mark();
	if (computed)
		memcpy(key_id, digest, KEY_ID_LEN);
	return computed;
}

bool
public_key_next(const char *pem, size_t len, size_t *at, uint8_t *public_key)
{
	static char no_passphrase[] = "";
	BIO		   *bio;
	EVP_PKEY   *key;
	bool		found = false;

	if (len > INT_MAX || *at >= len)
		return false;
	ERR_set_mark();
	bio = BIO_new_mem_buf(pem + *at, (int) (len - *at));
	/* a passphrase is not asked for, because nobody is there to answer */
	while (bio != NULL && !found && (key = PEM_read_bio_PUBKEY(bio, NULL, NULL, no_passphrase)) != NULL)
	{
		size_t		key_len = PUBLIC_KEY_LEN;

		found = EVP_PKEY_base_id(key) == EVP_PKEY_ED25519 &&
			EVP_PKEY_get_raw_public_key(key, public_key, &key_len) == 1 && key_len == PUBLIC_KEY_LEN;
		EVP_PKEY_free(key);
	}
	*at = found ? len - BIO_ctrl_pending(bio) : len;
	BIO_free(bio);
	ERR_pop_to_mark();
	return found;
}

bool
manifest_is_signed(const SignedManifest *manifest, const uint8_t *public_key)
{
	return manifest->has_signature &&
		signature_is_valid(public_key, manifest->signature, manifest->bytes, manifest->len);
}

bool
checkpoint_is_signed(const Checkpoint *checkpoint, const char *note, const uint8_t *public_key)
{
	return key_id_is_valid(checkpoint->name, checkpoint->name_len, public_key, checkpoint->key_id) &&
		signature_is_valid(public_key, checkpoint->signature, note, checkpoint->signed_len);
}

#else

bool
signature_is_supported(void)
{
	return false;
}

bool
public_key_next(const char *pem, size_t len, size_t *at, uint8_t *public_key)
{
	(void) pem;
	(void) len;
	(void) at;
	(void) public_key;
	return false;
}

bool
key_id_of(const char *name, size_t name_len, const uint8_t *public_key, uint8_t *key_id)
{
	(void) name;
	(void) name_len;
	(void) public_key;
	(void) key_id;
	return false;
}

bool
manifest_is_signed(const SignedManifest *manifest, const uint8_t *public_key)
{
	(void) manifest;
	(void) public_key;
	return false;
}

bool
checkpoint_is_signed(const Checkpoint *checkpoint, const char *note, const uint8_t *public_key)
{
	(void) checkpoint;
	(void) note;
	(void) public_key;
	return false;
}

#endif

bool
key_id_is_valid(const char *name, size_t name_len, const uint8_t *public_key, const uint8_t *key_id)
{
	uint8_t		computed[KEY_ID_LEN];

	return key_id_of(name, name_len, public_key, computed) && memcmp(computed, key_id, KEY_ID_LEN) == 0;
}
