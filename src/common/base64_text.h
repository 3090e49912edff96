/*
 * base64_text.h
 *		Base64 as RFC 4648 defines it, with padding. Does not depend on the server.
 */
#ifndef WALWARDEN_BASE64_TEXT_H
#define WALWARDEN_BASE64_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the text of n bytes. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/*
 * Whether text is the base64 text of exactly size bytes, which bytes receives; it is
 * undefined if the result is false. Each value has one text: white space, missing padding
 * and unused bits that are set are rejected.
 */
extern bool base64_decode(const char *text, size_t len, uint8_t *bytes, size_t size);

#endif							/* WALWARDEN_BASE64_TEXT_H */
