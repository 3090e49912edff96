/*
 * decimal.c
 *		Decimal numbers as texts.
 *
 * Invariants: no byte is read at or after the end. Each number has one text.
 */
#include "common/decimal.h"

bool
decimal_read(const char *text, size_t len, int64_t * value)
{
	*value = 0;
	if (len == 0 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int			digit = text[i] - '0';

		if (digit < 0 || digit > 9 || *value > (INT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return true;
}
