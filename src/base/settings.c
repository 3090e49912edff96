/*
 * settings.c
 *		The settings of the library.
 *
 * Invariant: users cannot raise their own limits. What the worker and shared memory read
 * are SIGHUP settings; what may differ by database is for superusers. Without preload the
 * server knows none of them until the library is loaded, and takes every value from anybody
 * until then. A value that it then rejects counts as an error, not as no limit.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/export.h"
#include "base/refuse.h"
#include "base/settings.h"

int			walwarden_audit_lock_timeout = 10000;
bool		walwarden_early_lock_release = false;
int			walwarden_usage_flush_interval = 10;
int			walwarden_maintenance_interval = 60;
int			walwarden_idempotency_retention = 86400;
int			walwarden_max_limited_tokens = 1024;
int			walwarden_max_standby_lag = 0;
int			walwarden_session_idle_timeout = 3600;
char	   *walwarden_primary_conninfo = NULL;
char	   *walwarden_subject_claim = NULL;
char	   *walwarden_jwt_issuer = NULL;
char	   *walwarden_jwt_audience = NULL;

static int	walwarden_max_token_lifetime = 0;
static int	walwarden_max_tokens_per_org = 10000;
static int	walwarden_session_lifetime = 43200;
static int	walwarden_verify_interval = 86400;
static char *walwarden_base_url = NULL;

/* What SQL reads, by setting(). */
static const struct
{
	const char *name;
	const int  *value;
}			readable[] = {
	{"idempotency_retention", &walwarden_idempotency_retention},
	{"max_token_lifetime", &walwarden_max_token_lifetime},
	{"max_tokens_per_org", &walwarden_max_tokens_per_org},
	{"session_lifetime", &walwarden_session_lifetime},
	{"verify_interval", &walwarden_verify_interval},
};

/* Those of them that had a value before the library was loaded; NULL for the others. */
static const struct config_generic *early[lengthof(readable)];

/* The setting with this name, without the prefix; NULL if the server does not know it. */
static const struct config_generic *
find_setting(const char *name)
{
	int			count;
	struct config_generic **settings = compat_settings(&count);
	char	   *full_name = psprintf("walwarden.%s", name);

	for (int i = 0; i < count; i++)
		if (strcmp(settings[i]->name, full_name) == 0)
			return settings[i];
	return NULL;
}

/*
 * Look at the values that were given before the library was loaded. One from the options of
 * the connection has replaced that of the database, and is lost as soon as the setting is
 * defined, which only superusers may set: then the session has no value that counts.
 */
static void
check_early_values(void)
{
	int			count;
	struct config_generic **settings = compat_settings(&count);

	for (int i = 0; i < count; i++)
		if (strncmp(settings[i]->name, "walwarden.", 10) == 0 && settings[i]->reset_source == PGC_S_CLIENT && settings[i]->reset_scontext == PGC_BACKEND)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set parameter \"%s\"", settings[i]->name),
					 errhint("Connect again without it in the options of the connection.")));
}

/* Whether a text is empty, or the address of a page that /signin can be appended to. */
static bool
check_base_url(char **value, void **extra, GucSource source)
{
	const char *url = *value;
	size_t		len = strlen(url);
	size_t		scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;

	if (len == 0)
		return true;
	if (scheme > 0 && url[scheme] != '/' && url[scheme] != '\0' && url[len - 1] != '/' &&
		strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]") == len)
		return true;
	GUC_check_errhint("Give the address that people use, for example https://walwarden.example.com, without a slash at the end.");
	return false;
}

/* Whether a text is the name of a claim. */
static bool
check_claim(char **value, void **extra, GucSource source)
{
	size_t		len = strlen(*value);

	if (len > 0 && len <= 255 && strspn(*value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/") == len)
		return true;
	GUC_check_errhint("Give the name of a claim, for example sub or email.");
	return false;
}

#define CONNINFO_SPACE " \t\n\v\f\r"

/* The end of a value of libpq, or NULL if what is appended after it could be taken for a part of it. */
static const char *
skip_conninfo_value(const char *p)
{
	bool		quoted = *p == '\'';

	if (*p == '\0')
		return NULL;
	for (p += quoted; *p != '\0'; p++)
	{
		if (quoted ? *p == '\'' : strchr(CONNINFO_SPACE, *p) != NULL)
			return p + quoted;
		if (*p == '\\' && *++p == '\0')
			return NULL;
	}
	return quoted ? NULL : p;
}

/*
 * Whether a keyword must not be in the value: the worker appends dbname, and everybody can read
 * a secret there until the library is loaded.
 */
static bool
is_forbidden_keyword(const char *keyword, size_t len)
{
	static const char *const forbidden[] = {"dbname", "password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"};

	for (int i = 0; i < lengthof(forbidden); i++)
		if (len == strlen(forbidden[i]) && memcmp(keyword, forbidden[i], len) == 0)
			return true;
	return false;
}

/*
 * Whether a text is empty or consists of keywords and values of libpq, which the worker can
 * append dbname to. An address with "://" does not. The value may contain a password, so no
 * message has any part of it.
 */
static bool
check_conninfo(char **value, void **extra, GucSource source)
{
	const char *p = *value;

	if (*p == '\0')
		return true;
	p += strspn(p, CONNINFO_SPACE);
	if (*p == '\0')
		p = NULL;
	while (p != NULL && *p != '\0')
	{
		size_t		len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");
		const char *equals = p + len + strspn(p + len, CONNINFO_SPACE);

		if (len == 0 || *equals != '=' || is_forbidden_keyword(p, len))
			break;
		p = skip_conninfo_value(equals + 1 + strspn(equals + 1, CONNINFO_SPACE));
		if (p != NULL)
			p += strspn(p, CONNINFO_SPACE);
	}
	if (p != NULL && *p == '\0')
		return true;
	GUC_check_errmsg("invalid value for parameter \"walwarden.primary_conninfo\"");
	GUC_check_errhint("Give keywords and values of libpq without dbname and secrets, for example host=10.0.0.1 user=replicator passfile=/etc/walwarden/pgpass.");
	return false;
}

void
settings_init(void)
{
	bool		was_set[lengthof(readable)];

	check_early_values();
	for (int i = 0; i < lengthof(readable); i++)
		was_set[i] = find_setting(readable[i].name) != NULL;
	DefineCustomIntVariable("walwarden.audit_lock_timeout",
							"Sets the maximum time to wait for the lock of an audit chain, an organisation, a token, a legacy credential or a REST request.",
							"A statement that waits longer fails. If lock_timeout is shorter, it applies instead; 0 leaves the wait to lock_timeout alone.",
							&walwarden_audit_lock_timeout,
							10000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.base_url",
							   "Sets the address under which people reach this server, for the links of sign_in_link().",
							   "For example https://walwarden.example.com. If it is empty, sign_in_link() returns the code alone.",
							   &walwarden_base_url,
							   "",
							   PGC_SUSET, 0,
							   check_base_url, NULL, NULL);
	DefineCustomBoolVariable("walwarden.early_lock_release",
							 "Releases the lock of an audit chain before the commit is flushed to disk.",
							 "Clients that append to one chain can then share a flush. A commit is still acknowledged only when it is durable, but others can see it a moment before.",
							 &walwarden_early_lock_release,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.idempotency_retention",
							"Sets how long REST v1 keeps the response to a change, to return it again for the same Idempotency-Key.",
							NULL,
							&walwarden_idempotency_retention,
							86400, 60, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.jwt_audience",
							   "Sets the audience that a JWT must have in its claim aud, for example the client id at the identity provider.",
							   "If this or walwarden.jwt_issuer is empty, nobody signs in by a JWT. If one of the two is set, the claims exp, iss and aud are checked wherever a JWT identifies a member.",
							   &walwarden_jwt_audience,
							   "",
							   PGC_SUSET, 0,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.jwt_issuer",
							   "Sets the issuer that a JWT must have in its claim iss, byte for byte.",
							   "If this or walwarden.jwt_audience is empty, nobody signs in by a JWT.",
							   &walwarden_jwt_issuer,
							   "",
							   PGC_SUSET, 0,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.maintenance_interval",
							"Sets the time between the maintenance rounds of the background worker.",
							"Requires shared_preload_libraries. Without it, call run_maintenance().",
							&walwarden_maintenance_interval,
							60, 1, 7 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	/* it sizes shared memory; without preload it means nothing */
	DefineCustomIntVariable("walwarden.max_limited_tokens",
							"Sets the maximum number of tokens with a rate limit that can be in use within a minute.",
							"It counts the tokens of all databases. A token for which there is no place is refused. An organisation gets another place only while it has fewer than three times as many as are free. A place takes about 200 bytes of shared memory. Requires shared_preload_libraries.",
							&walwarden_max_limited_tokens,
							1024, 1, 1000000,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.max_standby_lag",
							"Sets how far a hot standby may be behind before it answers requests over HTTP with 503.",
							"A standby is behind if it is not connected, if it has not heard from its primary for longer than this, or if it has not applied what the primary committed longer ago than this. Zero sets no limit. Choose more than wal_receiver_timeout, and more than the clocks of the servers can differ.",
							&walwarden_max_standby_lag,
							0, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.max_token_lifetime",
							"Sets the maximum lifetime of tokens of kind api, in every organisation.",
							"Zero sets no maximum. It counts from issue, renewal or enabling. set_token_policy() sets a maximum for one organisation; the lower one applies.",
							&walwarden_max_token_lifetime,
							0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.max_tokens_per_org",
							"Sets the maximum number of tokens in an organisation.",
							"Revoked and removed tokens do not count.",
							&walwarden_max_tokens_per_org,
							10000, 1, INT_MAX,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.primary_conninfo",
							   "Sets how a standby connects to its primary to report the uses of tokens.",
							   "Keywords and values of libpq without dbname and secrets, for example host=10.0.0.1 user=replicator. A password belongs in the file that passfile names. The user needs the attribute REPLICATION. If it is empty, uses on this standby are not recorded. Requires shared_preload_libraries on both.",
							   &walwarden_primary_conninfo,
							   "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check_conninfo, NULL, NULL);
	DefineCustomIntVariable("walwarden.session_idle_timeout",
							"Sets how long a person who signed in may do nothing before they have to sign in again.",
							"Zero sets no limit. It needs shared_preload_libraries; without it only walwarden.session_lifetime limits a session.",
							&walwarden_session_idle_timeout,
							3600, 0, 30 * 86400,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.session_lifetime",
							"Sets how long after signing in a person has to sign in again.",
							"It applies to new sessions.",
							&walwarden_session_lifetime,
							43200, 60, 30 * 86400,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomStringVariable("walwarden.subject_claim",
							   "Sets the claim of a JWT that is the subject of a member.",
							   "email counts only if the claim email_verified is true, and in lower case. Give no claim that people can change themselves.",
							   &walwarden_subject_claim,
							   "sub",
							   PGC_SUSET, 0,
							   check_claim, NULL, NULL);
	DefineCustomIntVariable("walwarden.usage_flush_interval",
							"Sets the time between the rounds in which the background worker writes last-used times.",
							"A crash loses the times that were not written yet. Requires shared_preload_libraries.",
							&walwarden_usage_flush_interval,
							10, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("walwarden.verify_interval",
							"Sets the age at which the stored verification of an audit chain is out of date.",
							"Maintenance then verifies the chain again.",
							&walwarden_verify_interval,
							86400, 0, 365 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	for (int i = 0; i < lengthof(readable); i++)
		early[i] = was_set[i] ? find_setting(readable[i].name) : NULL;
}

/* walwarden_internal.setting(name text) */
PG_FUNCTION_INFO_V1(walwarden_setting);
Datum
walwarden_setting(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	for (int i = 0; i < lengthof(readable); i++)
	{
		if (strcmp(readable[i].name, name) != 0)
			continue;
		if (early[i] != NULL && early[i]->source == PGC_S_DEFAULT)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   psprintf("parameter walwarden.%s has an invalid value", name),
				   "A superuser corrects it with ALTER DATABASE, ALTER ROLE or ALTER SYSTEM. Units are s, min, h and d.",
				   NULL);
		PG_RETURN_INT32(*readable[i].value);
	}
	elog(ERROR, "unknown setting walwarden.%s", name);
}

/* walwarden_internal.base_url() */
PG_FUNCTION_INFO_V1(walwarden_base_url_setting);
Datum
walwarden_base_url_setting(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(walwarden_base_url));
}
