/*
 * schedule.c
 *		Schedules, for SQL.
 *
 * Their syntax and their calendar are in common/cron.c.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/export.h"
#include "base/refuse.h"
#include "common/cron.h"

/* From 1970, where common/cron.c begins, to 2000, where timestamps do. */
#define MINUTES_TO_2000 ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(1440))

static bool
parse(const text *value, CronSchedule *schedule)
{
	return cron_parse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), schedule);
}

/* walwarden_internal.is_cron(value text) */
PG_FUNCTION_INFO_V1(walwarden_is_cron);
Datum
walwarden_is_cron(PG_FUNCTION_ARGS)
{
	CronSchedule schedule;

	PG_RETURN_BOOL(parse(PG_GETARG_TEXT_PP(0), &schedule));
}

/* walwarden.cron_next(schedule text, after timestamptz) */
PG_FUNCTION_INFO_V1(walwarden_cron_next);
Datum
walwarden_cron_next(PG_FUNCTION_ARGS)
{
	CronSchedule schedule;
	TimestampTz after = PG_GETARG_TIMESTAMPTZ(1);
	int64		minute;
	TimestampTz next;

	if (!parse(PG_GETARG_TEXT_PP(0), &schedule))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "invalid schedule",
			   "Give minute, hour, day of month, month and day of week in UTC, such as 30 3 * * 1-5. There must be a date on which it is due.", NULL);
	if (TIMESTAMP_NOT_FINITE(after))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "after is infinite", "Give the time after which to look.", NULL);
	minute = after / USECS_PER_MINUTE - (after % USECS_PER_MINUTE < 0);
	next = (cron_next(&schedule, minute + MINUTES_TO_2000) - MINUTES_TO_2000) * USECS_PER_MINUTE;
	if (!IS_VALID_TIMESTAMP(next))
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "the next time is out of range", "Give an earlier time.", NULL);
	PG_RETURN_TIMESTAMPTZ(next);
}
