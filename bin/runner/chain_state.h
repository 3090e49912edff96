/*
 * chain_state.h
 *		What this node knows of the chain of its organisation: STATE/chain.
 *
 * The file is what nobody can change who has the control database. It is replaced as a whole,
 * and durable when it is there.
 */
#ifndef RUNNER_CHAIN_STATE_H
#define RUNNER_CHAIN_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/merkle.h"
#include "common/syntax.h"
#include "config.h"

#define HASH_TEXT_LEN (2 * MERKLE_HASH_LEN)

/* What was found in the place of the head. */
typedef enum ChainAlarm
{
	CHAIN_SOUND,
	CHAIN_SHORTENED,			/* nothing */
	CHAIN_REWRITTEN				/* another entry */
} ChainAlarm;

typedef struct ChainState
{
	char		org_id[UUID_TEXT_LEN + 1];	/* empty as long as nothing is
											 * known */
	MerkleTree	tree;			/* of the entries up to the head */
	uint8_t		head[MERKLE_HASH_LEN];	/* hash of the last entry, if there is
										 * one */
	ChainAlarm	alarm;			/* another chain was found, and nobody has
								 * accepted it */
	uint8_t		seen[MERKLE_HASH_LEN];	/* hash of the other entry */
} ChainState;

/* Nothing is known. */
extern void chain_state_begin(ChainState *state);

/* *found: whether there is a file; without one, nothing is known. False with a message if it is damaged. */
extern bool chain_state_load(const Config *config, ChainState *state, bool *found, char **error);

/* False with a message. What was there before is there then. */
extern bool chain_state_store(const Config *config, const ChainState *state, char **error);

/* The entry with this hash follows the head. */
extern void chain_state_append(ChainState *state, const uint8_t *hash);

/* A hash as text, terminated. */
extern void chain_hash_text(const uint8_t *hash, char text[HASH_TEXT_LEN + 1]);

#endif							/* RUNNER_CHAIN_STATE_H */
