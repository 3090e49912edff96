/*
 * worker.h
 *		The background worker, with preload.
 */
#ifndef WALWARDEN_WORKER_H
#define WALWARDEN_WORKER_H

extern void worker_register(void);

#endif							/* WALWARDEN_WORKER_H */
