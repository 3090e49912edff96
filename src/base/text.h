/*
 * text.h
 *		Texts from outside: what must not be in them, and what must.
 */
#ifndef WALWARDEN_TEXT_H
#define WALWARDEN_TEXT_H

#include "postgres.h"

/* The characters for which 1_base/text.sql has a regular expression. */
typedef enum CharacterClass
{
	CONTROL_CHARACTER,
	HIDDEN_CHARACTER,
	VISIBLE_CHARACTER
} CharacterClass;

extern bool text_has_character(text *value, CharacterClass class);
extern bool text_matches(text *value, text *pattern);
extern bool text_holds_secret(const char *value, size_t len);

#endif							/* WALWARDEN_TEXT_H */
