/*
 * image.h
 *		What the chain says of a token.
 */
#ifndef WALWARDEN_IMAGE_H
#define WALWARDEN_IMAGE_H

#include "postgres.h"

#include "access/htup.h"
#include "lib/stringinfo.h"
#include "utils/array.h"

extern void token_image(StringInfo json, HeapTupleHeader value, ArrayType *values);

#endif							/* WALWARDEN_IMAGE_H */
