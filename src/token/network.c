/*
 * network.c
 *		Addresses of clients, and the networks from which a token is accepted.
 *
 * Invariants: an unknown address is in no network. An IPv4 address in IPv6 form
 * (::ffff:a.b.c.d) is the IPv4 address; such a network cannot be stored. An IPv6 network
 * contains no IPv4 address, however short its prefix.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/compat.h"
#include "token/network.h"

static void
set_ipv6(NetworkAddress *address, const uint8 *bytes)
{
	static const uint8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
	{
		address->len = 4;
		memcpy(address->bytes, bytes + sizeof(mapped), 4);
	}
	else
	{
		address->len = 16;
		memcpy(address->bytes, bytes, 16);
	}
}

/* The address of a host. Returns false if value has a shorter netmask. */
bool
network_address_from_inet(const inet *value, NetworkAddress *address)
{
	memset(address, 0, sizeof(NetworkAddress));
	if (ip_bits(value) != ip_maxbits(value))
		return false;
	if (ip_family(value) == PGSQL_AF_INET)
	{
		address->len = 4;
		memcpy(address->bytes, ip_addr(value), 4);
	}
	else
		set_ipv6(address, ip_addr(value));
	return true;
}

/* The address that a text says; unknown if the text is none. */
void
network_address_from_text(const char *text, NetworkAddress *address)
{
	uint8		bytes[16];

	memset(address, 0, sizeof(NetworkAddress));
	if (inet_pton(AF_INET, text, bytes) == 1)
	{
		address->len = 4;
		memcpy(address->bytes, bytes, 4);
	}
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		set_ipv6(address, bytes);
}

/* The address as an inet; null if it is unknown. */
Datum
network_address_inet(const NetworkAddress *address, bool *isnull)
{
	inet	   *value;

	*isnull = address->len == 0;
	if (*isnull)
		return (Datum) 0;
	value = palloc0(sizeof(inet));
	ip_family(value) = address->len == 4 ? PGSQL_AF_INET : PGSQL_AF_INET6;
	ip_bits(value) = ip_maxbits(value);
	memcpy(ip_addr(value), address->bytes, address->len);
	SET_INET_VARSIZE(value);
	return InetPGetDatum(value);
}

/* The networks in a cidr[]. */
NetworkList
network_list_from_array(Datum array)
{
	NetworkList list;
	Datum	   *elements;
	bool	   *nulls;

	deconstruct_array(DatumGetArrayTypeP(array), CIDROID, -1, false, TYPALIGN_INT, &elements, &nulls, &list.n);
	list.networks = palloc0(sizeof(Network) * Max(list.n, 1));
	for (int i = 0; i < list.n; i++)
	{
		const inet *value;

		/* a network without an address contains nothing */
		if (nulls[i])
			continue;
		value = DatumGetInetPP(elements[i]);
		list.networks[i].bits = ip_bits(value);
		list.networks[i].address.len = ip_addrsize(value);
		memcpy(list.networks[i].address.bytes, ip_addr(value), ip_addrsize(value));
	}
	return list;
}

static bool
network_has(const Network *network, const NetworkAddress *address)
{
	int			whole = network->bits / 8;
	int			rest = network->bits % 8;

	if (network->address.len != address->len ||
		memcmp(network->address.bytes, address->bytes, whole) != 0)
		return false;
	return rest == 0 || (network->address.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

/* Whether an address is in one of the networks. */
bool
network_list_has(const NetworkList *list, const NetworkAddress *address)
{
	if (address->len == 0)
		return false;
	for (int i = 0; i < list->n; i++)
		if (network_has(&list->networks[i], address))
			return true;
	return false;
}
