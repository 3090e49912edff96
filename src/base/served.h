/*
 * served.h
 *		Which databases the worker serves: walwarden.database.
 */
#ifndef WALWARDEN_SERVED_H
#define WALWARDEN_SERVED_H

#include "postgres.h"

#include "catalog/pg_database.h"

extern void served_init(void);
extern bool served_database(Form_pg_database database);
extern bool served_here(void);

#endif							/* WALWARDEN_SERVED_H */
