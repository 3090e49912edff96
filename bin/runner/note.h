/*
 * note.h
 *		Checkpoints that this node signs: src/common/checkpoint.h has their form.
 */
#ifndef RUNNER_NOTE_H
#define RUNNER_NOTE_H

#include <stdint.h>

#include "common/merkle.h"
#include "key.h"

/*
 * The signed note about the chain of an organisation, by its id in lower case. name: of the
 * node, which can be the name of a key (key_name_is_well_formed()). Allocated.
 */
extern char *note_sign(SigningKey *key, const char *name, const char *org_id, const MerkleTree *tree);

#endif							/* RUNNER_NOTE_H */
