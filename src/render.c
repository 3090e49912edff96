/*
 * render.c
 *		Times and uuids as the audit chain writes them.
 *
 * Invariant: the text depends on the value alone, on no setting of the session.
 */
#include "walwarden.h"

#include "utils/datetime.h"

/* value in exactly this many digits. */
static inline char *
put_digits(char *out, int value, int digits)
{
	for (int i = digits; i-- > 0; value /= 10)
		out[i] = (char) ('0' + value % 10);
	return out + digits;
}

/*
 * UTC with microseconds: 2026-11-21T17:33:20.123456Z. out has room for
 * ISO_TIME_LEN + 1 bytes. False, and nothing written, for a time that is
 * infinite or not in the years 1 to 9999.
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
	/* by hand: a chain that is verified renders each of its entries' times */
	out = put_digits(out, tm.tm_year, 4);
	*out++ = '-';
	out = put_digits(out, tm.tm_mon, 2);
	*out++ = '-';
	out = put_digits(out, tm.tm_mday, 2);
	*out++ = 'T';
	out = put_digits(out, tm.tm_hour, 2);
	*out++ = ':';
	out = put_digits(out, tm.tm_min, 2);
	*out++ = ':';
	out = put_digits(out, tm.tm_sec, 2);
	*out++ = '.';
	out = put_digits(out, fsec, 6);
	*out++ = 'Z';
	*out = '\0';
	return true;
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
