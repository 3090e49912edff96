/*
 * key.h
 *		The node's Ed25519 key.
 */
#ifndef RUNNER_KEY_H
#define RUNNER_KEY_H

#include <stddef.h>

/* No file of keys is longer: bytes. */
#define KEY_FILE_MAX ((size_t) 65536)

typedef struct evp_pkey_st SigningKey;

/* Reads a private key from a PEM file. NULL with a message in *error. */
extern SigningKey *key_load(const char *path, char **error);
extern void key_free(SigningKey *key);

/* Its public key: 32 bytes as base64. Allocated. */
extern char *key_public(const SigningKey *key);

/* The same as bytes: 32 and 64. */
extern void key_public_bytes(const SigningKey *key, unsigned char *public_key);
extern void key_sign_bytes(SigningKey *key, const void *data, size_t len, unsigned char *signature);

/* The signature of data: 64 bytes as base64. Allocated. */
extern char *key_sign(SigningKey *key, const void *data, size_t len);

#endif							/* RUNNER_KEY_H */
