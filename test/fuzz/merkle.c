/*
 * merkle.c
 *		libFuzzer target for src/common/merkle.c: roots and proofs are those of RFC 6962's
 *		recursive definitions, and a proof with a changed hash, place or size proves
 *		nothing.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/merkle.h"

#define SIZE_MAX_HERE 130

/*
 * Not SHA-256, but as good here: a function of all bytes, in which what is different gives
 * something different, as far as these inputs go (FNV-1a, four times).
 */
static void
digest(const void *data, size_t len, uint8_t *out)
{
	for (int part = 0; part < 4; part++)
	{
		uint64_t	h = 14695981039346656037u + (uint64_t) part;

		for (size_t i = 0; i < len; i++)
			h = (h ^ ((const uint8_t *) data)[i]) * 1099511628211u;
		memcpy(out + 8 * part, &h, 8);
	}
}

static uint8_t entries[SIZE_MAX_HERE][MERKLE_HASH_LEN];

static int
split(int n)
{
	int			k = 1;

	while (2 * k < n)
		k *= 2;
	return k;
}

/* MTH(D[from:to]) */
static void
mth(int from, int to, uint8_t *out)
{
	uint8_t		data[1 + 2 * MERKLE_HASH_LEN];
	int			n = to - from;

	if (n == 0)
		digest("", 0, out);
	else if (n == 1)
	{
		data[0] = 0;
		memcpy(data + 1, entries[from], MERKLE_HASH_LEN);
		digest(data, 1 + MERKLE_HASH_LEN, out);
	}
	else
	{
		data[0] = 1;
		mth(from, from + split(n), data + 1);
		mth(from + split(n), to, data + 1 + MERKLE_HASH_LEN);
		digest(data, sizeof(data), out);
	}
}

/* PATH(m, D[from:to]) */
static int
path(int m, int from, int to, uint8_t out[][MERKLE_HASH_LEN])
{
	int			n = to - from;
	int			k = split(n);
	int			count;

	if (n == 1)
		return 0;
	if (m < k)
	{
		count = path(m, from, from + k, out);
		mth(from + k, to, out[count]);
	}
	else
	{
		count = path(m - k, from + k, to, out);
		mth(from, from + k, out[count]);
	}
	return count + 1;
}

/* SUBPROOF(m, D[from:to], b) */
static int
subproof(int m, int from, int to, bool b, uint8_t out[][MERKLE_HASH_LEN])
{
	int			n = to - from;
	int			k = split(n);
	int			count;

	if (m == n)
	{
		if (b)
			return 0;
		mth(from, to, out[0]);
		return 1;
	}
	if (m <= k)
	{
		count = subproof(m, from, from + k, b, out);
		mth(from + k, to, out[count]);
	}
	else
	{
		count = subproof(m - k, from + k, to, false, out);
		mth(from, from + k, out[count]);
	}
	return count + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static MerkleProof wanted[2];
	MerkleProof *inclusion = &wanted[0];
	MerkleProof *consistency = &wanted[1];
	MerkleTree	tree;
	MerkleTree	longer;
	uint8_t		root[MERKLE_HASH_LEN];
	uint8_t		old_root[MERKLE_HASH_LEN];
	uint8_t		expected[MERKLE_LEVELS + 1][MERKLE_HASH_LEN];
	uint8_t		hashes[MERKLE_LEVELS + 1][MERKLE_HASH_LEN];
	int			size;
	int			index;
	int			old_size;
	int			count;
	bool		older;

	if (len < 5)
		return 0;
	size = 1 + data[0] % (SIZE_MAX_HERE - 1);
	index = data[1] % size;
	old_size = data[2] % size;
	for (int i = 0; i < size; i++)
		for (int j = 0; j < MERKLE_HASH_LEN; j++)
			entries[i][j] = (uint8_t) (i * 7 + j + data[3]);

	assert(merkle_want_inclusion(inclusion, index, size));
	older = merkle_want_consistency(consistency, old_size, size);
	assert(older == (old_size > 0));
	if (older && merkle_proof_start(consistency) < merkle_proof_start(inclusion))
	{
		MerkleProof swap = wanted[0];

		wanted[0] = wanted[1];
		wanted[1] = swap;
		inclusion = &wanted[1];
		consistency = &wanted[0];
	}
	merkle_init(&tree, digest);
	merkle_root(&tree, root);
	mth(0, 0, old_root);
	assert(memcmp(root, old_root, MERKLE_HASH_LEN) == 0);
	for (int i = 0; i < size; i++)
		merkle_append(&tree, entries[i], wanted, older ? 2 : 1);
	merkle_root(&tree, root);
	mth(0, size, expected[0]);
	assert(tree.size == size && memcmp(root, expected[0], MERKLE_HASH_LEN) == 0);

	/* what comes later changes no proof of this tree */
	longer = tree;
	for (int i = 0; i < data[3]; i++)
		merkle_append(&longer, entries[i % size], wanted, older ? 2 : 1);

	/* an entry is in the tree, at its place alone */
	count = merkle_proof_hashes(&tree, inclusion, hashes);
	assert(count == path(index, 0, size, expected));
	assert(memcmp(hashes, expected, (size_t) count * MERKLE_HASH_LEN) == 0);
	assert(merkle_includes(digest, entries[index], index, size, hashes, (size_t) count, root));
	assert(!merkle_includes(digest, entries[index], index, size, hashes, (size_t) count + 1, root));
	assert(count == 0 || !merkle_includes(digest, entries[index], index, size, hashes, (size_t) count - 1, root));
	assert(!merkle_includes(digest, entries[index], size, size, hashes, (size_t) count, root));
	assert(!merkle_includes(digest, entries[index], -1, size, hashes, (size_t) count, root));
	assert(index == 0 || !merkle_includes(digest, entries[index], index - 1, size, hashes, (size_t) count, root));
	if (count > 0)
	{
		hashes[data[4] % count][data[3] % MERKLE_HASH_LEN] ^= 1;
		assert(!merkle_includes(digest, entries[index], index, size, hashes, (size_t) count, root));
	}

	/* the tree begins with the older one */
	if (!older)
		return 0;
	mth(0, old_size, old_root);
	count = merkle_proof_hashes(&tree, consistency, hashes);
	assert(count == subproof(old_size, 0, size, true, expected));
	assert(memcmp(hashes, expected, (size_t) count * MERKLE_HASH_LEN) == 0);
	assert(merkle_extends(digest, old_size, old_root, size, hashes, (size_t) count, root));
	assert(!merkle_extends(digest, old_size, old_root, size, hashes, (size_t) count + 1, root));
	assert(!merkle_extends(digest, old_size, old_root, size, hashes, (size_t) count - 1, root));
	assert(!merkle_extends(digest, old_size, root, size, hashes, (size_t) count, root));
	assert(!merkle_extends(digest, old_size, old_root, size, hashes, (size_t) count, old_root));
	assert(!merkle_extends(digest, size, root, size, hashes, 0, root));
	hashes[data[4] % count][data[3] % MERKLE_HASH_LEN] ^= 1;
	assert(!merkle_extends(digest, old_size, old_root, size, hashes, (size_t) count, root));
	return 0;
}
