/*
 * hex.c
 *		Lower-case hex.
 *
 * Invariant: exactly 2 * len bytes are written.
 */
#include "common/hex.h"

void
hex_lower(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 0xF];
	}
}
