/*
 * canonical.h
 *		JSON in the canonical form of RFC 8785, for the subset that audit entries
 *		use. Does not depend on the server, so that it can be fuzzed by itself.
 */
#ifndef WALWARDEN_CANONICAL_H
#define WALWARDEN_CANONICAL_H

#include <stdbool.h>
#include <stddef.h>

#define CANONICAL_MAX_DEPTH 64

/* The allocator. The renderer does not check for failure, so none of these may return without memory. */
typedef struct CanonicalMemory
{
	void	   *(*allocate) (size_t size);
	void	   *(*resize) (void *chunk, size_t size);
	void		(*release) (void *chunk);
} CanonicalMemory;

typedef struct CanonicalText
{
	char	   *data;			/* from the allocator; not terminated */
	size_t		len;
	const char *error;			/* NULL, or a constant that names the error */
	size_t		error_at;		/* its position in the input, in bytes */
	char	   *twice;			/* a duplicate key, allocated, or NULL */
	size_t		twice_len;
} CanonicalText;

/*
 * Render the JSON value in input canonically, in at most limit bytes. Returns false and
 * sets error if the input is not JSON or is outside the subset: UTF-8, unique keys,
 * integers within +-(2^53-1), no \u0000, no lone surrogate.
 */
extern bool canonical_render(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, CanonicalText *result);

/* A member of the outermost object: its key, without the quotes, and its value. */
typedef void (*CanonicalVisit) (void *arg, const char *key, size_t key_len, const char *value, size_t value_len);

/*
 * Whether input is canonical: canonical_render() would succeed and return input itself.
 * around: how many arrays or objects contain input. Allocates nothing. visit, if not
 * NULL, is called for each member in order; ignore its calls if the result is false.
 */
extern bool canonical_check(const char *input, size_t len, size_t limit, int around, CanonicalVisit visit, void *arg);

#endif							/* WALWARDEN_CANONICAL_H */
