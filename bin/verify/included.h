/*
 * included.h
 *		Whether the entries of a bundle are in the tree of its checkpoint.
 */
#ifndef VERIFY_INCLUDED_H
#define VERIFY_INCLUDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "heads.h"
#include "report.h"

typedef struct Included
{
	int			proofs;			/* the directory, or -1 */
	size_t		nproofs;		/* files in it */
	const Head *head;			/* signed, or NULL */

	/* what was found; seqs are 0 for none */
	size_t		found;			/* files of entries that are there */
	int64_t		newer;			/* entries that the checkpoint does not cover */
	int64_t		unproven;		/* seq of the first that it covers, without a
								 * proof */
	int64_t		bad;			/* seq of the first with a proof that does not
								 * hold */
	const char *problem;		/* of that one */
} Included;

extern void included_take(Included *included, const Entry *entry);

/* by_root: all entries that the checkpoint covers are here and have its root. */
extern void included_report(const Included *included, const Chain *chain, bool head_is_sound, bool by_root, Report *report);

#endif							/* VERIFY_INCLUDED_H */
