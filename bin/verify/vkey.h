/*
 * vkey.h
 *		A verifier key of C2SP signed notes: NAME+KEYID+BASE64(01 || public key).
 */
#ifndef VERIFY_VKEY_H
#define VERIFY_VKEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/checkpoint.h"
#include "common/signature.h"

#define VKEY_MAX 1024			/* bytes of a text, more than one can have */

typedef struct VerifierKey
{
	char		name[CHECKPOINT_NAME_MAX + 1];	/* terminated */
	size_t		name_len;
	uint8_t		id[KEY_ID_LEN];
	uint8_t		public_key[PUBLIC_KEY_LEN];
} VerifierKey;

/* Whether text is one line with a key that can be trusted. *result is undefined if it is not. */
extern bool vkey_read(const char *text, size_t len, VerifierKey *result);

#endif							/* VERIFY_VKEY_H */
