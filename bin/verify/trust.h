/*
 * trust.h
 *		The folder of what an auditor trusts, which does not come with the bundle: verifier
 *		keys in files NAME.vkey, and the newest checkpoint that the auditor kept.
 */
#ifndef VERIFY_TRUST_H
#define VERIFY_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/checkpoint.h"
#include "common/manifest.h"
#include "file.h"
#include "vkey.h"

typedef struct Trust
{
	VerifierKey *keys;
	size_t		nkeys;
	Content		kept;			/* the checkpoint */
} Trust;

/* Ends the program if the folder holds no key, one that cannot be read, or a checkpoint with another name. */
extern void trust_load(const char *path, Trust *trust);
extern void trust_free(Trust *trust);

/* Who says to have signed. NULL for what is not said. */
typedef struct Signer
{
	const char *name;
	size_t		name_len;
	const uint8_t *public_key;
} Signer;

/*
 * NULL if a trusted key of the signer has signed, and *key is it. Else a constant that says
 * what is wrong. The signer of a checkpoint is the one that it names.
 */
extern const char *trust_manifest_problem(const Trust *trust, const Signer *signer, const SignedManifest *manifest, const VerifierKey **key);
extern const char *trust_checkpoint_problem(const Trust *trust, const Checkpoint *checkpoint, const char *note);

#endif							/* VERIFY_TRUST_H */
