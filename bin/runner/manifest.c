/*
 * manifest.c
 *		The manifest of a backup.
 *
 * The signature is that of the canonical bytes of the object without "signature".
 */
#include "manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "job.h"
#include "json.h"
#include "key.h"
#include "names.h"
#include "text.h"
#include "trust.h"

#define FORMAT "walwarden/manifest/v1"

char *
manifest_stem(const char *database_id, const char *job_id, int64_t fence)
{
	return text_format("%s/%s.%lld", database_id, job_id, (long long) fence);
}

static void
add_member(Buffer *out, const char *key, const char *value)
{
	buffer_format(out, "%s\"%s\":", out->len > 0 && out->data[out->len - 1] != '{' ? "," : "", key);
	buffer_json(out, value);
}

static void
add_object(Buffer *out, const char *key, const ManifestObject *object, int64_t tables)
{
	if (object->name == NULL)
		return;
	buffer_format(out, ",\"%s\":{", key);
	add_member(out, "name", object->name);
	add_member(out, "checksumSha256", object->digest.sha256);
	buffer_format(out, ",\"sizeBytes\":%lld", (long long) object->digest.size);
	if (tables >= 0)
		buffer_format(out, ",\"tables\":%lld", (long long) tables);
	buffer_text(out, "}");
}

/* Without a signature. */
static void
render(const Manifest *m, const char *public_key, Buffer *out)
{
	buffer_text(out, "{");
	add_member(out, "format", FORMAT);
	add_member(out, "orgId", m->org_id);
	add_member(out, "jobId", m->job_id);
	buffer_format(out, ",\"fence\":%lld", (long long) m->fence);
	add_member(out, "databaseId", m->database_id);
	add_member(out, "database", m->database);
	buffer_text(out, ",\"engine\":{");
	add_member(out, "name", "postgresql");
	add_member(out, "method", m->method);
	add_member(out, "version", m->engine_version);
	buffer_text(out, ",\"options\":[");
	for (size_t i = 0; i < m->options.count; i++)
	{
		buffer_text(out, i > 0 ? "," : "");
		buffer_json(out, m->options.name[i]);
	}
	buffer_text(out, "]}");
	add_member(out, "serverVersion", m->server_version);
	add_member(out, "systemIdentifier", m->system_identifier);
	buffer_text(out, ",\"snapshot\":{");
	add_member(out, "time", m->time);
	add_member(out, "lsn", m->lsn);
	buffer_text(out, "}");
	add_object(out, "artifact", &m->artifact, -1);
	add_object(out, "rows", &m->rows, m->tables);
	add_object(out, "roles", &m->roles, -1);
	add_member(out, "node", m->node);
	if (public_key)
		add_member(out, "publicKey", public_key);
	buffer_text(out, "}");
	json_make_canonical(out);
}

bool
manifest_write(const Config *config, const Manifest *manifest, Buffer *out, char **error)
{
	SigningKey *key = NULL;
	char	   *public_key = NULL;

	if (config->signing_key)
	{
		key = key_load(config->signing_key, error);
		if (key == NULL)
			return false;
		public_key = key_public(key);
	}
	render(manifest, public_key, out);
	if (key)
	{
		char	   *signature = key_sign(key, out->data, out->len);

		/* in the place of the closing brace */
		out->data[--out->len] = '\0';
		add_member(out, "signature", signature);
		buffer_text(out, "}");
		json_make_canonical(out);
		free(signature);
	}
	free(public_key);
	key_free(key);
	if (out->len <= MANIFEST_MAX)
		return true;
	*error = text_format("the manifest has more than %d bytes", MANIFEST_MAX);
	return false;
}

static bool
read_object(Json text, const char *key, const char *stem, const char *suffix, ManifestObject *object)
{
	Json		member = json_member(text, key);
	char	   *sha256;
	char	   *name;
	bool		valid;

	object->name = json_text(json_member(member, "name"));
	sha256 = json_text(json_member(member, "checksumSha256"));
	name = text_format("%s%s", stem, suffix);
	valid = object->name && strcmp(object->name, name) == 0 && sha256 && sha256_is_well_formed(sha256) &&
		json_count(json_member(member, "sizeBytes"), &object->digest.size);
	if (valid)
		memcpy(object->digest.sha256, sha256, sizeof(object->digest.sha256));
	free(sha256);
	free(name);
	return valid;
}

Trust
manifest_parse(const Config *config, const char *data, size_t len, Manifest *m, char **error)
{
	Json		text = {data, len};
	Json		engine;
	Json		snapshot;
	char	   *format = NULL;
	char	   *stem = NULL;
	char	   *public_key;
	Trust		trust;
	bool		valid;

	memset(m, 0, sizeof(*m));
	valid = json_is_canonical(text);
	if (valid)
	{
		engine = json_member(text, "engine");
		snapshot = json_member(text, "snapshot");
		format = json_text(json_member(text, "format"));
		m->org_id = json_text(json_member(text, "orgId"));
		m->job_id = json_text(json_member(text, "jobId"));
		m->database_id = json_text(json_member(text, "databaseId"));
		m->database = json_text(json_member(text, "database"));
		m->method = json_text(json_member(engine, "method"));
		m->engine_version = json_text(json_member(engine, "version"));
		m->server_version = json_text(json_member(text, "serverVersion"));
		m->system_identifier = json_text(json_member(text, "systemIdentifier"));
		m->time = json_text(json_member(snapshot, "time"));
		m->lsn = json_text(json_member(snapshot, "lsn"));
		m->node = json_text(json_member(text, "node"));
		valid = format && strcmp(format, FORMAT) == 0 && m->org_id && m->job_id && m->database_id && m->database && m->method &&
			m->engine_version && m->server_version && m->system_identifier && m->time && m->lsn && m->node &&
			reference_is_safe(m->database_id) && reference_is_safe(m->job_id) && json_count(json_member(text, "fence"), &m->fence);
	}
	if (valid)
	{
		/*
		 * the names follow from the rest: no manifest leads to the objects of
		 * another
		 */
		stem = manifest_stem(m->database_id, m->job_id, m->fence);
		if (strcmp(m->method, METHOD_DUMP) == 0)
			valid = read_object(text, "artifact", stem, SUFFIX_DUMP, &m->artifact) &&
				read_object(text, "rows", stem, SUFFIX_ROWS, &m->rows) &&
				read_object(text, "roles", stem, SUFFIX_ROLES, &m->roles) &&
				json_count(json_member(json_member(text, "rows"), "tables"), &m->tables);
		else
			valid = strcmp(m->method, METHOD_BASE) == 0 && read_object(text, "artifact", stem, SUFFIX_BASE, &m->artifact);
		free(stem);
	}
	free(format);
	if (!valid)
	{
		manifest_free(m);
		*error = text_copy("it is not a manifest in canonical JSON");
		return TRUST_MALFORMED;
	}
	public_key = json_text(json_member(text, "publicKey"));
	trust = trust_in(config, m->node, public_key, data, len, error);
	free(public_key);
	return trust;
}

int
manifest_major(const Manifest *m)
{
	long		major = strtol(m->server_version, NULL, 10);

	return major > 0 && major < 1000 ? (int) major : 0;
}

void
manifest_free(Manifest *m)
{
	char	   *texts[] = {m->org_id, m->job_id, m->database_id, m->database, m->method, m->engine_version, m->server_version,
	m->system_identifier, m->time, m->lsn, m->node, m->artifact.name, m->rows.name, m->roles.name};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	names_free(&m->options);
	memset(m, 0, sizeof(*m));
}
