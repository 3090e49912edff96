/*
 * line.h
 *		A line of chain.tsv: SEQ TAB PREVHASH TAB HASH TAB BODY, without its line feed.
 */
#ifndef VERIFY_LINE_H
#define VERIFY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/entry.h"

#define HASH_TEXT_LEN 64		/* lower-case hex */

/* The longest line, with the digits of the largest seq. */
#define CHAIN_LINE_MAX (19 + 1 + HASH_TEXT_LEN + 1 + HASH_TEXT_LEN + 1 + ENTRY_BODY_MAX)

/* The columns. Pointers point into the line. */
typedef struct ChainLine
{
	int64_t		seq;			/* from 1 on */
	const char *seq_text;
	size_t		seq_len;
	const char *prev_hash;		/* HASH_TEXT_LEN bytes */
	const char *hash;			/* HASH_TEXT_LEN bytes */
	const char *body;
	size_t		body_len;
} ChainLine;

/* Whether text is HASH_TEXT_LEN digits of lower-case hex. */
extern bool hash_is_well_formed(const char *text, size_t len);

/* Whether text has the form of a line. The body may be anything that is not too long. *result is undefined if not. */
extern bool line_read(const char *text, size_t len, ChainLine *result);

#endif							/* VERIFY_LINE_H */
