/*
 * base64.h
 *		Base64 said once more, bit by bit, for targets that write what was read.
 */
#include "syntax.h"

static inline char *
write64(const uint8_t *bytes, size_t size, char *out)
{
	static const char digits[] = UPPER LOWER DIGITS "+/";
	size_t		written = 0;

	for (size_t bit = 0; bit < 8 * size; bit += 6, written++)
	{
		int			value = 0;

		for (size_t i = bit; i < bit + 6; i++)
			value = value * 2 + (i < 8 * size ? bytes[i / 8] >> (7 - i % 8) & 1 : 0);
		*out++ = digits[value];
	}
	for (; written % 4 != 0; written++)
		*out++ = '=';
	return out;
}
