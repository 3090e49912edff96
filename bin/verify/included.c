/*
 * included.c
 *		Whether the entries of a bundle are in the tree of its checkpoint.
 *
 * Invariant: an entry counts as proven by its own proof, or by the root of all of them.
 */
#include "included.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/merkle.h"
#include "digest.h"
#include "file.h"
#include "proof.h"
#include "report.h"

/* NULL, or what is wrong with a proof. */
static const char *
problem_of(const Head *head, const Entry *entry, Content text)
{
	const Checkpoint *checkpoint = &head->checkpoint;
	Inclusion	proof;

	if (!inclusion_read(text.data, text.len, &proof))
		return "the proof has not the form of one";
	if (!content_is(head->note, proof.note, proof.note_len))
		return "the proof is for another checkpoint";
	if (proof.index != entry->seq - 1 ||
		!merkle_includes(digest_bytes, entry->hash, proof.index, checkpoint->size, proof.hashes, proof.count, checkpoint->root))
		return "the proof does not lead to the root of the checkpoint";
	return NULL;
}

void
included_take(Included *included, const Entry *entry)
{
	char		name[32];
	Content		text = {NULL, 0};
	const char *problem;

	if (included->proofs >= 0)
	{
		(void) snprintf(name, sizeof(name), "%lld", (long long) entry->seq);
		text = file_content(included->proofs, name, PROOF_MAX);
	}
	if (text.data != NULL)
		included->found++;
	if (included->head == NULL)
	{
		free(text.data);
		return;
	}
	if (entry->seq > included->head->checkpoint.size)
		included->newer++;
	else if (text.data == NULL && included->unproven == 0)
		included->unproven = entry->seq;
	if (text.data != NULL && included->bad == 0 && (problem = problem_of(included->head, entry, text)) != NULL)
	{
		included->bad = entry->seq;
		included->problem = problem;
	}
	free(text.data);
}

void
included_report(const Included *included, const Chain *chain, bool head_is_sound, bool by_root, Report *report)
{
	int64_t		bad = included->bad;
	const char *problem = included->problem;

	if (!by_root && included->unproven > 0 && (bad == 0 || included->unproven < bad))
	{
		bad = included->unproven;
		problem = "there is no proof, and not every entry up to the checkpoint is here";
	}
	if (!chain->sound)
		report_check(report, VERDICT_SKIP, "inclusion: the chain is not sound");
	else if (included->found != included->nproofs)
		report_check(report, VERDICT_FAIL, "inclusion: %zu proofs are of entries that are not here", included->nproofs - included->found);
	else if (!head_is_sound)
		report_check(report, VERDICT_SKIP, "inclusion: there is no sound checkpoint");
	else if (bad > 0)
		report_check(report, VERDICT_FAIL, "inclusion: entry %lld: %s", (long long) bad, problem);
	else if (included->newer > 0)
		report_check(report, VERDICT_SKIP, "inclusion: %lld entries are not yet covered by a checkpoint", (long long) included->newer);
	else
		report_check(report, VERDICT_OK, "inclusion: %lld entries are in the tree", (long long) chain->count);
}
