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

/* Reads a public key from its base64 text. False if text is something else; soundness is not asked for. */
extern bool public_key_read(const char *text, size_t len, uint8_t *public_key);

/*
 * Reads the next Ed25519 public key of a PEM text from *at on, and moves *at past it. False if
 * there is none, or something that cannot be read comes before it.
 */
extern bool public_key_next(const char *pem, size_t len, size_t *at, uint8_t *public_key);

/*
 * The id of public_key under a name, of KEY_ID_LEN bytes, as C2SP signed notes define it:
 * the first bytes of a hash that saves trying keys, and that no security rests on. False
 * if it cannot be computed.
 */
extern bool key_id_of(const char *name, size_t name_len, const uint8_t *public_key, uint8_t *key_id);

/* Whether the manifest is signed, and with this key. */
extern bool manifest_is_signed(const SignedManifest *manifest, const uint8_t *public_key);

/* Whether the note that *checkpoint was read from is signed with this key under the note's own name of it. */
extern bool checkpoint_is_signed(const Checkpoint *checkpoint, const char *note, const uint8_t *public_key);

/* Whether key_id is that of public_key under a name. */
extern bool key_id_is_valid(const char *name, size_t name_len, const uint8_t *public_key, const uint8_t *key_id);

#endif							/* WALWARDEN_SIGNATURE_H */
