/*
 * ending.h
 *		Ends the sessions of people whose last membership was taken away.
 */
#ifndef WALWARDEN_ENDING_H
#define WALWARDEN_ENDING_H

extern void ending_init(void);
extern void ending_perform(void);

#endif							/* WALWARDEN_ENDING_H */
