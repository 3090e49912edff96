/*
 * cron.c
 *		Schedules: five fields of cron, in UTC and the proleptic Gregorian calendar.
 *
 * Fields are separated by one space: minute, hour, day of month, month, day of week. Each
 * is a list of *, numbers and ranges; * and ranges may have a step. Names are not known,
 * as in POSIX. The days follow the classic rule: if day of month and day of week are both
 * restricted, a day is due if either has it. A field that is * alone, or * with the step 1, is
 * not restricted.
 *
 * Invariants: a number has at most two digits, so that none overflows. The calendar
 * repeats after 400 years, so a search of 400 years finds every date that exists.
 */
#include "common/cron.h"

#define MINUTES_PER_DAY 1440
#define DAYS_PER_ERA 146097		/* 400 years */
#define MONTHS_PER_ERA 4800
#define MARCH_ERA_DAY 719468	/* from 0000-03-01 to 1970-01-01 */

typedef struct Text
{
	const char *at;
	const char *end;
} Text;

static bool
take(Text *text, char expected)
{
	if (text->at == text->end || *text->at != expected)
		return false;
	text	  ->at++;

	return true;
}

/* One or two digits. */
static bool
take_number(Text *text, unsigned *number)
{
	const char *start = text->at;

	*number = 0;
	while (text->at < text->end && text->at - start < 2 && *text->at >= '0' && *text->at <= '9')
		*number = *number * 10 + (unsigned) (*text->at++ - '0');
	return text->at > start;
}

/* An item of a list: *, a number, or a range; all but a number may have a step. */
static bool
take_item(Text *text, unsigned low, unsigned high, uint64_t *set)
{
	unsigned	first = low;
	unsigned	last = high;
	unsigned	step = 1;
	bool		several = take(text, '*');

	if (!several)
	{
		if (!take_number(text, &first))
			return false;
		last = first;
		several = take(text, '-');
		if (several && !take_number(text, &last))
			return false;
	}
	if (several && take(text, '/') && !take_number(text, &step))
		return false;
	if (first < low || first > last || last > high || step == 0 || step > high)
		return false;
	for (unsigned n = first; n <= last; n += step)
		*set |= UINT64_C(1) << n;
	return true;
}

static bool
take_field(Text *text, unsigned low, unsigned high, uint64_t *set)
{
	*set = 0;
	for (;;)
	{
		if (!take_item(text, low, high, set))
			return false;
		if (!take(text, ','))
			return true;
	}
}

/* The same for a field that may be restricted or not. */
static bool
take_day_field(Text *text, unsigned low, unsigned high, uint64_t *set, bool *restricted)
{
	Text		all = *text;
	unsigned	step = 1;

	*restricted = !take(&all, '*') || (take(&all, '/') && !take_number(&all, &step)) || step != 1;
	if (!take_field(text, low, high, set))
		return false;
	*restricted |= text->at != all.at;

	return true;
}

/* The first member of a set that is not below from; -1 if there is none. */
static int
first_member(uint64_t set, int from)
{
	for (int n = from; n < 64; n++)
		if ((set >> n & 1) != 0)
			return n;
	return -1;
}

static int64_t
floor_div(int64_t value, int64_t divisor)
{
	return value / divisor - (value % divisor < 0);
}

/*
 * The calendar is calculated in years that begin in March, so that a leap day is the last
 * day of its year. Months count from March, from 0.
 */
static int64_t
day_of_month_start(int64_t march_months)
{
	int64_t		year = floor_div(march_months, 12);
	int64_t		month = march_months - year * 12;

	return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
		(153 * month + 2) / 5 - MARCH_ERA_DAY;
}

/* The month of a day since 1970-01-01, counted from March of the year 0. */
static int64_t
month_of_day(int64_t day)
{
	int64_t		era = floor_div(day + MARCH_ERA_DAY, DAYS_PER_ERA);
	int64_t		day_of_era = day + MARCH_ERA_DAY - era * DAYS_PER_ERA;
	int64_t		year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (DAYS_PER_ERA - 1)) / 365;
	int64_t		day_of_year = day_of_era - (365 * year + year / 4 - year / 100);

	return era * MONTHS_PER_ERA + year * 12 + (5 * day_of_year + 2) / 153;
}

/* 1970-01-01 was a Thursday. */
static int
weekday_of_day(int64_t day)
{
	return (int) (day + 4 - floor_div(day + 4, 7) * 7);
}

/* The first time of a day that is due and not before from; -1 if there is none. In minutes. */
static int
first_time(const CronSchedule *schedule, int from)
{
	int			hour = first_member(schedule->hours, from / 60);

	if (hour == from / 60)
	{
		int			minute = first_member(schedule->minutes, from % 60);

		if (minute >= 0)
			return hour * 60 + minute;
		hour = first_member(schedule->hours, hour + 1);
	}
	return hour < 0 ? -1 : hour * 60 + first_member(schedule->minutes, 0);
}

/* As cron_next(); false if the schedule never comes due. */
static bool
find_next(const CronSchedule *schedule, int64_t after, int64_t * next)
{
	int64_t		from = after + 1;
	int64_t		first_day = floor_div(from, MINUTES_PER_DAY);
	int64_t		first_month = month_of_day(first_day);

	for (int64_t month = first_month; month <= first_month + MONTHS_PER_ERA; month++)
	{
		int			calendar_month = (int) (month + 2 - floor_div(month + 2, 12) * 12) + 1;
		int64_t		start = day_of_month_start(month);
		int64_t		end = day_of_month_start(month + 1);

		if ((schedule->months >> calendar_month & 1) == 0)
			continue;
		for (int64_t day = start > first_day ? start : first_day; day < end; day++)
		{
			bool		by_month = (schedule->days >> (day - start + 1) & 1) != 0;
			bool		by_week = (schedule->weekdays >> weekday_of_day(day) & 1) != 0;
			int			minute;

			if (schedule->either_day ? !(by_month || by_week) : !(by_month && by_week))
				continue;
			minute = first_time(schedule, day == first_day ? (int) (from - first_day * MINUTES_PER_DAY) : 0);
			if (minute >= 0)
			{
				*next = day * MINUTES_PER_DAY + minute;
				return true;
			}
		}
	}
	return false;
}

bool
cron_parse(const char *text, size_t len, CronSchedule *schedule)
{
	Text		rest;
	bool		by_month;
	bool		by_week;
	int64_t		next;

	rest.at = text;
	rest.end = text +len;

	if (!take_field(&rest, 0, 59, &schedule->minutes) || !take(&rest, ' ') ||
		!take_field(&rest, 0, 23, &schedule->hours) || !take(&rest, ' ') ||
		!take_day_field(&rest, 1, 31, &schedule->days, &by_month) || !take(&rest, ' ') ||
		!take_field(&rest, 1, 12, &schedule->months) || !take(&rest, ' ') ||
		!take_day_field(&rest, 0, 7, &schedule->weekdays, &by_week) || rest.at != rest.end)
		return false;
	schedule->weekdays |= schedule->weekdays >> 7;	/* 7 is Sunday too */
	schedule->either_day = by_month && by_week;
	return find_next(schedule, 0, &next);
}

int64_t
cron_next(const CronSchedule *schedule, int64_t after)
{
	int64_t		next = after;

	(void) find_next(schedule, after, &next);	/* cron_parse() has found one */
	return next;
}
