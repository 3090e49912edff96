/*
 * config.h
 *		The configuration file.
 */
#ifndef RUNNER_CONFIG_H
#define RUNNER_CONFIG_H

#include <stdbool.h>

#include "bindir.h"
#include "names.h"

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
	Bindirs		bindirs;
	int			lease;			/* seconds */
	int			poll;			/* seconds */
	int			max_jobs;		/* at once */
	char	   *state;			/* directory of what the runner remembers */

	/* derived */
	Names		service_sections;	/* what claim_job() may offer */
	Names		target_sections;
} Config;

/*
 * Reads and checks the file: all of it, or only what it takes to read a destination, which must
 * work where the rest is lost. Prints each fault to stderr and returns false if there is one;
 * the caller then exits with 2.
 */
extern bool config_load(const char *path, bool destination_only, Config *config);
extern void config_free(Config *config);

/* Whether a restore may overwrite this section of targets. */
extern bool config_allows_in_place(const Config *config, const char *section);

#endif							/* RUNNER_CONFIG_H */
