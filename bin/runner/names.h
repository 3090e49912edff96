/*
 * names.h
 *		Lists of names.
 */
#ifndef RUNNER_NAMES_H
#define RUNNER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Names
{
	char	  **name;
	size_t		count;
} Names;

/* Adds a copy. */
extern void names_add(Names *names, const char *name);
extern bool names_have(const Names *names, const char *name);
extern void names_free(Names *names);

#endif							/* RUNNER_NAMES_H */
