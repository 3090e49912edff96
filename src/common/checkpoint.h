/*
 * checkpoint.h
 *		The signed checkpoint of a chain: a C2SP signed note with one signature,
 *
 *			walwarden/ORG-UUID
 *			SIZE
 *			ROOT in base64
 *
 *			— NAME BASE64(key id || signature)
 *
 *		SIZE is the number of entries, ROOT the root of their RFC 6962 tree, NAME the
 *		name of the node whose key signs the first three lines. Does not depend on the
 *		server.
 */
#ifndef WALWARDEN_CHECKPOINT_H
#define WALWARDEN_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/manifest.h"

#define CHECKPOINT_ORIGIN "walwarden/"
#define CHECKPOINT_ROOT_LEN 32
#define CHECKPOINT_NAME_MAX 400 /* bytes; 100 characters */
#define CHECKPOINT_MAX 1024		/* bytes of a note, more than one can have */
#define KEY_ID_LEN 4

/* The parts of a note. Pointers point into it. */
typedef struct Checkpoint
{
	size_t		signed_len;		/* the note's first bytes, which are signed */
	const char *org_id;			/* UUID_TEXT_LEN bytes, in lower case */
	int64_t		size;
	uint8_t		root[CHECKPOINT_ROOT_LEN];
	const char *name;
	size_t		name_len;
	uint8_t		key_id[KEY_ID_LEN];
	uint8_t		signature[SIGNATURE_LEN];
} Checkpoint;

/* Whether name can be the name of a key in a signed note: without spaces and plus signs. */
extern bool key_name_is_well_formed(const char *name, size_t len);

/* Whether note has this form. *result is undefined if it has not. */
extern bool checkpoint_read(const char *note, size_t len, Checkpoint *result);

#endif							/* WALWARDEN_CHECKPOINT_H */
