/*
 * signature.h
 *		Ed25519, by OpenSSL. Does not depend on the server.
 *
 * Without OpenSSL (WALWARDEN_OPENSSL is not defined), nothing is supported and no
 * signature is valid.
 */
#ifndef WALWARDEN_SIGNATURE_H
#define WALWARDEN_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/checkpoint.h"
#include "common/manifest.h"

#define PUBLIC_KEY_LEN 32

extern bool signature_is_supported(void);

/* False for the few keys under which anybody can sign, because they are points of small order. */
extern bool public_key_is_sound(const uint8_t *public_key);

/* Whether signature, of SIGNATURE_LEN bytes, is public_key's over message. */
extern bool signature_is_valid(const uint8_t *public_key, const uint8_t *signature, const void *message, size_t len);

/*
 * Whether key_id is that of public_key under a name, as C2SP signed notes define it: the
 * first bytes of a hash that saves trying keys, and that no security rests on.
 */
extern bool key_id_is_valid(const char *name, size_t name_len, const uint8_t *public_key, const uint8_t *key_id);

#endif							/* WALWARDEN_SIGNATURE_H */
