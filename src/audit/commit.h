/*
 * commit.h
 *		When an appended entry becomes durable, and when others can see it.
 */
#ifndef WALWARDEN_COMMIT_H
#define WALWARDEN_COMMIT_H

#include "postgres.h"

extern Size commit_shmem_size(void);
extern void commit_shmem_init(void);
extern void commit_init(void);
extern void commit_record_append(bool takes_rights);

/* How many entries this transaction has appended, some of which may have been rolled back. */
extern int64 commit_appended(void);

extern void commit_record_configured(void);
extern void flush_audit(void);

#endif							/* WALWARDEN_COMMIT_H */
