/*
 * proof.h
 *		The texts of proofs: that an entry is in the tree of a checkpoint, in the form of
 *		c2sp.org/tlog-proof@v1,
 *
 *			c2sp.org/tlog-proof@v1
 *			index N
 *			HASH in base64, the lowest first
 *			...
 *
 *			the checkpoint
 *
 *		and that the tree of a checkpoint begins with that of an older one,
 *
 *			old SIZE
 *			new SIZE
 *			HASH in base64
 *			...
 */
#ifndef VERIFY_PROOF_H
#define VERIFY_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/checkpoint.h"
#include "common/merkle.h"

#define PROOF_HASHES_MAX (MERKLE_LEVELS + 1)
#define PROOF_MAX 6144			/* bytes of a text, more than one can have */

typedef struct Inclusion
{
	int64_t		index;			/* of the entry, from 0 on */
	uint8_t		hashes[PROOF_HASHES_MAX][MERKLE_HASH_LEN];
	size_t		count;
	const char *note;			/* the rest of the text */
	size_t		note_len;
} Inclusion;

typedef struct Consistency
{
	int64_t		old_size;
	int64_t		new_size;
	uint8_t		hashes[PROOF_HASHES_MAX][MERKLE_HASH_LEN];
	size_t		count;
} Consistency;

/* Whether text has this form. *result is undefined if it has not. */
extern bool inclusion_read(const char *text, size_t len, Inclusion *result);
extern bool consistency_read(const char *text, size_t len, Consistency *result);

#endif							/* VERIFY_PROOF_H */
