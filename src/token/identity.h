/*
 * identity.h
 *		The identity of a transaction.
 */
#ifndef WALWARDEN_IDENTITY_H
#define WALWARDEN_IDENTITY_H

#include "postgres.h"

#include "token/limiter.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/status.h"

extern void identity_init(void);
extern Refusal identity_authenticate_bearer(const char *value, size_t len, const NetworkAddress *client, RateState *rate);
extern Refusal identity_authenticate_legacy(const char *uuid, const char *secret, const NetworkAddress *client, RateState *rate);
extern const TokenStatus *identity_status(void);
extern void identity_status_at(Snapshot snapshot, TokenStatus *status);
extern const TokenStatus *identity_current(void);
extern bool identity_is_for_node(void);

#endif							/* WALWARDEN_IDENTITY_H */
