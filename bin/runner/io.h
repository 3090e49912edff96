/*
 * io.h
 *		Descriptors and files.
 */
#ifndef RUNNER_IO_H
#define RUNNER_IO_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/* Writes all of it, whatever a single write() takes. Returns 0, or the errno. */
extern int	write_all(int fd, const char *data, size_t len);

/* Reads what a descriptor has, to its end; what is beyond limit bytes is dropped. False with errno. */
extern bool read_all(int fd, size_t limit, Buffer *data);

/* The content of a file, at most limit bytes. False with a message. */
extern bool read_file(const char *path, size_t limit, Buffer *data, char **error);

/* Writes a file of these bytes, and makes them durable, or the entries of a directory. False with errno. */
extern bool store_file(const char *path, const char *data, size_t len);
extern bool sync_directory(const char *path);

#endif							/* RUNNER_IO_H */
