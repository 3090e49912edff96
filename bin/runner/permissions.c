/*
 * permissions.c
 *		Who may read and change what the configuration names.
 */
#include "permissions.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

/* Whether others can change it, or give it away. */
static bool
is_guarded(const struct stat *info, bool private, const char *path, char **error)
{
	if (info->st_uid != geteuid() && (private || info->st_uid != 0))
		*error = text_format("%s belongs to another user", path);
	else if (private && (info->st_mode & 077))
		*error = text_format("%s can be read by others: chmod 600", path);
	else if (info->st_mode & 022)
		*error = text_format("%s can be changed by others: chmod go-w", path);
	else
		return true;
	return false;
}

bool
file_is_guarded(const char *path, bool private, char **error)
{
	struct stat info;

	if (stat(path, &info) < 0 || access(path, R_OK) < 0)
		*error = text_format("%s: %s", path, strerror(errno));
	else if (!S_ISREG(info.st_mode))
		*error = text_format("%s is not a file", path);
	else
		return is_guarded(&info, private, path, error);
	return false;
}

bool
directory_is_usable(const char *path, bool guarded, bool ours, char **error)
{
	struct stat info;

	if (stat(path, &info) < 0)
		*error = text_format("%s: %s", path, strerror(errno));
	else if (!S_ISDIR(info.st_mode))
		*error = text_format("%s is not a directory", path);
	else if (ours && access(path, R_OK | W_OK | X_OK) < 0)
		*error = text_format("%s cannot be written to by this user", path);
	else
		return !guarded || is_guarded(&info, false, path, error);
	return false;
}
