/*
 * supervisor.c
 *		Claims jobs, starts a process for each, and sends their heartbeats.
 *
 * The supervisor does nothing that takes long: what a job needs is done by the process of the
 * job, and so is cleaning up after one that was ended by force. Another one follows the chain,
 * and jobs are claimed while it sees the history that this node knows.
 *
 * Invariants: signals are delivered while it waits and at no other time. A slot is empty, or
 * has a process, or owes the control database a word about its job. Heartbeats come before
 * claims, because a claim ends every lease of the organisation that has expired. Orphans come
 * back to the supervisor and are ended, so that nothing outlives its job.
 */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boottime.h"
#include "config.h"
#include "control.h"
#include "follower.h"
#include "job.h"
#include "key.h"
#include "log.h"
#include "names.h"
#include "orphan.h"
#include "progress.h"
#include "remember.h"
#include "scratch.h"
#include "signals.h"
#include "slot.h"
#include "text.h"
#include "worker.h"

#define MAX_SLOTS 32			/* max_jobs is not larger */
#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 10000
#define TERM_AGAIN_MS 400		/* TERM, once more, then KILL: */
#define KILL_MS 1000
#define GONE_MS 1500			/* nothing is left of a group that was killed */
#define CLEAN_UP_MS 300000
#define CLEAN_AGAIN_MIN_MS 1000
#define CLEAN_AGAIN_MAX_MS 600000
#define LAST_WORDS_SECONDS 5
#define LOCK_TRIES 50
#define MAX_WAIT_MS 3600000

typedef struct Supervisor
{
	Config	   *config;
	char	   *public_key;
	Control    *control;
	Follower	follower;
	Slot		slots[MAX_SLOTS];
	int64_t		next_claim;
	int			next_kinds;		/* which claim comes first */
	bool		check_held;		/* the control database may know of a job that
								 * we do not */
	bool		check_remembered;	/* something may be left of earlier jobs */
	int64_t		clean_again;	/* when they are looked at again, or 0 */
	int64_t		clean_pause;	/* before that */
	int64_t		pause_until;	/* no call to the control database before */
	int64_t		pause;
	bool		away;			/* as was logged */
	bool		once;
	bool		claimed_one;
	int			exit_code;
} Supervisor;

static volatile sig_atomic_t stopping = 0;
static volatile sig_atomic_t reload = 0;
static volatile sig_atomic_t child_ended = 0;

static void
on_signal(int sig)
{
	if (sig == SIGTERM || sig == SIGINT)
		stopping = 1;
	else if (sig == SIGHUP)
		reload = 1;
	else
		child_ended = 1;
}

static bool
is_stopping(void)
{
	return stopping;
}

static void
set_signals(void)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	struct sigaction action = {.sa_handler = on_signal};
	struct sigaction ignored = {.sa_handler = SIG_IGN};
	sigset_t	blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
	{
		sigaction(signals[i], &action, NULL);
		sigaddset(&blocked, signals[i]);
	}
	sigaction(SIGPIPE, &ignored, NULL);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

/*
 * One supervisor for each state directory. Processes of jobs inherit the lock, so that it is
 * free only when all of an earlier supervisor's are gone.
 */
static bool
lock_state(const Config *config)
{
	char	   *path = text_format("%s/lock", config->state);
	int			fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool		locked = false;

	if (fd < 0)
		log_line("%s: %s", path, strerror(errno));
	else
	{
		for (int i = 0; i < LOCK_TRIES && !stopping && !locked; i++)
			if (!(locked = flock(fd, LOCK_EX | LOCK_NB) == 0))
				signals_wait(100);
		if (!locked)
			log_line("%s is locked: another runner uses this state directory", path);
	}
	free(path);
	return locked;
}

/* The public key of the configuration; *key is NULL without one. */
static bool
load_key(const Config *config, char **key)
{
	SigningKey *private;
	char	   *error;

	*key = NULL;
	if (config->signing_key == NULL)
		return true;
	private = key_load(config->signing_key, &error);
	if (private == NULL)
	{
		log_line("signing_key: %s", error);
		free(error);
		return false;
	}
	*key = key_public(private);
	key_free(private);
	return true;
}

static void
open_control(Supervisor *s)
{
	s->control = control_new(s->config, s->public_key);
	control_interrupt(s->control, is_stopping);
}

/* The pause after a failure. pause: the one before it, or 0. */
static int64_t
longer_pause(int64_t pause, int64_t shortest, int64_t longest)
{
	pause = pause ? pause * 2 : shortest;
	return pause < longest ? pause : longest;
}

/*
 * Whether a call succeeded in the sense that the control database is there. Otherwise there
 * are no further calls for a while.
 */
static bool
answered(Supervisor *s, ControlStatus status)
{
	switch (status)
	{
		case CONTROL_DONE:
		case CONTROL_NOTHING:
		case CONTROL_NOT_OURS:
			if (s->away)
				log_line("the control database is back");
			s->away = false;
			s->pause = 0;
			return true;
		case CONTROL_INTERRUPTED:
			s->check_held = true;
			return false;
		default:
			if (!s->away)
				log_line("%s the control database: %s", status == CONTROL_AWAY || status == CONTROL_BUSY ? "waiting for" : "rejected by", control_message(s->control));
			s->away = true;
			/* what we asked for may have been done */
			s->check_held = true;
			s->pause = longer_pause(s->pause, PAUSE_MIN_MS, PAUSE_MAX_MS);
			if (s->pause > s->config->lease * 1000 / 6)
				s->pause = s->config->lease * 1000 / 6;
			s->pause_until = boottime_ms() + s->pause;
			return false;
	}
}

static Slot *
empty_slot(Supervisor *s)
{
	for (int i = 0; i < s->config->max_jobs; i++)
		if (s->slots[i].job == NULL)
			return &s->slots[i];
	return NULL;
}

static bool
is_known(const void *arg, const Job *job)
{
	const Supervisor *s = arg;

	for (int i = 0; i < MAX_SLOTS; i++)
		if (s->slots[i].job && strcmp(s->slots[i].job->id, job->id) == 0 && s->slots[i].job->fence == job->fence)
			return true;
	return false;
}

/* Whether a process is the follower, or is, or is in the group of, one of a slot. */
static bool
is_ours(const void *arg, pid_t pid, pid_t group)
{
	const Supervisor *s = arg;

	if (s->follower.pid == pid && !s->follower.stopped)
		return true;
	for (int i = 0; i < MAX_SLOTS; i++)
		if (s->slots[i].pid && (s->slots[i].pid == pid || s->slots[i].pid == group))
			return true;
	return false;
}

/*
 * Empties a slot. If something may be left of its job still, because the cleaning was ended by
 * force, or the target or the destination was away, that is tried again.
 */
static void
release(Supervisor *s, Slot *slot)
{
	if (is_remembered(s->config, slot->job))
	{
		s->clean_pause = longer_pause(s->clean_pause, CLEAN_AGAIN_MIN_MS, CLEAN_AGAIN_MAX_MS);
		s->clean_again = boottime_ms() + s->clean_pause;
	}
	else if (s->clean_again == 0)
		s->clean_pause = 0;
	slot_release(slot);
}

/* The process of a slot has ended. */
static void
slot_ended(Supervisor *s, Slot *slot, int status)
{
	bool		cleaning = slot->cleaning;

	slot->pid = 0;
	slot->cleaning = false;
	orphans_kill(is_ours, s);
	if (cleaning)
	{
		if (slot->debt == DEBT_NONE)
			release(s, slot);
		return;
	}
	if (WIFEXITED(status) && (WEXITSTATUS(status) == WORKER_COMPLETED || WEXITSTATUS(status) == WORKER_FAILED))
	{
		if (WEXITSTATUS(status) != WORKER_COMPLETED)
			s->exit_code = 1;
		release(s, slot);
		s->next_claim = 0;
		follower_ask(&s->follower);
		return;
	}
	s->exit_code = 1;
	if (WIFSIGNALED(status) && slot->killed == 0)
		slot_line(slot, "its process was ended by signal %d", WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_LOST)
		slot->lost = true;
	if (slot->debt == DEBT_NONE && !slot->lost)
		slot->debt = DEBT_FAILED;
	/* names of a job that has none are not for paths */
	if (!stopping && job_bad_reference(slot->job) == NULL && slot_start(slot, s->config, s->control, true))
		return;
	if (slot->debt == DEBT_NONE)
		release(s, slot);
}

static Slot *
slot_of(Supervisor *s, pid_t pid)
{
	for (int i = 0; i < MAX_SLOTS; i++)
		if (s->slots[i].pid == pid)
			return &s->slots[i];
	return NULL;
}

static void
reap(Supervisor *s)
{
	siginfo_t	info = {0};

	/*
	 * the group is ended before its leader is reaped, while its number cannot
	 * be another's
	 */
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0)
	{
		Slot	   *slot = slot_of(s, info.si_pid);
		int			status;

		if (slot)
			kill(-slot->pid, SIGKILL);
		if (waitpid(info.si_pid, &status, 0) == info.si_pid && !follower_reaped(&s->follower, info.si_pid, status) && slot)
			slot_ended(s, slot, status);
		info.si_pid = 0;
	}
}

/* The job is no longer ours: its process ends, and then what it left goes. */
static void
lose(Slot *slot, const char *why)
{
	slot_line(slot, "stopped: %s", why);
	slot->lost = true;
	slot->debt = DEBT_NONE;
	slot_kill(slot);
}

static void
beat(Supervisor *s, Slot *slot)
{
	int64_t		asked = boottime_ms();
	char	   *json = progress_json(slot->progress);
	ControlStatus status = control_heartbeat(s->control, slot->job, json);

	free(json);
	/* both stop the job, whatever else they mean */
	if (status == CONTROL_NOT_OURS || status == CONTROL_NO_IDENTITY)
	{
		/* one that is ending finds out by itself, and may be done */
		if (slot->progress->ending)
			slot->next_beat = INT64_MAX;
		else
			lose(slot, control_message(s->control));
	}
	if (answered(s, status) && status == CONTROL_DONE)
	{
		lease_renewed(&slot->progress->lease_until, asked + s->config->lease * 1000);
		slot->next_beat = asked + s->config->lease * 1000 / 3;
	}
}

/* Tells the control database what it has to know about a job that did not end by itself. */
static void
pay(Supervisor *s, Slot *slot)
{
	static const char failed[] = "{\"error\": {\"class\": \"runner_stopped\", \"message\": \"the runner was stopped while the job ran\", \"retryable\": true, \"blames\": \"node\"}}";
	static const char died[] = "{\"error\": {\"class\": \"process_died\", \"message\": \"the process of the job was ended by force\", \"retryable\": true, \"blames\": \"node\"}}";
	bool		give_back = slot->debt == DEBT_RELEASE;
	ControlStatus status = CONTROL_NOT_OURS;

	if (give_back)
		status = control_release(s->control, slot->job);
	if (status == CONTROL_NOT_OURS || status == CONTROL_REFUSED)
		status = control_report(s->control, slot->job, "failed", give_back ? failed : died);
	else if (status == CONTROL_DONE)
		slot_line(slot, "given back");
	if (status == CONTROL_NOT_OURS || status == CONTROL_REFUSED || status == CONTROL_NO_IDENTITY)
		slot_line(slot, "could not be given back: %s", control_message(s->control));
	answered(s, status);
	if (status == CONTROL_AWAY || status == CONTROL_BUSY || status == CONTROL_INTERRUPTED)
		return;
	slot->debt = DEBT_NONE;
	if (slot->pid == 0)
		release(s, slot);
}

/* Jobs that the control database says are ours, and we know nothing of: given back. */
static void
find_held(Supervisor *s)
{
	int64_t		asked = boottime_ms();
	Job		  **jobs;
	int			count;
	ControlStatus status = control_held(s->control, &jobs, &count);

	if (answered(s, status) && status == CONTROL_DONE)
		s->check_held = false;
	for (int i = 0; i < count; i++)
	{
		Slot	   *slot = is_known(s, jobs[i]) ? NULL : empty_slot(s);

		if (slot && slot_fill(slot, s->config, jobs[i], asked))
		{
			slot_line(slot, "held by this node from before");
			slot->debt = DEBT_RELEASE;
			if (job_bad_reference(slot->job) == NULL)
				slot_start(slot, s->config, s->control, true);
			continue;
		}
		/* no room: looked at again when there is */
		if (!is_known(s, jobs[i]))
			s->check_held = true;
		job_free(jobs[i]);
	}
	free(jobs);
}

/* What an earlier supervisor could not clean up, and the control database does not say. */
static void
find_remembered(Supervisor *s)
{
	Job		  **jobs;
	int			count;

	remembered_jobs(s->config, is_known, s, &jobs, &count);
	s->check_remembered = false;
	s->clean_again = 0;
	for (int i = 0; i < count; i++)
	{
		Slot	   *slot = empty_slot(s);

		if (slot && slot_fill(slot, s->config, jobs[i], boottime_ms()))
		{
			slot_line(slot, "cleaning up after fence %lld, which did not end well", (long long) slot->job->fence);
			/* whoever has it now, it is not ours */
			slot->lost = true;
			if (!slot_start(slot, s->config, s->control, true))
				release(s, slot);
			continue;
		}
		s->check_remembered = true;
		job_free(jobs[i]);
	}
	free(jobs);
}

/* Claims one job of the kinds that this node can do. False if nothing was claimed. */
static bool
claim(Supervisor *s, Slot *slot)
{
	const Names *connections[] = {&s->config->service_sections, &s->config->target_sections};
	static const char *const kinds[] = {"{backup,expire}", "{restore,drill}"};

	for (int i = 0; i < 2; i++)
	{
		int			which = (s->next_kinds + i) % 2;
		int64_t		asked = boottime_ms();
		ControlStatus status;
		Job		   *job;

		if (connections[which]->count == 0)
			continue;
		status = control_claim(s->control, kinds[which], connections[which], &job);
		if (!answered(s, status))
			return false;
		if (status == CONTROL_NOTHING)
			continue;

		/*
		 * the other kinds next time, so that none waits behind the other for
		 * ever
		 */
		s->next_kinds = (which + 1) % 2;
		if (!slot_fill(slot, s->config, job, asked))
		{
			log_line("out of memory");
			job_free(job);
			s->check_held = true;
			return false;
		}
		slot_line(slot, "claimed %s, attempt %d, fence %lld", job->kind, job->attempt, (long long) job->fence);
		s->claimed_one = true;
		if (!slot_start(slot, s->config, s->control, false))
			slot->debt = DEBT_RELEASE;
		return true;
	}
	return false;
}

/* Whether a claim is to be made: not the second of one, and not from a history that is another one. */
static bool
wants_job(const Supervisor *s)
{
	return !stopping && !s->check_held && !s->check_remembered && !(s->once && s->claimed_one) && follower_sight(&s->follower) == SIGHT_GOOD;
}

/* Whether the node is registered, as far as we know. */
static bool
can_follow(const Supervisor *s)
{
	return !stopping && !s->away && !s->check_held;
}

/* Claims until there is no slot, no job, or no answer. */
static void
claim_jobs(Supervisor *s)
{
	Slot	   *slot;

	while (wants_job(s) && boottime_ms() >= s->pause_until && boottime_ms() >= s->next_claim && (slot = empty_slot(s)) != NULL)
		if (!claim(s, slot) && boottime_ms() >= s->pause_until)
			s->next_claim = boottime_ms() + s->config->poll * 1000;
}

static bool
has_jobs(const Supervisor *s)
{
	for (int i = 0; i < MAX_SLOTS; i++)
		if (s->slots[i].job)
			return true;
	return false;
}

/* With --once: whether there is nothing more to do. */
static void
end_once(Supervisor *s)
{
	/* in this order: what it has seen is told before that it is done */
	bool		followed = follower_is_done(&s->follower);
	Sight		sight = follower_sight(&s->follower);
	bool		hopeless = !s->claimed_one && (s->away || sight == SIGHT_BLIND);
	bool		undecided = !s->claimed_one && (s->check_held || (sight != SIGHT_ALARM && s->next_claim <= boottime_ms()));

	if (!s->once || has_jobs(s) || stopping)
		return;
	if (!hopeless && (undecided || !followed))
		return;
	if (hopeless || sight == SIGHT_ALARM)
		s->exit_code = 1;
	else if (!s->claimed_one)
		log_line("there is no job for this node");
	stopping = 1;
}

/* One round of what is due. */
static void
attend(Supervisor *s)
{
	for (int i = 0; i < MAX_SLOTS && !stopping; i++)
	{
		Slot	   *slot = &s->slots[i];

		if (slot->cleaning && boottime_ms() - slot->started > CLEAN_UP_MS)
			slot_kill(slot);
		if (boottime_ms() >= s->pause_until && slot->pid && !slot->lost && boottime_ms() >= slot->next_beat)
			beat(s, slot);
		/* what is owed is paid when the cleaning is over */
		if (boottime_ms() >= s->pause_until && slot->debt != DEBT_NONE && slot->pid == 0)
			pay(s, slot);
	}
	if (!stopping && s->check_held && boottime_ms() >= s->pause_until && empty_slot(s))
		find_held(s);
	if (s->clean_again != 0 && boottime_ms() >= s->clean_again)
	{
		s->clean_again = 0;
		s->check_remembered = true;
	}
	if (!stopping && s->check_remembered && !s->check_held && empty_slot(s))
		find_remembered(s);
	if (can_follow(s))
		follower_tend(&s->follower, s->config, s->control);
	claim_jobs(s);
	end_once(s);
}

/* When the next round is due. */
static int64_t
next_round(Supervisor *s)
{
	int64_t		next = boottime_ms() + MAX_WAIT_MS;
	int64_t		due;

	for (int i = 0; i < MAX_SLOTS; i++)
	{
		const Slot *slot = &s->slots[i];

		if (slot->cleaning && slot->killed == 0 && (due = slot->started + CLEAN_UP_MS + 1) < next)
			next = due;
		if (slot->pid && !slot->lost && (due = slot->next_beat > s->pause_until ? slot->next_beat : s->pause_until) < next)
			next = due;
		if (slot->debt != DEBT_NONE && slot->pid == 0 && s->pause_until < next)
			next = s->pause_until;
	}
	if (s->check_held && empty_slot(s) && s->pause_until < next)
		next = s->pause_until;
	if (s->clean_again != 0 && s->clean_again < next)
		next = s->clean_again;
	if (can_follow(s) && (due = follower_due(&s->follower)) < next)
		next = due;
	if (wants_job(s) && empty_slot(s) && (due = s->next_claim > s->pause_until ? s->next_claim : s->pause_until) < next)
		next = due;
	return next;
}

/* SIGHUP: reads the configuration again. Jobs that run keep theirs. */
static void
reload_config(Supervisor *s)
{
	Config	   *config = allocate(sizeof(Config));
	char	   *key;

	if (!config_load(s->config->path, false, config))
		log_line("the configuration is as before: the file has faults");
	else if (strcmp(config->state, s->config->state) != 0 || strcmp(config->work, s->config->work) != 0 || strcmp(config->node, s->config->node) != 0)
		log_line("the configuration is as before: a change of node, state or work takes a restart");
	else if (load_key(config, &key))
	{
		control_free(s->control);
		config_free(s->config);
		free(s->config);
		free(s->public_key);
		s->config = config;
		s->public_key = key;
		open_control(s);
		follower_stop(&s->follower);
		s->next_claim = 0;
		s->pause_until = 0;
		log_line("the configuration was read again");
		return;
	}
	config_free(config);
	free(config);
}

/* Ends all processes: TERM, TERM again, KILL. Within two seconds none is left. */
static void
end_processes(Supervisor *s)
{
	int64_t		begun = boottime_ms();
	int			sent = 0;

	follower_stop(&s->follower);
	for (;;)
	{
		int64_t		passed = boottime_ms() - begun;
		bool		any = false;

		reap(s);
		for (int i = 0; i < MAX_SLOTS; i++)
		{
			Slot	   *slot = &s->slots[i];

			if (slot->pid == 0)
				continue;
			any = true;
			if (slot->killed == 0)
			{
				slot->killed = boottime_ms();
				if (!slot->cleaning && !slot->lost && slot->debt == DEBT_NONE)
					slot->debt = DEBT_RELEASE;
			}

			/*
			 * to the process alone: its programs are killed by its end, and
			 * rclone takes TERM for the end of its input
			 */
			if (sent == 0 || (sent == 1 && passed >= TERM_AGAIN_MS))
				kill(slot->pid, SIGTERM);
			else if (passed >= KILL_MS)
				slot_signal(slot, SIGKILL);
		}
		if (sent == 0 || (sent == 1 && passed >= TERM_AGAIN_MS))
			sent++;
		if (!any || passed >= GONE_MS)
			break;
		signals_wait(20);
	}
	orphans_kill(is_ours, s);
	reap(s);
}

/* A claim whose answer was not waited for. */
static void
release_unknown(Supervisor *s)
{
	Job		  **jobs;
	int			count;

	control_held(s->control, &jobs, &count);
	for (int i = 0; i < count; i++)
	{
		if (!is_known(s, jobs[i]))
			control_release(s->control, jobs[i]);
		job_free(jobs[i]);
	}
	free(jobs);
}

/* After the last process: what is owed, and scratch. */
static void
settle(Supervisor *s)
{
	int64_t		end = boottime_ms() + LAST_WORDS_SECONDS * 1000;

	control_interrupt(s->control, NULL);
	control_hurry(s->control, LAST_WORDS_SECONDS);
	for (int i = 0; i < MAX_SLOTS; i++)
		if (s->slots[i].job && s->slots[i].debt != DEBT_NONE && !s->away && boottime_ms() < end)
			pay(s, &s->slots[i]);
	if (s->check_held && !s->away && boottime_ms() < end)
		release_unknown(s);
	scratch_sweep(s->config);
}

int
supervise(Config *config, bool once)
{
	Supervisor	supervisor = {.config = config,.once = once,.check_held = true,.check_remembered = true};
	Supervisor *s = &supervisor;

	set_signals();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (!lock_state(config) || !load_key(config, &s->public_key))
		return 1;
	open_control(s);
	if (!control_read_token(s->control))
	{
		log_line("%s", control_message(s->control));
		return 2;
	}
	scratch_sweep(config);
	log_line("version %s started as node %s", RUNNER_VERSION, config->node);
	while (!stopping)
	{
		int64_t		left;

		child_ended = 0;
		reap(s);
		if (reload)
		{
			reload = 0;
			reload_config(s);
		}
		attend(s);
		/* a signal that came during a call does not end this wait */
		left = child_ended || reload || stopping ? 0 : next_round(s) - boottime_ms();
		signals_wait(left > 0 ? left : 0);
	}
	log_line("stopping");
	end_processes(s);
	settle(s);
	control_free(s->control);
	free(s->public_key);
	config_free(s->config);
	free(s->config);
	return once ? s->exit_code : 0;
}
