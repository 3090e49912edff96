/*
 * fault.c
 *		What is wrong with the configuration.
 */
#include "fault.h"

#include <stdarg.h>
#include <stdlib.h>

#include "log.h"
#include "text.h"

void
fault(Faults *faults, int line, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	if (line > 0)
		complain("%s:%d: %s", faults->path, line, text);
	else
		complain("%s: %s", faults->path, text);
	free(text);
	faults->count++;
}
