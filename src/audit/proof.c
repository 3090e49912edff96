/*
 * proof.c
 *		Proofs about one audit chain: that entries are in it, and that it begins with an
 *		older one. common/merkle.h defines the tree and the proofs.
 *
 * Reads seq and hash of the entries, one at a time, in the order of seq, with the snapshot of
 * the query. Stops where the chain has a gap.
 *
 * Invariants: nothing is written. Memory grows with the number of proofs, not with the chain.
 * A proof leads to a root that the chain has, never to one that somebody only claims.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "audit/chain_scan.h"
#include "audit/columns.h"
#include "audit/commit.h"
#include "base/digest.h"
#include "base/export.h"
#include "common/merkle.h"

typedef struct Claims
{
	int			count;
	Datum	   *sizes;			/* ascending */
	Datum	   *roots;
	int			chosen;			/* the last one that is true, or -1 */
	MerkleTree	tree;			/* of the chosen one */
} Claims;

static void
sha256_of(const void *data, size_t len, uint8_t *digest)
{
	DigestPart	part = {data, len};

	digest_sha256(&part, 1, digest);
}

static int64
claimed_size(const Claims *claims, int i)
{
	return DatumGetInt64(claims->sizes[i]);
}

/* Choose among the claims about a tree of this size, from the one at *next on. */
static void
judge_claims(Claims *claims, int *next, const MerkleTree *tree)
{
	uint8		root[MERKLE_HASH_LEN];

	if (*next == claims->count || claimed_size(claims, *next) != tree->size)
		return;
	merkle_root(tree, root);
	for (; *next < claims->count && claimed_size(claims, *next) == tree->size; (*next)++)
	{
		const bytea *claimed = DatumGetByteaPP(claims->roots[*next]);

		if (VARSIZE_ANY_EXHDR(claimed) != MERKLE_HASH_LEN || memcmp(VARDATA_ANY(claimed), root, MERKLE_HASH_LEN) != 0)
			continue;
		claims->chosen = *next;
		claims->tree = *tree;
	}
}

/* Build the tree as far as there are claims. */
static void
read_chain(const pg_uuid_t *org_id, Claims *claims, MerkleProof *proofs, int nproofs)
{
	ChainScan	scan;
	TupleDesc	desc;
	HeapTuple	tuple;
	MerkleTree	tree;
	int			next = 0;

	merkle_init(&tree, sha256_of);
	chain_scan_begin(&scan, org_id, NULL);
	desc = RelationGetDescr(scan.entries);
	while (next < claims->count && HeapTupleIsValid(tuple = chain_scan_next(&scan)))
	{
		bool		isnull[2];
		int64		seq = DatumGetInt64(heap_getattr(tuple, Anum_audit_entry_seq, desc, &isnull[0]));
		Datum		value = heap_getattr(tuple, Anum_audit_entry_hash, desc, &isnull[1]);
		const bytea *hash = isnull[1] ? NULL : DatumGetByteaPP(value);

		if (isnull[0] || seq != tree.size + 1 || hash == NULL || VARSIZE_ANY_EXHDR(hash) != MERKLE_HASH_LEN)
			break;
		merkle_append(&tree, (const uint8 *) VARDATA_ANY(hash), proofs, nproofs);
		judge_claims(claims, &next, &tree);
	}
	chain_scan_end(&scan);
	flush_audit();
}

/* The hashes of a proof, one after the other. */
static Datum
proof_datum(const MerkleTree *tree, const MerkleProof *proof)
{
	uint8		hashes[MERKLE_LEVELS + 1][MERKLE_HASH_LEN];
	size_t		size = (size_t) merkle_proof_hashes(tree, proof, hashes) * MERKLE_HASH_LEN;
	bytea	   *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), hashes, size);
	return PointerGetDatum(result);
}

/* The elements of an array without NULLs. */
static Datum *
elements(FunctionCallInfo fcinfo, int arg, Oid type, int typlen, bool typbyval, char typalign, int *count)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	Datum	   *values;

	if (array_contains_nulls(array))
		elog(ERROR, "array contains nulls");
	deconstruct_array(array, type, typlen, typbyval, typalign, &values, NULL, count);
	return values;
}

/*
 * walwarden_internal.chain_proofs(org_id uuid, sizes bigint[], roots bytea[], seqs bigint[], old_size bigint,
 *						   OUT chosen integer, OUT inclusion bytea[], OUT consistency bytea)
 *
 * sizes and roots are claims about the tree, by size. chosen: the place, from 1 on, of the last
 * one that is true, or NULL. inclusion: for each of seqs, which are in their order, the proof
 * that it is in that tree; NULL if it is not. consistency: the proof that that tree begins with
 * the one of old_size; NULL if it is not larger.
 */
PG_FUNCTION_INFO_V1(walwarden_chain_proofs);
Datum
walwarden_chain_proofs(PG_FUNCTION_ARGS)
{
	Claims		claims = {.chosen = -1};
	int64		old_size = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT64(4);
	int			nroots;
	int			nseqs;
	int			nproofs = 0;
	int64		largest;
	Datum	   *seqs;
	MerkleProof *proofs;
	MerkleProof consistency;
	bool		is_older;
	int			consistency_at = -1;
	ArrayBuildState *inclusion;
	TupleDesc	tupdesc;
	Datum		values[3] = {0};
	bool		nulls[3] = {true, true, true};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		elog(ERROR, "an argument is null");
	claims.sizes = elements(fcinfo, 1, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &claims.count);
	claims.roots = elements(fcinfo, 2, BYTEAOID, -1, false, TYPALIGN_INT, &nroots);
	seqs = elements(fcinfo, 3, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &nseqs);
	if (nroots != claims.count)
		elog(ERROR, "as many roots as sizes are needed");
	for (int i = 1; i < claims.count; i++)
		if (claimed_size(&claims, i) < claimed_size(&claims, i - 1))
			elog(ERROR, "sizes are not in order");
	for (int i = 0; i < nseqs; i++)
		if (DatumGetInt64(seqs[i]) <= (i > 0 ? DatumGetInt64(seqs[i - 1]) : 0))
			elog(ERROR, "seqs are not in order");

	/* the tree takes the proofs in the order of what they are about */
	largest = claims.count > 0 ? claimed_size(&claims, claims.count - 1) : 0;
	is_older = merkle_want_consistency(&consistency, old_size, largest);
	proofs = palloc_array(MerkleProof, nseqs + 1);
	for (int i = 0; i < nseqs; i++)
	{
		if (is_older && consistency_at < 0 && merkle_proof_start(&consistency) < DatumGetInt64(seqs[i]))
		{
			consistency_at = nproofs;
			proofs[nproofs++] = consistency;
		}
		if (!merkle_want_inclusion(&proofs[nproofs], DatumGetInt64(seqs[i]) - 1, largest))
			break;
		nproofs++;
	}
	if (is_older && consistency_at < 0)
	{
		consistency_at = nproofs;
		proofs[nproofs++] = consistency;
	}
	read_chain(PG_GETARG_UUID_P(0), &claims, proofs, nproofs);

	if (claims.chosen >= 0)
	{
		values[0] = Int32GetDatum(claims.chosen + 1);
		nulls[0] = false;
		if (is_older && old_size < claims.tree.size)
		{
			values[2] = proof_datum(&claims.tree, &proofs[consistency_at]);
			nulls[2] = false;
		}
	}
	inclusion = initArrayResult(BYTEAOID, CurrentMemoryContext, false);
	for (int i = 0, at = 0; i < nseqs; i++, at++)
	{
		bool		included = claims.chosen >= 0 && DatumGetInt64(seqs[i]) <= claims.tree.size;

		if (at == consistency_at)
			at++;
		inclusion = accumArrayResult(inclusion, included ? proof_datum(&claims.tree, &proofs[at]) : (Datum) 0, !included,
									 BYTEAOID, CurrentMemoryContext);
	}
	values[1] = makeArrayResult(inclusion, CurrentMemoryContext);
	nulls[1] = false;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
