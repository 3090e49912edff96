/*
 * canonical.c
 *		Canonical JSON: RFC 8785 restricted to strings, integers, booleans, null,
 *		arrays and objects.
 *
 * A request may spell an integer in any way that JSON has for it, such as 1.0 or 1e2;
 * everything else that is rendered is written by programs, and spells it as it is.
 *
 * The input is untrusted. It is parsed once, from left to right, and rendered at the
 * same time; the members of an object are sorted when it closes. Equal values give
 * equal bytes, and every canonical text renders to itself.
 *
 * canonical_check() decides whether a text is canonical without rendering it. It
 * implements the same rules a second time; test/fuzz/canonical.c compares the two.
 *
 * Invariants: no byte is read at or after the end. The output buffer never exceeds the
 * limit. Recursion is bounded by CANONICAL_MAX_DEPTH. Errors are reported only by the
 * return value.
 */
#include "common/canonical.h"

#include <stdint.h>
#include <string.h>

#define MAX_INTEGER (((uint64_t) 1 << 53) - 1)

/* A member of an object that is still open, within the output. */
typedef struct Member
{
	size_t		key;			/* first byte of the key's content */
	size_t		key_len;		/* rendered, without its quotes */
	size_t		begin;			/* of the whole member, at the key's quote */
	size_t		end;
} Member;

typedef struct Parser
{
	const unsigned char *in;
	size_t		len;
	size_t		at;
	char	   *out;
	size_t		out_len;
	size_t		out_room;
	size_t		limit;
	bool		any_spelling;	/* of integers */
	Member	   *members;		/* of all open objects, innermost last */
	size_t		nmembers;
	size_t		members_room;
	const char *error;
	const Member *twice;		/* with a duplicate key; points into members */
	const CanonicalMemory *memory;
} Parser;

static bool parse_value(Parser *p, int depth);

static bool
fail(Parser *p, const char *why)
{
	if (p->error == NULL)
		p->error = why;
	return false;
}

/* Make room for n more bytes of output, within the limit. */
static bool
make_room(Parser *p, size_t n)
{
	size_t		room = p->out_room;

	if (n > p->limit - p->out_len)
		return fail(p, "too long");
	while (room - p->out_len < n)
		room = room > p->limit / 2 ? p->limit : room * 2;
	p->out = p->memory->resize(p->out, room);
	p->out_room = room;
	return true;
}

static inline bool
emit(Parser *p, const char *bytes, size_t n)
{
	if (n > p->out_room - p->out_len && !make_room(p, n))
		return false;
	memcpy(p->out + p->out_len, bytes, n);
	p->out_len += n;
	return true;
}

static void
skip_space(Parser *p)
{
	while (p->at < p->len &&
		   (p->in[p->at] == ' ' || p->in[p->at] == '\t' || p->in[p->at] == '\n' || p->in[p->at] == '\r'))
		p->at++;
}

static bool
accept(Parser *p, char c)
{
	if (p->at >= p->len || p->in[p->at] != (unsigned char) c)
		return false;
	p->at++;
	return true;
}

/* Four hex digits of a \u escape. */
static bool
parse_hex4(Parser *p, uint32_t *unit)
{
	*unit = 0;
	if (p->len - p->at < 4)
		return fail(p, "unfinished \\u escape");
	for (int i = 0; i < 4; i++)
	{
		unsigned char c = p->in[p->at];
		uint32_t	digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return fail(p, "invalid \\u escape");
		*unit = *unit << 4 | digit;
		p->at++;
	}
	return true;
}

/* The code point of an escape, after its backslash. */
static bool
parse_escape(Parser *p, uint32_t *cp)
{
	uint32_t	low;

	if (p->at >= p->len)
		return fail(p, "unfinished string");
	switch (p->in[p->at++])
	{
		case '"':
			*cp = '"';
			return true;
		case '\\':
			*cp = '\\';
			return true;
		case '/':
			*cp = '/';
			return true;
		case 'b':
			*cp = '\b';
			return true;
		case 'f':
			*cp = '\f';
			return true;
		case 'n':
			*cp = '\n';
			return true;
		case 'r':
			*cp = '\r';
			return true;
		case 't':
			*cp = '\t';
			return true;
		case 'u':
			break;
		default:
			return fail(p, "invalid escape");
	}
	if (!parse_hex4(p, cp))
		return false;
	if (*cp >= 0xDC00 && *cp <= 0xDFFF)
		return fail(p, "lone surrogate");
	if (*cp >= 0xD800 && *cp <= 0xDBFF)
	{
		if (!accept(p, '\\') || !accept(p, 'u'))
			return fail(p, "lone surrogate");
		if (!parse_hex4(p, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return fail(p, "lone surrogate");
		*cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
	}
	return true;
}

/*
 * Decode one code point of UTF-8 at in, of which left bytes remain. Returns its
 * length, or 0 for a sequence that is cut short, overlong or out of range.
 */
static size_t
decode_utf8(const unsigned char *in, size_t left, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t		n;

	if (in[0] < 0x80)
	{
		*cp = in[0];
		return 1;
	}
	else if ((in[0] & 0xE0) == 0xC0)
	{
		n = 2;
		*cp = in[0] & 0x1F;
	}
	else if ((in[0] & 0xF0) == 0xE0)
	{
		n = 3;
		*cp = in[0] & 0x0F;
	}
	else if ((in[0] & 0xF8) == 0xF0)
	{
		n = 4;
		*cp = in[0] & 0x07;
	}
	else
		return 0;
	if (left < n)
		return 0;
	for (size_t i = 1; i < n; i++)
	{
		if ((in[i] & 0xC0) != 0x80)
			return 0;
		*cp = *cp << 6 | (in[i] & 0x3F);
	}
	if (*cp < least[n] || *cp > 0x10FFFF || (*cp >= 0xD800 && *cp <= 0xDFFF))
		return 0;
	return n;
}

/* Write one code point of a string, escaped if RFC 8785 requires it. */
static bool
emit_code_point(Parser *p, uint32_t cp)
{
	static const char digits[] = "0123456789abcdef";
	char		bytes[6];

	switch (cp)
	{
		case '"':
			return emit(p, "\\\"", 2);
		case '\\':
			return emit(p, "\\\\", 2);
		case '\b':
			return emit(p, "\\b", 2);
		case '\f':
			return emit(p, "\\f", 2);
		case '\n':
			return emit(p, "\\n", 2);
		case '\r':
			return emit(p, "\\r", 2);
		case '\t':
			return emit(p, "\\t", 2);
		default:
			break;
	}
	if (cp == 0)
		return fail(p, "\\u0000 is not allowed");
	if (cp < 0x20)
	{
		memcpy(bytes, "\\u00", 4);
		bytes[4] = digits[cp >> 4];
		bytes[5] = digits[cp & 0xF];
		return emit(p, bytes, 6);
	}
	if (cp < 0x80)
	{
		bytes[0] = (char) cp;
		return emit(p, bytes, 1);
	}
	if (cp < 0x800)
	{
		bytes[0] = (char) (0xC0 | cp >> 6);
		bytes[1] = (char) (0x80 | (cp & 0x3F));
		return emit(p, bytes, 2);
	}
	if (cp < 0x10000)
	{
		bytes[0] = (char) (0xE0 | cp >> 12);
		bytes[1] = (char) (0x80 | (cp >> 6 & 0x3F));
		bytes[2] = (char) (0x80 | (cp & 0x3F));
		return emit(p, bytes, 3);
	}
	bytes[0] = (char) (0xF0 | cp >> 18);
	bytes[1] = (char) (0x80 | (cp >> 12 & 0x3F));
	bytes[2] = (char) (0x80 | (cp >> 6 & 0x3F));
	bytes[3] = (char) (0x80 | (cp & 0x3F));
	return emit(p, bytes, 4);
}

/*
 * Skip the bytes that a string contains verbatim: all except quotes, backslashes and
 * control characters. Returns false if they are not UTF-8.
 */
static bool
skip_verbatim(Parser *p)
{
	while (p->at < p->len)
	{
		unsigned char c = p->in[p->at];

		if (c < 0x80)
		{
			if (c < 0x20 || c == '"' || c == '\\')
				return true;
			p->at++;
		}
		else
		{
			uint32_t	cp;
			size_t		n = decode_utf8(p->in + p->at, p->len - p->at, &cp);

			if (n == 0)
				return fail(p, "invalid UTF-8");
			p->at += n;
		}
	}
	return true;
}

/* A string with its quotes; the opening quote is next in the input. */
static bool
parse_string(Parser *p)
{
	size_t		begin = p->at;

	if (!accept(p, '"'))
		return fail(p, "expected a string");
	for (;;)
	{
		uint32_t	cp = 0;

		/* in one piece, including the quotes, if nothing is escaped */
		if (!skip_verbatim(p))
			return false;
		if (accept(p, '"'))
			return emit(p, (const char *) p->in + begin, p->at - begin);
		if (!emit(p, (const char *) p->in + begin, p->at - begin))
			return false;
		if (p->at >= p->len)
			return fail(p, "unfinished string");
		if (!accept(p, '\\'))
			return fail(p, "unescaped control character in a string");
		if (!parse_escape(p, &cp) || !emit_code_point(p, cp))
			return false;
		begin = p->at;
	}
}

static bool
is_digit(const Parser *p)
{
	return p->at < p->len && p->in[p->at] >= '0' && p->in[p->at] <= '9';
}

/* Moves past digits, of which there has to be one. */
static bool
skip_digits(Parser *p)
{
	if (!is_digit(p))
		return fail(p, "expected a digit");
	while (is_digit(p))
		p->at++;
	return true;
}

/* An exponent after its letter. No body is so long that one beyond +-10^8 would matter. */
static bool
parse_exponent(Parser *p, int *exponent)
{
	bool		negative = accept(p, '-');

	if (!negative)
		(void) accept(p, '+');
	if (!is_digit(p))
		return fail(p, "expected a digit");
	for (; is_digit(p); p->at++)
		if (*exponent < 100000000)
			*exponent = *exponent * 10 + (p->in[p->at] - '0');
	if (negative)
		*exponent = -*exponent;
	return true;
}

/* value is at most MAX_INTEGER, and minus zero is zero. */
static bool
emit_integer(Parser *p, bool negative, uint64_t value)
{
	char		digits[1 + 16];
	char	   *at = digits + sizeof(digits);

	negative = negative && value != 0;
	do
	{
		*--at = (char) ('0' + value % 10);
		value /= 10;
	} while (value != 0);
	if (negative)
		*--at = '-';
	return emit(p, at, (size_t) (digits + sizeof(digits) - at));
}

/* The digits of a number beside its point; n counts from the first. */
static unsigned
digit_at(const Parser *p, size_t begin, size_t whole, size_t n)
{
	return p->in[begin + n + (n >= whole)] - '0';
}

/*
 * A number with a fraction or an exponent that is an integer nevertheless, from its first
 * digit. whole: how many digits are before the point.
 */
static bool
parse_spelled_integer(Parser *p, bool negative, size_t begin, size_t whole)
{
	size_t		digits = whole;
	int			exponent = 0;
	int64_t		point;
	uint64_t	value = 0;

	if (accept(p, '.'))
	{
		size_t		fraction = p->at;

		if (!skip_digits(p))
			return false;
		digits += p->at - fraction;
	}
	if ((accept(p, 'e') || accept(p, 'E')) && !parse_exponent(p, &exponent))
		return false;

	/* where the point is, counted in digits from the first */
	point = (int64_t) whole + exponent;
	for (size_t n = 0; n < digits; n++)
	{
		unsigned	digit = digit_at(p, begin, whole, n);

		if ((int64_t) n < point)
			value = value * 10 + digit;
		if (value > MAX_INTEGER || ((int64_t) n >= point && digit != 0))
			return fail(p, "number is not an integer within +-(2^53-1)");
	}
	for (int64_t n = (int64_t) digits; n < point && value != 0; n++)
	{
		value *= 10;
		if (value > MAX_INTEGER)
			return fail(p, "number is not an integer within +-(2^53-1)");
	}
	return emit_integer(p, negative, value);
}

/* An integer within +-(2^53-1), in its shortest form. */
static bool
parse_integer(Parser *p)
{
	bool		negative = accept(p, '-');
	size_t		begin = p->at;
	uint64_t	value = 0;
	bool		spelled;

	for (; is_digit(p); p->at++)
		if (value <= MAX_INTEGER)
			value = value * 10 + (p->in[p->at] - '0');
	if (p->at == begin)
		return fail(p, "expected a value");
	if (p->in[begin] == '0' && p->at - begin > 1)
		return fail(p, "number with a leading zero");
	spelled = p->at < p->len && (p->in[p->at] == '.' || p->in[p->at] == 'e' || p->in[p->at] == 'E');
	if (spelled && p->any_spelling)
		return parse_spelled_integer(p, negative, begin, p->at - begin);
	if (spelled || value > MAX_INTEGER)
		return fail(p, "number is not an integer within +-(2^53-1)");
	return emit_integer(p, negative, value);
}

static bool
parse_word(Parser *p, const char *word)
{
	size_t		n = strlen(word);

	if (p->len - p->at < n || memcmp(p->in + p->at, word, n) != 0)
		return fail(p, "expected a value");
	p->at += n;
	return emit(p, word, n);
}

/* depth includes this array */
static bool
parse_array(Parser *p, int depth)
{
	if (depth > CANONICAL_MAX_DEPTH)
		return fail(p, "nested too deeply");
	p->at++;
	if (!emit(p, "[", 1))
		return false;
	skip_space(p);
	if (accept(p, ']'))
		return emit(p, "]", 1);
	for (;;)
	{
		if (!parse_value(p, depth))
			return false;
		skip_space(p);
		if (accept(p, ']'))
			return emit(p, "]", 1);
		if (!accept(p, ','))
			return fail(p, "expected ',' or ']'");
		if (!emit(p, ",", 1))
			return false;
	}
}

/* The next code point of a rendered key, which is valid. */
static uint32_t
next_code_point(const char *text, size_t *at, size_t len)
{
	const unsigned char *in = (const unsigned char *) text;
	uint32_t	cp = 0;

	if (in[*at] != '\\')
	{
		*at += decode_utf8(in + *at, len - *at, &cp);
		return cp;
	}
	*at += 2;
	switch (in[*at - 1])
	{
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		case 'u':				/* only \u00XX is rendered */
			for (size_t i = *at + 2; i < *at + 4; i++)
				cp = cp << 4 | (uint32_t) (in[i] <= '9' ? in[i] - '0' : in[i] - 'a' + 10);
			*at += 4;
			return cp;
		default:				/* quote, backslash */
			return in[*at - 1];
	}
}

/* Order of rendered keys by UTF-16 code units. */
static int
compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t		i = 0;
	size_t		j;

	/* most keys are ASCII without escapes, and differ at a byte */
	while (i < a_len && i < b_len && a[i] == b[i] && (unsigned char) a[i] < 0x80 && a[i] != '\\')
		i++;
	j = i;
	while (i < a_len && j < b_len)
	{
		uint32_t	x = next_code_point(a, &i, a_len);
		uint32_t	y = next_code_point(b, &j, b_len);
		uint32_t	x_unit = x < 0x10000 ? x : 0xD800 + ((x - 0x10000) >> 10);
		uint32_t	y_unit = y < 0x10000 ? y : 0xD800 + ((y - 0x10000) >> 10);

		if (x_unit != y_unit)
			return x_unit < y_unit ? -1 : 1;
		if (x != y)
			return x < y ? -1 : 1;
	}
	return (i < a_len) - (j < b_len);
}

static int
compare_members(const char *out, const Member *a, const Member *b)
{
	return compare_keys(out + a->key, a->key_len, out + b->key, b->key_len);
}

/* Merge sort: stable, and n log n for every input. */
static void
sort_members(const char *out, Member *members, Member *work, size_t n)
{
	size_t		half = n / 2;
	size_t		i = 0;
	size_t		j = half;

	if (n < 2)
		return;
	sort_members(out, members, work, half);
	sort_members(out, members + half, work, n - half);
	for (size_t k = 0; k < n; k++)
	{
		bool		left = j >= n || (i < half && compare_members(out, &members[i], &members[j]) <= 0);

		work[k] = left ? members[i++] : members[j++];
	}
	memcpy(members, work, n * sizeof(Member));
}

/*
 * Sort n members in the output, which starts at begin. Equal keys are an error.
 */
static bool
order_members(Parser *p, Member *members, size_t n, size_t begin)
{
	size_t		size = p->out_len - begin;
	bool		sorted = true;
	Member	   *work;
	char	   *copy;
	char	   *to;

	for (size_t i = 1; i < n; i++)
	{
		int			order = compare_members(p->out, &members[i - 1], &members[i]);

		if (order == 0)
		{
			p->twice = &members[i];
			return fail(p, "duplicate key");
		}
		if (order > 0)
			sorted = false;
	}
	if (sorted)
		return true;

	work = p->memory->allocate(n * sizeof(Member));
	sort_members(p->out, members, work, n);
	p->memory->release(work);
	for (size_t i = 1; i < n; i++)
		if (compare_members(p->out, &members[i - 1], &members[i]) == 0)
		{
			p->twice = &members[i];
			return fail(p, "duplicate key");
		}

	copy = p->memory->allocate(size);
	memcpy(copy, p->out + begin, size);
	to = p->out + begin;
	for (size_t i = 0; i < n; i++)
	{
		size_t		member_len = members[i].end - members[i].begin;

		if (i > 0)
			*to++ = ',';
		memcpy(to, copy + (members[i].begin - begin), member_len);
		to += member_len;
	}
	p->memory->release(copy);
	return true;
}

/* depth includes this object */
static bool
parse_object(Parser *p, int depth)
{
	size_t		first = p->nmembers;
	size_t		begin;

	if (depth > CANONICAL_MAX_DEPTH)
		return fail(p, "nested too deeply");
	p->at++;
	if (!emit(p, "{", 1))
		return false;
	begin = p->out_len;
	skip_space(p);
	if (accept(p, '}'))
		return emit(p, "}", 1);
	for (;;)
	{
		Member		member;

		skip_space(p);
		member.begin = p->out_len;
		member.key = p->out_len + 1;
		if (!parse_string(p))
			return false;
		member.key_len = p->out_len - 1 - member.key;
		skip_space(p);
		if (!accept(p, ':'))
			return fail(p, "expected ':'");
		if (!emit(p, ":", 1) || !parse_value(p, depth))
			return false;
		member.end = p->out_len;

		if (p->nmembers == p->members_room)
		{
			p->members_room *= 2;
			p->members = p->memory->resize(p->members, p->members_room * sizeof(Member));
		}
		p->members[p->nmembers++] = member;

		skip_space(p);
		if (accept(p, '}'))
			break;
		if (!accept(p, ','))
			return fail(p, "expected ',' or '}'");
		if (!emit(p, ",", 1))
			return false;
	}
	if (!order_members(p, p->members + first, p->nmembers - first, begin))
		return false;
	p->nmembers = first;
	return emit(p, "}", 1);
}

/* depth: the number of arrays and objects around the value */
static bool
parse_value(Parser *p, int depth)
{
	skip_space(p);
	if (p->at >= p->len)
		return fail(p, "expected a value");
	switch (p->in[p->at])
	{
		case '{':
			return parse_object(p, depth + 1);
		case '[':
			return parse_array(p, depth + 1);
		case '"':
			return parse_string(p);
		case 't':
			return parse_word(p, "true");
		case 'f':
			return parse_word(p, "false");
		case 'n':
			return parse_word(p, "null");
		default:
			return parse_integer(p);
	}
}

static bool
render(const char *input, size_t len, size_t limit, bool any_spelling, const CanonicalMemory *memory, CanonicalText *result)
{
	Parser		p = {0};
	bool		ok;

	p.in = (const unsigned char *) input;
	p.len = len;
	p.limit = limit;
	p.any_spelling = any_spelling;
	p.memory = memory;
	p.out_room = len < limit ? len : limit; /* canonical text is seldom longer */
	if (p.out_room == 0)
		p.out_room = limit;
	p.out = memory->allocate(p.out_room);
	p.members_room = 16;
	p.members = memory->allocate(p.members_room * sizeof(Member));

	ok = parse_value(&p, 0);
	if (ok)
	{
		skip_space(&p);
		if (p.at != p.len)
			ok = fail(&p, "unexpected text after the value");
	}
	result->twice = NULL;
	result->twice_len = 0;
	if (p.twice != NULL)
	{
		result->twice_len = p.twice->key_len;
		result->twice = memory->allocate(p.twice->key_len + 1);
		memcpy(result->twice, p.out + p.twice->key, p.twice->key_len);
	}
	memory->release(p.members);
	if (!ok)
	{
		memory->release(p.out);
		p.out = NULL;
		p.out_len = 0;
	}
	result->data = p.out;
	result->len = p.out_len;
	result->error = p.error;
	result->error_at = p.at;
	return ok;
}

bool
canonical_render(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, CanonicalText *result)
{
	return render(input, len, limit, false, memory, result);
}

bool
canonical_render_request(const char *input, size_t len, size_t limit, const CanonicalMemory *memory, CanonicalText *result)
{
	return render(input, len, limit, true, memory, result);
}

/*
 * The check: the same grammar without any freedom. A text is rejected at the first byte
 * that the renderer would write differently. Each function parses at p what its name
 * says, and returns its end, or NULL.
 */

/* An open array or object and its last element or member. */
typedef struct Level
{
	unsigned char close;		/* the bracket or brace that ends it */
	bool		escaped;		/* the key contains escapes */
	const unsigned char *key;	/* without quotes; NULL if there is none */
	size_t		key_len;
	const unsigned char *value;
} Level;

/*
 * Finds quotes, backslashes, control characters and non-ASCII bytes among the eight bytes
 * at p. The lowest bit that is set belongs to the first of them.
 */
static inline uint64_t
special_bytes(const unsigned char *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t	bytes;
	uint64_t	quote;
	uint64_t	backslash;

	memcpy(&bytes, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	bytes = __builtin_bswap64(bytes);
#endif
	quote = bytes ^ (ones * '"');
	backslash = bytes ^ (ones * '\\');

	/*
	 * Subtracting 0x01 sets the high bit of a byte that was zero; subtracting
	 * 0x20 sets the high bit of a byte that was less. Only such a byte
	 * borrows from the next one, so the first bit that is set is reliable.
	 */
	return ((bytes - ones * 0x20) | (quote - ones) | (backslash - ones) | bytes) & (ones * 0x80);
}

/* An escape as the renderer writes it, after its backslash. */
static const unsigned char *
check_escape(const unsigned char *p, const unsigned char *end)
{
	if (p >= end)
		return NULL;
	switch (*p++)
	{
		case '"':
		case '\\':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			return p;
		case 'u':
			break;
		default:
			return NULL;
	}
	if (end - p < 4 || p[0] != '0' || p[1] != '0')
		return NULL;
	if (p[2] == '0' ? memchr("1234567bef", p[3], 10) == NULL :
		p[2] != '1' || memchr("0123456789abcdef", p[3], 16) == NULL)
		return NULL;
	return p + 4;
}

/* The rest of a string, up to its closing quote. */
static const unsigned char *
check_string_rest(const unsigned char *p, const unsigned char *end, bool *escaped)
{
	while (p < end && *p >= 0x20 && *p != '"')
	{
		if (*p == '\\')
		{
			*escaped = true;
			p = check_escape(p + 1, end);
			if (p == NULL)
				return NULL;
		}
		else
		{
			uint32_t	cp;
			size_t		n = decode_utf8(p, end - p, &cp);

			if (n == 0)
				return NULL;
			p += n;
		}
	}
	return p < end && *p == '"' ? p : NULL;
}

/* A string with its quotes; p is at the opening quote. */
static inline const unsigned char *
check_string(const unsigned char *p, const unsigned char *end, bool *escaped)
{
	*escaped = false;
	for (p++; end - p >= 8; p += 8)
	{
		uint64_t	special = special_bytes(p);

		if (special != 0)
		{
			p += __builtin_ctzll(special) / 8;
			if (*p == '"')
				return p + 1;
			break;
		}
	}
	p = check_string_rest(p, end, escaped);
	return p == NULL ? NULL : p + 1;
}

/* Whether a sorts before b, by bytes; neither key may contain escapes. */
static inline bool
keys_ascend(const unsigned char *a, size_t a_len, const unsigned char *b, size_t b_len)
{
	size_t		least = a_len < b_len ? a_len : b_len;
	size_t		i = 0;

	while (i < least && a[i] == b[i])
		i++;
	if (i == least)
		return a_len < b_len;

	/*
	 * UTF-8 sorts by code point. So does UTF-16, except that code points
	 * beyond U+FFFF (first byte 0xF0 or more) sort before U+E000 to U+FFFF
	 * (0xEE, 0xEF), as surrogates do. None of these bytes continues a
	 * sequence.
	 */
	if (a[i] >= 0xEE && b[i] >= 0xEE && (a[i] >= 0xF0) != (b[i] >= 0xF0))
		return a[i] >= 0xF0;
	return a[i] < b[i];
}

static inline const unsigned char *
check_integer(const unsigned char *p, const unsigned char *end)
{
	bool		negative = *p == '-';
	const unsigned char *begin = p += negative;
	uint64_t	value = 0;

	while (p < end && *p >= '0' && *p <= '9')
	{
		value = value * 10 + (*p++ - '0');
		if (value > MAX_INTEGER)
			return NULL;
	}
	if (p == begin || (*begin == '0' && (negative || p - begin > 1)))
		return NULL;
	return p;					/* the caller rejects a fraction or exponent */
}

static inline const unsigned char *
check_word(const unsigned char *p, const unsigned char *end, const char *word, size_t n)
{
	return (size_t) (end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

bool
canonical_check(const char *input, size_t len, size_t limit, int around, CanonicalVisit visit, void *arg)
{
	const unsigned char *p = (const unsigned char *) input;
	const unsigned char *end = p + len;
	Level		levels[CANONICAL_MAX_DEPTH + 1];
	Level	   *level = levels; /* the innermost; levels[0] is the outside */
	bool		escaped;

	if (len > limit)
		return false;
	level->close = '\0';
	for (;;)
	{
		if (level->close == '}')
		{
			const unsigned char *key = p + 1;
			size_t		key_len;

			if (p >= end || *p != '"')
				return false;
			p = check_string(p, end, &escaped);
			if (p == NULL || p >= end || *p != ':')
				return false;
			key_len = p - 1 - key;
			if (level->key != NULL &&
				!(escaped || level->escaped ?
				  compare_keys((const char *) level->key, level->key_len, (const char *) key, key_len) < 0 :
				  keys_ascend(level->key, level->key_len, key, key_len)))
				return false;
			level->key = key;
			level->key_len = key_len;
			level->escaped = escaped;
			p++;
		}

		level->value = p;
		if (p >= end)
			return false;
		switch (*p)
		{
			case '"':
				p = check_string(p, end, &escaped);
				break;
			case '{':
			case '[':
				if (level - levels + around == CANONICAL_MAX_DEPTH)
					return false;
				level++;
				level->close = *p++ == '{' ? '}' : ']';
				level->key = NULL;
				if (p >= end || *p != level->close)
					continue;
				level--;
				p++;
				break;
			case 't':
				p = check_word(p, end, "true", 4);
				break;
			case 'f':
				p = check_word(p, end, "false", 5);
				break;
			case 'n':
				p = check_word(p, end, "null", 4);
				break;
			default:
				p = check_integer(p, end);
				break;
		}
		if (p == NULL)
			return false;

		/* a comma after the value, or the ends of the levels that it closes */
		for (;; level--)
		{
			if (level == levels)
				return p == end;
			if (p >= end)
				return false;
			if (level == levels + 1 && visit != NULL)
				visit(arg, (const char *) level->key, level->key ? level->key_len : 0, (const char *) level->value, p - level->value);
			if (*p == ',')
				break;
			if (*p++ != level->close)
				return false;
		}
		p++;
	}
}

typedef struct Search
{
	CanonicalMember *members;
	size_t		count;
} Search;

/* CanonicalVisit */
static void
compare_member(void *arg, const char *key, size_t key_len, const char *value, size_t value_len)
{
	const Search *search = arg;

	for (size_t i = 0; i < search->count; i++)
	{
		CanonicalMember *member = &search->members[i];

		if (key_len == member->key_len && memcmp(key, member->key, key_len) == 0)
		{
			member->value = value;
			member->len = value_len;
		}
	}
}

bool
canonical_find(const char *input, size_t len, size_t limit, int around, CanonicalMember *members, size_t count)
{
	Search		search = {members, count};

	if (len > 0 && input[0] == '{' && canonical_check(input, len, limit, around, compare_member, &search))
		return true;
	for (size_t i = 0; i < count; i++)
		members[i].value = NULL;
	return false;
}

bool
canonical_unescape(const char *value, size_t len, char *out, size_t *out_len)
{
	size_t		at = 1;
	size_t		n = 0;

	if (len < 2 || value[0] != '"')
		return false;
	while (at < len - 1)
	{
		char		byte = value[at];

		/* what is escaped is ASCII */
		if (byte == '\\')
			byte = (char) next_code_point(value, &at, len - 1);
		else
			at++;
		out[n++] = byte;
	}
	*out_len = n;
	return true;
}
