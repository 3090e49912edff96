/*
 * refusal_log.h
 *		The server's log of refused tokens.
 */
#ifndef WALWARDEN_REFUSAL_LOG_H
#define WALWARDEN_REFUSAL_LOG_H

#include "postgres.h"

#include "utils/uuid.h"

#include "token/refusal.h"

extern Size refusal_log_shmem_size(void);
extern void refusal_log_shmem_init(void);
extern void refusal_log(const pg_uuid_t *token_id, Refusal refusal);

#endif							/* WALWARDEN_REFUSAL_LOG_H */
