/*
 * chain.h
 *		The entries of a bundle, which are read one by one: chain.tsv may be larger than the
 *		memory.
 */
#ifndef VERIFY_CHAIN_H
#define VERIFY_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/merkle.h"
#include "common/syntax.h"
#include "json.h"
#include "line.h"
#include "report.h"

typedef struct Entry
{
	int64_t		seq;
	uint8_t		hash[MERKLE_HASH_LEN];
	const char *job_id;			/* UUID_TEXT_LEN bytes, or NULL */
	const char *kind;
	size_t		kind_len;
	Json		payload;
} Entry;

/* The root that the tree had at a size, if all entries up to there are in the bundle. */
typedef struct Root
{
	int64_t		size;
	bool		reached;
	uint8_t		hash[MERKLE_HASH_LEN];
} Root;

typedef struct Chain
{
	/* what the caller asks for */
	Root	   *roots;
	size_t		nroots;
	void		(*visit) (void *arg, const Entry *entry);	/* each sound entry */
	void	   *arg;

	/* what was found */
	bool		sound;			/* everything that is here */
	char		org_id[UUID_TEXT_LEN];	/* if count > 0 */
	int64_t		count;
	int64_t		first;			/* seq */
	int64_t		last;			/* seq */

	/* of the last entry */
	char		hash[HASH_TEXT_LEN];
	char		at[ISO_TIME_LEN];
	MerkleTree	tree;			/* grows while no entry is missing */
} Chain;

/* Reads chain.tsv up to the first finding, and reports it, or that there is none. */
extern void chain_check(int directory, Chain *chain, Report *report);

#endif							/* VERIFY_CHAIN_H */
