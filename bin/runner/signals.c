/*
 * signals.c
 *		Signals of the supervisor and of the processes that are forked from it.
 */
#include "signals.h"

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

void
signals_wait(int64_t ms)
{
	struct timespec timeout = {.tv_sec = ms / 1000,.tv_nsec = ms % 1000 * 1000000};
	sigset_t	none;

	sigemptyset(&none);
	ppoll(NULL, 0, &timeout, &none);
}

void
signals_begin(pid_t supervisor, void (*on_term) (int sig), const sigset_t *blocked)
{
	/* a terminal sends INT to all: the supervisor decides */
	static const int ignored[] = {SIGINT, SIGHUP, SIGPIPE};
	struct sigaction action = {.sa_handler = on_term};

	sigaction(SIGTERM, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* it may have died before the request was made */
	if (getppid() != supervisor)
		_exit(1);
	action.sa_handler = SIG_IGN;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &action, NULL);
	action.sa_handler = SIG_DFL;
	sigaction(SIGCHLD, &action, NULL);
	sigprocmask(SIG_SETMASK, blocked, NULL);
}
