/*
 * client.c
 *		The address of the client that presents a token.
 *
 * A gateway says for whom it presents a token: a login of grant_rest(), or a trusted
 * authenticator. An operator may say so too. All others are clients themselves, and the
 * address of their connection counts.
 *
 * Invariants: the address of a gateway's own connection is never that of a client, so
 * without a given address it is unknown. It is unknown as well in a restricted operation,
 * such as an index expression under autovacuum, where the session is somebody else's. What
 * is remembered of the session user is dropped when a grant or a server role
 * changes (base/invalidation.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/invalidation.h"
#include "token/caller.h"
#include "token/client.h"
#include "token/network.h"

static struct
{
	Oid			user;			/* InvalidOid: nothing is remembered */
	uint64		generation;		/* 0: the kind is not known */
	SessionKind kind;
}			session;

static void
forget_session(Datum arg, int cacheid, uint32 hashvalue)
{
	session.user = InvalidOid;
}

void
client_init(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, forget_session, (Datum) 0);
}

static SessionKind
session_kind(void)
{
	Oid			user = GetSessionUserId();
	uint64		generation;
	Snapshot	snapshot;
	SessionKind kind;

	if (session.user == user && invalidation_is_current(session.generation, NULL))
		return session.kind;

	generation = invalidation_begin();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	session.generation = 0;		/* if reading fails, nothing counts */
	session.user = user;		/* a message while reading resets it */
	kind = caller_session_kind(user, snapshot);
	UnregisterSnapshot(snapshot);
	if (invalidation_may_remember(generation, NULL))
	{
		session.generation = generation;
		session.kind = kind;
	}
	else
		session.user = InvalidOid;
	return kind;
}

/* The address of the connection; unknown if there is none, or for a Unix socket. */
static const NetworkAddress *
connection_address(void)
{
	static NetworkAddress address = {0};
	static bool known = false;

	if (!known)
	{
		/* the server's header for MyProcPort needs those of Kerberos */
		LOCAL_FCINFO(fcinfo, 0);
		Datum		peer;

		InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
		peer = inet_client_addr(fcinfo);
		if (!fcinfo->isnull)
			(void) network_address_from_inet(DatumGetInetPP(peer), &address);
		known = true;
	}
	return &address;
}

pg_noreturn static void
refuse_client(int sqlstate, const char *message, const char *hint)
{
	error_context_stack = NULL; /* the statement may contain a token */
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg_internal("%s", message),
			 errhint("%s", hint),
			 errhidestmt(true),
			 errhidecontext(true)));
}

static void
check_may_give_client(void)
{
	if (InSecurityRestrictedOperation() || session_kind() == SESSION_ORDINARY)
		refuse_client(ERRCODE_INSUFFICIENT_PRIVILEGE,
					  "this session may not say for which client it presents a token",
					  "Omit client, or the header X-Walwarden-Client: the address of the connection counts. For a gateway, a superuser names its login role with walwarden.trust_authenticator() or walwarden.grant_rest().");
}

/* The address if nobody gives one. */
static void
default_address(NetworkAddress *address)
{
	const NetworkAddress *own = connection_address();

	if (own->len > 0 && !InSecurityRestrictedOperation() && session_kind() != SESSION_GATEWAY)
		*address = *own;
	else
		memset(address, 0, sizeof(NetworkAddress));
}

/*
 * The address of the client. given: what the caller says, or NULL. Fails if the session
 * may not say so. Must be called in a transaction.
 */
void
client_address(const inet *given, NetworkAddress *address)
{
	if (given == NULL)
	{
		default_address(address);
		return;
	}
	check_may_give_client();
	if (!network_address_from_inet(given, address))
		refuse_client(ERRCODE_INVALID_PARAMETER_VALUE,
					  "client is not a single address",
					  "Give the address without a netmask, for example 192.0.2.7.");
}

/* The same for a header field. A text that is no address stands for an unknown one. */
void
client_address_from_text(const char *given, NetworkAddress *address)
{
	if (given == NULL)
	{
		default_address(address);
		return;
	}
	check_may_give_client();
	network_address_from_text(given, address);
}
