/*
 * merkle.h
 *		The Merkle tree over a chain, as RFC 6962 defines it. The leaf of an entry is
 *		SHA-256(00 || hash of the entry), an inner node SHA-256(01 || left || right).
 *		Does not depend on the server.
 *
 * A tree grows by one entry at a time and keeps only its frontier: the roots of the
 * complete subtrees that it consists of, one for each bit of its size. Proofs are made
 * while it grows, in one pass over the entries: each is told beforehand which nodes it
 * needs.
 */
#ifndef WALWARDEN_MERKLE_H
#define WALWARDEN_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERKLE_HASH_LEN 32
#define MERKLE_LEVELS 63		/* sizes are positive int64_t */

/* SHA-256 of data. Need not return if it cannot compute it. */
typedef void (*MerkleDigest) (const void *data, size_t len, uint8_t *digest);

typedef struct MerkleTree
{
	MerkleDigest digest;
	int64_t		size;			/* number of entries */
	uint8_t		frontier[MERKLE_LEVELS][MERKLE_HASH_LEN];	/* those at the bits of
															 * size */
} MerkleTree;

/* The path from a node to the root: its siblings, the lowest first. */
typedef struct MerkleProof
{
	int			level;			/* of the node; 0 is a leaf */
	int64_t		index;			/* of the node in its level, from 0 on */
	bool		with_node;		/* whether the proof begins with the node
								 * itself */
	uint8_t		node[MERKLE_HASH_LEN];
	uint8_t		siblings[MERKLE_LEVELS][MERKLE_HASH_LEN];	/* by level, where
															 * complete */
} MerkleProof;

extern void merkle_init(MerkleTree *tree, MerkleDigest digest);

/* Of the empty tree: SHA-256 of nothing. */
extern void merkle_root(const MerkleTree *tree, uint8_t *root);

/* Prepares the proof that an entry (from 0 on) is in a tree of size entries. False unless 0 <= index < size. */
extern bool merkle_want_inclusion(MerkleProof *proof, int64_t index, int64_t size);

/* Prepares the proof that a tree of size entries begins with one of old_size. False unless 0 < old_size < size. */
extern bool merkle_want_consistency(MerkleProof *proof, int64_t old_size, int64_t size);

/* The first entry of the node of a proof. */
extern int64_t merkle_proof_start(const MerkleProof *proof);

/*
 * Appends an entry by its hash, which proofs take what they need of: those that were
 * prepared before the first entry, in the order of merkle_proof_start(). nproofs may be 0.
 */
extern void merkle_append(MerkleTree *tree, const uint8_t *entry_hash, MerkleProof *proofs, size_t nproofs);

/*
 * The hashes of a proof, in their order, for the tree that it was prepared for; also from a
 * copy of the tree at an earlier size, if the proof could have been prepared for that. out has
 * room for MERKLE_LEVELS + 1. Returns their number.
 */
extern int	merkle_proof_hashes(const MerkleTree *tree, const MerkleProof *proof, uint8_t out[][MERKLE_HASH_LEN]);

/* Whether count hashes prove that the entry with this hash is the one at index in the tree of size with this root. */
extern bool merkle_includes(MerkleDigest digest, const uint8_t *entry_hash, int64_t index, int64_t size,
							uint8_t hashes[][MERKLE_HASH_LEN], size_t count, const uint8_t *root);

/* Whether count hashes prove that the tree of size with this root begins with the tree of old_size with old_root. */
extern bool merkle_extends(MerkleDigest digest, int64_t old_size, const uint8_t *old_root, int64_t size,
						   uint8_t hashes[][MERKLE_HASH_LEN], size_t count, const uint8_t *root);

#endif							/* WALWARDEN_MERKLE_H */
