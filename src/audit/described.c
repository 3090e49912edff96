/*
 * described.c
 *		What a chain says of the objects that it describes, and whether the rows agree.
 *
 * While the entries are read in the order of seq, a table keeps for each object the last
 * entry about it and a digest of the state in it. Then the rows of the view described_row are
 * read once: a row that names the last entry about its object and has the digest of its
 * state agrees. Whatever does not agree at once is compared with its entry itself, so the
 * digests only save work, and reasons and their order are those of cross_check(), the same in
 * SQL.
 *
 * The table takes at most maintenance_work_mem. If it becomes full, it keeps the objects in
 * the first part of the range of places, which are hashes of ids, and the rest is left to
 * another round: entries and rows are read again, and images are made only of the rows in
 * the range.
 *
 * Invariants: nothing is written, there are no temporary files, and memory does not grow with
 * the chain or the state. Digests and places depend on random bytes that are new in each run:
 * nobody can choose objects whose digests or places are equal.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/chain_scan.h"
#include "audit/columns.h"
#include "audit/described.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "common/canonical.h"
#include "common/entry.h"
#include "common/hex.h"
#include "common/syntax.h"

#define SALT_LEN 16
#define SHORT_LEN 16			/* of a digest that depends on the salt */
#define FIRST_PLACE PG_INT32_MIN
#define LAST_PLACE PG_INT32_MAX
#define FEWEST 1024				/* places of the table at its beginning */

typedef struct Object
{
	uint8		key[SHORT_LEN]; /* see key_of() */
	uint8		state[SHORT_LEN];	/* digest of what the last entry says */
	int64		seq;			/* of the last entry; 0 if this is free */
	int64		first_seq;		/* of the first without a state before, or 0 */
	int64		row_seq;		/* the least that a row names, if has_row */
	int32		place;
	bool		has_row;
} Object;

struct Described
{
	MemoryContext context;
	MemoryContext per_item;		/* for one entry or row */
	const pg_uuid_t *org_id;
	uint8		salt[SALT_LEN];
	uint64		seed;			/* of places */
	char	   *type;			/* the last one of a uuid, or NULL */
	size_t		type_len;
	uint8		type_digest[SHORT_LEN];
	int64		first;			/* the range of places of this round */
	int64		last;
	Object	   *objects;		/* an open hash table */
	uint64		size;			/* a power of two */
	uint64		most;			/* what size may become */
	uint64		count;
	Difference	difference;		/* the first one up to now */
};

/* How an entry or a row names an object. */
typedef struct ObjectName
{
	const char *type;			/* NULL if there is none; without a NUL */
	size_t		type_len;
	const char *id;				/* likewise */
	size_t		id_len;
	bool		is_key;			/* the id is a uuid */
	pg_uuid_t	key;			/* which is this */
	bool		is_lower;		/* in lower case */
} ObjectName;

Described *
described_begin(const pg_uuid_t *org_id)
{
	Described  *d = palloc0(sizeof(Described));

	d->context = CurrentMemoryContext;
	d->per_item = AllocSetContextCreate(CurrentMemoryContext, "walwarden object", ALLOCSET_DEFAULT_SIZES);
	d->org_id = org_id;
	if (!pg_strong_random(d->salt, sizeof(d->salt)) || !pg_strong_random(&d->seed, sizeof(d->seed)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	d->first = FIRST_PLACE;
	d->last = LAST_PLACE;
	d->size = FEWEST;
	/* half as much again is needed while it grows or is thinned out */
	for (d->most = FEWEST; d->most * 2 * sizeof(Object) / 2 * 3 <= (uint64) maintenance_work_mem * 1024;)
		d->most *= 2;
	d->objects = MemoryContextAllocExtended(d->context, d->size * sizeof(Object), MCXT_ALLOC_ZERO);
	return d;
}

/*
 * Names, digests and places.
 */

/* Whether a member is the JSON null. */
static bool
is_null(const CanonicalMember *member)
{
	static const char *const null = "null";

	return member->value != NULL && member->len == strlen(null) && memcmp(member->value, null, member->len) == 0;
}

/* The text of a member, as ->> has it; NULL if there is none. */
static const char *
member_text(const CanonicalMember *member, size_t *len)
{
	char	   *unescaped;

	*len = member->len;
	if (member->value == NULL || is_null(member))
		return NULL;
	if (member->value[0] != '"')
		return member->value;
	unescaped = palloc(member->len);
	(void) canonical_unescape(member->value, member->len, unescaped, len);
	return unescaped;
}

/* The bytes of a uuid that is well-formed and in lower case. */
static void
read_uuid(const char *lower, pg_uuid_t *uuid)
{
	char		digits[2 * UUID_LEN];
	size_t		len = 0;

	for (int i = 0; i < UUID_TEXT_LEN; i++)
		if (lower[i] != '-')
			digits[len++] = lower[i];
	(void) hex_read(digits, len, uuid->data, UUID_LEN);
}

/* The object of an entry, which may be any JSON. */
static void
name_in_entry(const CanonicalMember *object, ObjectName *name)
{
	char		lower[UUID_TEXT_LEN];
	CanonicalMember members[] = {CANONICAL_MEMBER("type"), CANONICAL_MEMBER("id")};

	(void) canonical_find(object->value, object->len, ENTRY_BODY_MAX, 2, members, lengthof(members));
	name->type = member_text(&members[0], &name->type_len);
	name->id = member_text(&members[1], &name->id_len);
	name->is_key = name->id != NULL && uuid_is_well_formed(name->id, name->id_len, lower);
	if (name->is_key)
	{
		read_uuid(lower, &name->key);
		name->is_lower = memcmp(name->id, lower, UUID_TEXT_LEN) == 0;
	}
}

static int32
place_of(const Described *d, const ObjectName *name)
{
	const void *id = name->is_key ? (const void *) name->key.data : name->id;
	size_t		len = name->is_key ? UUID_LEN : name->id_len;

	return (int32) (hash_bytes_extended(id, (int) len, d->seed) >> 32);
}

static void
short_digest(const DigestPart *parts, int nparts, uint8 *out)
{
	uint8		digest[DIGEST_LEN];

	digest_sha256(parts, nparts, digest);
	memcpy(out, digest, SHORT_LEN);
}

/* Most objects follow one of the same type. */
static void
remember_type(Described *d, const ObjectName *name)
{
	DigestPart	parts[] = {{d->salt, SALT_LEN}, {"key", 3}, {name->type, name->type_len}};

	if (d->type != NULL)
	{
		if (d->type_len == name->type_len && memcmp(d->type, name->type, d->type_len) == 0)
			return;
		pfree(d->type);
	}
	short_digest(parts, lengthof(parts), d->type_digest);
	d->type = MemoryContextAlloc(d->context, name->type_len + 1);
	d->type_len = name->type_len;
	memcpy(d->type, name->type, d->type_len);
}

/* The digest of type and id; of a uuid, that of the type, XORed with it, which takes less. */
static void
key_of(Described *d, const ObjectName *name, uint8 *key)
{
	DigestPart	parts[] = {
		{d->salt, SALT_LEN},
		{"id", 2},
		{name->type, name->type_len},
		{"", 1},				/* NUL, which is in no text */
		{name->id, name->id_len}
	};

	if (!name->is_key)
	{
		short_digest(parts, lengthof(parts), key);
		return;
	}
	remember_type(d, name);
	for (int i = 0; i < UUID_LEN; i++)
		key[i] = d->type_digest[i] ^ name->key.data[i];
}

/* What an entry says of its object, as one canonical text. */
static void
append_state(StringInfo text, const CanonicalMember *members)
{
	appendStringInfoChar(text, '{');
	if (members[ENTRY_AFTER].value != NULL)
	{
		appendStringInfoString(text, "\"after\":");
		appendBinaryStringInfo(text, members[ENTRY_AFTER].value, (int) members[ENTRY_AFTER].len);
		appendStringInfoChar(text, ',');
	}
	appendStringInfoString(text, "\"object\":");
	appendBinaryStringInfo(text, members[ENTRY_OBJECT].value, (int) members[ENTRY_OBJECT].len);
	appendStringInfoChar(text, '}');
}

static void
digest_of_state(const Described *d, const char *said, size_t len, uint8 *state)
{
	DigestPart	parts[] = {{d->salt, SALT_LEN}, {said, len}};

	short_digest(parts, lengthof(parts), state);
}

/*
 * The table.
 */

/* The object with this key, or the free place for it. */
static Object *
find_object(const Described *d, const uint8 *key)
{
	/* uuids may be close to each other */
	for (uint64 at = hash_bytes_extended(key, SHORT_LEN, d->seed);; at++)
	{
		Object	   *object = &d->objects[at & (d->size - 1)];

		if (object->seq == 0 || memcmp(object->key, key, SHORT_LEN) == 0)
			return object;
	}
}

static void
double_table(Described *d)
{
	Object	   *old = d->objects;
	uint64		old_size = d->size;

	d->size *= 2;
	d->objects = MemoryContextAllocExtended(d->context, d->size * sizeof(Object), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 i = 0; i < old_size; i++)
		if (old[i].seq != 0)
			*find_object(d, old[i].key) = old[i];
	pfree(old);
}

/* Keep the objects in the first half of the range only. */
static void
halve_range(Described *d)
{
	Object	   *kept;
	uint64		count = 0;

	if (d->first == d->last)
		elog(ERROR, "too many objects at one place");
	d->last = d->first + (d->last - d->first) / 2;
	for (uint64 i = 0; i < d->size; i++)
		count += d->objects[i].seq != 0 && d->objects[i].place <= d->last;
	kept = MemoryContextAllocExtended(d->context, (count + 1) * sizeof(Object), MCXT_ALLOC_HUGE);
	count = 0;
	for (uint64 i = 0; i < d->size; i++)
		if (d->objects[i].seq != 0 && d->objects[i].place <= d->last)
			kept[count++] = d->objects[i];
	memset(d->objects, 0, d->size * sizeof(Object));
	for (uint64 i = 0; i < count; i++)
		*find_object(d, kept[i].key) = kept[i];
	d->count = count;
	pfree(kept);
}

static bool
is_full(const Described *d)
{
	return d->count >= d->size / 4 * 3;
}

/* Go on to the places after the range; false if there are none. */
static bool
next_range(Described *d)
{
	double		width = (double) (d->last - d->first + 1);

	if (d->last == LAST_PLACE)
		return false;
	/* as many as this range lets expect to fit */
	width = Max(1, width * ((double) d->most / 3 * 2) / (double) Max(d->count, 1));
	d->first = d->last + 1;
	d->last = (int64) Min((double) d->first + width - 1, (double) LAST_PLACE);
	memset(d->objects, 0, d->size * sizeof(Object));
	d->count = 0;
	return true;
}

/*
 * Differences. The first one is that of the lowest seq, one without a seq the last; among
 * those of one seq, that whose reason is first by bytes.
 */

static bool
may_be_first(const Described *d, bool has_seq, int64 seq)
{
	const Difference *first = &d->difference;

	if (first->reason == NULL || has_seq != first->has_seq)
		return first->reason == NULL || has_seq;
	return !has_seq || seq <= first->seq;
}

static void
note_difference(Described *d, bool has_seq, int64 seq, const char *reason)
{
	Difference *first = &d->difference;

	if (!may_be_first(d, has_seq, seq) ||
		(first->reason != NULL && has_seq == first->has_seq && seq == first->seq && strcmp(reason, first->reason) >= 0))
		return;
	first->reason = MemoryContextStrdup(d->context, reason);
	first->has_seq = has_seq;
	first->seq = seq;
}

/* As %s in format(): NULL is nothing. */
static char *
text_or_nothing(const char *text, size_t len)
{
	return text == NULL ? "" : pnstrdup(text, len);
}

static void
note_missing(Described *d, const ObjectName *name, int64 seq)
{
	note_difference(d, true, seq,
					psprintf("%s %s of entry " INT64_FORMAT " is missing",
							 text_or_nothing(name->type, name->type_len), text_or_nothing(name->id, name->id_len), seq));
}

/*
 * The entries.
 */

static void
add_entry(Described *d, int64 seq, const CanonicalMember *members)
{
	ObjectName	name;
	uint8		key[SHORT_LEN];
	int32		place;
	Object	   *object;
	StringInfoData state;

	name_in_entry(&members[ENTRY_OBJECT], &name);
	if (name.type == NULL || name.id == NULL)
	{
		note_missing(d, &name, seq);	/* no row is without a name */
		return;
	}
	place = place_of(d, &name);
	if (place < d->first || place > d->last)
		return;
	key_of(d, &name, key);
	object = find_object(d, key);
	if (object->seq == 0)
	{
		while (is_full(d))
		{
			if (d->size < d->most)
				double_table(d);
			else
				halve_range(d);
		}
		if (place > d->last)
			return;
		object = find_object(d, key);
		memcpy(object->key, key, SHORT_LEN);
		object->place = place;
		d->count++;
	}
	object->seq = seq;
	initStringInfo(&state);
	append_state(&state, members);
	digest_of_state(d, state.data, state.len, object->state);
	if (object->first_seq == 0 && is_null(&members[ENTRY_BEFORE]) &&
		(!name.is_key || name.is_lower))
		object->first_seq = seq;
}

void
described_add(Described *d, int64 seq, const CanonicalMember *members)
{
	MemoryContext save;

	if (members[ENTRY_OBJECT].value == NULL)
		return;
	save = MemoryContextSwitchTo(d->per_item);
	add_entry(d, seq, members);
	MemoryContextSwitchTo(save);
	MemoryContextReset(d->per_item);
}

/* The seq of an entry that has been verified, and the members of its payload. */
static int64
read_entry(const ChainScan *scan, HeapTuple tuple, CanonicalMember *members)
{
	TupleDesc	desc = RelationGetDescr(scan->entries);
	bool		isnull[2];
	int64		seq = DatumGetInt64(heap_getattr(tuple, Anum_audit_entry_seq, desc, &isnull[0]));
	Datum		value = heap_getattr(tuple, Anum_audit_entry_body, desc, &isnull[1]);
	const text *body = isnull[1] ? NULL : DatumGetTextPP(value);

	if (isnull[0] || body == NULL || !entry_members(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), members))
		elog(ERROR, "audit entry " INT64_FORMAT " has changed", seq);
	return seq;
}

/* Read the chain again, for another range. */
static void
add_again(Described *d)
{
	ChainScan	scan;
	HeapTuple	tuple;

	chain_scan_begin(&scan, d->org_id, NULL);
	while (HeapTupleIsValid(tuple = chain_scan_next(&scan)))
	{
		CanonicalMember members[ENTRY_MEMBERS];
		MemoryContext save = MemoryContextSwitchTo(d->per_item);
		int64		seq = read_entry(&scan, tuple, members);

		if (members[ENTRY_OBJECT].value != NULL)
			add_entry(d, seq, members);
		MemoryContextSwitchTo(save);
		MemoryContextReset(d->per_item);
	}
	chain_scan_end(&scan);
}

/*
 * The rows.
 */

/* A row of described_row. */
typedef struct AuditedRow
{
	ObjectName	name;
	bool		has_seq;
	int64		seq;			/* audit_seq */
	bool		begins;			/* first_seq is the entry with which it began */
	int64		first_seq;
	const Jsonb *image;			/* or NULL */
	const text *canonical;		/* the image as canonical text, or NULL */
	int32		credentials;	/* -1: one of them may differ from it */
} AuditedRow;

static void
append_name(StringInfo text, const char *name, size_t len)
{
	if (name != NULL)
		json_append_text(text, name, (int) len);
	else
		appendStringInfoString(text, "null");
}

/* What a row says, as append_state() writes it; false if no entry can say it. */
static bool
row_state(const AuditedRow *row, CanonicalText *text)
{
	StringInfoData raw;

	initStringInfo(&raw);
	appendStringInfoChar(&raw, '{');
	if (row->image != NULL || row->canonical != NULL)
	{
		appendStringInfoString(&raw, "\"after\":");
		if (row->canonical != NULL)
			appendBinaryStringInfo(&raw, VARDATA_ANY(row->canonical), VARSIZE_ANY_EXHDR(row->canonical));
		else
			(void) JsonbToCString(&raw, unconstify(JsonbContainer *, &row->image->root), VARSIZE(row->image));
		appendStringInfoChar(&raw, ',');
	}
	appendStringInfoString(&raw, "\"object\":{\"id\":");
	append_name(&raw, row->name.id, row->name.id_len);
	appendStringInfoString(&raw, ",\"type\":");
	append_name(&raw, row->name.type, row->name.type_len);
	appendStringInfoString(&raw, "}}");
	if (row->canonical != NULL)
	{
		CanonicalText made = {.data = raw.data,.len = raw.len};

		*text = made;
		return true;
	}
	/* jsonb compares numbers, not spellings */
	return canonical_render_request(raw.data, raw.len, ENTRY_BODY_MAX, &palloc_memory, text);
}

/* The members of an entry that a row names; false if it does not exist. */
static bool
find_entry(const Described *d, int64 seq, CanonicalMember *members)
{
	const int64 limits[] = {seq, seq};
	ChainScan	scan;
	HeapTuple	tuple;

	chain_scan_begin(&scan, d->org_id, limits);
	tuple = chain_scan_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		tuple = heap_copytuple(tuple);
		(void) read_entry(&scan, tuple, members);
	}
	chain_scan_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* Whether the entry that a row names says what the row does, byte for byte. */
static bool
entry_agrees(const Described *d, const AuditedRow *row, const CanonicalText *text)
{
	CanonicalMember members[ENTRY_MEMBERS];
	StringInfoData state;

	if (!row->has_seq || !find_entry(d, row->seq, members) || members[ENTRY_OBJECT].value == NULL)
		return false;
	initStringInfo(&state);
	append_state(&state, members);
	return (size_t) state.len == text->len && memcmp(state.data, text->data, text->len) == 0;
}

/* Whether a row begins at the entry that it names for that. */
static bool
entry_begins(const Described *d, const AuditedRow *row)
{
	CanonicalMember members[ENTRY_MEMBERS];
	ObjectName	name;

	if (!find_entry(d, row->first_seq, members) || members[ENTRY_OBJECT].value == NULL)
		return false;
	name_in_entry(&members[ENTRY_OBJECT], &name);
	return name.id != NULL && row->name.id != NULL &&
		name.id_len == row->name.id_len && memcmp(name.id, row->name.id, name.id_len) == 0 &&
		is_null(&members[ENTRY_BEFORE]);
}

static void
compare_row(Described *d, const AuditedRow *row)
{
	CanonicalText text;
	bool		possible = row_state(row, &text);
	Object	   *object = NULL;
	uint8		state[SHORT_LEN];
	char	   *seq = row->has_seq ? psprintf(INT64_FORMAT, row->seq) : "";

	if (row->name.type != NULL && row->name.id != NULL)
	{
		uint8		key[SHORT_LEN];

		key_of(d, &row->name, key);
		object = find_object(d, key);
		if (object->seq == 0)
			object = NULL;
	}
	/* where a key was dropped, a second row has the same credentials */
	if (row->credentials < 0)
		d->difference.unmatched = true;
	else if (object != NULL && !object->has_row)
		d->difference.credentials += row->credentials;
	if (object != NULL && row->has_seq && (!object->has_row || row->seq < object->row_seq))
	{
		object->row_seq = row->seq;
		object->has_row = true;
	}
	if (possible)
		digest_of_state(d, text.data, text.len, state);

	/* a digest that is another one, or that of another entry, decides nothing */
	if (!(possible && object != NULL && row->has_seq && object->seq == row->seq && memcmp(object->state, state, SHORT_LEN) == 0) &&
		may_be_first(d, row->has_seq, row->seq) && !(possible && entry_agrees(d, row, &text)))
		note_difference(d, row->has_seq, row->seq,
						psprintf("%s %s differs from entry %s",
								 text_or_nothing(row->name.type, row->name.type_len), text_or_nothing(row->name.id, row->name.id_len), seq));
	if (row->begins && !(object != NULL && object->first_seq == row->first_seq) &&
		may_be_first(d, row->has_seq, row->seq) && !entry_begins(d, row))
		note_difference(d, row->has_seq, row->seq,
						psprintf("%s %s does not begin at entry " INT64_FORMAT,
								 text_or_nothing(row->name.type, row->name.type_len), text_or_nothing(row->name.id, row->name.id_len), row->first_seq));
}

static const char rows_query[] =
"SELECT d.type, d.id, d.key, d.audit_seq, d.first_seq, d.image, d.canonical, d.credentials"
"  FROM walwarden_internal.described_row AS d"
" WHERE d.org_id = $1"
"   AND ($2 IS NULL OR coalesce(uuid_hash_extended(d.key, $2), hashtextextended(d.id COLLATE \"C\", $2), 0) >> 32 BETWEEN $3 AND $4)";

static SPIPlanPtr
rows_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {UUIDOID, INT8OID, INT8OID, INT8OID};

	if (plan == NULL)
	{
		/* planning for the values takes longer than reading a small chain */
		SPIPlanPtr	made = SPI_prepare_cursor(rows_query, lengthof(types), types, CURSOR_OPT_GENERIC_PLAN);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "could not prepare the reading of audited rows");
		plan = made;
	}
	return plan;
}

static void
read_row(HeapTuple tuple, TupleDesc desc, AuditedRow *row)
{
	Datum		values[8];
	bool		nulls[8];
	const text *type;
	const text *id;

	if (desc->natts != lengthof(values))
		elog(ERROR, "audited rows have %d columns", desc->natts);
	heap_deform_tuple(tuple, desc, values, nulls);
	type = nulls[0] ? NULL : DatumGetTextPP(values[0]);
	id = nulls[1] ? NULL : DatumGetTextPP(values[1]);
	row->name.type = type ? VARDATA_ANY(type) : NULL;
	row->name.type_len = type ? VARSIZE_ANY_EXHDR(type) : 0;
	row->name.id = id ? VARDATA_ANY(id) : NULL;
	row->name.id_len = id ? VARSIZE_ANY_EXHDR(id) : 0;
	row->name.is_key = !nulls[2];
	if (row->name.is_key)
		row->name.key = *DatumGetUUIDP(values[2]);
	row->has_seq = !nulls[3];
	row->seq = nulls[3] ? 0 : DatumGetInt64(values[3]);
	row->begins = !nulls[4];
	row->first_seq = nulls[4] ? 0 : DatumGetInt64(values[4]);
	row->image = nulls[5] ? NULL : DatumGetJsonbP(values[5]);
	row->canonical = nulls[6] ? NULL : DatumGetTextPP(values[6]);
	row->credentials = nulls[7] ? -1 : DatumGetInt32(values[7]);
}

/*
 * Compare the rows whose places are in the range; compared: how many have been before. The
 * number of all is not known, but there should be one for each object.
 */
static void
compare_rows(Described *d, int64 *compared)
{
	double		part = (double) (d->last - FIRST_PLACE + 1) / (double) ((int64) LAST_PLACE - FIRST_PLACE + 1);
	Datum		values[] = {
		UUIDPGetDatum(d->org_id), Int64GetDatum((int64) d->seed), Int64GetDatum(d->first), Int64GetDatum(d->last)
	};
	bool		all = d->first == FIRST_PLACE && d->last == LAST_PLACE;
	const char	nulls[] = {' ', all ? 'n' : ' ', ' ', ' '};
	Portal		portal;

	progress_begin("verification: rows", d->org_id, (int64) ((double) (*compared + (int64) d->count) / part));
	portal = SPI_cursor_open(NULL, rows_plan(), values, nulls, true);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, 100);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext save = MemoryContextSwitchTo(d->per_item);
			AuditedRow	row;

			CHECK_FOR_INTERRUPTS();
			read_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &row);
			compare_row(d, &row);
			progress_advance(++*compared);
			MemoryContextSwitchTo(save);
			MemoryContextReset(d->per_item);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/* Whether the rows of an object know an entry about it. */
static bool
rows_know(const Object *object, int64 seq)
{
	return object->has_row && object->row_seq >= seq;
}

/*
 * The first entry about an object of the range that its rows do not know, as far as it may be
 * the first difference. That some object has one is known; which entry it is, only the chain
 * tells.
 */
static void
find_unknown_entry(Described *d)
{
	int64		limits[] = {1, d->difference.reason != NULL && d->difference.has_seq ? d->difference.seq : PG_INT64_MAX};
	ChainScan	scan;
	HeapTuple	tuple;
	bool		found = false;

	chain_scan_begin(&scan, d->org_id, limits);
	while (!found && HeapTupleIsValid(tuple = chain_scan_next(&scan)))
	{
		MemoryContext save = MemoryContextSwitchTo(d->per_item);
		CanonicalMember members[ENTRY_MEMBERS];
		int64		seq = read_entry(&scan, tuple, members);
		ObjectName	name = {0};

		if (members[ENTRY_OBJECT].value != NULL)
			name_in_entry(&members[ENTRY_OBJECT], &name);
		if (name.type != NULL && name.id != NULL)
		{
			uint8		key[SHORT_LEN];
			const Object *object;

			key_of(d, &name, key);
			object = find_object(d, key);
			if (object->seq != 0 && !rows_know(object, seq))
			{
				found = true;
				if (!object->has_row)
					note_missing(d, &name, seq);
				else
					note_difference(d, true, seq,
									psprintf("%s %s is older than entry " INT64_FORMAT,
											 text_or_nothing(name.type, name.type_len), text_or_nothing(name.id, name.id_len), seq));
			}
		}
		MemoryContextSwitchTo(save);
		MemoryContextReset(d->per_item);
	}
	chain_scan_end(&scan);
}

/* Whether there is an object whose rows do not know the last entry about it. */
static bool
rows_are_behind(const Described *d)
{
	for (uint64 i = 0; i < d->size; i++)
		if (d->objects[i].seq != 0 && !rows_know(&d->objects[i], d->objects[i].seq))
			return true;
	return false;
}

Difference
described_compare(Described *d)
{
	int64		compared = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	for (;;)
	{
		compare_rows(d, &compared);
		if (rows_are_behind(d))
			find_unknown_entry(d);
		if (!next_range(d))
			break;
		add_again(d);
	}
	SPI_finish();
	pfree(d->objects);
	MemoryContextDelete(d->per_item);
	return d->difference;
}
