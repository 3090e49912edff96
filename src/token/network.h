/*
 * network.h
 *		Addresses of clients, and the networks from which a token is accepted.
 */
#ifndef WALWARDEN_NETWORK_H
#define WALWARDEN_NETWORK_H

#include "postgres.h"

#include "utils/inet.h"

/* An address. An IPv4 address in IPv6 form is stored as IPv4. */
typedef struct NetworkAddress
{
	uint8		len;			/* 4 or 16 bytes; 0 if it is unknown */
	uint8		bytes[16];
} NetworkAddress;

typedef struct Network
{
	NetworkAddress address;
	uint8		bits;			/* of the address that count */
} Network;

typedef struct NetworkList
{
	int			n;
	Network    *networks;
} NetworkList;

extern bool network_address_from_inet(const inet *value, NetworkAddress *address);
extern void network_address_from_text(const char *text, NetworkAddress *address);
extern Datum network_address_inet(const NetworkAddress *address, bool *isnull);
extern NetworkList network_list_from_array(Datum array);
extern bool network_list_has(const NetworkList *list, const NetworkAddress *address);

#endif							/* WALWARDEN_NETWORK_H */
