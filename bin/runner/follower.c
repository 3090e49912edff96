/*
 * follower.c
 *		The supervisor's hold on the process that follows the chain.
 */
#include "follower.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boottime.h"
#include "control.h"
#include "follow.h"
#include "log.h"

#define START_AGAIN_MS 5000

static void
start(Follower *follower, const Config *config, Control *control)
{
	pid_t		supervisor = getpid();
	sigset_t	wake;

	if (follower->status == NULL)
	{
		void	   *shared = mmap(NULL, sizeof(FollowStatus), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (shared == MAP_FAILED)
		{
			log_line("chain: %s", strerror(errno));
			return;
		}
		follower->status = shared;
	}
	follower->status->sight = SIGHT_NONE;
	follower->status->asked++;
	follower->stopped = false;
	/* it may be asked before it can be woken */
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wake, NULL);
	follower->pid = fork();
	if (follower->pid == 0)
	{
		control_forget(control);
		follow_run(supervisor, config, control, follower->status);
	}
	if (follower->pid < 0)
	{
		log_line("chain: cannot fork: %s", strerror(errno));
		follower->pid = 0;
		follower->status->sight = SIGHT_BLIND;
	}
}

void
follower_tend(Follower *follower, const Config *config, Control *control)
{
	if (follower->pid || boottime_ms() < follower->next_start)
		return;
	follower->next_start = boottime_ms() + START_AGAIN_MS;
	start(follower, config, control);
}

int64_t
follower_due(const Follower *follower)
{
	return follower->pid ? INT64_MAX : follower->next_start;
}

bool
follower_reaped(Follower *follower, pid_t pid, int status)
{
	if (follower->pid == 0 || pid != follower->pid)
		return false;
	follower->pid = 0;
	if (follower->stopped)
		follower->next_start = 0;
	else
	{
		follower->status->sight = SIGHT_BLIND;
		if (WIFSIGNALED(status))
			log_line("chain: its process was ended by signal %d", WTERMSIG(status));
		else
			log_line("chain: its process ended with %d", WEXITSTATUS(status));
	}
	return true;
}

void
follower_stop(Follower *follower)
{
	if (follower->pid == 0)
		return;
	follower->stopped = true;
	follower->status->sight = SIGHT_NONE;
	/* at any moment: what it keeps is replaced as a whole */
	kill(follower->pid, SIGKILL);
}

Sight
follower_sight(const Follower *follower)
{
	return follower->status ? (Sight) follower->status->sight : SIGHT_NONE;
}

void
follower_ask(Follower *follower)
{
	if (follower->pid == 0)
		return;
	follower->status->asked++;
	kill(follower->pid, SIGUSR1);
}

bool
follower_is_done(const Follower *follower)
{
	return follower->pid == 0 || follower->status->done == follower->status->asked;
}
