/*
 * main.c
 *		walwarden-runner: runs the backup jobs of a walwarden control database.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "config.h"
#include "job.h"
#include "log.h"
#include "recovery.h"
#include "supervisor.h"
#include "text.h"

#define DEFAULT_CONFIG "/etc/walwarden/runner.conf"
#define EXIT_USAGE 2

static const char usage[] =
"walwarden-runner runs the backup jobs of a walwarden control database.\n"
"\n"
"Usage:\n"
"  walwarden-runner [OPTION]...\n"
"  walwarden-runner [OPTION]... list DESTINATION [CREDENTIAL]\n"
"  walwarden-runner [OPTION]... fetch NAME DIRECTORY DESTINATION [CREDENTIAL]\n"
"\n"
"Options:\n"
"  --config FILE   the configuration (default: " DEFAULT_CONFIG ")\n"
"  --check         try all that it names, say what is wrong, and exit\n"
"  --once          run one job if there is one, and exit\n"
"  --version       print the version and exit\n"
"  --help          print this and exit\n"
"\n"
"list prints the backups at a destination, found by their manifests, without the control\n"
"database. DESTINATION is a URI, such as file:///srv/backups or s3://bucket/path;\n"
"CREDENTIAL is a remote of rclone_config. fetch verifies one of them, by the NAME that list\n"
"prints, and writes it to a new directory.\n"
"\n"
"Exit code: 0; 1 if a check or the one job failed; 2 if the usage or the configuration is\n"
"wrong. SIGTERM ends it, SIGHUP makes it read the configuration again.\n";

/*
 * The environment of the runner and of its programs. Everything else is dropped: PG* would
 * lead a connection elsewhere, RCLONE_* and AWS_* another program.
 */
static void
clean_environment(void)
{
	static const char *const kept[] = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"};
	enum
	{
		KEPT = sizeof(kept) / sizeof(kept[0])
	};
	char	   *values[KEPT];

	for (int i = 0; i < KEPT; i++)
		values[i] = text_copy(getenv(kept[i]));
	clearenv();
	for (int i = 0; i < KEPT; i++)
	{
		if (values[i])
			setenv(kept[i], values[i], 1);
		free(values[i]);
	}
}

static int
usage_error(void)
{
	(void) fputs(usage, stderr);
	return EXIT_USAGE;
}

/* list DESTINATION [CREDENTIAL], or fetch NAME DIRECTORY DESTINATION [CREDENTIAL] */
static int
visit_destination(const Config *config, int argc, char **argv)
{
	static char no_id[] = "00000000-0000-0000-0000-000000000000";
	Destination destination = {.id = no_id};
	bool		fetches = strcmp(argv[0], "fetch") == 0;
	int			at = fetches ? 3 : 1;
	const char *bad;

	if (argc < at + 1 || argc > at + 2)
		return usage_error();
	destination.uri = argv[at];
	destination.provider = text_copy(text_begins(argv[at], "file://") ? "local" : "s3");
	destination.credential_ref = argc > at + 1 ? argv[at + 1] : NULL;
	if ((bad = destination_bad_reference(&destination)) != NULL)
	{
		complain("%s is not acceptable: DESTINATION is a URI such as file:///srv/backups, CREDENTIAL the name of a remote", bad);
		return EXIT_USAGE;
	}
	return fetches ? fetch_backup(config, &destination, argv[1], argv[2]) : list_destination(config, &destination);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"once", no_argument, NULL, 'o'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0}
	};
	const char *path = DEFAULT_CONFIG;
	bool		check = false;
	bool		once = false;
	Config	   *config = allocate(sizeof(Config));
	int			option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'c':
				path = optarg;
				break;
			case 'k':
				check = true;
				break;
			case 'o':
				once = true;
				break;
			case 'v':
				return puts("walwarden-runner " RUNNER_VERSION) < 0;
			case 'h':
				return fputs(usage, stdout) < 0;
			default:
				return usage_error();
		}
	if ((optind < argc && (check || once || (strcmp(argv[optind], "list") != 0 && strcmp(argv[optind], "fetch") != 0))) || (check && once))
		return usage_error();
	if (geteuid() == 0)
	{
		complain("walwarden-runner does not run as root: give it a user of its own");
		return EXIT_USAGE;
	}
	umask(077);
	clean_environment();
	if (!config_load(path, optind < argc, config))
		return EXIT_USAGE;
	if (check)
		return check_all(config);
	if (optind < argc)
		return visit_destination(config, argc - optind, argv + optind);
	return supervise(config, once);
}
