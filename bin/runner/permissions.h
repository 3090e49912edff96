/*
 * permissions.h
 *		Who may read and change what the configuration names.
 */
#ifndef RUNNER_PERMISSIONS_H
#define RUNNER_PERMISSIONS_H

#include <stdbool.h>

/* Each returns false with a message that names the path. */

/* A file that nobody else may write to; private: nor read. */
extern bool file_is_guarded(const char *path, bool private, char **error);

/* A directory. guarded: nobody else may write to it; ours: we may. */
extern bool directory_is_usable(const char *path, bool guarded, bool ours, char **error);

#endif							/* RUNNER_PERMISSIONS_H */
