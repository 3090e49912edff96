/*
 * columns.h
 *		The numbers of the columns that this wing reads. test/pgtap/usage.sql compares
 *		them with the tables in sql/schema.
 */
#ifndef WALWARDEN_AUDIT_COLUMNS_H
#define WALWARDEN_AUDIT_COLUMNS_H

#define Anum_audit_entry_org_id			1
#define Anum_audit_entry_seq			2
#define Anum_audit_entry_at				3
#define Anum_audit_entry_kind			4
#define Anum_audit_entry_job_id			5
#define Anum_audit_entry_body			6
#define Anum_audit_entry_prev_hash		7
#define Anum_audit_entry_hash			8
#define Natts_audit_entry				8

#endif							/* WALWARDEN_AUDIT_COLUMNS_H */
