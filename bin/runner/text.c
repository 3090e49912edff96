/*
 * text.c
 *		Memory and texts.
 */
#include "text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "common/base64_text.h"
#include "common/decimal.h"
#include "common/syntax.h"

#define WITHHELD "(withheld: it contained a token or a password)"

static void
out_of_memory(void)
{
	(void) fputs("out of memory\n", stderr);
	abort();
}

void *
allocate(size_t size)
{
	void	   *chunk = calloc(1, size ? size : 1);

	if (chunk == NULL)
		out_of_memory();
	return chunk;
}

void *
reallocate(void *chunk, size_t size)
{
	void	   *moved = realloc(chunk, size ? size : 1);

	if (moved == NULL)
		out_of_memory();
	return moved;
}

char *
text_slice(const char *text, size_t len)
{
	char	   *copy = allocate(len + 1);

	memcpy(copy, text, len);
	return copy;
}

char *
text_copy(const char *text)
{
	return text ? text_slice(text, strlen(text)) : NULL;
}

char *
text_vformat(const char *format, va_list arguments)
{
	char	   *text;

	if (vasprintf(&text, format, arguments) < 0)
		out_of_memory();
	return text;
}

char *
text_format(const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	return text;
}

bool
text_begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
text_ends(const char *text, const char *suffix)
{
	size_t		len = strlen(text);
	size_t		suffix_len = strlen(suffix);

	return len > suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

char *
text_trim(char *text)
{
	size_t		len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		text[--len] = '\0';
	return text;
}

bool
text_to_int(const char *text, int64_t min, int64_t max, int64_t *value)
{
	return decimal_read(text, strlen(text), value) && *value >= min && *value <= max;
}

/* Whether a word ends before position at: it begins there, or a separator precedes it. */
static bool
word_begins(const char *text, const char *at)
{
	return at == text || !isalnum((unsigned char) at[-1]);
}

/* password = x, "pwd": x and the like; the same as the control database looks for */
static bool
holds_password(const char *text)
{
	static const char *const names[] = {"password", "passwd", "pwd"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (const char *at = text; (at = strcasestr(at, names[i])) != NULL; at++)
		{
			const char *after = at + strlen(names[i]);

			if (!word_begins(text, at))
				continue;
			if (*after == '"')
				after++;
			after += strspn(after, " \t\r\n");
			if (*after != '=' && *after != ':')
				continue;
			after++;
			after += strspn(after, " \t\r\n");
			if (*after)
				return true;
		}
	return false;
}

/* scheme://user:secret@host */
static bool
holds_credentials(const char *text)
{
	for (const char *at = text; (at = strstr(at, "://")) != NULL; at += 3)
	{
		size_t		authority = strcspn(at + 3, "/?# \t\r\n'\"");
		const char *sign = memchr(at + 3, '@', authority);

		if (sign && memchr(at + 3, ':', sign - (at + 3)))
			return true;
	}
	return false;
}

/* Whether text contains a token of walwarden or the password of a connection string. */
static bool
holds_secret(const char *text)
{
	return text_contains_token(text, strlen(text)) || holds_password(text) || holds_credentials(text);
}

void
text_make_harmless(char *text)
{
	if (holds_secret(text))

		/*
		 * it may be longer than the text: then as much of it as there is room
		 * for
		 */
		memcpy(text, WITHHELD, strlen(text) < sizeof(WITHHELD) - 1 ? strlen(text) : sizeof(WITHHELD));
	for (char *c = text; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
		else if ((unsigned char) c[0] == 0xC2 && (unsigned char) c[1] >= 0x80 && (unsigned char) c[1] <= 0x9F)
			c[0] = c[1] = ' ';	/* U+009B and its like begin what terminals
								 * obey */
	for (size_t len = strlen(text); len > 0 && text[len - 1] == ' '; len--)
		text[len - 1] = '\0';
}

static void
make_room(Buffer *buffer, size_t len)
{
	if (buffer->len + len + 1 <= buffer->room)
		return;
	buffer->room = (buffer->len + len + 1) * 2;
	buffer->data = reallocate(buffer->data, buffer->room);
}

void
buffer_add(Buffer *buffer, const char *data, size_t len)
{
	make_room(buffer, len);
	memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
}

void
buffer_text(Buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

void
buffer_format(Buffer *buffer, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	buffer_text(buffer, text);
	free(text);
}

/* The length of the UTF-8 character at text, or 0. */
static size_t
character_length(const unsigned char *text)
{
	size_t		len = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, and what is above the last character */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
		(text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return len;
}

void
buffer_json(Buffer *buffer, const char *text)
{
	if (text == NULL)
	{
		buffer_text(buffer, "null");
		return;
	}
	buffer_text(buffer, "\"");
	while (*text)
	{
		size_t		len = character_length((const unsigned char *) text);

		if (len == 0)
			buffer_text(buffer, "?");
		else if (*text == '"' || *text == '\\')
			buffer_format(buffer, "\\%c", *text);
		else if ((unsigned char) *text < 0x20)
			buffer_format(buffer, "\\u%04x", (unsigned char) *text);
		else
			buffer_add(buffer, text, len);
		text += len ? len : 1;
	}
	buffer_text(buffer, "\"");
}

void
buffer_base64(Buffer *buffer, const unsigned char *data, size_t len)
{
	make_room(buffer, BASE64_LEN(len));
	buffer->len += (size_t) EVP_EncodeBlock((unsigned char *) buffer->data + buffer->len, data, (int) len);
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}
