/*
 * note.c
 *		Checkpoints that this node signs.
 */
#include "note.h"

#include <stdlib.h>
#include <string.h>

#include "common/checkpoint.h"
#include "common/signature.h"
#include "key.h"
#include "text.h"

char *
note_sign(SigningKey *key, const char *name, const char *org_id, const MerkleTree *tree)
{
	Buffer		note = {0};
	uint8_t		root[MERKLE_HASH_LEN];
	uint8_t		public_key[PUBLIC_KEY_LEN];
	uint8_t		id_and_signature[KEY_ID_LEN + SIGNATURE_LEN];

	merkle_root(tree, root);
	buffer_format(&note, CHECKPOINT_ORIGIN "%s\n%lld\n", org_id, (long long) tree->size);
	buffer_base64(&note, root, sizeof(root));
	buffer_text(&note, "\n");

	key_public_bytes(key, public_key);
	if (!key_id_of(name, strlen(name), public_key, id_and_signature))
		abort();
	key_sign_bytes(key, note.data, note.len, id_and_signature + KEY_ID_LEN);
	buffer_format(&note, "\n\xE2\x80\x94 %s ", name);
	buffer_base64(&note, id_and_signature, sizeof(id_and_signature));
	buffer_text(&note, "\n");
	return note.data;
}
