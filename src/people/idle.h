/*
 * idle.h
 *		How long sessions have not been used.
 */
#ifndef WALWARDEN_IDLE_H
#define WALWARDEN_IDLE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern Size idle_shmem_size(void);
extern void idle_shmem_init(void);
extern bool idle_use(const pg_uuid_t *session_id, TimestampTz created_at);

#endif							/* WALWARDEN_IDLE_H */
