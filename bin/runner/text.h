/*
 * text.h
 *		Memory and texts. None of these returns without memory: the process ends instead.
 */
#ifndef RUNNER_TEXT_H
#define RUNNER_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed. Released with free(). */
extern void *allocate(size_t size);
extern void *reallocate(void *chunk, size_t size);
extern char *text_copy(const char *text);	/* NULL for NULL */
extern char *text_slice(const char *text, size_t len);
extern char *text_format(const char *format,...) __attribute__((format(printf, 1, 2)));
extern char *text_vformat(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

extern bool text_begins(const char *text, const char *prefix);

/* With something before it. */
extern bool text_ends(const char *text, const char *suffix);

/* Cuts white space off both ends. */
extern char *text_trim(char *text);

/* A whole number within bounds, as decimal_read() has it. *value is undefined if the result is false. */
extern bool text_to_int(const char *text, int64_t min, int64_t max, int64_t *value);

/* Replaces control characters by spaces, none at its end, and withholds the text if it holds a secret. */
extern void text_make_harmless(char *text);

/* A text that grows. Begin with {0}; data is terminated, and NULL while nothing was added. */
typedef struct Buffer
{
	char	   *data;
	size_t		len;
	size_t		room;
} Buffer;

extern void buffer_add(Buffer *buffer, const char *data, size_t len);
extern void buffer_text(Buffer *buffer, const char *text);
extern void buffer_format(Buffer *buffer, const char *format,...) __attribute__((format(printf, 2, 3)));

/* As a JSON string with its quotes, or null. Bytes that are not UTF-8 become question marks. */
extern void buffer_json(Buffer *buffer, const char *text);

/* As base64 with padding. */
extern void buffer_base64(Buffer *buffer, const unsigned char *data, size_t len);

extern void buffer_free(Buffer *buffer);

#endif							/* RUNNER_TEXT_H */
