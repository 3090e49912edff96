/*
 * columns.h
 *		The numbers of the columns that this wing reads. test/pgtap/usage.sql compares
 *		them with the tables in sql/schema.
 */
#ifndef WALWARDEN_PEOPLE_COLUMNS_H
#define WALWARDEN_PEOPLE_COLUMNS_H

#define Anum_session_id					1
#define Anum_session_cookie_hash		2
#define Anum_session_subject			3
#define Anum_session_method				5
#define Anum_session_created_at			6
#define Anum_session_expires_at			7
#define Anum_session_ended_at			8

#define Anum_sign_in_code_subject		2

#endif							/* WALWARDEN_PEOPLE_COLUMNS_H */
