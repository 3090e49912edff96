/*
 * process.c
 *		Programs that the runner starts.
 *
 * Invariants: between fork() and execve() a child calls only what a signal handler may call,
 * because other threads may have held locks. It inherits three descriptors and no ignored
 * signal.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "environment.h"
#include "io.h"
#include "text.h"

#define MESSAGE_MAX 900
#define KILLED " was ended by signal "
#define TERM_SECONDS 2

static const Process no_process = {.pid = -1,.in = -1,.out = -1};

/* What a program last wrote to its standard error, read by a thread. */
typedef struct ErrorTail
{
	pthread_t	thread;
	int			from;			/* the program's standard error */
	int			wake;			/* readable once the program has ended */
	int			waker;
	char		data[MESSAGE_MAX];
	size_t		len;
} ErrorTail;

static void
tail_keep(ErrorTail *tail, const char *data, size_t len)
{
	size_t		room = sizeof(tail->data);

	if (len >= room)
	{
		memcpy(tail->data, data + len - room, room);
		tail->len = room;
		return;
	}
	if (tail->len + len > room)
	{
		size_t		surplus = tail->len + len - room;

		memmove(tail->data, tail->data + surplus, tail->len - surplus);
		tail->len -= surplus;
	}
	memcpy(tail->data + tail->len, data, len);
	tail->len += len;
}

/* False at the end, and if nothing is there to read. */
static bool
tail_read(ErrorTail *tail)
{
	char		chunk[4096];
	ssize_t		len;

	do
		len = read(tail->from, chunk, sizeof(chunk));
	while (len < 0 && errno == EINTR);
	if (len <= 0)
		return false;
	tail_keep(tail, chunk, len);
	return true;
}

/* Reads until the end, or until the program has ended: its children may keep the pipe open. */
static void *
tail_follow(void *arg)
{
	ErrorTail  *tail = arg;
	struct pollfd fds[] = {{.fd = tail->from,.events = POLLIN}, {.fd = tail->wake,.events = POLLIN}};

	for (;;)
	{
		if (poll(fds, 2, -1) < 0)
		{
			if (errno == EINTR)
				continue;
			return NULL;
		}
		if (fds[1].revents)
		{
			while (tail_read(tail))
				;
			return NULL;
		}
		if (fds[0].revents && !tail_read(tail))
			return NULL;
	}
}

/* Takes over from. */
static ErrorTail *
tail_start(int from)
{
	ErrorTail  *tail = allocate(sizeof(ErrorTail));
	int			ends[2];
	sigset_t	all,
				before;
	int			failed;

	if (pipe2(ends, O_CLOEXEC) < 0)
	{
		close(from);
		free(tail);
		return NULL;
	}
	tail->from = from;
	tail->wake = ends[0];
	tail->waker = ends[1];
	fcntl(from, F_SETFL, O_NONBLOCK);

	/* signals are for the main thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&tail->thread, NULL, tail_follow, tail);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
	{
		close(from);
		close(ends[0]);
		close(ends[1]);
		free(tail);
		errno = failed;
		return NULL;
	}
	return tail;
}

/* After the end of the program. Returns what it last wrote, on one line. */
static char *
tail_end(ErrorTail *tail)
{
	char	   *text;

	close(tail->waker);
	pthread_join(tail->thread, NULL);
	close(tail->from);
	close(tail->wake);
	while (tail->len > 0 && (tail->data[tail->len - 1] == '\n' || tail->data[tail->len - 1] == ' '))
		tail->len--;
	for (size_t i = 0; i < tail->len; i++)
		if (tail->data[i] == '\0')
			tail->data[i] = ' ';
	text = text_slice(tail->data, tail->len);
	text_make_harmless(text);
	free(tail);
	return text;
}

/* In the child. Does not return; tells the parent by report why execve() failed. */
static void
become(const char *const *argv, const char *const *env, const int streams[3], pid_t parent, int report)
{
	int			moved[3];
	int			failure;
	sigset_t	none;
	struct sigaction by_default = {.sa_handler = SIG_DFL};

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &by_default, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* the parent may have died before the request was made */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);

	/* out of the way of 0, 1 and 2 first */
	for (int i = 0; i < 3; i++)
		if ((moved[i] = fcntl(streams[i], F_DUPFD_CLOEXEC, 3)) < 0)
			goto failed;
	for (int i = 0; i < 3; i++)
		if (dup2(moved[i], i) < 0)
			goto failed;
	/* PostgreSQL's programs complain if they cannot enter where they are */
	if (chdir("/") < 0)
		goto failed;
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		for (int fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	execve(argv[0], (char *const *) argv, (char *const *) env);

failed:
	failure = errno;
	if (write(report, &failure, sizeof(failure)) < 0)
		_exit(126);
	_exit(127);
}

/* The child's end of a stream. *ours is the parent's end of a pipe, else -1. */
static int
open_stream(int stream, bool child_reads, int *ours)
{
	int			ends[2];

	*ours = -1;
	if (stream >= 0)
		return fcntl(stream, F_DUPFD_CLOEXEC, 3);
	if (stream == STREAM_NULL)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*ours = ends[child_reads ? 1 : 0];
	return ends[child_reads ? 0 : 1];
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool
process_start(Process *process, const char *const *argv, const char *const *env, int in, int out, char **error)
{
	const char *slash = strrchr(argv[0], '/');
	pid_t		parent = getpid();
	int			theirs[3] = {-1, -1, -1};
	int			errors = -1;
	int			report[2] = {-1, -1};
	int			failure = 0;

	*process = no_process;
	process->program = text_copy(slash ? slash + 1 : argv[0]);
	theirs[0] = open_stream(in, true, &process->in);
	theirs[1] = open_stream(out, false, &process->out);
	theirs[2] = open_stream(STREAM_PIPE, false, &errors);
	if (theirs[0] < 0 || theirs[1] < 0 || theirs[2] < 0 || pipe2(report, O_CLOEXEC) < 0 || (process->pid = fork()) < 0)
		failure = errno;
	else if (process->pid == 0)
		become(argv, env, theirs, parent, report[1]);
	else
	{
		ssize_t		len;

		close_fd(&report[1]);
		do
			len = read(report[0], &failure, sizeof(failure));
		while (len < 0 && errno == EINTR);
		if (len == (ssize_t) sizeof(failure))
			while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
				;
		else if ((process->errors = tail_start(errors)) == NULL)
		{
			failure = errno;
			kill(process->pid, SIGKILL);
			while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
				;
			errors = -1;
		}
		else
			failure = 0;
	}

	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	close_fd(&report[0]);
	close_fd(&report[1]);
	if (failure == 0)
		return true;
	*error = text_format("cannot start %s: %s", argv[0], strerror(failure));
	close_fd(&errors);
	close_fd(&process->in);
	close_fd(&process->out);
	free(process->program);
	process->pid = -1;
	return false;
}

static int
reap(Process *process)
{
	int			status = 0;

	close_fd(&process->in);
	close_fd(&process->out);
	while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
		;
	process->pid = -1;
	return status;
}

bool
process_wait(Process *process, char **error)
{
	int			status = reap(process);
	char	   *said = tail_end(process->errors);
	bool		good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (!good)
	{
		char	   *how;

		if (WIFSIGNALED(status))
			how = text_format("%s" KILLED "%d", process->program, WTERMSIG(status));
		else
			how = text_format("%s failed with exit code %d", process->program, WEXITSTATUS(status));
		if (*said)
		{
			/* the last lines are those that say why */
			size_t		room = MESSAGE_MAX - strlen(how) - 2;

			*error = text_format("%s: %s", how, strlen(said) > room ? said + strlen(said) - room : said);
			free(how);
		}
		else
			*error = how;
	}
	free(said);
	free(process->program);
	*process = no_process;
	return good;
}

bool
process_was_killed(const char *error)
{
	/* behind the program's name: what follows is the program's own words */
	return text_begins(error + strcspn(error, " "), KILLED);
}

void
process_kill(Process *process)
{
	int			pidfd;

	if (process->pid <= 0)
		return;
	close_fd(&process->in);
	close_fd(&process->out);
	kill(process->pid, SIGTERM);
	pidfd = (int) syscall(SYS_pidfd_open, process->pid, 0);
	if (pidfd >= 0)
	{
		struct pollfd fd = {.fd = pidfd,.events = POLLIN};

		while (poll(&fd, 1, TERM_SECONDS * 1000) < 0 && errno == EINTR)
			;
		close(pidfd);
	}
	kill(process->pid, SIGKILL);
	reap(process);
	free(tail_end(process->errors));
	free(process->program);
	*process = no_process;
}

bool
process_run(const char *const *argv, const char *const *env, const char *input, Buffer *output, size_t limit, char **error)
{
	Process		process;

	if (!process_start(&process, argv, env, input ? STREAM_PIPE : STREAM_NULL, output ? STREAM_PIPE : STREAM_NULL, error))
		return false;
	/* whether all of either has passed, its exit code tells */
	if (input)
	{
		(void) write_all(process.in, input, strlen(input));
		close_fd(&process.in);
	}
	if (output)
		(void) read_all(process.out, limit, output);
	return process_wait(&process, error);
}

char *
process_find(const char *name)
{
	const char *path = getenv("PATH");

	if (path == NULL)
		path = SYSTEM_PATH;
	while (*path)
	{
		size_t		len = strcspn(path, ":");

		if (len > 0 && *path == '/')
		{
			char	   *file = text_format("%.*s/%s", (int) len, path, name);

			if (access(file, X_OK) == 0)
				return file;
			free(file);
		}
		path += len + (path[len] == ':');
	}
	return NULL;
}
