/*
 * config.c
 *		The configuration file: lines of "key = value".
 *
 * The file holds no secret. Whatever can be known to be wrong without a connection is said
 * here, all of it at once.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "job.h"
#include "process.h"
#include "text.h"

#define BINDIR_KEY "bindir."
#define DEBIAN_BINDIR "/usr/lib/postgresql/%d/bin"
#define MAJOR_MIN 13			/* the first with pg_verifybackup */
#define MAJOR_MAX 99
#define NODE_MAX 100

const char *const config_programs[] = {"pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pg_verifybackup", "pg_amcheck", NULL};

typedef enum ValueType
{
	VALUE_CONNINFO,
	VALUE_NAME,					/* a word as in references */
	VALUE_NAMES,				/* such words, separated by commas */
	VALUE_PRIVATE_FILE,			/* readable by its owner alone */
	VALUE_SERVICE_FILE,			/* writable by its owner alone */
	VALUE_DIRECTORY,
	VALUE_OWN_DIRECTORY,		/* that we may write to */
	VALUE_NUMBER
} ValueType;

typedef struct Key
{
	const char *name;
	ValueType	type;
	size_t		offset;
	bool		required;
	int			preset;			/* of a number, with its bounds */
	int			min;
	int			max;
} Key;

#define KEY(name, type, required) {#name, type, offsetof(Config, name), required, 0, 0, 0}
#define NUMBER(name, preset, min, max) {#name, VALUE_NUMBER, offsetof(Config, name), false, preset, min, max}

static const Key keys[] = {
	KEY(control, VALUE_CONNINFO, true),
	KEY(token_file, VALUE_PRIVATE_FILE, true),
	KEY(node, VALUE_NAME, true),
	KEY(services, VALUE_SERVICE_FILE, true),
	KEY(targets, VALUE_SERVICE_FILE, false),
	KEY(allow_in_place, VALUE_NAMES, false),
	KEY(local_root, VALUE_OWN_DIRECTORY, false),
	KEY(rclone_config, VALUE_PRIVATE_FILE, false),
	KEY(signing_key, VALUE_PRIVATE_FILE, false),
	KEY(trusted_keys, VALUE_DIRECTORY, false),
	KEY(work, VALUE_OWN_DIRECTORY, true),
	NUMBER(lease, 60, 3, 3600),
	NUMBER(poll, 10, 1, 3600),
	NUMBER(max_jobs, 2, 1, 32),
	KEY(state, VALUE_OWN_DIRECTORY, true),
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

typedef struct Loader
{
	Config	   *config;
	int			line[KEY_COUNT];	/* where each key stands, or 0 */
	int			faults;
} Loader;

/* What the file says of the key at this line is wrong. Line 0: what it does not say. */
static void fault(Loader *loader, int line, const char *format,...) __attribute__((format(printf, 3, 4)));

static void
fault(Loader *loader, int line, const char *format,...)
{
	va_list		arguments;
	char	   *text;

	va_start(arguments, format);
	text = text_vformat(format, arguments);
	va_end(arguments);
	text_make_harmless(text);
	if (line > 0)
		fprintf(stderr, "%s:%d: %s\n", loader->config->path, line, text);
	else
		fprintf(stderr, "%s: %s\n", loader->config->path, text);
	free(text);
	loader->faults++;
}

static int
line_of(const Loader *loader, const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (strcmp(keys[i].name, name) == 0)
			return loader->line[i];
	return 0;
}

static char **
text_member(Config *config, const Key *key)
{
	return (char **) ((char *) config + key->offset);
}

static void
add_name(Names *names, char *name)
{
	names->name = reallocate(names->name, (names->count + 1) * sizeof(char *));
	names->name[names->count++] = name;
}

static void
free_names(Names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
	memset(names, 0, sizeof(*names));
}

/* Cuts white space off both ends. */
static char *
trim(char *text)
{
	size_t		len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		text[--len] = '\0';
	return text;
}

static bool
is_path(Loader *loader, int line, const char *name, const char *path)
{
	if (*path != '/')
		fault(loader, line, "%s: %s is not an absolute path", name, path);
	return *path == '/';
}

/* A file that nobody else may write to; private: nor read. */
static bool
check_file(const char *path, bool private, char **error)
{
	struct stat info;

	if (stat(path, &info) < 0 || access(path, R_OK) < 0)
		*error = text_format("%s: %s", path, strerror(errno));
	else if (!S_ISREG(info.st_mode))
		*error = text_format("%s is not a file", path);
	else if (info.st_uid != geteuid() && (private || info.st_uid != 0))
		*error = text_format("%s belongs to another user", path);
	else if (private && (info.st_mode & 077))
		*error = text_format("%s can be read by others: chmod 600", path);
	else if (info.st_mode & 022)
		*error = text_format("%s can be changed by others: chmod go-w", path);
	else
		return true;
	return false;
}

bool
config_private_file(const char *path, char **error)
{
	return check_file(path, true, error);
}

static bool
check_directory(const char *path, bool ours, char **error)
{
	struct stat info;

	if (stat(path, &info) < 0)
		*error = text_format("%s: %s", path, strerror(errno));
	else if (!S_ISDIR(info.st_mode))
		*error = text_format("%s is not a directory", path);
	else if (ours && access(path, R_OK | W_OK | X_OK) < 0)
		*error = text_format("%s cannot be written to by this user", path);
	else
		return true;
	return false;
}

/* The value of a keyword of a connection string, or NULL. */
static const char *
option_value(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val && *o->val ? o->val : NULL;
	return NULL;
}

static void
check_conninfo(Loader *loader, int line, const char *name, const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	/* libpq's own message would quote the text */
	if (options == NULL)
	{
		fault(loader, line, "%s is not a connection string", name);
		return;
	}
	if (option_value(options, "service"))
		fault(loader, line, "%s names a service: services are the protected databases; write the connection itself", name);
	if (option_value(options, "password") || option_value(options, "sslpassword"))
		fault(loader, line, "%s has a password in it: use passfile, a certificate, or peer authentication", name);
	if (option_value(options, "dbname") == NULL)
		fault(loader, line, "%s has no dbname", name);
	PQconninfoFree(options);
}

static void
set_names(Loader *loader, int line, const Key *key, char *value)
{
	Names	   *names = (Names *) ((char *) loader->config + key->offset);
	char	   *rest = value;
	char	   *name;

	while ((name = strsep(&rest, ",")) != NULL)
	{
		name = trim(name);
		if (!reference_is_safe(name))
			fault(loader, line, "%s: \"%s\" is not a name", key->name, name);
		else
			add_name(names, text_copy(name));
	}
}

static void
set_value(Loader *loader, int line, const Key *key, char *value)
{
	char	   *error = NULL;
	int64_t		number;

	switch (key->type)
	{
		case VALUE_NUMBER:
			if (!text_to_int(value, key->min, key->max, &number))
				fault(loader, line, "%s: \"%s\" is not a whole number from %d to %d", key->name, value, key->min, key->max);
			else
				*(int *) ((char *) loader->config + key->offset) = (int) number;
			return;
		case VALUE_NAMES:
			set_names(loader, line, key, value);
			return;
		case VALUE_CONNINFO:
			check_conninfo(loader, line, key->name, value);
			break;
		case VALUE_NAME:
			if (!reference_is_safe(value) || strchr(value, '/') || strlen(value) > NODE_MAX)
				fault(loader, line, "%s: \"%s\" is not a name: use at most %d letters, digits and . _ -", key->name, value, NODE_MAX);
			break;
		case VALUE_PRIVATE_FILE:
			if (is_path(loader, line, key->name, value))
				config_private_file(value, &error);
			break;
		case VALUE_SERVICE_FILE:
			if (is_path(loader, line, key->name, value))
				check_file(value, false, &error);
			break;
		case VALUE_DIRECTORY:
		case VALUE_OWN_DIRECTORY:
			if (is_path(loader, line, key->name, value))
				check_directory(value, key->type == VALUE_OWN_DIRECTORY, &error);
			break;
	}
	if (error)
		fault(loader, line, "%s: %s", key->name, error);
	free(error);
	*text_member(loader->config, key) = text_copy(value);
}

/* Whether a directory has all programs; *missing is one that it has not. */
static bool
has_programs(const char *directory, char **missing)
{
	for (const char *const *program = config_programs; *program; program++)
	{
		char	   *path = text_format("%s/%s", directory, *program);

		if (access(path, X_OK) < 0)
		{
			*missing = path;
			return false;
		}
		free(path);
	}
	return true;
}

/* bindir.15 = DIRECTORY */
static void
set_bindir(Loader *loader, int line, const char *key, const char *value)
{
	Config	   *config = loader->config;
	int64_t		major;
	char	   *missing;

	if (!text_to_int(key + strlen(BINDIR_KEY), MAJOR_MIN, MAJOR_MAX, &major))
		fault(loader, line, "%s: name the major version of a server, such as bindir.15", key);
	else if (config_bindir(config, (int) major))
		fault(loader, line, "%s is given twice", key);
	else if (is_path(loader, line, key, value))
	{
		if (!has_programs(value, &missing))
		{
			fault(loader, line, "%s: %s: %s", key, missing, strerror(errno));
			free(missing);
		}
		add_name(&config->bindir, text_format("%d=%s", (int) major, value));
	}
}

/* Without bindir: those that Debian's packages have put there. */
static void
find_bindirs(Loader *loader)
{
	for (int major = MAJOR_MIN; major <= MAJOR_MAX; major++)
	{
		char	   *directory = text_format(DEBIAN_BINDIR, major);
		char	   *missing;

		if (has_programs(directory, &missing))
			add_name(&loader->config->bindir, text_format("%d=%s", major, directory));
		else
			free(missing);
		free(directory);
	}
	if (loader->config->bindir.count == 0)
		fault(loader, 0, "bindir.MAJOR is missing, and /usr/lib/postgresql has no programs either");
}

static void
read_line(Loader *loader, int line, char *text)
{
	char	   *equals;
	char	   *name;
	char	   *value;

	name = trim(text);
	if (*name == '\0' || *name == '#' || *name == ';')
		return;
	equals = strchr(name, '=');
	if (equals == NULL)
	{
		fault(loader, line, "this is not \"key = value\"");
		return;
	}
	*equals = '\0';
	value = trim(equals + 1);
	name = trim(name);
	if (*value == '\0')
	{
		fault(loader, line, "%s has no value", name);
		return;
	}
	if (text_begins(name, BINDIR_KEY))
	{
		set_bindir(loader, line, name, value);
		return;
	}
	for (size_t i = 0; i < KEY_COUNT; i++)
	{
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (loader->line[i])
			fault(loader, line, "%s is given twice; line %d has it already", name, loader->line[i]);
		else
		{
			loader->line[i] = line;
			set_value(loader, line, &keys[i], value);
		}
		return;
	}
	fault(loader, line, "unknown key \"%s\"", name);
}

/* One section of a service file: where it leads to. */
typedef struct Service
{
	char	   *name;
	int			line;
	char	   *host;
	char	   *port;
	char	   *dbname;
} Service;

/* Whether a section leads to the control database, as far as names tell. */
static bool
is_control(const Config *config, const Service *service)
{
	PQconninfoOption *control = PQconninfoParse(config->control, NULL);
	PQconninfoOption *presets = PQconndefaults();
	const char *host = option_value(control, "hostaddr");
	const char *port = option_value(control, "port");
	const char *dbname = option_value(control, "dbname");
	const char *user = option_value(presets, "user");
	const char *preset_host = option_value(presets, "host");
	const char *preset_port = option_value(presets, "port");
	bool		same = false;

	if (host == NULL)
		host = option_value(control, "host");
	if (host == NULL)
		host = preset_host ? preset_host : "";
	if (port == NULL)
		port = preset_port ? preset_port : "";
	if (control && dbname)
	{
		const char *their_host = service->host ? service->host : preset_host ? preset_host : "";
		const char *their_port = service->port ? service->port : preset_port ? preset_port : "";
		const char *their_dbname = service->dbname ? service->dbname : user ? user : "";

		same = strcasecmp(host, their_host) == 0 && strcmp(port, their_port) == 0 && strcmp(dbname, their_dbname) == 0;
	}
	PQconninfoFree(control);
	PQconninfoFree(presets);
	return same;
}

static void
end_service(Loader *loader, const char *path, Service *service)
{
	if (service->name && loader->config->control && is_control(loader->config, service))
		fault(loader, line_of(loader, "services"), "services: section [%s] in line %d of %s is the control database, which is no protected database",
			  service->name, service->line, path);
	free(service->name);
	free(service->host);
	free(service->port);
	free(service->dbname);
	memset(service, 0, sizeof(*service));
}

/* The sections of a service file, as libpq reads it. */
static void
read_sections(Loader *loader, const char *key, const char *path, Names *sections)
{
	int			config_line = line_of(loader, key);
	FILE	   *file = fopen(path, "re");
	Service		service = {0};
	char	   *text = NULL;
	size_t		room = 0;
	struct stat info;
	bool		readable;

	/* that it cannot be opened has been said */
	if (file == NULL)
		return;
	readable = fstat(fileno(file), &info) == 0 && (info.st_mode & 044);
	for (int line = 1; getline(&text, &room, file) >= 0; line++)
	{
		char	   *entry = trim(text);
		char	   *value = strchr(entry, '=');

		if (*entry == '[')
		{
			char	   *end = strchr(entry, ']');

			end_service(loader, path, &service);
			if (end == NULL || (*end = '\0', !reference_is_safe(entry + 1)))
				fault(loader, config_line, "%s: line %d of %s: a section is a name in brackets: letters, digits and . _ / -", key, line, path);
			else if (text_is_among(entry + 1, sections->name, sections->count))
				fault(loader, config_line, "%s: line %d of %s: [%s] is there twice", key, line, path, entry + 1);
			else
			{
				service.name = text_copy(entry + 1);
				service.line = line;
				add_name(sections, text_copy(entry + 1));
			}
		}
		else if (*entry && *entry != '#' && value)
		{
			char	  **member;

			*value++ = '\0';
			member = strcmp(entry, "host") == 0 || strcmp(entry, "hostaddr") == 0 ? &service.host :
				strcmp(entry, "port") == 0 ? &service.port :
				strcmp(entry, "dbname") == 0 ? &service.dbname : NULL;
			if (member)
			{
				free(*member);
				*member = text_copy(value);
			}
			if (readable && strcmp(entry, "password") == 0)
			{
				fault(loader, config_line, "%s: %s has a password in it and can be read by others: chmod 600", key, path);
				readable = false;
			}
		}
	}
	end_service(loader, path, &service);
	free(text);
	fclose(file);
	if (sections->count == 0)
		fault(loader, config_line, "%s: %s has no section", key, path);
}

/* Whether one of two directories contains the other. */
static bool
overlap(const char *a, const char *b)
{
	size_t		a_len = strlen(a);
	size_t		b_len = strlen(b);
	size_t		len = a_len < b_len ? a_len : b_len;

	return strncmp(a, b, len) == 0 && (a_len == b_len || (a_len > len ? a : b)[len] == '/');
}

/* What keys have to do with each other. */
static void
check_together(Loader *loader)
{
	Config	   *config = loader->config;
	const struct
	{
		const char *key;
		const char *path;
	}			directories[] = {{"work", config->work}, {"state", config->state}, {"local_root", config->local_root}, {"trusted_keys", config->trusted_keys}};

	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].required && loader->line[i] == 0)
			fault(loader, 0, "%s is missing", keys[i].name);
	if (config->bindir.count == 0 && loader->faults == 0)
		find_bindirs(loader);
	if (config->services)
		read_sections(loader, "services", config->services, &config->service_sections);
	if (config->targets)
		read_sections(loader, "targets", config->targets, &config->target_sections);
	for (size_t i = 0; i < config->allow_in_place.count; i++)
		if (!text_is_among(config->allow_in_place.name[i], config->target_sections.name, config->target_sections.count))
			fault(loader, line_of(loader, "allow_in_place"), "allow_in_place: targets has no section [%s]", config->allow_in_place.name[i]);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		for (size_t j = 0; j < i; j++)
			if (directories[i].path && directories[j].path && overlap(directories[i].path, directories[j].path))
				fault(loader, line_of(loader, directories[i].key), "%s: %s overlaps with %s", directories[i].key, directories[i].path, directories[j].key);
	if (config->rclone_config)
	{
		char	   *rclone = process_find("rclone");

		if (rclone == NULL)
			fault(loader, line_of(loader, "rclone_config"), "rclone_config: rclone is not on the PATH");
		free(rclone);
	}
}

bool
config_load(const char *path, Config *config)
{
	Loader		loader = {.config = config};
	FILE	   *file;
	char	   *text = NULL;
	char	   *error = NULL;
	size_t		room = 0;

	memset(config, 0, sizeof(*config));
	config->path = text_copy(path);
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].type == VALUE_NUMBER)
			*(int *) ((char *) config + keys[i].offset) = keys[i].preset;
	if (!check_file(path, false, &error) || (file = fopen(path, "re")) == NULL)
	{
		fprintf(stderr, "%s\n", error ? error : strerror(errno));
		free(error);
		return false;
	}
	for (int line = 1; getline(&text, &room, file) >= 0; line++)
		read_line(&loader, line, text);
	free(text);
	fclose(file);
	check_together(&loader);
	return loader.faults == 0;
}

void
config_free(Config *config)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].type != VALUE_NUMBER && keys[i].type != VALUE_NAMES)
			free(*text_member(config, &keys[i]));
	free_names(&config->allow_in_place);
	free_names(&config->bindir);
	free_names(&config->service_sections);
	free_names(&config->target_sections);
	free(config->path);
	memset(config, 0, sizeof(*config));
}

const char *
config_bindir(const Config *config, int major)
{
	char		prefix[16];

	snprintf(prefix, sizeof(prefix), "%d=", major);
	for (size_t i = 0; i < config->bindir.count; i++)
		if (text_begins(config->bindir.name[i], prefix))
			return config->bindir.name[i] + strlen(prefix);
	return NULL;
}

bool
config_allows_in_place(const Config *config, const char *section)
{
	return text_is_among(section, config->allow_in_place.name, config->allow_in_place.count);
}
