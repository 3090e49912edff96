/*
 * fault.h
 *		What is wrong with the configuration.
 */
#ifndef RUNNER_FAULT_H
#define RUNNER_FAULT_H

typedef struct Faults
{
	const char *path;			/* of the configuration file */
	int			count;
} Faults;

/* Prints "FILE:LINE: what is wrong" to stderr. line is 0 for what the file does not say. */
extern void fault(Faults *faults, int line, const char *format,...) __attribute__((format(printf, 3, 4)));

#endif							/* RUNNER_FAULT_H */
