/*
 * io.c
 *		Descriptors.
 */
#include "io.h"

#include <errno.h>
#include <unistd.h>

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
