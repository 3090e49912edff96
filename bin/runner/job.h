/*
 * job.h
 *		A claimed job, as the control database took it apart.
 */
#ifndef RUNNER_JOB_H
#define RUNNER_JOB_H

#include <stdbool.h>
#include <stdint.h>

/* A place where backups are stored, as the API knows it. */
typedef struct Destination
{
	char	   *id;
	char	   *provider;		/* local, s3, minio, gcs, wasabi, b2 */
	char	   *uri;
	char	   *region;			/* or NULL */
	char	   *credential_ref; /* a remote of rclone_config, or NULL */
} Destination;

/* An artifact that a completed backup has at its destination. */
typedef struct Artifact
{
	char	   *name;			/* below the URI of the destination */
	int64_t		size;			/* bytes */
	char		sha256[65];		/* lower-case hex */
} Artifact;

/* Texts are NULL if the job has none. All of them were checked: see job_bad_reference(). */
typedef struct Job
{
	char	   *id;
	char	   *kind;			/* backup, restore, drill, expire */
	int64_t		fence;
	int			attempt;		/* from 1 */
	char	   *org_id;
	char	   *database_id;
	char	   *database_name;	/* its title, any text: never part of a path
								 * or an argument */
	char	   *connection_ref; /* a section of the services file */
	char	   *method;			/* pg_dump, pg_basebackup */
	Destination destination;

	/* of a restore or drill */
	char	   *mode;			/* new_database, in_place, new_cluster */
	char	   *target;			/* SECTION or SECTION/NAME */

	/* of a restore, drill or expiry: the backup */
	char	   *backup_id;
	int64_t		backup_fence;
	Artifact	artifact;
} Job;

/*
 * Whether every name that came from the API may reach a file name, a connection or the
 * arguments of a program: letters, digits and . _ / - only, no leading dash, no . or ..
 * segment, uuids where uuids belong. The API checks the same, but a stand-in control
 * database does not. Returns NULL, or the name of the first reference that may not.
 * database_name is exempt.
 */
extern const char *job_bad_reference(const Job *job);

/* The same for a destination alone. */
extern const char *destination_bad_reference(const Destination *destination);

/*
 * Whether text is a reference as the API defines it: begins with a letter or a digit, then
 * letters, digits and . _ / -, at most 128 in all, without an empty, . or .. segment.
 */
extern bool reference_is_safe(const char *text);

/* 64 lower-case hex digits. */
extern bool sha256_is_well_formed(const char *text);

extern void job_free(Job *job);

#endif							/* RUNNER_JOB_H */
