/*
 * likeness.c
 *		The form of a text in which look-alikes are equal.
 *
 * Invariants: the result depends on no locale and on no library but the server's, because
 * an index is built on it. The normalisation of a character never changes once Unicode has
 * assigned it, and neither do the rows below.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/export.h"

#define COMBINING_DOT_ABOVE 0x0307

typedef struct CaseRange
{
	pg_wchar	first;
	pg_wchar	last;
	int			step;			/* 2: every other letter */
	int			offset;			/* from the letter to its folded form */
} CaseRange;

/*
 * The letters of Unicode 14 that have a simple case folding, or a lower case of one
 * letter, but for those that NFKD decomposes. In order.
 */
static const CaseRange case_ranges[] = {
	{0x0041, 0x005A, 1, 32}, {0x00C6, 0x00C6, 1, 32}, {0x00D0, 0x00D0, 1, 32}, {0x00D8, 0x00D8, 1, 32},
	{0x00DE, 0x00DE, 1, 32}, {0x0110, 0x0110, 1, 1}, {0x0126, 0x0126, 1, 1}, {0x0141, 0x0141, 1, 1},
	{0x014A, 0x014A, 1, 1}, {0x0152, 0x0152, 1, 1}, {0x0166, 0x0166, 1, 1}, {0x0181, 0x0181, 1, 210},
	{0x0182, 0x0184, 2, 1}, {0x0186, 0x0186, 1, 206}, {0x0187, 0x0187, 1, 1}, {0x0189, 0x018A, 1, 205},
	{0x018B, 0x018B, 1, 1}, {0x018E, 0x018E, 1, 79}, {0x018F, 0x018F, 1, 202}, {0x0190, 0x0190, 1, 203},
	{0x0191, 0x0191, 1, 1}, {0x0193, 0x0193, 1, 205}, {0x0194, 0x0194, 1, 207}, {0x0196, 0x0196, 1, 211},
	{0x0197, 0x0197, 1, 209}, {0x0198, 0x0198, 1, 1}, {0x019C, 0x019C, 1, 211}, {0x019D, 0x019D, 1, 213},
	{0x019F, 0x019F, 1, 214}, {0x01A2, 0x01A4, 2, 1}, {0x01A6, 0x01A6, 1, 218}, {0x01A7, 0x01A7, 1, 1},
	{0x01A9, 0x01A9, 1, 218}, {0x01AC, 0x01AC, 1, 1}, {0x01AE, 0x01AE, 1, 218}, {0x01B1, 0x01B2, 1, 217},
	{0x01B3, 0x01B5, 2, 1}, {0x01B7, 0x01B7, 1, 219}, {0x01B8, 0x01B8, 1, 1}, {0x01BC, 0x01BC, 1, 1},
	{0x01E4, 0x01E4, 1, 1}, {0x01F6, 0x01F6, 1, -97}, {0x01F7, 0x01F7, 1, -56}, {0x021C, 0x021C, 1, 1},
	{0x0220, 0x0220, 1, -130}, {0x0222, 0x0224, 2, 1}, {0x023A, 0x023A, 1, 10795}, {0x023B, 0x023B, 1, 1},
	{0x023D, 0x023D, 1, -163}, {0x023E, 0x023E, 1, 10792}, {0x0241, 0x0241, 1, 1}, {0x0243, 0x0243, 1, -195},
	{0x0244, 0x0244, 1, 69}, {0x0245, 0x0245, 1, 71}, {0x0246, 0x024E, 2, 1}, {0x0370, 0x0372, 2, 1},
	{0x0376, 0x0376, 1, 1}, {0x037F, 0x037F, 1, 116}, {0x0391, 0x03A1, 1, 32}, {0x03A3, 0x03A9, 1, 32},
	{0x03C2, 0x03C2, 1, 1}, {0x03CF, 0x03CF, 1, 8}, {0x03D8, 0x03EE, 2, 1}, {0x03F7, 0x03F7, 1, 1},
	{0x03FA, 0x03FA, 1, 1}, {0x03FD, 0x03FF, 1, -130}, {0x0402, 0x0404, 2, 80}, {0x0405, 0x0406, 1, 80},
	{0x0408, 0x040B, 1, 80}, {0x040F, 0x040F, 1, 80}, {0x0410, 0x0418, 1, 32}, {0x041A, 0x042F, 1, 32},
	{0x0460, 0x0474, 2, 1}, {0x0478, 0x0480, 2, 1}, {0x048A, 0x04BE, 2, 1}, {0x04C0, 0x04C0, 1, 15},
	{0x04C3, 0x04CD, 2, 1}, {0x04D4, 0x04D4, 1, 1}, {0x04D8, 0x04D8, 1, 1}, {0x04E0, 0x04E0, 1, 1},
	{0x04E8, 0x04E8, 1, 1}, {0x04F6, 0x04F6, 1, 1}, {0x04FA, 0x052E, 2, 1}, {0x0531, 0x0556, 1, 48},
	{0x10A0, 0x10C5, 1, 7264}, {0x10C7, 0x10C7, 1, 7264}, {0x10CD, 0x10CD, 1, 7264}, {0x13F8, 0x13FD, 1, -8},
	{0x1C80, 0x1C80, 1, -6222}, {0x1C81, 0x1C81, 1, -6221}, {0x1C82, 0x1C82, 1, -6212}, {0x1C83, 0x1C84, 1, -6210},
	{0x1C85, 0x1C85, 1, -6211}, {0x1C86, 0x1C86, 1, -6204}, {0x1C87, 0x1C87, 1, -6180}, {0x1C88, 0x1C88, 1, 35267},
	{0x1C90, 0x1CBA, 1, -3008}, {0x1CBD, 0x1CBF, 1, -3008}, {0x1E9E, 0x1E9E, 1, -7615}, {0x1EFA, 0x1EFE, 2, 1},
	{0x2132, 0x2132, 1, 28}, {0x2183, 0x2183, 1, 1}, {0x2C00, 0x2C2F, 1, 48}, {0x2C60, 0x2C60, 1, 1},
	{0x2C62, 0x2C62, 1, -10743}, {0x2C63, 0x2C63, 1, -3814}, {0x2C64, 0x2C64, 1, -10727}, {0x2C67, 0x2C6B, 2, 1},
	{0x2C6D, 0x2C6D, 1, -10780}, {0x2C6E, 0x2C6E, 1, -10749}, {0x2C6F, 0x2C6F, 1, -10783}, {0x2C70, 0x2C70, 1, -10782},
	{0x2C72, 0x2C72, 1, 1}, {0x2C75, 0x2C75, 1, 1}, {0x2C7E, 0x2C7F, 1, -10815}, {0x2C80, 0x2CE2, 2, 1},
	{0x2CEB, 0x2CED, 2, 1}, {0x2CF2, 0x2CF2, 1, 1}, {0xA640, 0xA66C, 2, 1}, {0xA680, 0xA69A, 2, 1},
	{0xA722, 0xA72E, 2, 1}, {0xA732, 0xA76E, 2, 1}, {0xA779, 0xA77B, 2, 1}, {0xA77D, 0xA77D, 1, -35332},
	{0xA77E, 0xA786, 2, 1}, {0xA78B, 0xA78B, 1, 1}, {0xA78D, 0xA78D, 1, -42280}, {0xA790, 0xA792, 2, 1},
	{0xA796, 0xA7A8, 2, 1}, {0xA7AA, 0xA7AA, 1, -42308}, {0xA7AB, 0xA7AB, 1, -42319}, {0xA7AC, 0xA7AC, 1, -42315},
	{0xA7AD, 0xA7AD, 1, -42305}, {0xA7AE, 0xA7AE, 1, -42308}, {0xA7B0, 0xA7B0, 1, -42258}, {0xA7B1, 0xA7B1, 1, -42282},
	{0xA7B2, 0xA7B2, 1, -42261}, {0xA7B3, 0xA7B3, 1, 928}, {0xA7B4, 0xA7C2, 2, 1}, {0xA7C4, 0xA7C4, 1, -48},
	{0xA7C5, 0xA7C5, 1, -42307}, {0xA7C6, 0xA7C6, 1, -35384}, {0xA7C7, 0xA7C9, 2, 1}, {0xA7D0, 0xA7D0, 1, 1},
	{0xA7D6, 0xA7D8, 2, 1}, {0xA7F5, 0xA7F5, 1, 1}, {0xAB70, 0xABBF, 1, -38864}, {0x10400, 0x10427, 1, 40},
	{0x104B0, 0x104D3, 1, 40}, {0x10570, 0x1057A, 1, 39}, {0x1057C, 0x1058A, 1, 39}, {0x1058C, 0x10592, 1, 39},
	{0x10594, 0x10595, 1, 39}, {0x10C80, 0x10CB2, 1, 64}, {0x118A0, 0x118BF, 1, 32}, {0x16E40, 0x16E5F, 1, 32},
	{0x1E900, 0x1E921, 1, 34},
};

/* The letter that stands for all cases of a letter. */
static pg_wchar
fold_case(pg_wchar letter)
{
	size_t		low = 0;
	size_t		high = lengthof(case_ranges);

	while (low < high)
	{
		size_t		middle = (low + high) / 2;
		const CaseRange *range = &case_ranges[middle];

		if (letter < range->first)
			high = middle;
		else if (letter > range->last)
			low = middle + 1;
		else
			return (letter - range->first) % range->step == 0 ? letter + range->offset : letter;
	}
	return letter;
}

/* Joiners and variation selectors. check_text() admits no other character without a width. */
static bool
has_no_width(pg_wchar character)
{
	return (character >= 0x180B && character <= 0x180F && character != 0x180E) ||
		character == 0x200C || character == 0x200D ||
		(character >= 0xFE00 && character <= 0xFE0F) ||
		(character >= 0xE0100 && character <= 0xE01EF);
}

/* After NFKD; the other blanks of Unicode have become spaces. */
static bool
is_blank(pg_wchar character)
{
	return character == ' ' || character == 0x1680 || character == 0x2800;
}

/* walwarden_internal.likeness(value text) */
PG_FUNCTION_INFO_V1(walwarden_likeness);
Datum
walwarden_likeness(PG_FUNCTION_ARGS)
{
	Datum		form = CStringGetTextDatum("NFKD");
	text	   *value = DatumGetTextPP(DirectFunctionCall2(unicode_normalize_func, PG_GETARG_DATUM(0), form));
	const unsigned char *from = (unsigned char *) VARDATA_ANY(value);
	const unsigned char *end = from + VARSIZE_ANY_EXHDR(value);

	/* a folded letter has at most one byte more */
	text	   *result = palloc(VARHDRSZ + 2 * VARSIZE_ANY_EXHDR(value));
	unsigned char *start = (unsigned char *) VARDATA(result);
	unsigned char *to = start;
	unsigned char *visible = start; /* the end without blanks */
	pg_wchar	previous = 0;

	while (from < end)
	{
		pg_wchar	character = fold_case(utf8_to_unicode(from));

		from += pg_utf_mblen(from);
		if (has_no_width(character) || (is_blank(character) && to == start))
			continue;
		/* a capital I with a dot is a small i, which has one */
		if (character == COMBINING_DOT_ABOVE && previous == 'i')
			continue;
		unicode_to_utf8(character, to);
		to += pg_utf_mblen(to);
		if (!is_blank(character))
			visible = to;
		previous = character;
	}
	SET_VARSIZE(result, VARHDRSZ + (visible - start));
	PG_RETURN_TEXT_P(result);
}
