/*
 * expansion.h
 *		Refusing a call that the parser has multiplied: SELECT (f(...)).*
 */
#ifndef WALWARDEN_EXPANSION_H
#define WALWARDEN_EXPANSION_H

#include "postgres.h"

#include "fmgr.h"

extern void expansion_init(void);
extern void expansion_watch(const FmgrInfo *flinfo);
extern void expansion_check(FunctionCallInfo fcinfo, const char *name);

#endif							/* WALWARDEN_EXPANSION_H */
