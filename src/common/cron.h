/*
 * cron.h
 *		Schedules: five fields of cron, in UTC and the proleptic Gregorian calendar. Does
 *		not depend on the server, so that it can be fuzzed by itself.
 */
#ifndef WALWARDEN_CRON_H
#define WALWARDEN_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bit n of a field is set if the schedule is due at n. */
typedef struct CronSchedule
{
	uint64_t	minutes;		/* 0 to 59 */
	uint64_t	hours;			/* 0 to 23 */
	uint64_t	days;			/* 1 to 31 */
	uint64_t	months;			/* 1 to 12 */
	uint64_t	weekdays;		/* 0 to 6, from Sunday */
	bool		either_day;		/* days or weekdays suffices */
} CronSchedule;

/* Minutes since 1970 that cron_next() takes: 100 million years, which no calculation overflows. */
#define CRON_MINUTE_MAX (INT64_C(100000000) * 366 * 1440)

/* Whether text is a schedule that comes due on some day. Else schedule is undefined. */
extern bool cron_parse(const char *text, size_t len, CronSchedule *schedule);

/*
 * The first minute after another at which the schedule is due. Both count from
 * 1970-01-01 00:00, and after is between plus and minus CRON_MINUTE_MAX.
 */
extern int64_t cron_next(const CronSchedule *schedule, int64_t after);

#endif							/* WALWARDEN_CRON_H */
