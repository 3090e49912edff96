/*
 * tree.h
 *		Base backups as directories.
 */
#ifndef RUNNER_TREE_H
#define RUNNER_TREE_H

#include <stdbool.h>

#include "process.h"
#include "worker.h"

/* Starts tar, which unpacks what is written to its input into a new directory. */
extern bool tree_unpack(Worker *worker, const char *directory, Process *process, char **error);

/* Runs pg_verifybackup over it. */
extern bool tree_verify(Worker *worker, const char *bindir, const char *directory, char **error);

#endif							/* RUNNER_TREE_H */
