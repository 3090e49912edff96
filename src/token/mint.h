/*
 * mint.h
 *		Secrets that are not tokens.
 */
#ifndef WALWARDEN_MINT_H
#define WALWARDEN_MINT_H

#include "postgres.h"

/* Random bytes of a secret, and hex digits of its text. */
#define SECRET_RANDOM_LEN 32
#define SECRET_TEXT_LEN (2 * SECRET_RANDOM_LEN)

extern void secret_hash(const char *secret, uint8 *hash);
extern void mint_secret(char *secret, uint8 *hash);

#endif							/* WALWARDEN_MINT_H */
