/*
 * report.h
 *		The verdict: a line for each check.
 */
#ifndef VERIFY_REPORT_H
#define VERIFY_REPORT_H

#include <stdbool.h>
#include <stdio.h>

typedef enum Verdict
{
	VERDICT_OK,
	VERDICT_FAIL,
	VERDICT_SKIP				/* could not be checked with what is there */
} Verdict;

typedef struct Report
{
	FILE	   *out;			/* NULL to print nothing */
	bool		json;
	size_t		count[VERDICT_SKIP + 1];
} Report;

extern void report_begin(Report *report, FILE *out, bool json);

/*
 * One line: the verdict, what was checked, a colon, and what was found. It contains printable
 * ASCII only, whatever a bundle says; other bytes and backslashes are written as \xHH.
 */
extern void report_check(Report *report, Verdict verdict, const char *format,...) __attribute__((format(printf, 3, 4)));

/* The exit code: 1 if a check failed, 3 if none did and one was skipped, else 0. */
extern int	report_end(Report *report);

#endif							/* VERIFY_REPORT_H */
