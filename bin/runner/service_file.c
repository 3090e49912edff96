/*
 * service_file.c
 *		The sections of a pg_service.conf, as libpq reads it.
 */
#include "service_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "conninfo.h"
#include "fault.h"
#include "job.h"
#include "names.h"
#include "text.h"

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
is_control(const char *conninfo, const Service *service)
{
	PQconninfoOption *control = PQconninfoParse(conninfo, NULL);
	PQconninfoOption *presets = PQconndefaults();
	const char *host = conninfo_value(control, "hostaddr");
	const char *port = conninfo_value(control, "port");
	const char *dbname = conninfo_value(control, "dbname");
	const char *user = conninfo_value(presets, "user");
	const char *preset_host = conninfo_value(presets, "host");
	const char *preset_port = conninfo_value(presets, "port");
	bool		same = false;

	if (host == NULL)
		host = conninfo_value(control, "host");
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
end_service(Faults *faults, int line, const char *key, const char *path, const char *control, Service *service)
{
	if (service->name && control && is_control(control, service))
		fault(faults, line, "%s: section [%s] in line %d of %s is the control database, which is no protected database",
			  key, service->name, service->line, path);
	free(service->name);
	free(service->host);
	free(service->port);
	free(service->dbname);
	memset(service, 0, sizeof(*service));
}

void
service_file_read(Faults *faults, int config_line, const char *key, const char *path, const char *control, Names *sections)
{
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
		char	   *entry = text_trim(text);
		char	   *value = strchr(entry, '=');

		if (*entry == '[')
		{
			char	   *end = strchr(entry, ']');

			end_service(faults, config_line, key, path, control, &service);
			if (end == NULL || (*end = '\0', !reference_is_safe(entry + 1)))
				fault(faults, config_line, "%s: line %d of %s: a section is a name in brackets: letters, digits and . _ / -", key, line, path);
			else if (strcmp(key, "targets") == 0 && strchr(entry + 1, '/'))
				fault(faults, config_line, "%s: line %d of %s: [%s] has a slash, at which the name of a target would end", key, line, path, entry + 1);
			else if (names_have(sections, entry + 1))
				fault(faults, config_line, "%s: line %d of %s: [%s] is there twice", key, line, path, entry + 1);
			else
			{
				service.name = text_copy(entry + 1);
				service.line = line;
				names_add(sections, entry + 1);
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
				fault(faults, config_line, "%s: %s has a password in it and can be read by others: chmod 600", key, path);
				readable = false;
			}
		}
	}
	end_service(faults, config_line, key, path, control, &service);
	free(text);
	(void) fclose(file);
	if (sections->count == 0)
		fault(faults, config_line, "%s: %s has no section", key, path);
}
