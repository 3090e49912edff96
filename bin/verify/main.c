/*
 * main.c
 *		walwarden-verify: judges bundles of evidence, without a server.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "report.h"
#include "stop.h"
#include "trust.h"

static const char usage[] =
"walwarden-verify judges a bundle of evidence of a walwarden server, without the server.\n"
"\n"
"Usage:\n"
"  walwarden-verify bundle --trust DIRECTORY [--json] BUNDLE\n"
"\n"
"Options:\n"
"  --trust DIRECTORY  keys of nodes, in files NAME.vkey, and if you kept one the newest\n"
"                     checkpoint, in the file checkpoint: got another way than BUNDLE\n"
"  --json             print one JSON object instead of lines\n"
"  --version          print the version and exit\n"
"  --help             print this and exit\n"
"\n"
"Prints a line for each check: OK, FAIL or SKIP, and what. Exit code: 0 if all is OK; 1 if a\n"
"check failed; 2 if the usage is wrong or something cannot be read; 3 if nothing failed, but\n"
"something could not be checked with what is there.\n";

static int
verify(const char *trust_path, const char *bundle_path, bool json)
{
	Trust		trust;
	Report		report;
	int			directory;

	trust_load(trust_path, &trust);
	directory = open(bundle_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		stop("the bundle cannot be opened: %s: %s", bundle_path, strerror(errno));
	report_begin(&report, stdout, json);
	bundle_check(directory, &trust, &report);
	close(directory);
	trust_free(&trust);
	return report_end(&report);
}

/* What is wrong with the command, then how it is. */
static int
refuse_usage(const char *problem)
{
	(void) fprintf(stderr, "walwarden-verify: %s\n\n", problem);
	(void) fputs(usage, stderr);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"trust", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0}
	};
	const char *trust = NULL;
	bool		json = false;
	int			option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 't':
				if (trust != NULL)
					return refuse_usage("--trust is given twice: put what you trust into one folder");
				trust = optarg;
				break;
			case 'j':
				json = true;
				break;
			case 'v':
				(void) puts("walwarden-verify " VERIFY_VERSION);
				return 0;
			case 'h':
				(void) fputs(usage, stdout);
				return 0;
			default:
				(void) fputs(usage, stderr);
				return EXIT_USAGE;
		}
	if (optind == argc || strcmp(argv[optind], "bundle") != 0)
		return refuse_usage("the command is missing: there is one, bundle");
	if (trust == NULL)
		return refuse_usage("--trust DIRECTORY is missing: your own folder with the keys of the nodes that you trust.\n"
							"A bundle that comes with its keys proves nothing: get them another way, and put each into\n"
							"a file NAME.vkey. The page for auditors (docs/auditors.md) tells how.");
	if (argc - optind != 2)
		return refuse_usage("name one directory, the bundle");
	return verify(trust, argv[optind + 1], json);
}
