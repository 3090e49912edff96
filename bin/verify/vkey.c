/*
 * vkey.c
 *		A verifier key of C2SP signed notes.
 *
 * Invariants: no byte is read at or after the end. Each key has one text, with or without
 * the line feed at its end.
 */
#include "vkey.h"

#include <string.h>

#include "common/base64_text.h"
#include "common/hex.h"

#define ED25519 0x01

bool
vkey_read(const char *text, size_t len, VerifierKey *result)
{
	const char *end = text + len;
	const char *id;
	const char *key;
	uint8_t		typed_key[1 + PUBLIC_KEY_LEN];

	memset(result, 0, sizeof(*result));
	if (len == 0 || len > VKEY_MAX)
		return false;
	if (end[-1] == '\n')
		end--;
	id = memchr(text, '+', (size_t) (end - text));
	key = id == NULL ? NULL : memchr(id + 1, '+', (size_t) (end - id - 1));
	if (key == NULL || !key_name_is_well_formed(text, (size_t) (id - text)) ||
		!hex_read(id + 1, (size_t) (key - id - 1), result->id, KEY_ID_LEN) ||
		!base64_decode(key + 1, (size_t) (end - key - 1), typed_key, sizeof(typed_key)) || typed_key[0] != ED25519)
		return false;
	result->name_len = (size_t) (id - text);
	memcpy(result->name, text, result->name_len);
	memcpy(result->public_key, typed_key + 1, PUBLIC_KEY_LEN);
	return public_key_is_sound(result->public_key) &&
		key_id_is_valid(result->name, result->name_len, result->public_key, result->id);
}
