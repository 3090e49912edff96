/*
 * door.h
 *		For whom the running door works.
 */
#ifndef WALWARDEN_DOOR_H
#define WALWARDEN_DOOR_H

#include "postgres.h"

#include "token/caller.h"

extern void door_caller(Caller *caller);
extern void door_act_for(const Person *person);

#endif							/* WALWARDEN_DOOR_H */
