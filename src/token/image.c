/*
 * image.c
 *		What the chain says of a token and its credentials, in the canonical JSON of entries,
 *		and whether credentials agree with their token.
 *
 * token_image() in sql/schema/3_token/tables.sql says the same as jsonb, for the verifier in SQL, in
 * which no C may have a part. Here it is for entries and for the verifier in C, at a small part of the
 * cost; test/pgtap/image.sql compares the two.
 *
 * Invariants: an image has the bytes that canonical_render() makes of the jsonb. Any value can
 * be null, as in base/tables.c, and none ends a backend. A column of another type than it was
 * installed with is an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit/chain_scan.h"
#include "audit/columns.h"
#include "audit/entry.h"
#include "base/digest.h"
#include "base/export.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/render.h"
#include "common/canonical.h"
#include "common/entry.h"
#include "common/hex.h"
#include "common/syntax.h"
#include "token/columns.h"
#include "token/image.h"
#include "token/status_copy.h"

/* A row of token or credential. */
typedef struct Fields
{
	TupleDesc	desc;			/* pinned until release_fields() */
	Datum	   *values;
	bool	   *nulls;
} Fields;

/* A member of an image, and the column that it shows. */
typedef struct Member
{
	const char *key;			/* as it is written */
	int			key_len;
	AttrNumber	column;
	Oid			type;			/* of the column */
	bool		later;			/* of a later version: left out where null */
} Member;

#define KEY(name) "\"" name "\":", sizeof("\"" name "\":") - 1

/* In the order of their keys. */
static const Member token_members[] = {
	{KEY("createdAt"), Anum_token_created_at, TIMESTAMPTZOID},
	{KEY("createdBy"), Anum_token_created_by, TEXTOID},
	{KEY("credentials"), 0, InvalidOid},
	{KEY("disabledAt"), Anum_token_disabled_at, TIMESTAMPTZOID},
	{KEY("disabledBy"), Anum_token_disabled_by, TEXTOID},
	{KEY("disabledByOwner"), Anum_token_disabled_by_owner, BOOLOID},
	{KEY("disabledReason"), Anum_token_disabled_reason, TEXTOID},
	{KEY("expiredAt"), Anum_token_expired_at, TIMESTAMPTZOID},
	{KEY("expiresAt"), Anum_token_expires_at, TIMESTAMPTZOID},
	{KEY("id"), Anum_token_id, UUIDOID},
	{KEY("keyName"), Anum_token_key_name, TEXTOID, true},
	{KEY("kind"), Anum_token_kind, TEXTOID},
	{KEY("labels"), Anum_token_labels, JSONBOID, true},
	{KEY("lifetimeFrom"), Anum_token_lifetime_from, TIMESTAMPTZOID, true},
	{KEY("name"), Anum_token_name, TEXTOID},
	{KEY("networks"), Anum_token_networks, CIDRARRAYOID, true},
	{KEY("noticeFor"), Anum_token_notice_for, TIMESTAMPTZOID, true},
	{KEY("ownerId"), Anum_token_owner_id, UUIDOID},
	{KEY("rateLimit"), Anum_token_rate_limit, INT4OID, true},
	{KEY("removedAt"), Anum_token_removed_at, TIMESTAMPTZOID},
	{KEY("revokedAt"), Anum_token_revoked_at, TIMESTAMPTZOID},
	{KEY("revokedBy"), Anum_token_revoked_by, TEXTOID},
	{KEY("revokedReason"), Anum_token_revoked_reason, TEXTOID},
	{KEY("role"), Anum_token_role, TEXTOID},
	{KEY("scopes"), Anum_token_scopes, TEXTARRAYOID}
};

static const Member credential_members[] = {
	{KEY("commitment"), 0, InvalidOid},
	{KEY("createdAt"), Anum_credential_created_at, TIMESTAMPTZOID},
	{KEY("kind"), Anum_credential_kind, TEXTOID},
	{KEY("validUntil"), Anum_credential_valid_until, TIMESTAMPTZOID}
};

static void
read_fields(HeapTupleHeader value, Fields *row)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(value),.t_data = value};

	row->desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(value), HeapTupleHeaderGetTypMod(value));
	row->values = palloc(sizeof(Datum) * row->desc->natts);
	row->nulls = palloc(sizeof(bool) * row->desc->natts);
	heap_deform_tuple(&tuple, row->desc, row->values, row->nulls);
}

/* Whether a row has a value in a column. A table of an older version lacks columns. */
static bool
has_field(const Fields *row, AttrNumber column, Oid type)
{
	if (column > row->desc->natts)
		return false;
	if (TupleDescAttr(row->desc, column - 1)->atttypid != type)
		elog(ERROR, "column %d of type %s is not as it was installed", column, format_type_be(row->desc->tdtypeid));
	return !row->nulls[column - 1];
}

/* All credentials of a token, as the rows of an array. */
static Fields *
read_credentials(ArrayType *array, int *count)
{
	Datum	   *elements;
	bool	   *nulls;
	Fields	   *credentials;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, &nulls, count);
	credentials = palloc(sizeof(Fields) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			elog(ERROR, "a credential is null");
		read_fields(DatumGetHeapTupleHeader(elements[i]), &credentials[i]);
	}
	return credentials;
}

static void
release_fields(Fields *rows, int count)
{
	for (int i = 0; i < count; i++)
		ReleaseTupleDesc(rows[i].desc);
}

/* The text of commitment(), of which out receives DIGEST_HEX_LEN bytes; false if it is null. */
static bool
commitment_of(const Fields *credential, char *out)
{
	static const char prefix[] = "walwarden/credential/v1:";
	char		token_id[UUID_TEXT_LEN + 1];
	uint8		digest[DIGEST_LEN];
	const bytea *fingerprint;
	size_t		len;
	char	   *hex;
	DigestPart	parts[] = {{prefix, sizeof(prefix) - 1}, {NULL, UUID_TEXT_LEN}, {":", 1}, {NULL, 0}};

	if (!has_field(credential, Anum_credential_token_id, UUIDOID) || !has_field(credential, Anum_credential_fingerprint, BYTEAOID))
		return false;
	render_uuid(DatumGetUUIDP(credential->values[Anum_credential_token_id - 1]), token_id);
	fingerprint = DatumGetByteaPP(credential->values[Anum_credential_fingerprint - 1]);
	len = VARSIZE_ANY_EXHDR(fingerprint);
	hex = palloc(2 * len + 1);
	hex_lower((const uint8 *) VARDATA_ANY(fingerprint), len, hex);
	parts[1].data = token_id;
	parts[3].data = hex;
	parts[3].len = 2 * len;
	digest_sha256(parts, lengthof(parts), digest);
	hex_lower(digest, DIGEST_LEN, out);
	return true;
}

/*
 * The canonical text of labels as jsonb_strip_nulls() leaves them; NULL for the JSON null. What no
 * entry can contain stays as it is, and so is in none.
 */
static char *
labels_text(Datum labels)
{
	StringInfoData raw;
	CanonicalText text;

	initStringInfo(&raw);
	/* false: not in arrays, which PostgreSQL 18 asks */
	json_append_value(&raw, JSONBOID, DirectFunctionCall2(jsonb_strip_nulls, labels, BoolGetDatum(false)));
	if (!canonical_render_request(raw.data, raw.len, ENTRY_BODY_MAX, &palloc_memory, &text))
		return raw.data;
	return text.data[0] == 'n' ? NULL : pnstrdup(text.data, text.len);
}

/* Append an array as array_to_json() writes it, which takes several times as long for a list of texts. */
static void
append_array(StringInfo json, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Datum	   *elements;
	int			count;

	if (ARR_ELEMTYPE(array) != TEXTOID || ARR_NDIM(array) > 1 || ARR_HASNULL(array))
	{
		json_append_value(json, JSONOID, DirectFunctionCall1(array_to_json, PointerGetDatum(array)));
		return;
	}
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	appendStringInfoCharMacro(json, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(json, ',');
		json_append_value(json, TEXTOID, elements[i]);
	}
	appendStringInfoCharMacro(json, ']');
}

/* Append the key of a member; the first one opens the object. */
static void
append_key(StringInfo json, const Member *member, bool first)
{
	appendStringInfoCharMacro(json, first ? '{' : ',');
	appendBinaryStringInfo(json, member->key, member->key_len);
}

static void
append_member(StringInfo json, const Member *member, const Fields *row, bool first)
{
	bool		has = has_field(row, member->column, member->type);
	Datum		value = has ? row->values[member->column - 1] : (Datum) 0;
	char	   *labels = NULL;

	if (has && member->type == JSONBOID)
	{
		labels = labels_text(value);
		has = labels != NULL;
	}
	if (!has && member->later)
		return;
	append_key(json, member, first);
	if (!has)
		appendBinaryStringInfo(json, "null", 4);
	else if (labels != NULL)
		appendStringInfoString(json, labels);
	else if (member->type == TEXTARRAYOID || member->type == CIDRARRAYOID)
		append_array(json, value);
	else
		json_append_value(json, member->type, value);
}

static void
append_credential(StringInfo json, const Fields *credential)
{
	char		commitment[DIGEST_HEX_LEN];

	for (int i = 0; i < lengthof(credential_members); i++)
	{
		const Member *member = &credential_members[i];

		if (member->column != 0)
			append_member(json, member, credential, i == 0);
		else
		{
			append_key(json, member, i == 0);
			if (commitment_of(credential, commitment))
				json_append_text(json, commitment, DIGEST_HEX_LEN);
			else
				appendStringInfoString(json, "null");
		}
	}
	appendStringInfoChar(json, '}');
}

/* The order of credentials in an image: by created_at, then by fingerprint, null last. */
static int
compare_credentials(const void *left, const void *right)
{
	const Fields *a = left;
	const Fields *b = right;
	static const AttrNumber columns[] = {Anum_credential_created_at, Anum_credential_fingerprint};
	static const Oid types[] = {TIMESTAMPTZOID, BYTEAOID};
	int			order = 0;

	for (int i = 0; i < lengthof(columns) && order == 0; i++)
	{
		bool		has_a = has_field(a, columns[i], types[i]);
		bool		has_b = has_field(b, columns[i], types[i]);

		if (has_a && has_b)
			order = DatumGetInt32(DirectFunctionCall2(i == 0 ? timestamp_cmp : byteacmp, a->values[columns[i] - 1], b->values[columns[i] - 1]));
		else
			order = (int) has_b - (int) has_a;
	}
	return order;
}

/* Append the image of a token. values: all credentials of the token, in any order. */
void
token_image(StringInfo json, HeapTupleHeader value, ArrayType *values)
{
	Fields		token;
	int			count;
	Fields	   *credentials = read_credentials(values, &count);

	read_fields(value, &token);
	qsort(credentials, count, sizeof(Fields), compare_credentials);
	for (int i = 0; i < lengthof(token_members); i++)
	{
		const Member *member = &token_members[i];

		if (member->column != 0)
		{
			append_member(json, member, &token, i == 0);
			continue;
		}
		append_key(json, member, i == 0);
		appendStringInfoChar(json, '[');
		for (int c = 0; c < count; c++)
		{
			if (c > 0)
				appendStringInfoChar(json, ',');
			append_credential(json, &credentials[c]);
		}
		appendStringInfoChar(json, ']');
	}
	appendStringInfoChar(json, '}');
	release_fields(&token, 1);
	release_fields(credentials, count);
}

/* walwarden_internal.token_image_text(t walwarden_internal.token, credentials walwarden_internal.credential[]) */
PG_FUNCTION_INFO_V1(walwarden_token_image_text);
Datum
walwarden_token_image_text(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	json_begin(&json);
	token_image(&json, PG_GETARG_HEAPTUPLEHEADER(0), PG_GETARG_ARRAYTYPE_P(1));
	PG_RETURN_DATUM(json_end(&json));
}

/* Whether an entry contains the commitment of a credential. */
static bool
entry_has(const pg_uuid_t *org_id, int64 seq, const Fields *credential)
{
	const int64 limits[] = {seq, seq};
	char		commitment[DIGEST_HEX_LEN];
	ChainScan	scan;
	HeapTuple	tuple;
	bool		isnull = true;
	Datum		body = (Datum) 0;
	bool		has;

	if (!commitment_of(credential, commitment))
		return false;
	chain_scan_begin(&scan, org_id, limits);
	tuple = chain_scan_next(&scan);
	if (HeapTupleIsValid(tuple))
		body = heap_getattr(tuple, Anum_audit_entry_body, RelationGetDescr(scan.entries), &isnull);
	has = !isnull && audit_commits_to(DatumGetTextPP(body), commitment, DIGEST_HEX_LEN);
	chain_scan_end(&scan);
	return has;
}

static bool
credential_matches(const Fields *credential, const Fields *token)
{
	for (int i = 0; i < STATUS_COPIES; i++)
		if (!status_copy_is_equal(&status_copies[i], credential->desc, credential->values, credential->nulls,
								  token->desc, token->values, token->nulls))
			return false;
	/* with_token_status() leaves NULL what others have added after slot */
	for (int i = Anum_credential_slot; i < credential->desc->natts; i++)
		if (!credential->nulls[i] && !TupleDescAttr(credential->desc, i)->attisdropped)
			return false;
	if (!has_field(credential, Anum_credential_audit_seq, INT8OID) || !has_field(token, Anum_token_audit_seq, INT8OID) ||
		!has_field(token, Anum_token_org_id, UUIDOID))
		return false;
	return DatumGetInt64(credential->values[Anum_credential_audit_seq - 1]) == DatumGetInt64(token->values[Anum_token_audit_seq - 1]) ||
		entry_has(DatumGetUUIDP(token->values[Anum_token_org_id - 1]), DatumGetInt64(credential->values[Anum_credential_audit_seq - 1]), credential);
}

/*
 * walwarden_internal.credentials_match(t walwarden_internal.token, credentials walwarden_internal.credential[])
 */
PG_FUNCTION_INFO_V1(walwarden_credentials_match);
Datum
walwarden_credentials_match(PG_FUNCTION_ARGS)
{
	Fields		token;
	int			count;
	Fields	   *credentials = read_credentials(PG_GETARG_ARRAYTYPE_P(1), &count);
	bool		match = true;

	read_fields(PG_GETARG_HEAPTUPLEHEADER(0), &token);
	for (int i = 0; i < count && match; i++)
		match = credential_matches(&credentials[i], &token);
	release_fields(&token, 1);
	release_fields(credentials, count);
	PG_RETURN_BOOL(match);
}
