/*
 * file.h
 *		Files below a directory that somebody else made. A name is one component of a path;
 *		no symbolic link is followed, and nothing but regular files is read.
 */
#ifndef VERIFY_FILE_H
#define VERIFY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is no regular file is not there, for these two. */

/* A descriptor; -1 if the file is not there. */
extern int	file_open(int directory, const char *name);

/* A descriptor; -1 if the directory is not there. */
extern int	directory_open(int directory, const char *name);

typedef struct Content
{
	char	   *data;			/* allocated; NULL if the file is not there */
	size_t		len;			/* limit + 1 if it is longer than limit */
} Content;

/* The size of an open file. name: for a message. */
extern int64_t file_size(int fd, const char *name);

extern Content file_content(int directory, const char *name, size_t limit);

/* Whether these are the bytes of a file. False if it is not there. */
extern bool content_is(Content content, const char *data, size_t len);

typedef struct Names
{
	char	  **name;			/* in the order of their bytes */
	size_t		count;
} Names;

/* The names in a directory, but no more than limit + 1. None for the descriptor -1. */
extern Names directory_names(int directory, size_t limit);
extern void names_free(Names *names);

typedef enum FileKind
{
	KIND_REGULAR,
	KIND_DIRECTORY,
	KIND_OTHER
} FileKind;

extern FileKind file_kind(int directory, const char *name);

#endif							/* VERIFY_FILE_H */
