/*
 * evidence.h
 *		The manifests of a bundle: signed, and as the chain has them; and the artifacts that
 *		they describe.
 */
#ifndef VERIFY_EVIDENCE_H
#define VERIFY_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "digest.h"
#include "file.h"
#include "report.h"
#include "trust.h"

#define MANIFEST_SUFFIX ".manifest.json"

/* A backup, and the last entry that records its evidence. */
typedef struct Backup
{
	char		job_id[UUID_TEXT_LEN + 1];	/* terminated */
	int64_t		seq;			/* 0 for none */
	uint8_t		digest[DIGEST_LEN]; /* SHA-256 of its manifest */
	bool		contradicts;	/* the manifest is of another job, fence,
								 * organisation or database */
} Backup;

typedef struct Evidence
{
	int			manifests;		/* the directories, or -1 */
	int			artifacts;
	Backup	   *backups;		/* in the order of job_id */
	size_t		nbackups;
	Names		artifact_names;
	bool	   *is_named;		/* by a manifest, for each of these */
} Evidence;

/* Which manifests and artifacts there are. */
extern void evidence_begin(Evidence *evidence, int manifests, int artifacts, const Names *manifest_names, const Names *artifact_names);

/* Whether the name of a file is UUID.manifest.json. */
extern bool manifest_name_is_well_formed(const char *name);

extern void evidence_take(Evidence *evidence, const Entry *entry);
extern void evidence_report(Evidence *evidence, const Chain *chain, const Trust *trust, Report *report);
extern void evidence_free(Evidence *evidence);

#endif							/* VERIFY_EVIDENCE_H */
