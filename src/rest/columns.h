/*
 * columns.h
 *		The numbers of the columns that this wing reads. test/pgtap/usage.sql compares
 *		them with the tables in sql/schema.
 */
#ifndef WALWARDEN_REST_COLUMNS_H
#define WALWARDEN_REST_COLUMNS_H

#define Anum_rest_operation_method			1
#define Anum_rest_operation_operation		3
#define Anum_rest_operation_required_scope	4
#define Anum_rest_operation_success_status	5
#define Anum_rest_operation_caller			8
#define Anum_rest_operation_request			9
#define Anum_rest_operation_response		10
#define Anum_rest_operation_list_field		11
#define Anum_rest_operation_location		12
#define Anum_rest_operation_tag				13
#define Anum_rest_operation_template		14
#define Anum_rest_operation_depth			15
#define Anum_rest_operation_parameter		16
#define Anum_rest_operation_parameter_at	17
#define Anum_rest_operation_handler			18
#define Anum_rest_operation_in_org			19
#define Anum_rest_operation_takes_key		20
#define Anum_rest_operation_action			22
#define Anum_rest_operation_locks_org		23
#define Natts_rest_operation				23

/* a type, not a table */
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
#define Anum_rest_request_body				15
#define Anum_rest_request_session_id		16
#define Anum_rest_request_org				17
#define Anum_rest_request_member_id			18
#define Anum_rest_request_filters			19
#define Anum_rest_request_jwt_expires_at	20
#define Anum_rest_request_claims_hash		21
#define Natts_rest_request					21

#define Anum_idempotency_key_holder			1
#define Anum_idempotency_key_key_hash		2
#define Anum_idempotency_key_request_hash	3
#define Anum_idempotency_key_body			4
#define Anum_idempotency_key_created_at		5

#endif							/* WALWARDEN_REST_COLUMNS_H */
