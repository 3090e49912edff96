/*
 * tag.h
 *		Entity tags of REST v1 responses, and conditional requests (RFC 9110).
 */
#ifndef WALWARDEN_TAG_H
#define WALWARDEN_TAG_H

#include "postgres.h"

#include "rest/request.h"
#include "token/scope_list.h"

/* How the tag of a response is found: the column tag of rest_operation. */
typedef enum TagKind
{
	TAG_NONE,					/* the response has none */
	TAG_BODY,					/* from the body */
	TAG_CHAIN					/* the same, remembered until a change */
} TagKind;

/* What a response shows, for the functions that say when it changes. */
typedef struct Shown
{
	const char *schema;
	const char *list_field;		/* NULL for one resource */
	const ScopeList *scopes;	/* of whoever reads; may be NULL */
} Shown;

extern void tag_check_conditions(const RestRequest *request, bool reads, bool changes_tagged);
extern char *tag_of_body(Datum body);
extern bool tag_is_known_to_client(const RestRequest *request, const char *tag);
extern void tag_require(const RestRequest *request, const char *reader);
extern char *tag_recall(const RestRequest *request, const Shown *shown, uint8 *state);
extern void tag_remember(const Shown *shown, Datum body, const char *tag, const uint8 *state);

#endif							/* WALWARDEN_TAG_H */
