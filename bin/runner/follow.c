/*
 * follow.c
 *		The process that follows the chain of the node's organisation.
 *
 * Invariants: every look reads the head again, so that a chain that was shortened or written
 * anew is seen. Nothing is said to be seen, and nothing signed, that is not in the file. An
 * alarm is in the file too: it ends when an operator accepts, and by nothing else. A look is
 * a bounded number of pages. The process may end at any moment: the file is replaced as a whole.
 */
#include "follow.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "boottime.h"
#include "chain_state.h"
#include "control.h"
#include "key.h"
#include "log.h"
#include "note.h"
#include "signals.h"
#include "text.h"

#define PAGE_ENTRIES 10000		/* as many as chain_hashes() gives */
#define PAGES_A_LOOK 10
#define PUBLISH_MS 60000		/* between checkpoints that nobody asked for */
#define PAUSE_MIN_MS 500

typedef struct Follow
{
	const Config *config;
	Control    *control;
	pid_t		supervisor;
	FollowStatus *status;
	ChainState	state;
	bool		loaded;
	bool		unstored;		/* state is newer than the file */
	bool		reading;		/* from the beginning */
	bool		at_end;			/* the last look came to the end of the chain */
	int64_t		published;		/* entries of the last checkpoint */
	int64_t		next_publish;
	int64_t		pause;
	char	   *trouble;		/* with the chain, as was logged */
	char	   *publish_trouble;
} Follow;

/* Wakes the supervisor. */
static void
tell(const Follow *f)
{
	kill(f->supervisor, SIGCHLD);
}

static void
set_sight(Follow *f, Sight sight)
{
	if (f->status->sight == (int) sight)
		return;
	f->status->sight = sight;
	tell(f);
}

static void say_once(char **said, const char *format,...) __attribute__((format(printf, 2, 3)));

/* A line about what does not work, unless it was said already: *said. */
static void
say_once(char **said, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	if (*said == NULL || strcmp(*said, text) != 0)
		log_line("chain: %s", text);
	free(*said);
	*said = text;
}

static void
works_again(char **said)
{
	free(*said);
	*said = NULL;
}

/* A call did not succeed. */
static void
say_status(const Follow *f, char **said, const char *what, ControlStatus status)
{
	if (status == CONTROL_AWAY || status == CONTROL_BUSY)
		say_once(said, "waiting for the control database: %s", control_message(f->control));
	else
		say_once(said, "%s: %s", what, control_message(f->control));
}

/* One line about an alarm. Allocated. */
static char *
alarm_line(const ChainState *state)
{
	char		known[HASH_TEXT_LEN + 1];
	char		seen[HASH_TEXT_LEN + 1];

	chain_hash_text(state->head, known);
	if (state->alarm == CHAIN_SHORTENED)
		return text_format("ALARM: entry %lld is missing, which this node knows with the hash %s; no job is claimed until an operator calls walwarden.accept_history()",
						   (long long) state->tree.size, known);
	chain_hash_text(state->seen, seen);
	return text_format("ALARM: entry %lld has the hash %s, and this node knows it with the hash %s; no job is claimed until an operator calls walwarden.accept_history()",
					   (long long) state->tree.size, seen, known);
}

/* Reads the entries from the head on, or from the first one. */
static ControlStatus
read_page(Control *control, const ChainState *state, int max, ChainPage *page)
{
	return control_chain(control, state->tree.size > 0 ? state->tree.size - 1 : 0, max, page);
}

/*
 * Compares the head with the entry that the page begins with, and appends what follows. False
 * with a message if the page cannot be of any chain that this node follows.
 */
static bool
take_page(ChainState *state, const ChainPage *page, char **error)
{
	int			at = 0;

	if (*state->org_id && strcmp(state->org_id, page->org_id) != 0)
	{
		*error = text_format("the token is of organisation %s, and what is known is of %s: a state directory is for one organisation", page->org_id, state->org_id);
		return false;
	}
	memcpy(state->org_id, page->org_id, sizeof(state->org_id));
	if (state->tree.size > 0)
	{
		if (page->count == 0 || page->entries[0].seq != state->tree.size)
			state->alarm = CHAIN_SHORTENED;
		else if (memcmp(page->entries[0].hash, state->head, MERKLE_HASH_LEN) != 0)
		{
			state->alarm = CHAIN_REWRITTEN;
			memcpy(state->seen, page->entries[0].hash, MERKLE_HASH_LEN);
		}
		if (state->alarm != CHAIN_SOUND)
			return true;
		at = 1;
	}
	for (; at < page->count; at++)
	{
		if (page->entries[at].seq != state->tree.size + 1)
		{
			*error = text_format("entry %lld of the chain is missing", (long long) state->tree.size + 1);
			return false;
		}
		chain_state_append(state, page->entries[at].hash);
	}
	return true;
}

static bool
store(Follow *f)
{
	char	   *error;

	if (chain_state_store(f->config, &f->state, &error))
	{
		f->unstored = false;
		return true;
	}
	say_once(&f->trouble, "%s", error);
	free(error);
	return false;
}

static bool
load(Follow *f)
{
	bool		found;
	char	   *error;
	char	   *line;

	if (!chain_state_load(f->config, &f->state, &found, &error))
	{
		say_once(&f->trouble, "%s", error);
		free(error);
		return false;
	}
	f->loaded = true;
	f->reading = !found;
	if (!found)
		log_line("chain: this node knows nothing of it: it is read from its beginning");
	if (f->state.alarm != CHAIN_SOUND)
	{
		line = alarm_line(&f->state);
		log_line("chain: %s", line);
		free(line);
	}
	return true;
}

/* Reports the alarm until an operator has accepted; then nothing is known any more. True in that case. */
static bool
is_accepted(Follow *f)
{
	char		known[HASH_TEXT_LEN + 1];
	char		seen[HASH_TEXT_LEN + 1];
	int64_t		accepted;
	ControlStatus status;

	chain_hash_text(f->state.head, known);
	chain_hash_text(f->state.seen, seen);
	status = control_report_alarm(f->control, f->state.tree.size, known, f->state.alarm == CHAIN_REWRITTEN ? seen : NULL, &accepted);
	if (status != CONTROL_DONE)
		say_status(f, &f->trouble, "the alarm could not be reported", status);
	else
		works_again(&f->trouble);
	if (status != CONTROL_DONE || accepted == 0)
		return false;
	log_line("chain: an operator has accepted it in entry %lld: it is read anew, from its beginning", (long long) accepted);
	chain_state_begin(&f->state);
	f->unstored = true;
	f->reading = true;
	f->published = 0;
	return true;
}

/* What was found is another chain. */
static void
raise_alarm(Follow *f)
{
	char	   *line = alarm_line(&f->state);

	/* jobs stop before anything else can fail */
	set_sight(f, SIGHT_ALARM);
	log_line("chain: %s", line);
	free(line);
	f->unstored = true;
}

/* Reads a page, and keeps what it says. *full: there may be more. */
static Sight
read_on(Follow *f, bool *full)
{
	ChainPage	page;
	int64_t		size = f->state.tree.size;
	ControlStatus status = read_page(f->control, &f->state, PAGE_ENTRIES, &page);
	char	   *error = NULL;
	bool		taken = status == CONTROL_DONE && take_page(&f->state, &page, &error);

	*full = page.count == PAGE_ENTRIES;
	free(page.entries);
	if (f->state.tree.size != size)
		f->unstored = true;
	if (status != CONTROL_DONE)
		say_status(f, &f->trouble, "it cannot be read", status);
	else if (!taken)
		say_once(&f->trouble, "it cannot be followed: %s", error);
	free(error);
	if (!taken)
		return SIGHT_BLIND;
	if (f->state.alarm != CHAIN_SOUND)
	{
		raise_alarm(f);
		return SIGHT_ALARM;
	}
	if (f->unstored && !store(f))
		return SIGHT_BLIND;
	works_again(&f->trouble);
	return SIGHT_GOOD;
}

/* Reads what is new, at most so much of it. */
static void
look(Follow *f)
{
	f->at_end = false;
	for (int pages = 0; pages < PAGES_A_LOOK && !f->at_end; pages++)
	{
		bool		full = false;
		Sight		sight = read_on(f, &full);

		set_sight(f, sight);
		if (sight != SIGHT_GOOD)
			return;
		f->at_end = !full;
	}
	if (f->at_end && f->reading)
	{
		log_line("chain: read up to entry %lld", (long long) f->state.tree.size);
		f->reading = false;
	}
}

/* Signs how far the chain was read, if that is new. */
static void
publish(Follow *f, bool asked)
{
	SigningKey *key;
	char	   *error;
	char	   *note;
	ControlStatus status;

	if (f->config->signing_key == NULL || !f->at_end || f->state.tree.size == f->published || f->state.tree.size == 0)
		return;
	if (!asked && boottime_ms() < f->next_publish)
		return;
	f->next_publish = boottime_ms() + PUBLISH_MS;
	key = key_load(f->config->signing_key, &error);
	if (key == NULL)
	{
		say_once(&f->publish_trouble, "signing_key: %s", error);
		free(error);
		return;
	}
	note = note_sign(key, f->config->node, f->state.org_id, &f->state.tree);
	key_free(key);
	status = control_publish(f->control, note);
	free(note);
	if (status == CONTROL_DONE)
	{
		f->published = f->state.tree.size;
		works_again(&f->publish_trouble);
	}
	else
		say_status(f, &f->publish_trouble, "the checkpoint was not accepted", status);
}

/* One round: an alarm is reported, else the chain is read. */
static void
attend(Follow *f, bool asked)
{
	if (!f->loaded && !load(f))
	{
		set_sight(f, SIGHT_BLIND);
		return;
	}
	if (f->state.alarm == CHAIN_SOUND)
		look(f);
	if (f->state.alarm != CHAIN_SOUND)
	{
		set_sight(f, SIGHT_ALARM);
		if (f->unstored)
			store(f);
		if (!is_accepted(f))
			return;
		look(f);
	}
	if (f->status->sight == SIGHT_GOOD)
		publish(f, asked);
}

static void
on_wake(int sig)
{
	(void) sig;
}

/* SIGUSR1 is delivered while the process waits. */
static void
begin(pid_t supervisor)
{
	struct sigaction action = {.sa_handler = on_wake};
	sigset_t	wake;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	signals_begin(supervisor, SIG_DFL, &wake);
	prctl(PR_SET_NAME, "walwarden-chain");
}

/* How long until the next look: a poll, or less while the control database is away. */
static int64_t
pause_of(Follow *f)
{
	int64_t		poll = (int64_t) f->config->poll * 1000;

	if (f->status->sight != SIGHT_BLIND)
		f->pause = 0;
	else
		f->pause = f->pause ? f->pause * 2 : PAUSE_MIN_MS;
	return f->pause > 0 && f->pause < poll ? f->pause : poll;
}

void
follow_run(pid_t supervisor, const Config *config, const Control *control, FollowStatus *status)
{
	Follow		f = {.config = config,.supervisor = supervisor,.status = status};

	begin(supervisor);
	f.control = control_inherit(control);
	for (;;)
	{
		int			asked = status->asked;

		attend(&f, asked != status->done);
		if (status->done != asked)
		{
			status->done = asked;
			tell(&f);
		}
		if (status->asked == asked)
			signals_wait(pause_of(&f));
	}
}

bool
follow_check(const Config *config, Control *control, char **said)
{
	ChainState	state;
	ChainPage	page;
	bool		found;
	bool		good;

	if (!chain_state_load(config, &state, &found, said))
		return false;
	if (state.alarm == CHAIN_SOUND)
	{
		good = read_page(control, &state, 1, &page) == CONTROL_DONE;
		if (!good)
			*said = text_copy(control_message(control));
		else
			good = take_page(&state, &page, said);
		free(page.entries);
		if (!good)
			return false;
	}
	if (state.alarm != CHAIN_SOUND)
		*said = alarm_line(&state);
	else if (found)
		*said = text_format("entry %lld is the one that this node knows", (long long) state.tree.size);
	else
		*said = text_copy("this node knows nothing of it, and will read it from its beginning");
	return state.alarm == CHAIN_SOUND;
}
