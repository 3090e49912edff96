/*
 * config.c
 *		The configuration file: lines of "key = value".
 *
 * The file holds no secret. Whatever can be known to be wrong without a connection is said
 * here, all of it at once.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "bindir.h"
#include "conninfo.h"
#include "fault.h"
#include "job.h"
#include "log.h"
#include "names.h"
#include "permissions.h"
#include "process.h"
#include "service_file.h"
#include "text.h"

#define NODE_MAX 100

typedef enum ValueType
{
	VALUE_CONNINFO,
	VALUE_NAME,					/* a word as in references */
	VALUE_NAMES,				/* such words, separated by commas */
	VALUE_PRIVATE_FILE,			/* readable by its owner alone */
	VALUE_SERVICE_FILE,			/* writable by its owner alone */
	VALUE_GUARDED_DIRECTORY,	/* that nobody else may write to */
	VALUE_SHARED_DIRECTORY,		/* that we may write to */
	VALUE_OWN_DIRECTORY,		/* both */
	VALUE_NUMBER
} ValueType;

typedef struct Key
{
	const char *name;
	ValueType	type;
	size_t		offset;
	bool		required;
	bool		reads;			/* what it takes to read a destination */
	int			preset;			/* of a number, with its bounds */
	int			min;
	int			max;
} Key;

#define KEY(name, type, required) {#name, type, offsetof(Config, name), required, false, 0, 0, 0}
#define READS(name, type) {#name, type, offsetof(Config, name), false, true, 0, 0, 0}
#define NUMBER(name, preset, min, max) {#name, VALUE_NUMBER, offsetof(Config, name), false, false, preset, min, max}

static const Key keys[] = {
	KEY(control, VALUE_CONNINFO, true),
	KEY(token_file, VALUE_PRIVATE_FILE, true),
	KEY(node, VALUE_NAME, true),
	KEY(services, VALUE_SERVICE_FILE, true),
	KEY(targets, VALUE_SERVICE_FILE, false),
	KEY(allow_in_place, VALUE_NAMES, false),
	READS(local_root, VALUE_SHARED_DIRECTORY),
	READS(rclone_config, VALUE_PRIVATE_FILE),
	KEY(signing_key, VALUE_PRIVATE_FILE, false),
	READS(trusted_keys, VALUE_GUARDED_DIRECTORY),
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
	bool		destination_only;
	int			line[KEY_COUNT];	/* where each key stands, or 0 */
	Faults		faults;
} Loader;

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

static bool
is_path(Loader *loader, int line, const char *name, const char *path)
{
	if (*path != '/')
		fault(&loader->faults, line, "%s: %s is not an absolute path", name, path);
	return *path == '/';
}

static void
check_conninfo(Loader *loader, int line, const char *name, const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	/* libpq's own message would quote the text */
	if (options == NULL)
	{
		fault(&loader->faults, line, "%s is not a connection string", name);
		return;
	}
	if (conninfo_value(options, "service"))
		fault(&loader->faults, line, "%s names a service: services are the protected databases; write the connection itself", name);
	if (conninfo_value(options, "password") || conninfo_value(options, "sslpassword"))
		fault(&loader->faults, line, "%s has a password in it: use passfile, a certificate, or peer authentication", name);
	if (conninfo_value(options, "dbname") == NULL)
		fault(&loader->faults, line, "%s has no dbname", name);
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
		name = text_trim(name);
		if (!reference_is_safe(name))
			fault(&loader->faults, line, "%s: \"%s\" is not a name", key->name, name);
		else
			names_add(names, name);
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
				fault(&loader->faults, line, "%s: \"%s\" is not a whole number from %d to %d", key->name, value, key->min, key->max);
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
			if (!name_is_safe(value) || strlen(value) > NODE_MAX)
				fault(&loader->faults, line, "%s: \"%s\" is not a name: use at most %d letters, digits and . _ -", key->name, value, NODE_MAX);
			break;
		case VALUE_PRIVATE_FILE:
			if (is_path(loader, line, key->name, value))
				file_is_guarded(value, true, &error);
			break;
		case VALUE_SERVICE_FILE:
			if (is_path(loader, line, key->name, value))
				file_is_guarded(value, false, &error);
			break;
		case VALUE_GUARDED_DIRECTORY:
		case VALUE_SHARED_DIRECTORY:
		case VALUE_OWN_DIRECTORY:
			if (is_path(loader, line, key->name, value))
				directory_is_usable(value, key->type != VALUE_SHARED_DIRECTORY,
									key->type != VALUE_GUARDED_DIRECTORY && !loader->destination_only, &error);
			break;
	}
	if (error)
		fault(&loader->faults, line, "%s: %s", key->name, error);
	free(error);
	*text_member(loader->config, key) = text_copy(value);
}

static void
read_line(Loader *loader, int line, char *text)
{
	char	   *equals;
	char	   *name;
	char	   *value;

	name = text_trim(text);
	if (*name == '\0' || *name == '#' || *name == ';')
		return;
	equals = strchr(name, '=');
	if (equals == NULL)
	{
		fault(&loader->faults, line, "this is not \"key = value\"");
		return;
	}
	*equals = '\0';
	value = text_trim(equals + 1);
	name = text_trim(name);
	if (*value == '\0')
	{
		fault(&loader->faults, line, "%s has no value", name);
		return;
	}
	if (text_begins(name, BINDIR_KEY))
	{
		if (!loader->destination_only)
			bindir_set(&loader->config->bindirs, &loader->faults, line, name, value);
		return;
	}
	for (size_t i = 0; i < KEY_COUNT; i++)
	{
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (loader->line[i])
			fault(&loader->faults, line, "%s is given twice; line %d has it already", name, loader->line[i]);
		else
		{
			loader->line[i] = line;
			if (keys[i].reads || !loader->destination_only)
				set_value(loader, line, &keys[i], value);
		}
		return;
	}
	fault(&loader->faults, line, "unknown key \"%s\"", name);
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
		if (keys[i].required && !loader->destination_only && loader->line[i] == 0)
			fault(&loader->faults, 0, "%s is missing", keys[i].name);
	if (config->bindirs.count == 0 && !loader->destination_only && loader->faults.count == 0)
		bindir_find(&config->bindirs, &loader->faults);
	if (config->services)
		service_file_read(&loader->faults, line_of(loader, "services"), "services", config->services, config->control, &config->service_sections);
	if (config->targets)
		service_file_read(&loader->faults, line_of(loader, "targets"), "targets", config->targets, config->control, &config->target_sections);
	for (size_t i = 0; i < config->allow_in_place.count; i++)
		if (!names_have(&config->target_sections, config->allow_in_place.name[i]))
			fault(&loader->faults, line_of(loader, "allow_in_place"), "allow_in_place: targets has no section [%s]", config->allow_in_place.name[i]);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		for (size_t j = 0; j < i; j++)
			if (directories[i].path && directories[j].path && overlap(directories[i].path, directories[j].path))
				fault(&loader->faults, line_of(loader, directories[i].key), "%s: %s overlaps with %s", directories[i].key, directories[i].path, directories[j].key);
	if (config->rclone_config)
	{
		char	   *rclone = process_find("rclone");

		if (rclone == NULL)
			fault(&loader->faults, line_of(loader, "rclone_config"), "rclone_config: rclone is not on the PATH");
		free(rclone);
	}
}

bool
config_load(const char *path, bool destination_only, Config *config)
{
	Loader		loader = {.config = config,.destination_only = destination_only,.faults = {.path = path}};
	FILE	   *file;
	char	   *text = NULL;
	char	   *error = NULL;
	size_t		room = 0;

	memset(config, 0, sizeof(*config));
	config->path = text_copy(path);
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].type == VALUE_NUMBER)
			*(int *) ((char *) config + keys[i].offset) = keys[i].preset;
	if (!file_is_guarded(path, false, &error) || (file = fopen(path, "re")) == NULL)
	{
		complain("%s", error ? error : strerror(errno));
		free(error);
		return false;
	}
	for (int line = 1; getline(&text, &room, file) >= 0; line++)
		read_line(&loader, line, text);
	if (ferror(file))
		fault(&loader.faults, 0, "%s", strerror(errno));
	free(text);
	(void) fclose(file);
	check_together(&loader);
	return loader.faults.count == 0;
}

void
config_free(Config *config)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].type != VALUE_NUMBER && keys[i].type != VALUE_NAMES)
			free(*text_member(config, &keys[i]));
	bindir_free(&config->bindirs);
	names_free(&config->allow_in_place);
	names_free(&config->service_sections);
	names_free(&config->target_sections);
	free(config->path);
	memset(config, 0, sizeof(*config));
}

bool
config_allows_in_place(const Config *config, const char *section)
{
	return names_have(&config->allow_in_place, section);
}
