/*
 * check.h
 *		walwarden-runner --check
 */
#ifndef RUNNER_CHECK_H
#define RUNNER_CHECK_H

#include "config.h"

/* Tries all that the configuration names, and prints a line for each. The exit code: 0 or 1. */
extern int	check_all(const Config *config);

#endif							/* RUNNER_CHECK_H */
