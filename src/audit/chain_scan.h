/*
 * chain_scan.h
 *		Reading the entries of one chain in the order of seq.
 */
#ifndef WALWARDEN_AUDIT_CHAIN_SCAN_H
#define WALWARDEN_AUDIT_CHAIN_SCAN_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef struct ChainScan
{
	Relation	entries;
	Relation	index;
	SysScanDesc scan;
} ChainScan;

/* Entries with other seqs, or without one, are left out if there are limits: first, last. */
extern void chain_scan_begin(ChainScan *scan, const pg_uuid_t *org_id, const int64 *limits);

/* The next entry, until the next call, or NULL. */
extern HeapTuple chain_scan_next(ChainScan *scan);
extern void chain_scan_end(ChainScan *scan);

/* The seq of the last entry, or 0. */
extern int64 chain_last_seq(const pg_uuid_t *org_id);

#endif							/* WALWARDEN_AUDIT_CHAIN_SCAN_H */
