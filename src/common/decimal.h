/*
 * decimal.h
 *		Decimal numbers as texts. Does not depend on the server.
 */
#ifndef WALWARDEN_DECIMAL_H
#define WALWARDEN_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether text is a number from 0 on that fits, in digits without leading zeros. *value is undefined if not. */
extern bool decimal_read(const char *text, size_t len, int64_t * value);

#endif							/* WALWARDEN_DECIMAL_H */
