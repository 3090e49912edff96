/*
 * backup.h
 *		What backup.c asks of each method.
 */
#ifndef RUNNER_BACKUP_H
#define RUNNER_BACKUP_H

#include "manifest.h"
#include "server.h"
#include "worker.h"

typedef struct Backup
{
	Worker	   *worker;
	Server		server;			/* the protected database */
	char	   *stem;			/* of the names of its objects */
	Manifest	manifest;
	char	   *tool;			/* that verified it, with its version */
} Backup;

/*
 * A method stores its objects and fills in what the manifest says of them, then reads them
 * again. Both return false with the worker's failure.
 */
extern bool dump_store(Backup *backup);
extern bool dump_verify(Backup *backup);
extern bool base_store(Backup *backup);
extern bool base_verify(Backup *backup);

/* For both: fills in time, LSN, server version and system identifier. */
extern bool backup_describe(Backup *backup);
extern void backup_option(Backup *backup, const char *option);

/* The version of a program of the server's major, as it prints it; allocated. */
extern bool backup_tool_version(Backup *backup, const char *program, char **version);

/* Whether what was read again is what was written. */
extern bool backup_reread(Backup *backup, const ManifestObject *object, const ObjectDigest *digest);

#endif							/* RUNNER_BACKUP_H */
