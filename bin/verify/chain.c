/*
 * chain.c
 *		The entries of a bundle: their hashes, their bodies and how they follow one another,
 *		as docs/audit-chain.md specifies.
 *
 * Invariant: each sound entry is visited once, in the order of seq, before anything is
 * known about the next.
 */
#include "chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hex.h"
#include "common/json.h"
#include "common/scan.h"
#include "common/syntax.h"
#include "digest.h"
#include "file.h"
#include "json.h"
#include "line.h"
#include "report.h"
#include "stop.h"

#define FILE_NAME "chain.tsv"

/* Lines of a file, of which memory holds some. */
typedef struct Lines
{
	int			fd;
	char	   *data;
	size_t		room;
	size_t		begin;
	size_t		end;
} Lines;

/* The next line without its line feed; NULL at the end. *too_long: it has no end within CHAIN_LINE_MAX. */
static const char *
next_line(Lines *lines, size_t *len, bool *too_long)
{
	size_t		seen = 0;

	for (;;)
	{
		const char *begin = lines->data + lines->begin;
		const char *feed = memchr(begin + seen, '\n', lines->end - lines->begin - seen);
		ssize_t		got;

		if (feed != NULL)
		{
			*len = (size_t) (feed - begin);
			lines->begin += *len + 1;
			return begin;
		}
		seen = lines->end - lines->begin;
		*too_long = seen > CHAIN_LINE_MAX;
		if (*too_long)
			return NULL;
		if (lines->end == lines->room)
		{
			memmove(lines->data, begin, seen);
			lines->begin = 0;
			lines->end = seen;
		}
		got = read(lines->fd, lines->data + lines->end, lines->room - lines->end);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			stop(FILE_NAME " cannot be read: %s", strerror(errno));
		if (got == 0)
		{
			*too_long = seen > 0;	/* the last one has no line feed */
			return NULL;
		}
		lines->end += (size_t) got;
	}
}

/* 2026-11-21T17:33:20.123456Z, as far as digits go. */
static bool
is_time(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";

	for (size_t i = 0; i < ISO_TIME_LEN; i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return true;
}

/* What stands before the payload, into texts and entry; entry_body_is_valid() compares it with the rest. */
static bool
read_envelope(const ChainLine *line, EntryTexts *texts, Entry *entry)
{
	const char *p = line->body;
	const char *end = line->body + line->body_len;

	texts->seq = line->seq_text;
	texts->seq_len = line->seq_len;
	if (!comes_next(&p, end, LITERAL("{\"at\":\"")) || end - p < ISO_TIME_LEN || !is_time(p))
		return false;
	texts->at = p;
	p += ISO_TIME_LEN;
	if (!comes_next(&p, end, LITERAL("\",\"jobId\":")))
		return false;
	texts->job_id = NULL;
	if (!comes_next(&p, end, LITERAL("null")))
	{
		if (!comes_next(&p, end, LITERAL("\"")) || end - p < UUID_TEXT_LEN ||
			!uuid_is_canonical(p, UUID_TEXT_LEN))
			return false;
		texts->job_id = p;
		p += UUID_TEXT_LEN;
		if (!comes_next(&p, end, LITERAL("\"")))
			return false;
	}
	if (!comes_next(&p, end, LITERAL(",\"kind\":\"")))
		return false;
	texts->kind = up_to(&p, end, '"', &texts->kind_len);
	if (texts->kind == NULL || !kind_is_well_formed(texts->kind, texts->kind_len))
		return false;

	/* what is missing here, entry_body_is_valid() finds */
	if (!comes_next(&p, end, LITERAL(",\"payload\":")) || p == end)
		return false;
	entry->seq = line->seq;
	entry->job_id = texts->job_id;
	entry->kind = texts->kind;
	entry->kind_len = texts->kind_len;
	entry->payload = json_part(p, (size_t) (end - 1 - p));
	return true;
}

/* The organisation that a body names; NULL if it is not canonical or names none. */
static const char *
org_of(const ChainLine *line)
{
	Json		body = json_part(line->body, line->body_len);
	Json		org = json_plain(json_member(json_member(body, "payload"), "org"));

	return org.data && uuid_is_canonical(org.data, org.len) ? org.data : NULL;
}

static void
genesis(const char *org_id, char *hash)
{
	Part		parts[] = {{LITERAL(ENTRY_GENESIS_PREFIX)}, {org_id, UUID_TEXT_LEN}};
	uint8_t		digest[DIGEST_LEN];

	digest_parts(parts, 2, digest);
	hex_lower(digest, DIGEST_LEN, hash);
}

static void
note_roots(Chain *chain)
{
	for (size_t i = 0; i < chain->nroots; i++)
		if (chain->roots[i].size == chain->tree.size)
		{
			merkle_root(&chain->tree, chain->roots[i].hash);
			chain->roots[i].reached = true;
		}
}

/* Takes one more entry. NULL, or a constant that says what is wrong with it. */
static const char *
take(Chain *chain, const ChainLine *line)
{
	Part		parts[] = {{line->prev_hash, HASH_TEXT_LEN}, {line->body, line->body_len}};
	EntryTexts	texts;
	Entry		entry;
	CanonicalMember members[ENTRY_MEMBERS];
	char		hash[HASH_TEXT_LEN];
	const char *org_id;

	if (chain->count > 0 && line->seq <= chain->last)
		return "it is not behind the entry of the line before";
	digest_parts(parts, 2, entry.hash);
	hex_lower(entry.hash, DIGEST_LEN, hash);
	if (memcmp(hash, line->hash, HASH_TEXT_LEN) != 0)
		return "the hash is not that of prevHash and body";
	if (chain->count == 0 && (org_id = org_of(line)) != NULL)
		memcpy(chain->org_id, org_id, UUID_TEXT_LEN);
	texts.org_id = chain->org_id;
	if (!read_envelope(line, &texts, &entry) || !entry_body_is_valid(&texts, line->body, line->body_len, members))
	{
		org_id = org_of(line);
		return org_id && memcmp(org_id, chain->org_id, UUID_TEXT_LEN) != 0 ?
			"it belongs to another organisation" : "the body is not that of this entry";
	}
	if (line->seq == 1)
		genesis(chain->org_id, chain->hash);
	if ((line->seq == 1 || (chain->count > 0 && line->seq == chain->last + 1)) && memcmp(chain->hash, line->prev_hash, HASH_TEXT_LEN) != 0)
		return line->seq == 1 ? "prevHash is not the start of the chain" : "prevHash is not the hash of the entry before";
	if (chain->count > 0 && memcmp(texts.at, chain->at, ISO_TIME_LEN) < 0)
		return "it is earlier than the entry before";

	if (chain->count++ == 0)
		chain->first = line->seq;
	chain->last = line->seq;
	memcpy(chain->hash, hash, HASH_TEXT_LEN);
	memcpy(chain->at, texts.at, ISO_TIME_LEN);
	if (chain->tree.size == line->seq - 1)
	{
		merkle_append(&chain->tree, entry.hash, NULL, 0);
		note_roots(chain);
	}
	chain->visit(chain->arg, &entry);
	return NULL;
}

/* NULL, or what is wrong with the first line that is not sound. */
static const char *
take_lines(Chain *chain, int fd)
{
	Lines		lines = {.fd = fd,.room = 4 * CHAIN_LINE_MAX};
	const char *text;
	size_t		len;
	bool		too_long = false;
	const char *problem = NULL;

	lines.data = reallocate(NULL, lines.room);
	while (problem == NULL && (text = next_line(&lines, &len, &too_long)) != NULL)
	{
		ChainLine	line;

		problem = line_read(text, len, &line) ? take(chain, &line) : "it has not the form of an entry";
	}
	free(lines.data);
	return too_long ? "it has not the form of an entry" : problem;
}

void
chain_check(int directory, Chain *chain, Report *report)
{
	int			fd = file_open(directory, FILE_NAME);
	const char *problem;

	chain->sound = false;
	chain->count = 0;
	memset(chain->org_id, 0, UUID_TEXT_LEN);
	merkle_init(&chain->tree, digest_bytes);
	if (fd < 0)
	{
		report_check(report, VERDICT_FAIL, "chain: " FILE_NAME " is not there");
		return;
	}
	note_roots(chain);
	problem = take_lines(chain, fd);
	close(fd);
	if (problem != NULL)
		report_check(report, VERDICT_FAIL, "chain: line %lld: %s", (long long) chain->count + 1, problem);
	else if (chain->count == 0)
		report_check(report, VERDICT_FAIL, "chain: " FILE_NAME " is empty");
	else
	{
		chain->sound = true;
		report_check(report, VERDICT_OK, "chain: %lld entries of organisation %.36s, %lld to %lld%s", (long long) chain->count, chain->org_id,
					 (long long) chain->first, (long long) chain->last,
					 chain->last - chain->first == chain->count - 1 ? "" : " with gaps");
	}
}
