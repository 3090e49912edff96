/*
 * slot.c
 *		A job that the supervisor holds, and its process.
 */
#include "slot.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boottime.h"
#include "control.h"
#include "job.h"
#include "log.h"
#include "text.h"
#include "worker.h"

void
slot_line(const Slot *slot, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	log_job(slot->job->id);
	log_line("%s", text);
	log_job(NULL);
	free(text);
}

void
slot_release(Slot *slot)
{
	job_free(slot->job);
	if (slot->progress)
		munmap(slot->progress, sizeof(Progress));
	memset(slot, 0, sizeof(*slot));
}

bool
slot_fill(Slot *slot, const Config *config, Job *job, int64_t asked)
{
	Progress   *progress = mmap(NULL, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (progress == MAP_FAILED)
		return false;
	lease_renewed(&progress->lease_until, asked + config->lease * 1000);
	memset(slot, 0, sizeof(*slot));
	slot->job = job;
	slot->progress = progress;
	slot->next_beat = asked + config->lease * 1000 / 3;
	return true;
}

bool
slot_start(Slot *slot, const Config *config, Control *control, bool cleaning)
{
	pid_t		supervisor = getpid();
	bool		may_be_completed = slot->progress->ending;
	pid_t		pid = fork();

	if (pid == 0)
	{
		control_forget(control);
		if (cleaning)
			worker_clean_up(supervisor, config, slot->job, may_be_completed);
		worker_run(supervisor, config, control, slot->job, slot->progress);
	}
	if (pid < 0)
	{
		slot_line(slot, "cannot fork: %s", strerror(errno));
		return false;
	}
	setpgid(pid, pid);
	slot->pid = pid;
	slot->cleaning = cleaning;
	slot->started = boottime_ms();
	slot->killed = 0;
	return true;
}

void
slot_signal(const Slot *slot, int sig)
{
	/* its group exists only after setpgid(), which both of us call */
	if (kill(-slot->pid, sig) < 0)
		kill(slot->pid, sig);
}

void
slot_kill(Slot *slot)
{
	if (slot->pid == 0)
		return;
	slot_signal(slot, SIGKILL);
	if (slot->killed == 0)
		slot->killed = boottime_ms();
}
