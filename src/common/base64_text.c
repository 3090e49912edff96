/*
 * base64_text.c
 *		Base64 as RFC 4648 defines it, with padding.
 *
 * Invariants: no byte is read at or after the end. No byte is written beyond size.
 */
#include "common/base64_text.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a digit, or -1. */
static int
digit_value(char c)
{
	const char *digit = c == '\0' ? NULL : strchr(digits, c);

	return digit == NULL ? -1 : (int) (digit - digits);
}

bool
base64_decode(const char *text, size_t len, uint8_t *bytes, size_t size)
{
	if (len != BASE64_LEN(size))
		return false;
	for (size_t done = 0; done < size; done += 3, text +=4)
	{
		size_t		n = size - done < 3 ? size - done : 3;
		uint32_t	group = 0;

		for (size_t i = 0; i < 4; i++)
		{
			int			value = i <= n ? digit_value(text[i]) : text[i] == '=' ? 0 : -1;

			if (value < 0)
				return false;
			group = group << 6 | (uint32_t) value;
		}
		for (size_t i = 0; i < n; i++)
			bytes[done + i] = (uint8_t) (group >> (16 - 8 * i));
		if ((group & ((UINT32_C(1) << (24 - 8 * n)) - 1)) != 0)
			return false;
	}
	return true;
}
