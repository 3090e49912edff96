/*
 * stream.h
 *		Bytes on their way between programs, files and destinations, hashed as they pass.
 */
#ifndef RUNNER_STREAM_H
#define RUNNER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "destination.h"
#include "manifest.h"
#include "process.h"
#include "worker.h"

/*
 * Stores what a program writes as an object. The program's exit code is asked for before the
 * destination sees the end: what a program that failed has written is never published.
 * Takes over process. Returns false with the worker's failure.
 */
extern bool stream_to_object(Worker *worker, Process *process, const char *name, int64_t expected, ManifestObject *object);

/* Stores a text as an object. */
extern bool stream_text(Worker *worker, const char *name, const Buffer *text, ManifestObject *object);

/*
 * Reads an object and writes it to a descriptor, or only hashes it if that is -1. If what
 * reads from the descriptor has gone, the rest is hashed all the same. *digest is what was
 * read. False if the destination or the descriptor failed, with class and blames of failure.
 */
extern bool stream_from_object(Worker *worker, const char *name, int to, ObjectDigest *digest);

/* Writes what is left of a file to a descriptor. False with errno. */
extern bool stream_file(int from, int to);

#endif							/* RUNNER_STREAM_H */
