/*
 * cron.c
 *		libFuzzer target for src/common/cron.c: eight bytes are a time, the rest is a
 *		schedule. A second reading of the schedule, item by item for each time, and a
 *		calendar that counts day by day say the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cron.h"

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

#define DAY 1440
#define LAST_YEAR 2800			/* the counted calendar is for 1600 to here */

typedef struct Date
{
	int			year;
	int			month;
	int			day;
	int			weekday;
} Date;

static bool
is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void
next_date(Date *date)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	date->weekday = (date->weekday + 1) % 7;
	if (date->day++ < lengths[date->month - 1] + (date->month == 2 && is_leap(date->year)))
		return;
	date->day = 1;
	if (date->month++ < 12)
		return;
	date->month = 1;
	date->year++;
}

/* The fields of a text of digits, spaces and * , - / alone; false if there are not five. */
static bool
split(const char *text, char fields[5][128])
{
	int			field = 0;
	int			len = 0;

	for (; *text != '\0'; text++)
	{
		if (strchr("0123456789*,-/ ", *text) == NULL)
			return false;
		if (*text == ' ')
		{
			fields[field][len] = '\0';
			if (++field == 5)
				return false;
			len = 0;
		}
		else if (len == 127)
			return false;
		else
			fields[field][len++] = *text;
	}
	fields[field][len] = '\0';
	return field == 4;
}

/* 1 if a field has the number, 0 if not, -1 if it is malformed. */
static int
has(const char *field, int low, int high, int number)
{
	int			result = 0;
	const char *at = field;

	for (;;)
	{
		char		item[128] = {0};
		int			first,
					last,
					step = 1;
		size_t		len = strcspn(at, ",");
		char	   *slash,
				   *hyphen;

		memcpy(item, at, len);
		slash = strchr(item, '/');
		if (slash != NULL)
		{
			*slash++ = '\0';
			if (strlen(slash) < 1 || strlen(slash) > 2 || strspn(slash, "0123456789") != strlen(slash))
				return -1;
			step = atoi(slash);
		}
		hyphen = strchr(item, '-');
		if (strcmp(item, "*") == 0)
		{
			first = low;
			last = high;
		}
		else
		{
			if (hyphen != NULL)
			{
				*hyphen++ = '\0';
				if (strlen(hyphen) < 1 || strlen(hyphen) > 2 || strspn(hyphen, "0123456789") != strlen(hyphen))
					return -1;
			}
			else if (slash != NULL)
				return -1;
			if (strlen(item) < 1 || strlen(item) > 2 || strspn(item, "0123456789") != strlen(item))
				return -1;
			first = atoi(item);
			last = hyphen != NULL ? atoi(hyphen) : first;
		}
		if (first < low || last > high || first > last || step < 1 || step > high)
			return -1;
		if (number >= first && number <= last && (number - first) % step == 0)
			result = 1;
		at += len;
		if (*at++ == '\0')
			return result;
	}
}

static bool
is_restricted(const char *field)
{
	return strcmp(field, "*") != 0 && strcmp(field, "*/1") != 0 && strcmp(field, "*/01") != 0;
}

static bool
day_is_due(char fields[5][128], const Date *date)
{
	bool		by_month = has(fields[2], 1, 31, date->day) == 1;
	bool		by_week = has(fields[4], 0, 7, date->weekday) == 1 || (date->weekday == 0 && has(fields[4], 0, 7, 7) == 1);

	if (has(fields[3], 1, 12, date->month) != 1)
		return false;
	return is_restricted(fields[2]) && is_restricted(fields[4]) ? by_month || by_week : by_month && by_week;
}

static bool
time_is_due(char fields[5][128], int time)
{
	return has(fields[1], 0, 23, time / 60) == 1 && has(fields[0], 0, 59, time % 60) == 1;
}

/* The first minute of the day, from a minute on; -1 if there is none. */
static int
time_on_day(char fields[5][128], int from)
{
	for (int time = from; time < DAY; time++)
		if (time_is_due(fields, time))
			return time;
	return -1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char fields[5][128];
	CronSchedule schedule;
	uint64_t	at;
	int64_t		after,
				next,
				start;
	char	   *text,
			   *copy;
	size_t		len;
	bool		parsed,
				expected;
	Date		date = {1600, 1, 1, 6};
	int64_t		day = -135140;	/* 1600-01-01 */

	if (size < sizeof(at))
		return 0;
	memcpy(&at, data, sizeof(at));
	len = size - sizeof(at);
	text = malloc(len > 0 ? len : 1);	/* ends with the text, so that a byte too far is seen */
	copy = calloc(len + 1, 1);
	memcpy(text, data + sizeof(at), len);
	memcpy(copy, text, len);
	parsed = cron_parse(text, len, &schedule);
	expected = strlen(copy) == len && split(copy, fields) &&
		has(fields[0], 0, 59, -1) == 0 && has(fields[1], 0, 23, -1) == 0 && has(fields[2], 1, 31, -1) == 0 &&
		has(fields[3], 1, 12, -1) == 0 && has(fields[4], 0, 7, -1) == 0;
	free(text);
	free(copy);
	if (!expected)
	{
		MUST(!parsed || len > 127);
		return 0;
	}

	/* far away: a day in the same place of another era, so that the next is as far from it */
	if (parsed)
	{
		int64_t		era = INT64_C(146097) * DAY;
		int64_t		eras = (int64_t) (at >> 32) % 200000 - 100000;

		after = (int64_t) (at % (uint64_t) era);
		next = cron_next(&schedule, after);
		MUST(next > after && next <= after + era);
		MUST(cron_next(&schedule, after + eras * era) == next + eras * era);
		MUST(cron_next(&schedule, next - 1) == next);
	}

	/* counted from a day of 1600 to 2400 on */
	start = -135140 + (int64_t) (at % 292194);
	after = start * DAY + (int64_t) ((at >> 40) % DAY) - 1;
	while (day < start)
	{
		next_date(&date);
		day++;
	}
	for (int from = (int) (after + 1 - start * DAY); date.year < LAST_YEAR; from = 0)
	{
		int			time = day_is_due(fields, &date) ? time_on_day(fields, from) : -1;

		if (time >= 0)
		{
			MUST(parsed && cron_next(&schedule, after) == day * DAY + time);
			return 0;
		}
		next_date(&date);
		day++;
	}
	MUST(!parsed);
	return 0;
}
