/*
 * chain_state.c
 *		What this node knows of the chain of its organisation.
 *
 * The file has a line each for its format, the organisation, the number of entries, the head,
 * the nodes of the frontier from the lowest level on, an alarm if there is one, and the
 * SHA-256 of these lines.
 *
 * Invariants: a file that can be read gives exactly one state, and a state one file. What
 * does not is damaged: the runner does not guess.
 */
#include "chain_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "common/hex.h"
#include "common/syntax.h"
#include "io.h"
#include "text.h"

#define FORMAT "walwarden-runner chain 1"
#define FILE_MAX 8192			/* more than MERKLE_LEVELS lines take */
#define MISSING "missing"

/* MerkleDigest */
static void
sha256(const void *data, size_t len, uint8_t *digest)
{
	if (SHA256(data, len, digest) == NULL)
		abort();
}

void
chain_state_begin(ChainState *state)
{
	memset(state, 0, sizeof(*state));
	merkle_init(&state->tree, sha256);
}

void
chain_state_append(ChainState *state, const uint8_t *hash)
{
	merkle_append(&state->tree, hash, NULL, 0);
	memcpy(state->head, hash, MERKLE_HASH_LEN);
}

void
chain_hash_text(const uint8_t *hash, char text[HASH_TEXT_LEN + 1])
{
	hex_lower(hash, MERKLE_HASH_LEN, text);
	text[HASH_TEXT_LEN] = '\0';
}

/* Whether the tree has a node at this level. */
static bool
has_node(const MerkleTree *tree, int level)
{
	return (tree->size >> level & 1) != 0;
}

static void
add_hash(Buffer *text, const char *name, const uint8_t *hash)
{
	char		digits[HASH_TEXT_LEN + 1];

	chain_hash_text(hash, digits);
	buffer_format(text, "%s %s\n", name, digits);
}

static char *
render(const ChainState *state)
{
	Buffer		text = {0};
	uint8_t		digest[MERKLE_HASH_LEN];

	buffer_format(&text, FORMAT "\norg %s\nsize %lld\n", state->org_id, (long long) state->tree.size);
	if (state->tree.size > 0)
		add_hash(&text, "head", state->head);
	for (int level = 0; level < MERKLE_LEVELS; level++)
		if (has_node(&state->tree, level))
			add_hash(&text, "node", state->tree.frontier[level]);
	if (state->alarm == CHAIN_REWRITTEN)
		add_hash(&text, "alarm", state->seen);
	else if (state->alarm == CHAIN_SHORTENED)
		buffer_text(&text, "alarm " MISSING "\n");
	sha256(text.data, text.len, digest);
	add_hash(&text, "sha256", digest);
	return text.data;
}

/* The value of the next line, which has this name: ends it, and moves *rest past it. NULL if it is another line. */
static char *
take_line(char **rest, const char *name)
{
	size_t		len = strlen(name);
	char	   *end = strchr(*rest, '\n');
	char	   *value = *rest + len + 1;

	if (end == NULL || strncmp(*rest, name, len) != 0 || (*rest)[len] != ' ')
		return NULL;
	*end = '\0';
	*rest = end + 1;
	return value;
}

static bool
take_hash(char **rest, const char *name, uint8_t *hash)
{
	char	   *value = take_line(rest, name);

	return value && hex_read(value, strlen(value), hash, MERKLE_HASH_LEN);
}

/* The value of the line that ends the file is the digest of what stands before it. */
static bool
digest_is_right(const char *text, size_t len)
{
	uint8_t		stored[MERKLE_HASH_LEN];
	uint8_t		computed[MERKLE_HASH_LEN];
	const size_t last = sizeof("sha256 ") - 1 + HASH_TEXT_LEN + 1;

	if (len < last || !hex_read(text + len - 1 - HASH_TEXT_LEN, HASH_TEXT_LEN, stored, MERKLE_HASH_LEN))
		return false;
	sha256(text, len - last, computed);
	return memcmp(stored, computed, sizeof(stored)) == 0;
}

static bool
parse(char *text, size_t len, ChainState *state)
{
	char	   *rest = text;
	char	   *value;
	uint8_t		digest[MERKLE_HASH_LEN];
	int64_t		size;

	if (strncmp(rest, FORMAT "\n", strlen(FORMAT "\n")) != 0)
		return false;
	rest += strlen(FORMAT "\n");
	value = take_line(&rest, "org");
	if (value == NULL || !uuid_is_canonical(value, strlen(value)))
		return false;
	memcpy(state->org_id, value, UUID_TEXT_LEN);
	value = take_line(&rest, "size");
	if (value == NULL || !text_to_int(value, 0, INT64_MAX, &size))
		return false;
	state->tree.size = size;
	if (size > 0 && !take_hash(&rest, "head", state->head))
		return false;
	for (int level = 0; level < MERKLE_LEVELS; level++)
		if (has_node(&state->tree, level) && !take_hash(&rest, "node", state->tree.frontier[level]))
			return false;
	value = take_line(&rest, "alarm");
	if (value && strcmp(value, MISSING) == 0)
		state->alarm = CHAIN_SHORTENED;
	else if (value && hex_read(value, strlen(value), state->seen, MERKLE_HASH_LEN))
		state->alarm = CHAIN_REWRITTEN;
	else if (value)
		return false;
	return take_hash(&rest, "sha256", digest) && rest == text + len;
}

bool
chain_state_load(const Config *config, ChainState *state, bool *found, char **error)
{
	char	   *path = text_format("%s/chain", config->state);
	int			file = open(path, O_RDONLY | O_CLOEXEC);
	Buffer		text = {0};

	chain_state_begin(state);
	*error = NULL;
	*found = file >= 0 || errno != ENOENT;
	if (*found && (file < 0 || !read_all(file, FILE_MAX, &text)))
		*error = text_format("%s: %s", path, strerror(errno));
	else if (*found && !(digest_is_right(text.data, text.len) && parse(text.data, text.len, state)))
		*error = text_format("%s is damaged: move it away to begin anew", path);
	if (file >= 0)
		close(file);
	buffer_free(&text);
	free(path);
	return *error == NULL;
}

bool
chain_state_store(const Config *config, const ChainState *state, char **error)
{
	char	   *path = text_format("%s/chain", config->state);
	char	   *next = text_format("%s.new", path);
	char	   *text = render(state);
	bool		stored = store_file(next, text, strlen(text)) && rename(next, path) == 0 && sync_directory(config->state);

	*error = stored ? NULL : text_format("%s: %s", path, strerror(errno));
	free(text);
	free(next);
	free(path);
	return stored;
}
