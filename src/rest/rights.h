/*
 * rights.h
 *		What the caller of the running request may do.
 */
#ifndef WALWARDEN_RIGHTS_H
#define WALWARDEN_RIGHTS_H

#include "postgres.h"

#include "rest/request.h"
#include "token/scope_list.h"

extern void rights_reset(void);
extern const ScopeList *rights_scopes(void);
extern void rights_enter_org(RestRequest *request, const char *slug);
extern void rights_require(const RestRequest *request);
extern void rights_renew(RestRequest *request, const char *schema);

#endif							/* WALWARDEN_RIGHTS_H */
