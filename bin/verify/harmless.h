/*
 * harmless.h
 *		Texts from outside, for a terminal or a JSON parser.
 */
#ifndef VERIFY_HARMLESS_H
#define VERIFY_HARMLESS_H

#include <stdbool.h>
#include <stdio.h>

/* Prints printable ASCII only: other bytes and backslashes as \xHH. json: within a JSON string. */
extern void print_harmless(FILE *out, const char *text, bool json);

#endif							/* VERIFY_HARMLESS_H */
