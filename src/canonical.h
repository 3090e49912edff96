/*
 * canonical.h
 *		JSON in the canonical form of RFC 8785, for the subset that audit entries
 *		use. No dependency on the server but for palloc(): fuzzed by itself.
 */
#ifndef WALWARDEN_CANONICAL_H
#define WALWARDEN_CANONICAL_H

#include <stdbool.h>
#include <stddef.h>

#define CANONICAL_MAX_DEPTH 64

typedef struct CanonicalText
{
	char	   *data;			/* palloc'd; not terminated */
	size_t		len;
	const char *error;			/* NULL, or why there is no text; a constant */
	size_t		error_at;		/* byte of the input where it was seen */
	char	   *twice;			/* palloc'd: the key that stands twice, when that is the error */
	size_t		twice_len;
} CanonicalText;

/*
 * Render the JSON value in input canonically, in at most limit bytes. False
 * with error set where the input is no JSON value or is outside of the subset:
 * UTF-8, unique keys, integers within +-(2^53-1), no \u0000, no lone surrogate.
 */
extern bool canonical_render(const char *input, size_t len, size_t limit, CanonicalText *result);

/* A member of the outermost object: its key as it stands between the quotes, its value. */
typedef void (*CanonicalVisit) (void *arg, const char *key, size_t key_len, const char *value, size_t value_len);

/*
 * Whether canonical_render() would succeed and give input itself, with around
 * arrays or objects around it. Allocates nothing. visit, if not NULL, is called
 * for members in their order; what it saw means nothing when the answer is false.
 */
extern bool canonical_check(const char *input, size_t len, size_t limit, int around, CanonicalVisit visit, void *arg);

#endif							/* WALWARDEN_CANONICAL_H */
