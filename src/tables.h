/*
 * tables.h
 *		Column numbers of the tables that C code reads. Equal to the tables in
 *		sql/schema; test/pgtap/usage.sql compares them.
 */
#ifndef WALWARDEN_TABLES_H
#define WALWARDEN_TABLES_H

#define Anum_plan_name					1
#define Anum_plan_api_tokens			2

#define Anum_scope_name					1

#define Anum_role_name					1
#define Anum_role_scopes				2

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
#define Anum_token_disabled_at			11
#define Anum_token_revoked_at			14
#define Anum_token_removed_at			17

#define Anum_credential_fingerprint		1
#define Anum_credential_token_id		2
#define Anum_credential_kind			3
#define Anum_credential_valid_until		5

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

#endif							/* WALWARDEN_TABLES_H */
