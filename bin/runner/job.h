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
 * arguments of a program. Accepts what the API accepts, and nothing else: a stand-in
 * control database checks nothing. Returns NULL, or the name of the first reference that
 * may not. database_name is exempt.
 */
extern const char *job_bad_reference(const Job *job);

/* The same for a destination alone. */
extern const char *destination_bad_reference(const Destination *destination);

/*
 * Whether text is a reference as the API defines it: at most 128 letters, digits and
 * . _ / -. It begins with a letter or a digit, and each part between slashes with one of
 * these or an underscore, so that no part is empty, . or .., and none looks like an option.
 */
extern bool reference_is_safe(const char *text);

/* The same without slashes. */
extern bool name_is_safe(const char *text);

/* The two parts of the target of a job that was checked: allocated, and NULL if there is none. */
extern char *job_target_section(const Job *job);
extern const char *job_target_name(const Job *job);

/* 64 lower-case hex digits. */
extern bool sha256_is_well_formed(const char *text);

extern void job_free(Job *job);

#endif							/* RUNNER_JOB_H */
