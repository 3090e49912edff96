/*
 * stop.c
 *		Ending without a verdict, and memory.
 */
#include "stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
stop(const char *format,...)
{
	va_list		arguments;

	(void) fflush(stdout);
	(void) fputs("walwarden-verify: ", stderr);
	va_start(arguments, format);
	(void) vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void) fputs("\n", stderr);
	exit(EXIT_USAGE);
}

void *
reallocate(void *chunk, size_t size)
{
	chunk = realloc(chunk, size > 0 ? size : 1);
	if (chunk == NULL)
		stop("out of memory");
	return chunk;
}
