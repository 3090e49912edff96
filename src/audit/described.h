/*
 * described.h
 *		What a chain says of the objects that it describes, and whether the rows agree.
 */
#ifndef WALWARDEN_AUDIT_DESCRIBED_H
#define WALWARDEN_AUDIT_DESCRIBED_H

#include "postgres.h"

#include "utils/uuid.h"

#include "common/canonical.h"

typedef struct Described Described;

/* A difference between the rows and the chain. */
typedef struct Difference
{
	const char *reason;			/* or NULL: there is none */
	bool		has_seq;		/* whether it concerns a single entry */
	int64		seq;
	bool		unmatched;		/* a credential may differ: not compared here */
	int64		credentials;	/* that were compared, each once */
} Difference;

extern Described *described_begin(const pg_uuid_t *org_id);

/* Add a sound entry, after all that have a lower seq; members: as entry_body_is_valid() found them. */
extern void described_add(Described *described, int64 seq, const CanonicalMember *members);

/* The first difference, once all entries have been added, in the order of cross_check(). */
extern Difference described_compare(Described *described);

#endif							/* WALWARDEN_AUDIT_DESCRIBED_H */
