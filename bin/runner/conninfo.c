/*
 * conninfo.c
 *		Connection strings, taken apart.
 */
#include "conninfo.h"

#include <string.h>

const char *
conninfo_value(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val && *o->val ? o->val : NULL;
	return NULL;
}
