/*
 * tables.c
 *		Opening the extension's tables and indexes by name, from C.
 *
 * The schema belongs to the extension and to nobody else, so a name in it is as
 * good as an OID, and survives DROP and CREATE EXTENSION.
 */
#include "walwarden.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static Oid
relation_oid(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid("walwarden", false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("walwarden.%s is missing", name),
				 errhint("Is the extension walwarden installed in this database?")));
	return relid;
}

/* For reading. The caller closes it with AccessShareLock. */
Relation
walwarden_table_open(const char *name)
{
	return table_open(relation_oid(name), AccessShareLock);
}

/* For reading. The caller closes it with AccessShareLock. */
Relation
walwarden_index_open(const char *name)
{
	return index_open(relation_oid(name), AccessShareLock);
}
