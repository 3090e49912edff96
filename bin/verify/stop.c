/*
 * stop.c
 *		Ending without a verdict, and memory.
 */
#include "stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "harmless.h"

/* Longer than any path. */
#define LINE_MAX_LEN 8192

void
stop(const char *format,...)
{
	char		line[LINE_MAX_LEN];
	va_list		arguments;

	(void) fflush(stdout);
	(void) fputs("walwarden-verify: ", stderr);
	va_start(arguments, format);
	(void) vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	print_harmless(stderr, line, false);
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
