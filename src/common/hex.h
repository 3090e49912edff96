/*
 * hex.h
 *		Lower-case hex. Does not depend on the server.
 */
#ifndef WALWARDEN_HEX_H
#define WALWARDEN_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Writes two lower-case digits per byte, without a terminator. */
extern void hex_lower(const uint8_t *bytes, size_t len, char *out);

#endif							/* WALWARDEN_HEX_H */
