/*
 * names.c
 *		Lists of names.
 */
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

void
names_add(Names *names, const char *name)
{
	names->name = reallocate(names->name, (names->count + 1) * sizeof(char *));
	names->name[names->count++] = text_copy(name);
}

bool
names_have(const Names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->name[i], name) == 0)
			return true;
	return false;
}

void
names_free(Names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
	memset(names, 0, sizeof(*names));
}
