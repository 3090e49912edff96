/*
 * report.c
 *		The verdict: a line for each check.
 */
#include "report.h"

#include <stdarg.h>
#include <string.h>

#include "harmless.h"
#include "stop.h"

/* Longer than any line: names in it are bounded. */
#define LINE_MAX_LEN 2048

#define EXIT_FAILED 1
#define EXIT_SKIPPED 3

static const char *const names[] = {"OK", "FAIL", "SKIP"};

void
report_begin(Report *report, FILE *out, bool json)
{
	memset(report, 0, sizeof(*report));
	report->out = out;
	report->json = json;
	if (out && json)
		(void) fputs("{\"checks\":[", out);
}

void
report_check(Report *report, Verdict verdict, const char *format,...)
{
	char		line[LINE_MAX_LEN];
	va_list		arguments;

	report->count[verdict]++;
	if (report->out == NULL)
		return;
	va_start(arguments, format);
	(void) vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (report->json)
	{
		size_t		lines = report->count[VERDICT_OK] + report->count[VERDICT_FAIL] + report->count[VERDICT_SKIP];

		(void) fprintf(report->out, "%s\n{\"verdict\":\"%s\",\"what\":\"", lines > 1 ? "," : "", names[verdict]);
		print_harmless(report->out, line, true);
		(void) fputs("\"}", report->out);
	}
	else
	{
		(void) fprintf(report->out, "%s ", names[verdict]);
		print_harmless(report->out, line, false);
		(void) fputc('\n', report->out);
	}
}

int
report_end(Report *report)
{
	Verdict		verdict = report->count[VERDICT_FAIL] > 0 ? VERDICT_FAIL : report->count[VERDICT_SKIP] > 0 ? VERDICT_SKIP : VERDICT_OK;

	if (report->out)
	{
		if (report->json)
			(void) fprintf(report->out, "\n],\"verdict\":\"%s\"}\n", names[verdict]);
		/* a verdict that nobody gets is none */
		if (fflush(report->out) != 0 || ferror(report->out))
			stop("cannot write the verdict");
	}
	return verdict == VERDICT_FAIL ? EXIT_FAILED : verdict == VERDICT_SKIP ? EXIT_SKIPPED : 0;
}
