/*
 * stat.h
 *		Counters of authentications.
 */
#ifndef WALWARDEN_STAT_H
#define WALWARDEN_STAT_H

#include "postgres.h"

#include "token/refusal.h"

extern Size stat_shmem_size(void);
extern void stat_shmem_init(void);
extern void stat_count(Refusal refusal);

#endif							/* WALWARDEN_STAT_H */
