/*
 * hex.h
 *		Lower-case hex. Does not depend on the server.
 */
#ifndef WALWARDEN_HEX_H
#define WALWARDEN_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes two lower-case digits per byte, without a terminator. */
extern void hex_lower(const uint8_t *bytes, size_t len, char *out);

/*
 * Whether text is exactly size bytes in lower-case hex, which bytes receives; it is
 * undefined if the result is false.
 */
extern bool hex_read(const char *text, size_t len, uint8_t *bytes, size_t size);

#endif							/* WALWARDEN_HEX_H */
