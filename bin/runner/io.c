/*
 * io.c
 *		Descriptors and files.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

int
write_all(int fd, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		written = write(fd, data, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		data += written;
		len -= written;
	}
	return 0;
}

bool
read_all(int fd, size_t limit, Buffer *data)
{
	char		chunk[4096];
	ssize_t		got;

	/* terminated also if there is nothing */
	buffer_add(data, "", 0);
	while ((got = read(fd, chunk, sizeof(chunk))) != 0)
	{
		size_t		room = limit - data->len;

		if (got > 0)
			buffer_add(data, chunk, (size_t) got < room ? (size_t) got : room);
		else if (errno != EINTR)
			return false;
	}
	return true;
}

bool
read_file(const char *path, size_t limit, Buffer *data, char **error)
{
	int			file = open(path, O_RDONLY | O_CLOEXEC);
	bool		complete = file >= 0 && read_all(file, limit + 1, data);

	if (!complete)
		*error = text_format("%s: %s", path, strerror(errno));
	else if (data->len > limit)
	{
		*error = text_format("%s is larger than %zu bytes", path, limit);
		complete = false;
	}
	if (file >= 0)
		close(file);
	if (!complete)
		buffer_free(data);
	return complete;
}

bool
store_file(const char *path, const char *data, size_t len)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int			failure = fd < 0 ? errno : write_all(fd, data, len);

	if (failure == 0 && fsync(fd) < 0)
		failure = errno;
	if (fd >= 0 && close(fd) < 0 && failure == 0)
		failure = errno;
	errno = failure;
	return failure == 0;
}

bool
sync_directory(const char *path)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int			failure = fd < 0 || fsync(fd) < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	errno = failure;
	return failure == 0;
}
