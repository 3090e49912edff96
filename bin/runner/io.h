/*
 * io.h
 *		Descriptors.
 */
#ifndef RUNNER_IO_H
#define RUNNER_IO_H

#include <stddef.h>

/* Writes all of it, whatever a single write() takes. Returns 0, or the errno. */
extern int	write_all(int fd, const char *data, size_t len);

#endif							/* RUNNER_IO_H */
