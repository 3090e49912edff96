/*
 * mutation.c
 *		Mutations of REST v1: each takes effect once per idempotency key.
 *
 * Functions in SQL check the body against its schema, handle the operation, and store
 * the response. They are called by name.
 *
 * Invariants: key, effect and audit entry commit together. Requests with the same key
 * run one after the other, and only the first takes effect. The lock of the key is
 * acquired before the lock of the organisation.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/call.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/lock.h"
#include "base/settings.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "rest/columns.h"
#include "rest/fail.h"
#include "rest/mutation.h"
#include "rest/request.h"
#include "rest/rights.h"
#include "rest/tag.h"

/* The key of a stored response. Keys and requests are stored only as hashes. */
typedef struct StoredKey
{
	uint8		holder[DIGEST_LEN]; /* shared by tokens of one key_name */
	uint8		key_hash[DIGEST_LEN];
	uint8		request_hash[DIGEST_LEN];
	TimestampTz oldest;			/* a key of this age or older has expired */
} StoredKey;

static void
check_content_type(const RestRequest *request, const bytea *body)
{
	const char *type = request->content_type;
	const char *encoding = request->content_encoding;

	if (VARSIZE_ANY_EXHDR(body) > 0 && (type == NULL || !media_type_is_json(type, strlen(type))))
		rest_fail_field("not_json", "the body must be application/json", "Content-Type", "Send Content-Type: application/json.");
	if (encoding != NULL && pg_strcasecmp(encoding, "identity") != 0)
		rest_fail_field("encoded_body", "the body must not be compressed", "Content-Encoding", "Send the body as it is, without Content-Encoding.");
}

/* The idempotency key without quotes. */
static char *
read_key(const RestRequest *request)
{
	static const char *const field = "Idempotency-Key";
	char	   *key = request->idempotency_key;
	size_t		len;

	if (key == NULL)
		rest_fail_field("missing", "the header Idempotency-Key is missing", field,
						"Send a new random value with each request, and the same value when you repeat a request.");
	len = strlen(key);
	if (len >= 2 && key[0] == '"' && key[len - 1] == '"')
		key = pnstrdup(key + 1, len - 2);
	if (!idempotency_key_is_well_formed(key, strlen(key)))
		rest_fail_field("malformed", "the header Idempotency-Key must be 1 to 255 visible ASCII characters", field, NULL);
	return key;
}

static void
refuse_query(const RestRequest *request)
{
	if (request->query != NULL)
		rest_fail_unknown_parameter(pnstrdup(request->query, strcspn(request->query, "=&")), false);
}

/* Check the body, and return it as canonical JSON. */
static char *
read_body(RestRequest *request, const char *schema, bytea *body)
{
	Oid			types[] = {TEXTOID, TEXTOID, BYTEAOID};
	NullableDatum args[] = {
		{.value = CStringGetTextDatum(request->method)},
		{.value = CStringGetTextDatum(schema)},
		{.value = PointerGetDatum(body)}
	};
	char	   *canonical = TextDatumGetCString(call_function("rest_body", lengthof(args), types, args, NULL));

	request->body = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(canonical)));
	return canonical;
}

/* The digest of a text in UTF-8. */
static void
digest_text(char *text, uint8 *digest)
{
	char	   *utf8 = pg_server_to_any(text, (int) strlen(text), PG_UTF8);
	DigestPart	part = {utf8, strlen(utf8)};

	digest_sha256(&part, 1, digest);
}

/* Set the holder of the keys: of the token, or of the person in this organisation. */
static void
find_holder(const RestRequest *request, uint8 *holder)
{
	Oid			type = UUIDOID;
	NullableDatum arg = {.value = UUIDPGetDatum(request->person != NULL ? &request->membership.member_id : &request->token_id)};
	const char *function = request->person != NULL ? "rest_member_key_holder" : "rest_key_holder";
	const bytea *digest = DatumGetByteaPP(call_function(function, 1, &type, &arg, NULL));

	if (VARSIZE_ANY_EXHDR(digest) != DIGEST_LEN)
		elog(ERROR, "unexpected length of a digest");
	memcpy(holder, VARDATA_ANY(digest), DIGEST_LEN);
}

static void
lock_key(const StoredKey *stored)
{
	DigestPart	parts[] = {{stored->holder, DIGEST_LEN}, {stored->key_hash, DIGEST_LEN}};
	uint8		digest[DIGEST_LEN];
	pg_uuid_t	id;
	MemoryContext context = CurrentMemoryContext;

	digest_sha256(parts, lengthof(parts), digest);
	memcpy(id.data, digest, UUID_LEN);
	PG_TRY();
	{
		lock_acquire(&id, LOCK_REQUEST);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		rest_fail_field("request_in_progress", "a request with this key is still in progress", NULL,
						"Repeat the request later with the same key.");
	}
	PG_END_TRY();
}

/*
 * From now on, see what others have committed. If the transaction has a fixed snapshot, the
 * handler does not, but the check of the rights does.
 */
static void
refresh_snapshot(void)
{
	CommandCounterIncrement();
	PopActiveSnapshot();
	PushActiveSnapshot(IsolationUsesXactSnapshot() ? GetLatestSnapshot() : GetTransactionSnapshot());
}

/* Find the response stored for this request. body: a copy; NULL if the response had no body. */
static bool
find_response(const StoredKey *stored, struct varlena **body)
{
	ScanKeyData keys[2];
	Row			row;
	bool		found;
	bool		isnull;

	ScanKeyInit(&keys[0], Anum_idempotency_key_holder, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(digest_bytea(stored->holder)));
	ScanKeyInit(&keys[1], Anum_idempotency_key_key_hash, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(digest_bytea(stored->key_hash)));
	found = row_find(&row, "idempotency_key", "idempotency_key_pkey", lengthof(keys), keys, GetActiveSnapshot()) &&
		DatumGetTimestampTz(row_get(&row, Anum_idempotency_key_created_at, &isnull)) > stored->oldest;
	if (found)
	{
		if (!row_text_is(&row, Anum_idempotency_key_request_hash, (const char *) stored->request_hash, DIGEST_LEN))
			rest_fail_field("idempotency_key_reused", "the key was used for a different request", NULL,
							"Use a new key for a new request.");
		*body = row_text(&row, Anum_idempotency_key_body);
	}
	row_close(&row);
	return found;
}

/* The response to a request that is repeated, from what was stored of it. */
static Datum
replay_response(const RestRequest *request, Datum stored, bool *isnull)
{
	Oid			types[] = {TEXTOID, UUIDOID, JSONOID};
	NullableDatum args[] = {
		{.value = CStringGetTextDatum(request->operation)},
		{.value = UUIDPGetDatum(&request->org_id)},
		{.value = stored}
	};

	return call_function("rest_replayed", lengthof(args), types, args, isnull);
}

/* What is to be stored of a response. */
static Datum
stored_response(const RestRequest *request, Datum response)
{
	Oid			types[] = {TEXTOID, JSONOID};
	NullableDatum args[] = {
		{.value = CStringGetTextDatum(request->operation)},
		{.value = response}
	};

	return call_function("rest_stored", lengthof(args), types, args, NULL);
}

static void
store_response(const StoredKey *stored, Datum body, bool isnull)
{
	Oid			types[] = {BYTEAOID, BYTEAOID, BYTEAOID, JSONOID, TIMESTAMPTZOID};
	NullableDatum args[] = {
		{.value = PointerGetDatum(digest_bytea(stored->holder))},
		{.value = PointerGetDatum(digest_bytea(stored->key_hash))},
		{.value = PointerGetDatum(digest_bytea(stored->request_hash))},
		{.value = body,.isnull = isnull},
		{.value = TimestampTzGetDatum(stored->oldest)}
	};

	(void) call_function("rest_store_response", lengthof(args), types, args, NULL);
}

/*
 * A complete mutation, once the token may use the operation. The checks, in order: 415,
 * 400 for the key, 400 for the conditions and for the query, 413 or 400 for the body, 409
 * or replay, 404 and 412 for If-Match. Then the handler runs. Returns the body of the
 * response: json, or null.
 *
 * The organisation may have been closed, and the caller may have lost a right, while the
 * request waited; then it is refused as it would have been before.
 *
 * reader: the handler that shows what is changed; NULL if the operation has no conditions.
 * schema: of the body. locks_org: whether the lock of the organisation is held from here on;
 * if not, one such request of an organisation at a time is served. The active snapshot is
 * replaced after each lock.
 */
Datum
rest_mutate(RestRequest *request, const char *handler, const char *reader, const char *schema, bool locks_org, bytea *body, bool *isnull, bool *replayed)
{
	StoredKey	stored;
	struct varlena *known = NULL;
	char	   *key;
	char	   *canonical;
	Datum		response;

	check_content_type(request, body);
	key = read_key(request);
	tag_check_conditions(request, false, reader != NULL);
	refuse_query(request);
	canonical = read_body(request, schema, body);

	find_holder(request, stored.holder);
	digest_text(key, stored.key_hash);
	digest_text(psprintf("%s %s\n%s", request->method, request->path, canonical), stored.request_hash);
	lock_key(&stored);
	refresh_snapshot();
	stored.oldest = GetCurrentTimestamp() - walwarden_idempotency_retention * USECS_PER_SEC;
	*replayed = find_response(&stored, &known);
	if (*replayed)
	{
		rights_renew(request, schema);
		*isnull = known == NULL;
		return *isnull ? (Datum) 0 : replay_response(request, PointerGetDatum(known), isnull);
	}

	/* the id of an organisation is not that of a key */
	lock_acquire(&request->org_id, locks_org ? LOCK_ORGANISATION : LOCK_REQUEST);
	refresh_snapshot();
	rights_renew(request, schema);
	tag_require(request, reader);
	response = rest_request_handle(request, handler, isnull);
	store_response(&stored, *isnull ? (Datum) 0 : stored_response(request, response), *isnull);
	return response;
}

/*
 * A mutation without a key: nothing tells whose it would be. The checks are the others of
 * rest_mutate(); the handler acquires the locks.
 */
Datum
rest_mutate_without_key(RestRequest *request, const char *handler, const char *schema, bytea *body, bool *isnull)
{
	check_content_type(request, body);
	tag_check_conditions(request, false, false);
	refuse_query(request);
	(void) read_body(request, schema, body);
	return rest_request_handle(request, handler, isnull);
}
