/*
 * columns.h
 *		The numbers of the columns that this wing reads. test/pgtap/usage.sql compares
 *		them with the tables in sql/schema.
 */
#ifndef WALWARDEN_TOKEN_COLUMNS_H
#define WALWARDEN_TOKEN_COLUMNS_H

#define Anum_caller_door				1
#define Anum_caller_role				2
#define Anum_caller_login				3
#define Anum_caller_superuser			4
#define Anum_caller_operator			5
#define Anum_caller_monitor				6
#define Anum_caller_subject				7
#define Anum_caller_person				8
#define Anum_caller_session_id			9
#define Anum_caller_by_sso				10
#define Natts_caller					10

#define Anum_plan_name					1
#define Anum_plan_api_tokens			2

#define Anum_permission_action			1
#define Anum_permission_target			2
#define Anum_permission_any_of			3

#define Anum_token_transition_action	1
#define Anum_token_transition_from_state 2
#define Anum_token_transition_event		4

#define Anum_scope_name					1

#define Anum_role_name					1
#define Anum_role_scopes				2
#define Anum_role_capabilities			3

#define Anum_role_override_role			1
#define Anum_role_override_scopes		2

#define Anum_role_grant_kind			1
#define Anum_role_grant_role			2
#define Anum_role_grant_login			3
#define Anum_role_grant_revoked_at		5
#define Anum_role_grant_role_oid		7
#define Anum_role_grant_login_oid		8
#define Anum_role_grant_system_identifier 9

#define Anum_org_id						1
#define Anum_org_slug					2
#define Anum_org_plan					4
#define Anum_org_closed_at				8

#define Anum_member_id					1
#define Anum_member_org_id				2
#define Anum_member_subject				3
#define Anum_member_role				6
#define Anum_member_db_role				7
#define Anum_member_sso					8
#define Anum_member_disabled_at			10
#define Anum_member_removed_at			11
#define Anum_member_db_role_oid			14
#define Anum_member_system_identifier	15

#define Anum_token_id					1
#define Anum_token_org_id				2
#define Anum_token_name					3
#define Anum_token_kind					4
#define Anum_token_scopes				5
#define Anum_token_role					6
#define Anum_token_owner_id				7
#define Anum_token_created_at			8
#define Anum_token_created_by			9
#define Anum_token_expires_at			10
#define Anum_token_expired_at			11
#define Anum_token_disabled_at			12
#define Anum_token_disabled_by			13
#define Anum_token_disabled_by_owner	14
#define Anum_token_disabled_reason		15
#define Anum_token_revoked_at			16
#define Anum_token_revoked_by			17
#define Anum_token_revoked_reason		18
#define Anum_token_removed_at			19
#define Anum_token_audit_seq			20
#define Anum_token_stopped				21
#define Anum_token_labels				22
#define Anum_token_networks				23
#define Anum_token_rate_limit			24
#define Anum_token_key_name				25
#define Anum_token_lifetime_from		26
#define Anum_token_notice_for			27

#define Anum_credential_fingerprint		1
#define Anum_credential_token_id		2
#define Anum_credential_kind			3
#define Anum_credential_created_at		4
#define Anum_credential_valid_until		5
#define Anum_credential_audit_seq		6
#define Anum_credential_org_id			7
#define Anum_credential_token_kind		8
#define Anum_credential_scopes			9
#define Anum_credential_role			10
#define Anum_credential_owner_id		11
#define Anum_credential_expires_at		12
#define Anum_credential_stopped			13
#define Anum_credential_networks		14
#define Anum_credential_rate_limit		15
#define Anum_credential_slot			16

#define Anum_token_usage_token_id		1
#define Anum_token_usage_last_used_at	2
#define Anum_token_usage_slot0_used_at	3
#define Anum_token_usage_slot1_used_at	4
#define Anum_token_usage_last_used_from 5
#define Anum_token_usage_uses			6
#define Anum_token_usage_refusals		7
#define Anum_token_usage_last_refused_at 8
#define Anum_token_usage_last_refused_reason 9
#define Natts_token_usage				9

#endif							/* WALWARDEN_TOKEN_COLUMNS_H */
