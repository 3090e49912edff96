/*
 * people.h
 *		Who the members are that the entries of a bundle name only by commitments: subjects
 *		and salts in people.json.
 */
#ifndef VERIFY_PEOPLE_H
#define VERIFY_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "file.h"
#include "report.h"

#define PEOPLE_MAX ((size_t) 32 << 20)	/* bytes of people.json */
#define MEMBERS_MAX 100000

typedef struct People
{
	void	   *members;		/* a tree of them, by id */
	size_t		nmembers;
	int64_t		bad;			/* seq of the first entry that describes no
								 * member; 0 for none */
} People;

extern void people_take(People *people, const Entry *entry);

/*
 * text: people.json. whole: the entries are all those of a sound checkpoint, so that none can say
 * more about a member. Reports nothing if there is neither a member nor the file.
 */
extern void people_report(const People *people, const Chain *chain, bool whole, Content text, Report *report);
extern void people_free(People *people);

#endif							/* VERIFY_PEOPLE_H */
