/*
 * standby.h
 *		How far a standby is behind.
 */
#ifndef WALWARDEN_STANDBY_H
#define WALWARDEN_STANDBY_H

#include "postgres.h"

extern bool standby_is_behind(void);

#endif							/* WALWARDEN_STANDBY_H */
