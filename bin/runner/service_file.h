/*
 * service_file.h
 *		The sections of a pg_service.conf, as libpq reads it.
 */
#ifndef RUNNER_SERVICE_FILE_H
#define RUNNER_SERVICE_FILE_H

#include "fault.h"
#include "names.h"

/*
 * Adds the names of the sections. What is wrong is a fault of the configuration file, which
 * names the service file at key, in config_line. No section may lead to control, a connection
 * string or NULL.
 */
extern void service_file_read(Faults *faults, int config_line, const char *key, const char *path, const char *control, Names *sections);

#endif							/* RUNNER_SERVICE_FILE_H */
