/*
 * commit.h
 *		When an appended entry becomes durable, and when others can see it.
 */
#ifndef WALWARDEN_COMMIT_H
#define WALWARDEN_COMMIT_H

extern void commit_init(void);
extern void commit_record_append(void);
extern void flush_audit(void);

#endif							/* WALWARDEN_COMMIT_H */
