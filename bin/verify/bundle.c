/*
 * bundle.c
 *		A bundle of evidence.
 *
 * Nothing in it is trusted. Memory does not grow with the chain or with an artifact: both
 * are read piece by piece, the chain once.
 */
#include "bundle.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "common/decimal.h"
#include "evidence.h"
#include "file.h"
#include "heads.h"
#include "included.h"
#include "people.h"
#include "proof.h"
#include "report.h"

/* In one directory. */
#define FILES_MAX 100000

static bool
is_proof_name(const char *name)
{
	int64_t		seq;

	return decimal_read(name, strlen(name), &seq) && seq > 0;
}

/* A file system lets no other names exist. */
static bool
is_artifact_name(const char *name)
{
	return *name != '\0';
}

typedef struct Directory
{
	const char *name;
	bool		(*takes) (const char *name);
	int			fd;				/* -1 if it is not there */
	Names		names;
	bool		too_many;		/* of them: none is looked at */
} Directory;

enum
{
	ARTIFACTS, BACKUPS, PROOFS, DIRECTORIES
};

static const char *const files[] = {"chain.tsv", "checkpoint", "consistency", "people.json"};

static bool
is_file_name(const char *name)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (strcmp(name, files[i]) == 0)
			return true;
	return false;
}

static bool
is_directory_name(const char *name, const Directory *directories)
{
	for (int i = 0; i < DIRECTORIES; i++)
		if (strcmp(name, directories[i].name) == 0)
			return true;
	return false;
}

/* What does not belong into a bundle: the first path, in the order of bytes. */
typedef struct Intruder
{
	char		path[512];		/* empty for none */
	const char *problem;
} Intruder;

static void
note_intruder(Intruder *intruder, const char *directory, const char *name, const char *problem)
{
	char		path[sizeof(intruder->path)];

	(void) snprintf(path, sizeof(path), "%s%s%s", directory, *directory ? "/" : "", name);
	if (*intruder->path == '\0' || strcmp(path, intruder->path) < 0)
	{
		memcpy(intruder->path, path, sizeof(path));
		intruder->problem = problem;
	}
}

static void
check_files(int top, Directory *directories, Report *report)
{
	Intruder	intruder = {.path = ""};
	Names		names = directory_names(top, FILES_MAX);
	size_t		count = 0;

	if (names.count > FILES_MAX)
	{
		report_check(report, VERDICT_FAIL, "files: the bundle has too many files");
		names_free(&names);
		return;
	}
	for (size_t i = 0; i < names.count; i++)
	{
		FileKind	kind = file_kind(top, names.name[i]);

		if (is_directory_name(names.name[i], directories))
		{
			if (kind != KIND_DIRECTORY)
				note_intruder(&intruder, "", names.name[i], "is not a directory");
		}
		else if (!is_file_name(names.name[i]))
			note_intruder(&intruder, "", names.name[i], "is not part of a bundle");
		else if (kind != KIND_REGULAR)
			note_intruder(&intruder, "", names.name[i], "is not a regular file");
		else
			count++;
	}
	names_free(&names);
	for (int d = 0; d < DIRECTORIES; d++)
	{
		const Directory *directory = &directories[d];

		if (directory->too_many)
			note_intruder(&intruder, "", directory->name, "has too many files");
		for (size_t i = 0; i < directory->names.count; i++)
		{
			const char *name = directory->names.name[i];

			if (!directory->takes(name))
				note_intruder(&intruder, directory->name, name, "is not part of a bundle");
			else if (file_kind(directory->fd, name) != KIND_REGULAR)
				note_intruder(&intruder, directory->name, name, "is not a regular file");
			else
				count++;
		}
	}
	if (*intruder.path)
		report_check(report, VERDICT_FAIL, "files: %s %s", intruder.path, intruder.problem);
	else
		report_check(report, VERDICT_OK, "files: all %zu are known", count);
}

/* Those who look at each entry. */
typedef struct Readers
{
	Included	included;
	Evidence	evidence;
	People		people;
} Readers;

static void
visit_entry(void *arg, const Entry *entry)
{
	Readers    *readers = arg;

	included_take(&readers->included, entry);
	evidence_take(&readers->evidence, entry);
	people_take(&readers->people, entry);
}

/* Which roots the entries are to be compared with. */
static Root
wanted_root(const Head *head)
{
	Root		root = {.size = head->problem == NULL ? head->checkpoint.size : -1};

	return root;
}

static size_t
count_proofs(const Directory *proofs)
{
	size_t		count = 0;

	for (size_t i = 0; i < proofs->names.count; i++)
		count += is_proof_name(proofs->names.name[i]) && file_kind(proofs->fd, proofs->names.name[i]) == KIND_REGULAR;
	return count;
}

static void
check_entries(int top, Directory *directories, const Trust *trust, Report *report)
{
	Readers		readers = {.included = {.proofs = directories[PROOFS].fd}};
	Head		head;
	Head		kept;
	Root		roots[2];
	Chain		chain = {.roots = roots,.nroots = 2,.visit = visit_entry,.arg = &readers};
	Content		consistency = file_content(top, "consistency", PROOF_MAX);
	Content		people = file_content(top, "people.json", PEOPLE_MAX);
	bool		is_sound;
	bool		is_covered;

	head_read(file_content(top, "checkpoint", CHECKPOINT_MAX), trust, &head);
	head_read(trust->kept, trust, &kept);
	roots[0] = wanted_root(&head);
	roots[1] = wanted_root(&kept);
	readers.included.nproofs = count_proofs(&directories[PROOFS]);
	readers.included.head = head.problem == NULL ? &head : NULL;
	evidence_begin(&readers.evidence, directories[BACKUPS].fd, directories[ARTIFACTS].fd, &directories[BACKUPS].names, &directories[ARTIFACTS].names);

	chain_check(top, &chain, report);
	is_sound = head_check(&head, &chain, &roots[0], report);
	kept_head_check(&kept, is_sound ? &head : NULL, &chain, &roots[1], consistency, report);
	is_covered = is_sound && roots[0].reached && chain.count == head.checkpoint.size;
	included_report(&readers.included, &chain, is_sound, roots[0].reached, report);
	evidence_report(&readers.evidence, &chain, trust, report);
	people_report(&readers.people, &chain, is_covered, people, report);

	evidence_free(&readers.evidence);
	people_free(&readers.people);
	free(head.note.data);
	free(consistency.data);
	free(people.data);
}

static void
leave(Directory *directory)
{
	names_free(&directory->names);
	if (directory->fd >= 0)
		close(directory->fd);
	directory->fd = -1;
}

static void
look_into(int top, Directory *directory)
{
	directory->fd = directory_open(top, directory->name);
	directory->names = directory_names(directory->fd, FILES_MAX);
	directory->too_many = directory->names.count > FILES_MAX;
	if (directory->too_many)
		leave(directory);
}

void
bundle_check(int directory, const Trust *trust, Report *report)
{
	Directory	directories[DIRECTORIES] = {
		[ARTIFACTS] = {.name = "artifacts",.takes = is_artifact_name},
		[BACKUPS] = {.name = "backups",.takes = manifest_name_is_well_formed},
		[PROOFS] = {.name = "proofs",.takes = is_proof_name}
	};

	for (int i = 0; i < DIRECTORIES; i++)
		look_into(directory, &directories[i]);
	check_files(directory, directories, report);
	check_entries(directory, directories, trust, report);
	for (int i = 0; i < DIRECTORIES; i++)
		leave(&directories[i]);
}
