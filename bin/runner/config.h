/*
 * config.h
 *		The configuration file.
 */
#ifndef RUNNER_CONFIG_H
#define RUNNER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Names
{
	char	  **name;
	size_t		count;
} Names;

typedef struct Config
{
	char	   *path;			/* of the file itself */
	char	   *control;		/* conninfo of the control database; without a
								 * password or service */
	char	   *token_file;
	char	   *node;
	char	   *services;		/* a pg_service.conf of protected databases
								 * only */
	char	   *targets;		/* a pg_service.conf of restore targets, or
								 * NULL */
	Names		allow_in_place; /* sections of targets that may be overwritten */
	char	   *local_root;		/* local destinations lie below it, or NULL */
	char	   *rclone_config;	/* or NULL */
	char	   *signing_key;	/* PEM of an Ed25519 private key, or NULL */
	char	   *trusted_keys;	/* directory of PEM public keys NODE.pem, or
								 * NULL */
	char	   *work;			/* scratch and new clusters lie below it */
	Names		bindir;			/* "15=/usr/lib/postgresql/15/bin" */
	int			lease;			/* seconds */
	int			poll;			/* seconds */
	int			max_jobs;		/* at once */
	char	   *state;			/* directory of what the runner remembers */

	/* derived */
	Names		service_sections;	/* what claim_job() may offer */
	Names		target_sections;
} Config;

/*
 * Reads and checks the file. Prints "FILE:LINE: what is wrong" for each fault to stderr
 * and returns false if there is one; the caller then exits with 2.
 */
extern bool config_load(const char *path, Config *config);
extern void config_free(Config *config);

/* A file with a secret: ours, readable by us alone. Otherwise *error says what is wrong with it. */
extern bool config_private_file(const char *path, char **error);

/* The programs that each bindir has; ends with NULL. */
extern const char *const config_programs[];

/* The directory of the programs of a server's major version, or NULL. */
extern const char *config_bindir(const Config *config, int major);

/* Whether a restore may overwrite this section of targets. */
extern bool config_allows_in_place(const Config *config, const char *section);

#endif							/* RUNNER_CONFIG_H */
