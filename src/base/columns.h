/*
 * columns.h
 *		The numbers of the columns that this wing reads. test/pgtap/usage.sql compares
 *		them with the tables in sql/schema.
 */
#ifndef WALWARDEN_BASE_COLUMNS_H
#define WALWARDEN_BASE_COLUMNS_H

#define Anum_json_schema_name		1
#define Anum_json_schema_schema		2

#endif							/* WALWARDEN_BASE_COLUMNS_H */
