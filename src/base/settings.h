/*
 * settings.h
 *		The settings of the library, except walwarden.database (served.h).
 */
#ifndef WALWARDEN_SETTINGS_H
#define WALWARDEN_SETTINGS_H

#include "postgres.h"

extern int	walwarden_audit_lock_timeout;	/* milliseconds; 0: none */
extern bool walwarden_early_lock_release;
extern int	walwarden_usage_flush_interval; /* seconds */
extern int	walwarden_maintenance_interval; /* seconds */
extern int	walwarden_idempotency_retention;	/* seconds */
extern int	walwarden_max_limited_tokens;
extern int	walwarden_max_standby_lag;	/* milliseconds; 0: none */
extern int	walwarden_session_idle_timeout; /* seconds; 0: none */

/* never NULL */
extern char *walwarden_primary_conninfo;
extern char *walwarden_subject_claim;
extern char *walwarden_jwt_issuer;
extern char *walwarden_jwt_audience;

extern void settings_init(void);

#endif							/* WALWARDEN_SETTINGS_H */
