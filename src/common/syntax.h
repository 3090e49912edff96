/*
 * syntax.h
 *		The syntax of texts from outside: tokens, UUIDs, legacy credentials, ids of
 *		requests, idempotency keys, media types, lists of entity tags, times, and kinds
 *		of entries. Does not depend on the server, so that it can be fuzzed by itself.
 */
#ifndef WALWARDEN_SYNTAX_H
#define WALWARDEN_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

#define TOKEN_PREFIX "wal_"
#define TOKEN_PREFIX_LEN 4
#define TOKEN_TEXT_LEN 68		/* the prefix and 64 hex digits */
#define UUID_TEXT_LEN 36
#define ISO_TIME_LEN 27			/* 2026-11-21T17:33:20.123456Z */
#define LEGACY_SECRET_MIN 32
#define REQUEST_ID_MAX 128
#define IDEMPOTENCY_KEY_MAX 255
#define KIND_MAX 100

/* Whether text has the form of a bearer token. */
extern bool token_is_well_formed(const char *text, size_t len);

/* Whether text contains a token anywhere, and so must not be stored. */
extern bool text_contains_token(const char *text, size_t len);

/*
 * Whether text is a UUID with hyphens, in upper or lower case. lower receives it in
 * lower case, without a terminator; it has room for UUID_TEXT_LEN bytes and is
 * undefined if the result is false.
 */
extern bool uuid_is_well_formed(const char *text, size_t len, char *lower);

/* The same in lower case alone, as the server writes it. */
extern bool uuid_is_canonical(const char *text, size_t len);

/*
 * Whether a legacy credential could have been imported: the UUID is well-formed,
 * and the secret is not too short. lower is as above.
 */
extern bool legacy_is_well_formed(const char *uuid, size_t uuid_len, size_t secret_len, char *lower);

/* Whether an id can be used unchanged in a log, a header and a JSON text. */
extern bool request_id_is_harmless(const char *id, size_t len);

/* An idempotency key without its quotes: 1 to 255 visible ASCII characters. */
extern bool idempotency_key_is_well_formed(const char *key, size_t len);

/* application/json, in any case, with no parameter but charset=utf-8. */
extern bool media_type_is_json(const char *type, size_t len);

typedef enum TagMatch
{
	TAG_LIST_MALFORMED,
	TAG_DIFFERS,				/* the list has other tags */
	TAG_MATCHES
} TagMatch;

/*
 * Compare a strong entity tag, with its quotes, with a list in If-Match or If-None-Match:
 * "*", or tags with commas between them (RFC 9110). weakly: weak tags match too.
 */
extern TagMatch entity_tag_match(const char *list, size_t len, const char *tag, size_t tag_len, bool weakly);

/*
 * Whether text is a time in UTC like 2026-11-21T17:33:20Z, with up to six digits of a
 * second, and of a day that there is; 24:00:00 is the end of one.
 */
extern bool time_is_well_formed(const char *text, size_t len);

/* Whether kind has two or more words of lower-case letters, digits and underscores, separated by dots. */
extern bool kind_is_well_formed(const char *kind, size_t len);

#endif							/* WALWARDEN_SYNTAX_H */
