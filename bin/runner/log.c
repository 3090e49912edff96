/*
 * log.c
 *		Messages to stderr.
 */
#include "log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "text.h"

static char *current_job;

void
log_job(const char *job_id)
{
	free(current_job);
	current_job = text_copy(job_id);
	if (current_job)
		text_make_harmless(current_job);
}

/* With one write(), so that lines of several processes do not mix. */
static void
write_line(const char *before, const char *format, va_list arguments)
{
	char	   *text = text_vformat(format, arguments);
	char	   *line;

	text_make_harmless(text);
	line = text_format("%s%s\n", before, text);
	(void) write_all(STDERR_FILENO, line, strlen(line));
	free(line);
	free(text);
}

void
log_line(const char *format,...)
{
	va_list		arguments;
	char	   *before = current_job ? text_format("walwarden-runner: job %s: ", current_job) : text_copy("walwarden-runner: ");

	va_start(arguments, format);
	write_line(before, format, arguments);
	va_end(arguments);
	free(before);
}

void
complain(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	write_line("", format, arguments);
	va_end(arguments);
}
