/*
 * scan.h
 *		Reading a text from left to right. Does not depend on the server.
 */
#ifndef WALWARDEN_SCAN_H
#define WALWARDEN_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A constant text and its length, for two arguments. */
#define LITERAL(text) (text), sizeof(text) - 1

/* Whether text is next, at *p; if so, moves *p past it. */
static inline bool
comes_next(const char **p, const char *end, const char *text, size_t len)
{
	if ((size_t) (end - *p) < len || memcmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

/* What stands before the next stop; moves *p past the stop. NULL if it does not come. */
static inline const char *
up_to(const char **p, const char *end, char stop, size_t *len)
{
	const char *begin = *p;
	const char *at = memchr(begin, stop, (size_t) (end - begin));

	if (at == NULL)
		return NULL;
	*len = (size_t) (at - begin);
	*p = at + 1;
	return begin;
}

#endif							/* WALWARDEN_SCAN_H */
