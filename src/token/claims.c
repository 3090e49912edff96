/*
 * claims.c
 *		The claims of a JWT: whether they are accepted, and whom they name.
 *
 * A gateway, such as PostgREST, has verified the signature and the times, and put the
 * claims into request.jwt.claims. It accepts a JWT without exp for ever, and one without
 * aud for everybody, so what such a JWT must have is checked here, and nowhere else.
 *
 * Invariant: once walwarden.jwt_issuer or walwarden.jwt_audience is set, no claims name
 * anybody without exp, and without the issuer and the audience of these settings. If one of
 * them is empty, it is no issuer and no audience.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/digest.h"
#include "base/export.h"
#include "base/json.h"
#include "base/settings.h"
#include "token/claims.h"

/* The last second of the year 9999. */
#define MAX_EPOCH 253402300799.0

/* The value of a claim; NULL if it is missing. */
static JsonbValue *
claim(Jsonb *claims, const char *name)
{
	return JB_ROOT_IS_OBJECT(claims) ? getKeyJsonValueFromContainer(&claims->root, name, (int) strlen(name), NULL) : NULL;
}

/* An empty setting is no value that a claim can have. */
static bool
is_string(const JsonbValue *value, const char *wanted)
{
	return wanted[0] != '\0' && json_is(value, wanted);
}

/* Whether a claim is a string, or has it among others in an array. */
static bool
has_string(const JsonbValue *value, const char *wanted)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return is_string(value, wanted);
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM && is_string(&item, wanted))
			return true;
	return false;
}

/* Read the claim exp, in seconds since 1970. */
static bool
read_expiry(const JsonbValue *value, TimestampTz *expires_at)
{
	double		epoch;

	if (value == NULL || value->type != jbvNumeric)
		return false;
	epoch = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(epoch >= 0 && epoch <= MAX_EPOCH))
		return false;
	*expires_at = DatumGetTimestampTz(DirectFunctionCall1(float8_timestamptz, Float8GetDatum(epoch)));
	return true;
}

/* Read the subject. Sets refused to the claim to blame if there is none. */
static void
read_subject(Jsonb *json, Claims *claims)
{
	const JsonbValue *verified;

	claims->subject = json_string(json, walwarden_subject_claim);
	if (claims->subject == NULL)
		claims->refused = walwarden_subject_claim;
	if (claims->subject == NULL || strcmp(walwarden_subject_claim, "email") != 0)
		return;

	/* until it is verified, it is what a person has typed */
	verified = claim(json, "email_verified");
	if (verified != NULL && verified->type == jbvBool && verified->val.boolean)
	{
		claims->subject = asc_tolower(claims->subject, strlen(claims->subject));
		return;
	}
	claims->subject = NULL;
	claims->refused = "email_verified";
}

/* Whether claims must have more than a subject. */
static bool
are_checked(void)
{
	return walwarden_jwt_issuer[0] != '\0' || walwarden_jwt_audience[0] != '\0';
}

/* walwarden_internal.claims_are_checked() */
PG_FUNCTION_INFO_V1(walwarden_claims_are_checked);
Datum
walwarden_claims_are_checked(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(are_checked());
}

/* Whether there can be claims that have all that they must have. */
bool
claims_can_be_accepted(void)
{
	return walwarden_jwt_issuer[0] != '\0' && walwarden_jwt_audience[0] != '\0';
}

/*
 * Read claims from JSON, in the current memory context. The caller asks separately whether
 * they are to be believed at all. Fails as json_setting() does.
 */
void
claims_read(const char *text, Claims *claims)
{
	Jsonb	   *json = json_setting("request.jwt.claims", text);
	DigestPart	part;
	const JsonbValue *issuer = claim(json, "iss");
	const JsonbValue *audience = claim(json, "aud");

	memset(claims, 0, sizeof(Claims));
	part.data = JsonbToCString(NULL, &json->root, VARSIZE(json));
	part.len = strlen(part.data);
	digest_sha256(&part, 1, claims->hash);
	if (are_checked())
	{
		if (!read_expiry(claim(json, "exp"), &claims->expires_at))
			claims->refused = "exp";
		else if (issuer == NULL || !is_string(issuer, walwarden_jwt_issuer))
			claims->refused = "iss";
		else if (audience == NULL || !has_string(audience, walwarden_jwt_audience))
			claims->refused = "aud";
	}
	if (claims->refused == NULL)
		read_subject(json, claims);
}
