/*
 * heads.h
 *		The checkpoint of a bundle, and the older one that the auditor kept.
 */
#ifndef VERIFY_HEADS_H
#define VERIFY_HEADS_H

#include <stdbool.h>

#include "chain.h"
#include "common/checkpoint.h"
#include "file.h"
#include "report.h"
#include "trust.h"

typedef struct Head
{
	Content		note;
	const char *problem;		/* NULL if the note is there, and signed by a
								 * trusted key */
	Checkpoint	checkpoint;		/* unless there is a problem; points into the
								 * note */
} Head;

extern void head_read(Content note, const Trust *trust, Head *head);

/* Reports on the checkpoint of the bundle. root: that of the entries at its size. Whether it is sound. */
extern bool head_check(const Head *head, const Chain *chain, const Root *root, Report *report);

/*
 * Reports on the checkpoint that the auditor kept, if there is one. head: that of the bundle,
 * or NULL if none is sound. root: that of the entries at the size of the one that was kept.
 */
extern void kept_head_check(const Head *kept, const Head *head, const Chain *chain, const Root *root, Content consistency, Report *report);

#endif							/* VERIFY_HEADS_H */
