/*
 * client.h
 *		The address of the client that presents a token.
 */
#ifndef WALWARDEN_CLIENT_H
#define WALWARDEN_CLIENT_H

#include "postgres.h"

#include "utils/inet.h"

#include "token/network.h"

extern void client_init(void);
extern void client_address(const inet *given, NetworkAddress *address);
extern void client_address_from_text(const char *given, NetworkAddress *address);

#endif							/* WALWARDEN_CLIENT_H */
