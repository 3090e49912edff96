/*
 * harmless.c
 *		Texts from outside, for a terminal or a JSON parser: neither sees a byte that it could
 *		take for its own.
 */
#include "harmless.h"

void
print_harmless(FILE *out, const char *text, bool json)
{
	for (const unsigned char *c = (const unsigned char *) text; *c; c++)
	{
		if (*c < 0x20 || *c > 0x7E || *c == '\\')
			(void) fprintf(out, "%s\\x%02x", json ? "\\" : "", *c);
		else
		{
			if (json && *c == '"')
				(void) fputc('\\', out);
			(void) fputc(*c, out);
		}
	}
}
