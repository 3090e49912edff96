/*
 * hex.c
 *		Lower-case hex.
 *
 * Invariants: exactly 2 * len bytes are written. No byte is read at or after the end, or
 * written beyond size.
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

/* The value of a digit, or -1. */
static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
hex_read(const char *text, size_t len, uint8_t *bytes, size_t size)
{
	if (len != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++)
	{
		int			high = digit_value(text[2 * i]);
		int			low = digit_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}
