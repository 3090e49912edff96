/*
 * tables.h
 *		Reading the extension's tables from C (tables.c), and the numbers of their
 *		columns: equal to the tables in sql/schema, test/pgtap/usage.sql compares.
 */
#ifndef WALWARDEN_TABLES_H
#define WALWARDEN_TABLES_H

#include "access/htup.h"
#include "access/skey.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* One row of a table, which stays open until row_close(). */
typedef struct Row
{
	Relation	heap;
	HeapTuple	tuple;			/* a copy, NULL when there is none */
} Row;

extern Oid	walwarden_relation_oid(const char *name);
extern Relation walwarden_table_open(const char *name);
extern Relation walwarden_index_open(const char *name);

extern bool row_find(Row *row, const char *table, const char *index, int nkeys, ScanKey keys, Snapshot snapshot);
extern bool row_find_text(Row *row, const char *table, const char *index, AttrNumber column, const text *key, Snapshot snapshot);
extern bool row_find_uuid(Row *row, const char *table, const char *index, AttrNumber column, const pg_uuid_t *key, Snapshot snapshot);
extern void row_close(Row *row);
extern TransactionId row_xmin(const Row *row);
extern Datum row_get(const Row *row, AttrNumber column, bool *isnull);
extern bool row_has(const Row *row, AttrNumber column);
extern pg_uuid_t row_uuid(const Row *row, AttrNumber column);
extern text *row_text(const Row *row, AttrNumber column);

#define Anum_plan_name					1
#define Anum_plan_api_tokens			2

#define Anum_scope_name					1

#define Anum_role_name					1
#define Anum_role_scopes				2
#define Anum_role_capabilities			3

#define Anum_role_override_role			1
#define Anum_role_override_scopes		2

#define Anum_role_grant_kind			1
#define Anum_role_grant_role			2
#define Anum_role_grant_revoked_at		5

#define Anum_org_id						1
#define Anum_org_slug					2
#define Anum_org_plan					4

#define Anum_member_id					1
#define Anum_member_subject				3
#define Anum_member_role				4
#define Anum_member_disabled_at			8
#define Anum_member_removed_at			9

#define Anum_token_id					1
#define Anum_token_org_id				2
#define Anum_token_kind					4
#define Anum_token_scopes				5
#define Anum_token_role					6
#define Anum_token_owner_id				7
#define Anum_token_expires_at			10
#define Anum_token_disabled_at			12
#define Anum_token_revoked_at			16
#define Anum_token_removed_at			19

#define Anum_credential_fingerprint		1
#define Anum_credential_token_id		2
#define Anum_credential_kind			3
#define Anum_credential_valid_until		5
#define Anum_credential_org_id			7
#define Anum_credential_token_kind		8
#define Anum_credential_scopes			9
#define Anum_credential_role			10
#define Anum_credential_owner_id		11
#define Anum_credential_expires_at		12
#define Anum_credential_stopped			13

#define Anum_token_usage_token_id		1
#define Anum_token_usage_last_used_at	2

#define Anum_audit_entry_org_id			1
#define Anum_audit_entry_seq			2
#define Anum_audit_entry_at				3
#define Anum_audit_entry_kind			4
#define Anum_audit_entry_job_id			5
#define Anum_audit_entry_body			6
#define Anum_audit_entry_prev_hash		7
#define Anum_audit_entry_hash			8
#define Natts_audit_entry				8

#define Anum_rest_operation_method			1
#define Anum_rest_operation_operation		3
#define Anum_rest_operation_required_scope	4
#define Anum_rest_operation_success_status	5
#define Anum_rest_operation_stage			7
#define Anum_rest_operation_list_field		10
#define Anum_rest_operation_location		11
#define Anum_rest_operation_template		12
#define Anum_rest_operation_depth			13
#define Anum_rest_operation_parameter		14
#define Anum_rest_operation_parameter_at	15
#define Anum_rest_operation_handler			16
#define Natts_rest_operation				16

/* a type, and no table */
#define Anum_rest_request_method			1
#define Anum_rest_request_path				2
#define Anum_rest_request_query				3
#define Anum_rest_request_content_type		4
#define Anum_rest_request_idempotency_key	5
#define Anum_rest_request_request_id		6
#define Anum_rest_request_credential		7
#define Anum_rest_request_org_id			8
#define Anum_rest_request_token_id			9
#define Anum_rest_request_operation			10
#define Anum_rest_request_id				11
#define Anum_rest_request_max_rows			12
#define Anum_rest_request_after_at			13
#define Anum_rest_request_after_id			14
#define Natts_rest_request					15

#endif							/* WALWARDEN_TABLES_H */
