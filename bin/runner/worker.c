/*
 * worker.c
 *		The process of one job.
 *
 * Invariants: it leads a process group, in which its programs are; it and they die with the
 * supervisor. TERM ends it at once: everything that it leaves has a name with job and fence.
 * References from the control database were checked before anything is named after them.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "boottime.h"
#include "control.h"
#include "job.h"
#include "log.h"
#include "remember.h"
#include "scratch.h"
#include "signals.h"
#include "text.h"

#define MESSAGE_MAX 900
#define RETRY_SECONDS_MAX 10

bool
fail(Worker *worker, const char *error_class, const char *blames, bool retryable, const char *format,...)
{
	va_list		arguments;
	char	   *message;

	va_start(arguments, format);
	message = text_vformat(format, arguments);
	va_end(arguments);
	text_make_harmless(message);
	if (strlen(message) > MESSAGE_MAX)
		message[MESSAGE_MAX] = '\0';
	free(worker->failure.message);
	worker->failure.error_class = error_class;
	worker->failure.blames = blames;
	worker->failure.retryable = retryable;
	worker->failure.message = message;
	return false;
}

/* No clean-up here: the supervisor ends what is left of the group, and cleans up by name. */
static void
stop_lost(Worker *worker)
{
	log_line("stopped: %s", control_message(worker->control));
	_exit(WORKER_LOST);
}

/* A call that is repeated until the control database answers. */
static ControlStatus
persist(Worker *worker, ControlStatus (*call) (Control *control, const Job *job, const char *state, const char *json), const char *state, const char *json)
{
	ControlStatus status;

	for (int pause = 1;; pause = pause * 2 < RETRY_SECONDS_MAX ? pause * 2 : RETRY_SECONDS_MAX)
	{
		int64_t		asked = boottime_ms();

		status = call(worker->control, worker->job, state, json);
		switch (status)
		{
			case CONTROL_DONE:
				lease_renewed(&worker->progress->lease_until, asked + worker->config->lease * 1000);
				return status;
			case CONTROL_NOT_OURS:
			case CONTROL_NO_IDENTITY:
				stop_lost(worker);
				break;
			case CONTROL_REFUSED:
				return status;
			default:
				if (pause == 1)
					log_line("waiting for the control database: %s", control_message(worker->control));
				sleep(pause);
		}
	}
}

static ControlStatus
call_evidence(Control *control, const Job *job, const char *state, const char *json)
{
	(void) state;
	return control_evidence(control, job, json);
}

static bool
is_last(const char *state)
{
	return strcmp(state, "completed") == 0 || strcmp(state, "failed") == 0;
}

static char *
failure_json(const Failure *failure)
{
	Buffer		json = {0};

	buffer_text(&json, "{\"error\": {\"class\": ");
	buffer_json(&json, failure->error_class);
	buffer_text(&json, ", \"message\": ");
	buffer_json(&json, failure->message && *failure->message ? failure->message : "no message");
	buffer_format(&json, ", \"retryable\": %s", failure->retryable ? "true" : "false");
	if (failure->blames)
	{
		buffer_text(&json, ", \"blames\": ");
		buffer_json(&json, failure->blames);
	}
	buffer_text(&json, "}}");
	return json.data;
}

static void
remove_scratch(Worker *worker)
{
	if (worker->scratch && !remove_tree(worker->scratch))
		log_line("%s was not removed", worker->scratch);
}

/* Removes what this attempt made, by its name. */
static void
remove_attempt(Worker *worker)
{
	Job			next = *worker->job;
	Worker		cleaner = {.config = worker->config,.job = &next,.progress = worker->progress,.scratch = worker->scratch};

	next.fence++;
	if (clean_up_attempts(&cleaner))
		forget_job(worker->config, worker->job);
}

/* Reports worker->failure, and ends the process. What the engine made is gone. */
static void
__attribute__((noreturn))
end_failed(Worker *worker)
{
	char	   *json = failure_json(&worker->failure);

	log_line("failed: %s: %s", worker->failure.error_class, worker->failure.message);
	remove_scratch(worker);
	/* one that is not acceptable has no scratch, and was not remembered */
	if (worker->scratch)
		forget_job(worker->config, worker->job);
	worker->progress->ending = 1;
	if (persist(worker, control_report, "failed", json) != CONTROL_DONE)
	{
		log_line("the failure was not accepted: %s", control_message(worker->control));
		_exit(WORKER_UNREPORTED);
	}
	_exit(WORKER_FAILED);
}

static void
__attribute__((noreturn))
end_refused(Worker *worker, const char *what)
{
	fail(worker, "report_refused", NULL, false, "the control database refused the %s: %s", what, control_message(worker->control));
	remove_attempt(worker);
	end_failed(worker);
}

void
report(Worker *worker, const char *state, const char *detail_json)
{
	if (is_last(state))
	{
		/* from here on, what there is may be the result */
		worker->progress->ending = 1;
		forget_job(worker->config, worker->job);
	}
	if (persist(worker, control_report, state, detail_json) != CONTROL_DONE)
		end_refused(worker, text_format("state %s", state));
}

void
report_evidence(Worker *worker, const char *evidence_json)
{
	if (persist(worker, call_evidence, NULL, evidence_json) != CONTROL_DONE)
		end_refused(worker, "evidence");
}

/*
 * The clock of an in_place restore: ends the process group before the lease ends, because
 * from then on another node may write to the same target. CLOCK_BOOTTIME goes on while the
 * machine sleeps.
 */
static void *
watch_lease(void *arg)
{
	Worker	   *worker = arg;
	int64_t		margin = worker->config->lease * 100 < 1000 ? 1000 : worker->config->lease * 100;

	for (;;)
	{
		int64_t		end = worker->progress->lease_until - margin;
		struct timespec until = {.tv_sec = end / 1000,.tv_nsec = end % 1000 * 1000000};

		if (end <= boottime_ms())
		{
			log_line("stopped: the lease ends, and it was not renewed");
			kill(0, SIGKILL);
		}
		clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL);
	}
	return NULL;
}

static void
start_watch(Worker *worker)
{
	pthread_t	thread;
	sigset_t	all,
				before;

	if (strcmp(worker->job->kind, "restore") != 0 || strcmp(worker->job->mode, "in_place") != 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, watch_lease, worker) != 0)
	{
		fail(worker, "node_failed", "node", true, "cannot start the thread that watches the lease");
		end_failed(worker);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool
run_engine(Worker *worker)
{
	const char *kind = worker->job->kind;

	if (!remember_job(worker->config, worker->job))
		return fail(worker, "node_failed", "node", true, "cannot write to the state directory: %s", strerror(errno));
	if (worker->job->fence > 1)
		clean_up_attempts(worker);
	if (mkdir(worker->scratch, 0700) < 0)
		return fail(worker, "node_failed", "node", true, "cannot make %s: %s", worker->scratch, strerror(errno));
	if (strcmp(kind, "backup") == 0)
		return run_backup(worker);
	if (strcmp(kind, "expire") == 0)
		return run_expire(worker);
	return run_restore(worker);
}

/* TERM, and the death of the supervisor: the whole group ends, with what programs have started themselves. */
static void
end_group(int sig)
{
	(void) sig;
	kill(0, SIGKILL);
}

static void
begin(pid_t supervisor, const Job *job)
{
	sigset_t	none;

	setpgid(0, 0);
	sigemptyset(&none);
	signals_begin(supervisor, end_group, &none);
	log_job(job->id);
}

void
worker_run(pid_t supervisor, const Config *config, const Control *control, const Job *job, Progress *progress)
{
	Worker		worker = {.config = config,.job = job,.progress = progress};
	const char *bad = job_bad_reference(job);

	begin(supervisor, job);
	worker.control = control_inherit(control);
	if (bad)
	{
		fail(&worker, "bad_reference", strcmp(job->kind, "backup") == 0 ? NULL : "node", false, "the job's %s is not acceptable", bad);
		end_failed(&worker);
	}
	worker.scratch = scratch_path(config, job->id, job->fence);
	start_watch(&worker);
	if (!run_engine(&worker))
		end_failed(&worker);
	remove_scratch(&worker);
	log_line("completed");
	_exit(WORKER_COMPLETED);
}

void
worker_clean_up(pid_t supervisor, const Config *config, const Job *job, bool may_be_completed)
{
	Progress	progress = {0};
	Worker		worker = {.config = config,.job = job,.progress = &progress};

	begin(supervisor, job);
	worker.scratch = scratch_path(config, job->id, job->fence);
	remove_scratch(&worker);
	if (!may_be_completed)
		remove_attempt(&worker);
	_exit(WORKER_COMPLETED);
}
