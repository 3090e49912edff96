/*
 * signature.c
 *		The signatures of nodes, for SQL.
 *
 * What is signed and what is valid is decided in common/manifest.c, common/checkpoint.c
 * and common/signature.c, which verifiers without a server share.
 *
 * Invariant: where signatures are not supported, none is valid.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/export.h"
#include "base/memory.h"
#include "common/checkpoint.h"
#include "common/entry.h"
#include "common/manifest.h"
#include "common/signature.h"
#include "common/syntax.h"

/* walwarden_internal.signatures_supported() */
PG_FUNCTION_INFO_V1(walwarden_signatures_supported);
Datum
walwarden_signatures_supported(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(signature_is_supported());
}

static bool
read_public_key(const text *value, uint8 *key)
{
	return public_key_read(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), key);
}

/* walwarden_internal.public_key_is_valid(public_key text) */
PG_FUNCTION_INFO_V1(walwarden_public_key_is_valid);
Datum
walwarden_public_key_is_valid(PG_FUNCTION_ARGS)
{
	uint8		key[PUBLIC_KEY_LEN];

	PG_RETURN_BOOL(read_public_key(PG_GETARG_TEXT_PP(0), key) && public_key_is_sound(key));
}

/* walwarden_internal.key_name_is_valid(name text) */
PG_FUNCTION_INFO_V1(walwarden_key_name_is_valid);
Datum
walwarden_key_name_is_valid(PG_FUNCTION_ARGS)
{
	const text *name = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(key_name_is_well_formed(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
}

/*
 * walwarden_internal.signature_problem(manifest text, public_key text)
 *
 * Why the manifest is not signed with the key, or NULL.
 */
PG_FUNCTION_INFO_V1(walwarden_signature_problem);
Datum
walwarden_signature_problem(PG_FUNCTION_ARGS)
{
	const text *input = PG_GETARG_TEXT_PP(0);
	uint8		key[PUBLIC_KEY_LEN];
	SignedManifest manifest;

	if (!manifest_read(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input), ENTRY_BODY_MAX, &palloc_memory, &manifest))
		PG_RETURN_TEXT_P(cstring_to_text(manifest.error));
	if (!manifest.has_signature)
		PG_RETURN_TEXT_P(cstring_to_text("signature is missing"));
	if (!read_public_key(PG_GETARG_TEXT_PP(1), key) || !manifest_is_signed(&manifest, key))
		PG_RETURN_TEXT_P(cstring_to_text("signature does not verify with the key of the node"));
	PG_RETURN_NULL();
}

/*
 * walwarden_internal.read_checkpoint(note text, public_key text,
 *						   OUT org_id uuid, OUT name text, OUT size bigint, OUT root bytea, OUT signed boolean)
 *
 * NULL if note is not a checkpoint. signed: whether the signature is that of the key under
 * the name in the note.
 */
PG_FUNCTION_INFO_V1(walwarden_read_checkpoint);
Datum
walwarden_read_checkpoint(PG_FUNCTION_ARGS)
{
	const text *note = PG_GETARG_TEXT_PP(0);
	const char *bytes = VARDATA_ANY(note);
	uint8		key[PUBLIC_KEY_LEN];
	Checkpoint	checkpoint;
	bytea	   *root;
	TupleDesc	tupdesc;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!checkpoint_read(bytes, VARSIZE_ANY_EXHDR(note), &checkpoint))
		PG_RETURN_NULL();

	root = palloc(VARHDRSZ + CHECKPOINT_ROOT_LEN);
	SET_VARSIZE(root, VARHDRSZ + CHECKPOINT_ROOT_LEN);
	memcpy(VARDATA(root), checkpoint.root, CHECKPOINT_ROOT_LEN);
	values[0] = DirectFunctionCall1(uuid_in, CStringGetDatum(pnstrdup(checkpoint.org_id, UUID_TEXT_LEN)));
	values[1] = PointerGetDatum(cstring_to_text_with_len(checkpoint.name, (int) checkpoint.name_len));
	values[2] = Int64GetDatum(checkpoint.size);
	values[3] = PointerGetDatum(root);
	values[4] = BoolGetDatum(read_public_key(PG_GETARG_TEXT_PP(1), key) && checkpoint_is_signed(&checkpoint, bytes, key));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
