/*
 * shape.h
 *		Which texts from outside have the shape of something: a token, a UUID, a
 *		legacy pair, the id of a request, the kind of an entry. No dependency on the
 *		server: fuzzed by itself.
 */
#ifndef WALWARDEN_SHAPE_H
#define WALWARDEN_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

#define TOKEN_PREFIX "wal_"
#define TOKEN_PREFIX_LEN 4
#define TOKEN_TEXT_LEN 68		/* the prefix and 64 hex digits */
#define UUID_TEXT_LEN 36
#define PAIR_SECRET_MIN 32
#define REQUEST_ID_MAX 128
#define KIND_MAX 100

/* True for the one shape that a bearer token has. */
extern bool token_is_well_formed(const char *text, size_t len);

/* True when a token stands anywhere in text, which then must not be stored. */
extern bool text_contains_token(const char *text, size_t len);

/*
 * A UUID written with hyphens, in either case. lower becomes the same in lower
 * case, without a terminator; it has room for UUID_TEXT_LEN bytes and means
 * nothing when the answer is false.
 */
extern bool uuid_is_well_formed(const char *text, size_t len, char *lower);

/*
 * Whether a pair could have been imported: the UUID is well-formed, and the secret
 * is not too short. lower is as above.
 */
extern bool pair_is_well_formed(const char *uuid, size_t uuid_len, size_t secret_len, char *lower);

/* True for an id that is harmless in a log, a header and a JSON text as it is. */
extern bool request_id_is_harmless(const char *id, size_t len);

/* Lower-case words, digits and underscores, with dots between them: two at least. */
extern bool kind_is_well_formed(const char *kind, size_t len);

#endif							/* WALWARDEN_SHAPE_H */
