/*
 * server_role.c
 *		Whether a server role is the one that a table names.
 *
 * Tables name roles, because a dump can be restored in another cluster, where OIDs are
 * different. Beside each name they have the role's OID and the cluster's system
 * identifier, as of the moment when it was named.
 *
 * Invariant: this is the only place where the two are compared. In the cluster where it
 * was named, a role must have that OID. In any other cluster the name decides.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/export.h"
#include "token/server_role.h"

static char *
system_identifier(void)
{
	return psprintf(UINT64_FORMAT, GetSystemIdentifier());
}

/* Whether the role with the name in a row is the one that was named. named_in: NULL if the row has none. */
bool
server_role_holds(Oid role, Oid named_oid, const text *named_in)
{
	if (!OidIsValid(role) || named_in == NULL)
		return false;
	return role == named_oid || strcmp(text_to_cstring(named_in), system_identifier()) != 0;
}

/* The same by its name; false if there is no such role. */
bool
server_role_name_holds(const NameData *role, Oid named_oid, const text *named_in)
{
	return server_role_holds(get_role_oid(NameStr(*role), true), named_oid, named_in);
}

/* walwarden_internal.server_role_holds(role name, named_oid oid, named_in text) */
PG_FUNCTION_INFO_V1(walwarden_server_role_holds);
Datum
walwarden_server_role_holds(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(server_role_name_holds(PG_GETARG_NAME(0), PG_GETARG_OID(1), PG_GETARG_TEXT_PP(2)));
}

/* walwarden_internal.system_identifier() */
PG_FUNCTION_INFO_V1(walwarden_system_identifier);
Datum
walwarden_system_identifier(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(system_identifier()));
}
