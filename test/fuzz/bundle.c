/*
 * bundle.c
 *		libFuzzer target for all of bin/verify: a whole bundle. An input is a sequence of
 *		paths and contents, each ended by a NUL; the path "kept" is the checkpoint in the
 *		folder of trust. The files are written, and the bundle is judged.
 *
 * Whoever writes a bundle has no key. So no input that differs from the sound ones in what
 * is signed, or in what that vouches for, is OK: the seeds come from test/verify/bundles.py,
 * and whatever the fuzzer makes of them, memory is not touched where it is not ours, and the
 * verdict is the same if the bundle is judged again.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"

#include "syntax.h"

/* The public key of the seed "node-1" of test/ed25519.py, and of no one's else. */
static const char key[] = "node-1+dde2e0c9+ASLRCBDbYQVZ/5u2XDbEQkSDLQJNmW7S/BoR40poYYrd\n";

static const char *const directories[] = {"bundle", "bundle/artifacts", "bundle/backups", "bundle/proofs", "trust"};

#define NDIRECTORIES (int) (sizeof(directories) / sizeof(directories[0]))
#define PATH_ROOM 400

static char top[64];

static const char *
below(const char *path)
{
	static char whole[sizeof(top) + PATH_ROOM];

	snprintf(whole, sizeof(whole), "%s/%s", top, path);
	return whole;
}

static void
write_file(const char *path, const char *data, size_t len)
{
	int			fd = open(below(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;					/* a path that is none */
	MUST(write(fd, data, len) == (ssize_t) len);
	close(fd);
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void) status;
	(void) type;
	return walk->level == 0 ? 0 : remove(path);
}

static void
remove_below(const char *directory)
{
	MUST(nftw(below(directory), remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void
remove_all(void)
{
	remove_below("");
	rmdir(top);
}

/* Beside memory if there is such a place: each input writes files. */
static void
begin(void)
{
	snprintf(top, sizeof(top), "%s/walwarden-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(top) != NULL);
	atexit(remove_all);
	for (int i = 0; i < NDIRECTORIES; i++)
		MUST(mkdir(below(directories[i]), 0700) == 0);
	write_file("trust/node-1.vkey", key, sizeof(key) - 1);
}

/* A path of an input could lead out of the bundle; one in a directory cannot. */
static bool
is_inside(const char *path)
{
	return *path != '/' && strstr(path, "..") == NULL && strlen(path) < 300;
}

static void
judge(int directory, Report *report)
{
	Trust		trust;
	int			code;

	trust_load(below("trust"), &trust);
	report_begin(report, NULL, false);
	bundle_check(directory, &trust, report);
	code = report_end(report);
	MUST(code == (report->count[VERDICT_FAIL] > 0 ? 1 : report->count[VERDICT_SKIP] > 0 ? 3 : 0));
	trust_free(&trust);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *) data;
	const char *end = p + size;
	Report		first;
	Report		second;
	int			directory;

	if (*top == '\0')
		begin();
	while (p < end)
	{
		const char *content = memchr(p, '\0', (size_t) (end - p));
		const char *next = content == NULL ? NULL : memchr(content + 1, '\0', (size_t) (end - content - 1));
		char		path[PATH_ROOM];

		if (content == NULL)
			break;
		content++;
		if (next == NULL)
			next = end;
		if (is_inside(p))
		{
			snprintf(path, sizeof(path), "bundle/%s", p);
			write_file(strcmp(p, "kept") == 0 ? "trust/checkpoint" : path, content, (size_t) (next - content));
		}
		p = next + 1;
	}
	directory = open(below("bundle"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(directory >= 0);
	judge(directory, &first);
	judge(directory, &second);
	MUST(memcmp(first.count, second.count, sizeof(first.count)) == 0);
	close(directory);
	remove_below("bundle");
	for (int i = 1; i < NDIRECTORIES - 1; i++)
		MUST(mkdir(below(directories[i]), 0700) == 0);
	unlink(below("trust/checkpoint"));
	return 0;
}
