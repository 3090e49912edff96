/*
 * server_role.h
 *		Roles of the server that tables name.
 */
#ifndef WALWARDEN_SERVER_ROLE_H
#define WALWARDEN_SERVER_ROLE_H

#include "postgres.h"

extern bool server_role_holds(Oid role, Oid named_oid, const text *named_in);
extern bool server_role_name_holds(const NameData *role, Oid named_oid, const text *named_in);

#endif							/* WALWARDEN_SERVER_ROLE_H */
