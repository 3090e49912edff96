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

/* As canonical_render(), but an integer may be spelled in any way: 1.0 and 1e2 are 1 and 100. */
extern bool canonical_render_request(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, CanonicalText *result);

/*
 * Called for a member of the outermost object: its key, without the quotes, and its value;
 * for an element of the outermost array, with key NULL.
 */
typedef void (*CanonicalVisit) (void *arg, const char *key, size_t key_len, const char *value, size_t value_len);

/*
 * Whether input is canonical: canonical_render() would succeed and return input itself.
 * around: how many arrays or objects contain input. Allocates nothing. visit, if not
 * NULL, is called for each member or element in order; ignore its calls if the result is false.
 */
extern bool canonical_check(const char *input, size_t len, size_t limit, int around, CanonicalVisit visit, void *arg);

/* A member that is looked for, and its value within the object, or NULL. */
typedef struct CanonicalMember
{
	const char *key;			/* without characters that are escaped */
	size_t		key_len;
	const char *value;
	size_t		len;
} CanonicalMember;

#define CANONICAL_MEMBER(key) {(key), sizeof(key) - 1, NULL, 0}

/*
 * Finds members, of which there are count, in an object. False if input is not canonical, as
 * canonical_check() has it, or not an object; no member is found then.
 */
extern bool canonical_find(const char *input, size_t len, size_t limit, int around, CanonicalMember *members, size_t count);

/*
 * The text of a string within a canonical text; len includes its quotes. out has room for len
 * bytes and receives *out_len of them, without a terminator; none is NUL. False if value is
 * no string.
 */
extern bool canonical_unescape(const char *value, size_t len, char *out, size_t *out_len);

#endif							/* WALWARDEN_CANONICAL_H */
