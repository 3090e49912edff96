/*
 * bundle.h
 *		A bundle of evidence: which checks it is put to, and in which order.
 */
#ifndef VERIFY_BUNDLE_H
#define VERIFY_BUNDLE_H

#include "report.h"
#include "trust.h"

/* Checks the bundle in a directory, and reports each check. */
extern void bundle_check(int directory, const Trust *trust, Report *report);

#endif							/* VERIFY_BUNDLE_H */
