/*
 * stop.h
 *		Ending without a verdict, and memory: what cannot be read is not judged.
 */
#ifndef VERIFY_STOP_H
#define VERIFY_STOP_H

#include <stddef.h>

/* Exit code of wrong usage, and of what cannot be read. */
#define EXIT_USAGE 2

/* Writes a line to stderr, printable ASCII only, and exits with EXIT_USAGE. */
extern void stop(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* Like realloc(), but never returns without memory. */
extern void *reallocate(void *chunk, size_t size);

#endif							/* VERIFY_STOP_H */
