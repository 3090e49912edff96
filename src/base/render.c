/*
 * render.c
 *		Rendering of times and uuids as in the audit chain, and parsing of such times.
 *
 * Invariant: the text depends only on the value, not on any setting of the session.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/render.h"
#include "common/hex.h"

static char *
put_digits(char *out, int value, int width)
{
	for (int i = width - 1; i >= 0; i--, value /= 10)
		out[i] = (char) ('0' + value % 10);
	return out + width;
}

/*
 * The part after the year. Written digit by digit, because snprintf() is slow:
 * verification renders the time of each entry, and a page of REST v1 has 150 times.
 */
static void
put_after_year(char *out, const struct pg_tm *tm, fsec_t fsec)
{
	*out++ = '-';
	out = put_digits(out, tm->tm_mon, 2);
	*out++ = '-';
	out = put_digits(out, tm->tm_mday, 2);
	*out++ = 'T';
	out = put_digits(out, tm->tm_hour, 2);
	*out++ = ':';
	out = put_digits(out, tm->tm_min, 2);
	*out++ = ':';
	out = put_digits(out, tm->tm_sec, 2);
	*out++ = '.';
	out = put_digits(out, (int) fsec, 6);
	*out++ = 'Z';
	*out = '\0';
}

/*
 * UTC with microseconds: 2026-11-21T17:33:20.123456Z. out has room for
 * ISO_TIME_LEN + 1 bytes. Returns false and writes nothing if the time is infinite
 * or outside the years 1 to 9999.
 */
bool
render_time(TimestampTz at, char *out)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(at) ||
		timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 ||
		tm.tm_year < 1 || tm.tm_year > 9999)
		return false;
	put_after_year(put_digits(out, tm.tm_year, 4), &tm, fsec);
	return true;
}

/* Read width digits and the character that ends them. */
static bool
read_digits(const char **in, int width, char end, int *value)
{
	*value = 0;
	for (; width > 0; width--, (*in)++)
	{
		if (**in < '0' || **in > '9')
			return false;
		*value = *value * 10 + (**in - '0');
	}
	return *(*in)++ == end;
}

/* Parse a NUL-terminated text that render_time() could have written; false for any other text. */
bool
read_time(const char *text, TimestampTz *at)
{
	const char *in = text;
	struct pg_tm tm = {0};
	int			fsec;
	char		again[ISO_TIME_LEN + 1];

	return read_digits(&in, 4, '-', &tm.tm_year) &&
		read_digits(&in, 2, '-', &tm.tm_mon) &&
		read_digits(&in, 2, 'T', &tm.tm_mday) &&
		read_digits(&in, 2, ':', &tm.tm_hour) &&
		read_digits(&in, 2, ':', &tm.tm_min) &&
		read_digits(&in, 2, '.', &tm.tm_sec) &&
		read_digits(&in, 6, 'Z', &fsec) &&
		tm2timestamp(&tm, fsec, NULL, at) == 0 &&
		render_time(*at, again) &&
		strcmp(text, again) == 0;	/* rejects 30 February */
}

/*
 * Like render_time(), for any time, with the same text as walwarden_internal.iso().
 * out has room for ANY_TIME_LEN + 1 bytes.
 */
void
render_any_time(TimestampTz at, char *out)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (render_time(at, out))
		return;
	if (TIMESTAMP_NOT_FINITE(at))
	{
		strlcpy(out, TIMESTAMP_IS_NOBEGIN(at) ? "-infinity" : "infinity", ANY_TIME_LEN + 1);
		return;
	}
	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	put_after_year(out + sprintf(out, "%04d", tm.tm_year < 1 ? 1 - tm.tm_year : tm.tm_year), &tm, fsec);
	if (tm.tm_year < 1)
		strlcat(out, " BC", ANY_TIME_LEN + 1);
}

/* Lower-case with hyphens. out has room for UUID_TEXT_LEN + 1 bytes. */
void
render_uuid(const pg_uuid_t *uuid, char *out)
{
	static const uint8 group_ends[] = {4, 6, 8, 10, UUID_LEN};
	int			from = 0;

	for (int g = 0; g < lengthof(group_ends); g++)
	{
		if (g > 0)
			*out++ = '-';
		hex_lower(uuid->data + from, group_ends[g] - from, out);
		out += 2 * (group_ends[g] - from);
		from = group_ends[g];
	}
	*out = '\0';
}
