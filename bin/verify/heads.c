/*
 * heads.c
 *		The checkpoint of a bundle, and the older one that the auditor kept.
 */
#include "heads.h"

#include <string.h>

#include "common/merkle.h"
#include "digest.h"
#include "proof.h"
#include "report.h"
#include "trust.h"

void
head_read(Content note, const Trust *trust, Head *head)
{
	Checkpoint *checkpoint = &head->checkpoint;

	head->note = note;
	if (note.data == NULL)
		head->problem = "there is none";
	else if (!checkpoint_read(note.data, note.len, checkpoint))
		head->problem = "it has not the form of a checkpoint";
	else
		head->problem = trust_checkpoint_problem(trust, checkpoint, note.data);
}

static bool
is_of_org(const Head *head, const Chain *chain)
{
	return chain->count == 0 || memcmp(head->checkpoint.org_id, chain->org_id, UUID_TEXT_LEN) == 0;
}

bool
head_check(const Head *head, const Chain *chain, const Root *root, Report *report)
{
	const Checkpoint *checkpoint = &head->checkpoint;
	const char *problem = head->problem;
	bool		computed = chain->sound && root->reached;

	if (head->note.data == NULL)
	{
		report_check(report, VERDICT_SKIP, "checkpoint: %s", problem);
		return false;
	}
	if (problem == NULL && !is_of_org(head, chain))
		problem = "it is of another organisation";
	if (problem == NULL && computed && memcmp(root->hash, checkpoint->root, MERKLE_HASH_LEN) != 0)
		problem = "the root is not that of the entries";
	if (problem == NULL)
		report_check(report, VERDICT_OK, "checkpoint: %lld entries, signed by %.*s%s", (long long) checkpoint->size,
					 (int) checkpoint->name_len, checkpoint->name, computed ? ", root computed" : "");
	else
		report_check(report, VERDICT_FAIL, "checkpoint: %s", problem);
	return problem == NULL;
}

#define KEPT "older checkpoint: "

/* Whether the proof shows that the tree of new begins with that of old. */
static bool
is_consistent(Content text, const Checkpoint *old, const Checkpoint *new)
{
	Consistency proof;

	return consistency_read(text.data, text.len, &proof) && proof.old_size == old->size && proof.new_size == new->size &&
		merkle_extends(digest_bytes, old->size, old->root, new->size, proof.hashes, proof.count, new->root);
}

void
kept_head_check(const Head *kept, const Head *head, const Chain *chain, const Root *root, Content consistency, Report *report)
{
	const Checkpoint *old = &kept->checkpoint;
	const Checkpoint *new = head == NULL ? NULL : &head->checkpoint;
	bool		computed = chain->sound && root->reached;

	if (kept->note.data == NULL)
	{
		if (consistency.data != NULL)
			report_check(report, VERDICT_SKIP, KEPT "%s, but there is a consistency proof", kept->problem);
	}
	else if (kept->problem != NULL)
		report_check(report, VERDICT_FAIL, KEPT "%s", kept->problem);
	else if (!is_of_org(kept, chain) || (new != NULL && memcmp(old->org_id, new->org_id, UUID_TEXT_LEN) != 0))
		report_check(report, VERDICT_FAIL, KEPT "it is of another organisation");
	else if (computed && memcmp(root->hash, old->root, MERKLE_HASH_LEN) != 0)
		report_check(report, VERDICT_FAIL, KEPT "the entries have another root");
	else if (new != NULL && new->size == old->size)
	{
		if (memcmp(new->root, old->root, MERKLE_HASH_LEN) == 0)
			report_check(report, VERDICT_OK, KEPT "the tree is the same");
		else
			report_check(report, VERDICT_FAIL, KEPT "the checkpoint has another root");
	}
	else if (new != NULL && new->size > old->size && consistency.data != NULL && !is_consistent(consistency, old, new))
		report_check(report, VERDICT_FAIL, KEPT "the consistency proof does not lead from it to the checkpoint");
	else if (computed || (new != NULL && new->size > old->size && consistency.data != NULL))
		report_check(report, VERDICT_OK, KEPT "the tree begins with its %lld entries", (long long) old->size);
	else if (new == NULL)
		report_check(report, VERDICT_SKIP, KEPT "there is no sound checkpoint to compare it with");
	else if (new->size < old->size)
		report_check(report, VERDICT_FAIL, KEPT "it has more entries than the checkpoint");
	else
		report_check(report, VERDICT_SKIP, KEPT "there is no consistency proof");
}
