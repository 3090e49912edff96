/*
 * progress.h
 *		What long calls are doing, for others to see.
 */
#ifndef WALWARDEN_PROGRESS_H
#define WALWARDEN_PROGRESS_H

#include "postgres.h"

#include "utils/uuid.h"

#define PROGRESS_UNKNOWN (-1)

extern Size progress_shmem_size(void);
extern void progress_shmem_init(void);
extern void progress_init(void);

/* Whether anybody could see it. */
extern bool progress_is_shown(void);

/*
 * Begin something, in the place of what was shown before. org_id: the chain that it is about,
 * or NULL. total: how much there is to do, or PROGRESS_UNKNOWN. It is shown until the next
 * call, progress_end(), or the end of the transaction.
 */
extern void progress_begin(const char *what, const pg_uuid_t *org_id, int64 total);

/* So much is done. Cheap enough for every entry or row. */
extern void progress_advance(int64 done);
extern void progress_end(void);

#endif							/* WALWARDEN_PROGRESS_H */
