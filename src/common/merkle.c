/*
 * merkle.c
 *		The Merkle tree over a chain.
 *
 * Invariants: frontier[l] is valid where bit l of size is set, and is the root of the
 * complete subtree of 2^l entries that ends where the lower bits of size begin.
 */
#include "common/merkle.h"

#include <string.h>

static void
leaf(MerkleDigest digest, const uint8_t *entry_hash, uint8_t *out)
{
	uint8_t		data[1 + MERKLE_HASH_LEN] = {0x00};

	memcpy(data + 1, entry_hash, MERKLE_HASH_LEN);
	digest(data, sizeof(data), out);
}

/* out may be one of the two. */
static void
parent(MerkleDigest digest, const uint8_t *left, const uint8_t *right, uint8_t *out)
{
	uint8_t		data[1 + 2 * MERKLE_HASH_LEN] = {0x01};

	memcpy(data + 1, left, MERKLE_HASH_LEN);
	memcpy(data + 1 + MERKLE_HASH_LEN, right, MERKLE_HASH_LEN);
	digest(data, sizeof(data), out);
}

static bool
bit(int64_t size, int level)
{
	return (size >> level & 1) != 0;
}

void
merkle_init(MerkleTree *tree, MerkleDigest digest)
{
	tree->digest = digest;
	tree->size = 0;
}

/* The root of the entries behind the last complete subtree of a level. False if there are none. */
static bool
root_below(const MerkleTree *tree, int level, uint8_t *root)
{
	bool		found = false;

	for (int l = 0; l < level; l++)
	{
		if (!bit(tree->size, l))
			continue;
		if (found)
			parent(tree->digest, tree->frontier[l], root, root);
		else
			memcpy(root, tree->frontier[l], MERKLE_HASH_LEN);
		found = true;
	}
	return found;
}

void
merkle_root(const MerkleTree *tree, uint8_t *root)
{
	if (!root_below(tree, MERKLE_LEVELS, root))
		tree->digest("", 0, root);
}

static void
want(MerkleProof *proof, int level, int64_t index, bool with_node)
{
	proof->level = level;
	proof->index = index;
	proof->with_node = with_node;
}

bool
merkle_want_inclusion(MerkleProof *proof, int64_t index, int64_t size)
{
	if (index < 0 || index >= size)
		return false;
	want(proof, 0, index, false);
	return true;
}

/* The path is that of the last complete subtree of the old tree; the old root itself is known. */
bool
merkle_want_consistency(MerkleProof *proof, int64_t old_size, int64_t size)
{
	int			level = 0;

	if (old_size <= 0 || old_size >= size)
		return false;
	while (!bit(old_size, level))
		level++;
	want(proof, level, (old_size - 1) >> level, (old_size & (old_size - 1)) != 0);
	return true;
}

int64_t
merkle_proof_start(const MerkleProof *proof)
{
	return proof->index << proof->level;
}

/* The first proof of a node that begins in or behind a subtree. */
static size_t
first_from(const MerkleProof *proofs, size_t nproofs, int level, int64_t index)
{
	size_t		low = 0;

	for (size_t high = nproofs; low < high;)
	{
		size_t		middle = low + (high - low) / 2;

		if (merkle_proof_start(&proofs[middle]) >> level < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A subtree is complete: whoever needs its root takes it. They are below its parent. */
static void
offer(MerkleProof *proofs, size_t nproofs, int level, int64_t index, const uint8_t *hash)
{
	for (size_t i = first_from(proofs, nproofs, level + 1, index >> 1); i < nproofs; i++)
	{
		MerkleProof *proof = &proofs[i];
		int64_t		at;

		if (merkle_proof_start(proof) >> (level + 1) != index >> 1)
			break;
		if (level < proof->level)
			continue;
		at = proof->index >> (level - proof->level);
		if (index == (at ^ 1))
			memcpy(proof->siblings[level], hash, MERKLE_HASH_LEN);
		else if (level == proof->level && index == at)
			memcpy(proof->node, hash, MERKLE_HASH_LEN);
	}
}

void
merkle_append(MerkleTree *tree, const uint8_t *entry_hash, MerkleProof *proofs, size_t nproofs)
{
	uint8_t		hash[MERKLE_HASH_LEN];
	int			level = 0;

	leaf(tree->digest, entry_hash, hash);
	offer(proofs, nproofs, 0, tree->size, hash);
	for (; bit(tree->size, level); level++)
	{
		parent(tree->digest, tree->frontier[level], hash, hash);
		offer(proofs, nproofs, level + 1, tree->size >> (level + 1), hash);
	}
	memcpy(tree->frontier[level], hash, MERKLE_HASH_LEN);
	tree->size++;
}

int
merkle_proof_hashes(const MerkleTree *tree, const MerkleProof *proof, uint8_t out[][MERKLE_HASH_LEN])
{
	int			count = 0;
	int			level = proof->level;
	int64_t		at = proof->index;
	int64_t		last = (tree->size - 1) >> level;

	if (proof->with_node)
		memcpy(out[count++], proof->node, MERKLE_HASH_LEN);
	for (; last > 0; level++, at >>= 1, last >>= 1)
	{
		if (at == last && (at & 1) == 0)
			continue;			/* nothing is at its right */
		/* the last node of a level may be incomplete */
		if ((at ^ 1) != last || !root_below(tree, level, out[count]))
			memcpy(out[count], proof->siblings[level], MERKLE_HASH_LEN);
		count++;
	}
	return count;
}

/*
 * Climbs from the node at of a level, whose last node is last, to the root by its
 * siblings. *root becomes the root of the tree; *old_root, unless it is NULL, that of the
 * tree that ends with the node. False if there are too few hashes or too many.
 */
static bool
climb(MerkleDigest digest, int64_t at, int64_t last, uint8_t hashes[][MERKLE_HASH_LEN], size_t count, uint8_t *root, uint8_t *old_root)
{
	for (size_t i = 0; i < count; i++)
	{
		/* without a sibling, a node is its own parent */
		for (; last > 0 && at == last && (at & 1) == 0; at >>= 1)
			last >>= 1;
		if (last == 0)
			return false;
		if ((at & 1) != 0)
		{
			parent(digest, hashes[i], root, root);
			if (old_root != NULL)
				parent(digest, hashes[i], old_root, old_root);
		}
		else
			parent(digest, root, hashes[i], root);
		at >>= 1;
		last >>= 1;
	}
	return last == 0;
}

bool
merkle_includes(MerkleDigest digest, const uint8_t *entry_hash, int64_t index, int64_t size,
				uint8_t hashes[][MERKLE_HASH_LEN], size_t count, const uint8_t *root)
{
	uint8_t		computed[MERKLE_HASH_LEN];

	if (index < 0 || index >= size)
		return false;
	leaf(digest, entry_hash, computed);
	return climb(digest, index, size - 1, hashes, count, computed, NULL) &&
		memcmp(computed, root, MERKLE_HASH_LEN) == 0;
}

bool
merkle_extends(MerkleDigest digest, int64_t old_size, const uint8_t *old_root, int64_t size,
			   uint8_t hashes[][MERKLE_HASH_LEN], size_t count, const uint8_t *root)
{
	uint8_t		computed[MERKLE_HASH_LEN];
	uint8_t		old_computed[MERKLE_HASH_LEN];
	MerkleProof start;

	if (!merkle_want_consistency(&start, old_size, size))
		return false;
	if (start.with_node && count == 0)
		return false;
	memcpy(computed, start.with_node ? hashes[0] : old_root, MERKLE_HASH_LEN);
	memcpy(old_computed, computed, MERKLE_HASH_LEN);
	if (start.with_node)
	{
		hashes++;
		count--;
	}
	return climb(digest, start.index, (size - 1) >> start.level, hashes, count, computed, old_computed) &&
		memcmp(old_computed, old_root, MERKLE_HASH_LEN) == 0 &&
		memcmp(computed, root, MERKLE_HASH_LEN) == 0;
}
