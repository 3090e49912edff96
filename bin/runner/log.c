/*
 * log.c
 *		Messages to stderr.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "text.h"

static char current_job[64];

void
log_job(const char *job_id)
{
	snprintf(current_job, sizeof(current_job), "%s", job_id ? job_id : "");
	text_make_harmless(current_job);
}

void
log_line(const char *format,...)
{
	va_list		arguments;
	char	   *text;
	char	   *line;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	text_make_harmless(text);
	if (*current_job)
		line = text_format("walwarden-runner: job %s: %s\n", current_job, text);
	else
		line = text_format("walwarden-runner: %s\n", text);

	/* with one write(), so that lines of several processes do not mix */
	(void) write_all(STDERR_FILENO, line, strlen(line));
	free(line);
	free(text);
}
