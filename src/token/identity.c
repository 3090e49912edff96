/*
 * identity.c
 *		The identity of a transaction: authenticate() sets it, has_scope() and
 *		the current_*() functions read it.
 *
 * Invariants: only authenticate_credential() sets an identity, after a check against the
 * latest committed state. The identity is fixed until the next call. It ends with the
 * transaction; the rollback of a subtransaction ends the identity that was set in it. If
 * it was set outside of a transaction block, whoever looks for it later is warned once. A
 * parallel worker has no identity and raises an error instead of returning false.
 * All failures to authenticate look the same, and no error of this file contains the
 * statement, the context or the token.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/digest.h"
#include "base/export.h"
#include "base/http.h"
#include "base/render.h"
#include "base/tables.h"
#include "common/syntax.h"
#include "token/cache.h"
#include "token/caller.h"
#include "token/client.h"
#include "token/columns.h"
#include "token/credential.h"
#include "token/identity.h"
#include "token/limiter.h"
#include "token/network.h"
#include "token/refusal.h"
#include "token/refusal_log.h"
#include "token/scope_list.h"
#include "token/stat.h"
#include "token/status.h"
#include "token/usage.h"

/* The names of scopes are shorter, tokens are longer. */
#define SCOPE_NAME_LIMIT 64

typedef struct Identity
{
	ResolvedToken *token;		/* pinned */
	CredentialKind kind;		/* of what was presented */
	uint8		fingerprint[DIGEST_LEN];
	int			nest_level;		/* of the subtransaction that set it */
	bool		alone;			/* no other statement can read it */
	struct Identity *outer;		/* is restored when that rolls back */
} Identity;

static Identity *current_identity = NULL;
static ProcessUtility_hook_type prev_utility_hook = NULL;

/*
 * Counts the changes of current_identity and the ends of transactions. A result stays
 * valid as long as this number does not change.
 */
static uint64 identity_serial = 1;

/* The last identity ended with its statement, and nobody was told. */
static bool ended_with_statement = false;

static void
set_current(Identity *identity)
{
	current_identity = identity;
	identity_serial++;
}

static void
identity_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			if (event == XACT_EVENT_COMMIT && current_identity != NULL)
				ended_with_statement = current_identity->alone;
			/* TopTransactionContext frees the structs */
			for (Identity *identity = current_identity; identity != NULL; identity = identity->outer)
				cache_unpin(identity->token);
			set_current(NULL);
			caller_forget_claims();
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

/* Make the predecessor of the current identity current again. */
static void
identity_pop(void)
{
	Identity   *gone = current_identity;

	set_current(gone->outer);
	cache_unpin(gone->token);
	pfree(gone);
}

static void
identity_subxact_callback(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (current_identity == NULL || current_identity->nest_level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		identity_pop();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		Identity   *replaced = current_identity->outer;

		current_identity->nest_level = level - 1;
		if (replaced != NULL && replaced->nest_level == level - 1)
		{
			current_identity->outer = replaced->outer;
			cache_unpin(replaced->token);
			pfree(replaced);
		}
	}
}

/* DISCARD ALL prepares the connection for another client. */
static void
identity_utility(PlannedStmt *statement, const char *query, bool read_only_tree, ProcessUtilityContext context,
				 ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	if (IsA(statement->utilityStmt, DiscardStmt) && ((DiscardStmt *) statement->utilityStmt)->target == DISCARD_ALL)
		ended_with_statement = false;
	(prev_utility_hook ? prev_utility_hook : standard_ProcessUtility)
		(statement, query, read_only_tree, context, params, environment, dest, completion);
}

void
identity_init(void)
{
	RegisterXactCallback(identity_xact_callback, NULL);
	RegisterSubXactCallback(identity_subxact_callback, NULL);
	prev_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = identity_utility;
}

/*
 * Whether the transaction has more statements than the present one. The first statement of
 * a pipeline does not know that others will follow.
 */
static bool
in_transaction_block(void)
{
	return IsTransactionBlock() || (MyXactFlags & XACT_FLAGS_PIPELINING) != 0;
}

/* There is at most one identity for each level: a new one replaces it. */
static void
identity_push(Identity *identity)
{
	identity->nest_level = GetCurrentTransactionNestLevel();
	if (current_identity != NULL && current_identity->nest_level == identity->nest_level)
		identity_pop();
	identity->outer = current_identity;
	set_current(identity);
}

/* The same error for every invalid token, without any context that could contain the token. */
static void
refuse_token(void)
{
	error_context_stack = NULL; /* PL/pgSQL's context quotes the statement */
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("invalid or inactive token"),
			 errhint("Check that the whole token was sent. An operator can see the reason with walwarden.introspect_token()."),
			 errhidestmt(true),
			 errhidecontext(true)));
}

/* The error for a token that has reached its rate limit. Only its holder can see this one. */
static void
refuse_rate(const RateState *rate)
{
	error_context_stack = NULL; /* as above */
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the token has reached its rate limit"),
			 errdetail("rateLimit=%d, retryAfter=%d", rate->limit, rate->reset),
			 errhint("Try again in %d s. Those who manage the token can change the limit with walwarden.update_token().", rate->reset),
			 errhidestmt(true),
			 errhidecontext(true)));
}

/* Whether the bounds of an active token allow a use, which then counts. Raises no error. */
static Refusal
check_bounds(ResolvedToken *token, const NetworkAddress *client, RateState *rate)
{
	const TokenStatus *status = &token->status;

	if (status->networks.n > 0 && !network_list_has(&status->networks, client))
		return REFUSAL_NETWORK;
	/* a token that never comes to exist must not take the place of another */
	if (status->rate_limit > 0 && status->is_uncommitted)
		return REFUSAL_NO_LIMITER;
	if (status->rate_limit > 0)
		return limiter_use(&status->token_id, &status->org_id, status->rate_limit, &token->limiter_slot, rate);
	return REFUSAL_NONE;
}

/*
 * Make the token of a credential the identity of the transaction, in place of an
 * earlier one. Changes nothing if the credential is not accepted. client: the address
 * from which it was presented. rate: receives the state of the token's rate limit; the
 * caller initialises it to 0.
 */
static Refusal
authenticate_credential(CredentialKind kind, const uint8 *fingerprint, const NetworkAddress *client, RateState *rate)
{
	/* allocated first, so that nothing can fail once the token is pinned */
	Identity   *identity = MemoryContextAlloc(TopTransactionContext, sizeof(Identity));
	Rejection	rejection = {REFUSAL_NONE};
	ResolvedToken *token = cache_resolve(kind, fingerprint, &rejection);

	if (token != NULL && unlikely(token->status.is_bounded))
	{
		Refusal		refusal = check_bounds(token, client, rate);

		if (refusal != REFUSAL_NONE)
			token = cache_reject(token, refusal, &rejection);
	}
	stat_count(rejection.refusal);
	if (token == NULL)
	{
		pfree(identity);
		if (rejection.is_known)
		{
			usage_record_refusal(&rejection.token_id, rejection.refusal);
			refusal_log(&rejection.token_id, rejection.refusal);
		}
		return rejection.refusal;
	}
	identity->token = token;
	identity->kind = kind;
	memcpy(identity->fingerprint, fingerprint, DIGEST_LEN);
	identity->alone = !in_transaction_block();
	identity_push(identity);
	usage_record(&token->status.credential, client, &token->usage);
	return REFUSAL_NONE;
}

/* Text that cannot be a credential needs no look-up. */
static Refusal
refuse_malformed(void)
{
	stat_count(REFUSAL_MALFORMED);
	return REFUSAL_MALFORMED;
}

/* Authenticate the text of a token, as above. */
Refusal
identity_authenticate_bearer(const char *value, size_t len, const NetworkAddress *client, RateState *rate)
{
	uint8		fingerprint[DIGEST_LEN];

	if (!token_is_well_formed(value, len))
		return refuse_malformed();
	bearer_fingerprint(value, len, fingerprint);
	return authenticate_credential(CREDENTIAL_BEARER, fingerprint, client, rate);
}

/* Authenticate a legacy credential, as above. */
Refusal
identity_authenticate_legacy(const char *uuid, const char *secret, const NetworkAddress *client, RateState *rate)
{
	uint8		fingerprint[DIGEST_LEN];

	if (!legacy_fingerprint(uuid, strlen(uuid), secret, strlen(secret), fingerprint))
		return refuse_malformed();
	return authenticate_credential(CREDENTIAL_LEGACY, fingerprint, client, rate);
}

/* The status of the transaction's identity, or NULL without an identity. */
const TokenStatus *
identity_status(void)
{
	return current_identity == NULL ? NULL : &current_identity->token->status;
}

/*
 * The same by a snapshot, after a wait; there is an identity. It was authenticated with a
 * credential, which may have ended although the token has not.
 */
void
identity_status_at(Snapshot snapshot, TokenStatus *status)
{
	token_status_of_credential_at(current_identity->kind, current_identity->fingerprint, snapshot, status);
}

/* Whether the identity was issued for a node, and whether it speaks for one now. */
bool
identity_is_for_node(void)
{
	return current_identity != NULL && token_status_is_for_node(&current_identity->token->status);
}

static bool
identity_speaks_for_node(void)
{
	return current_identity != NULL && token_status_speaks_for_node(&current_identity->token->status);
}

static const Identity *
authenticate(const text *token, const inet *given_client)
{
	NetworkAddress client;
	RateState	rate = {0};
	Refusal		refusal;

	caller_record_claims();
	client_address(given_client, &client);
	refusal = token == NULL ? refuse_malformed() :
		identity_authenticate_bearer(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), &client, &rate);
	if (refusal == REFUSAL_RATE_LIMITED)
		refuse_rate(&rate);
	if (refusal != REFUSAL_NONE)
		refuse_token();
	return current_identity;
}

/* The argument client of a function; NULL if it is null, or if the SQL function does not have it. */
static const inet *
client_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_NARGS() <= i || PG_ARGISNULL(i) ? NULL : PG_GETARG_INET_PP(i);
}

/*
 * Tell a client once that its identity has ended before it could be used, or, with an
 * identity, find out that another statement has used it.
 */
static pg_noinline void
warn_ended(void)
{
	if (current_identity != NULL)
		current_identity->alone = !in_transaction_block();
	else
	{
		ended_with_statement = false;
		ereport(WARNING,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("the identity ended with its statement"),
				 errhint("Begin a transaction first: BEGIN, then walwarden.authenticate() and your queries, then COMMIT.")));
	}
}

/* The identity, or NULL. Fails in a parallel worker. */
static inline const Identity *
identity_get(void)
{
	caller_record_claims();
	if (unlikely(current_identity == NULL ? ended_with_statement : current_identity->alone))
		warn_ended();
	return current_identity;
}

/* The same as identity_status(), for what would be done without the identity: warns if it has ended. */
const TokenStatus *
identity_current(void)
{
	const Identity *identity = identity_get();

	return identity == NULL ? NULL : &identity->token->status;
}

static bool
scope_exists(const text *name, Snapshot snapshot)
{
	Row			row;
	bool		found = row_find_text(&row, "scope", "scope_pkey", Anum_scope_name, name, snapshot);

	row_close(&row);
	return found;
}

/* Whether text can be a misspelt scope name, and so may be quoted in a message. */
static bool
is_nameable(const text *scope)
{
	const char *name = VARDATA_ANY(scope);
	size_t		len = VARSIZE_ANY_EXHDR(scope);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return len < SCOPE_NAME_LIMIT;
}

#define NO_IDENTITY "the transaction has no identity"
#define NO_IDENTITY_HINT "Call walwarden.authenticate() first, in the same transaction. Over HTTP, send a token."
#define NO_SCOPE "the token does not hold the required scope"
#define NO_SCOPE_HINT "Use a token that was issued with this scope. For a private token, the owner's role must also carry the scope."

/* The same as the errors of require_scope(), with the statuses that they have over HTTP. */
pg_noreturn static void
refuse_request_without_identity(void)
{
	HttpRefusal refusal = {
		.status = 401,
		.headers = "\"WWW-Authenticate\":\"Bearer\"",
		.code = "28000",
		.message = NO_IDENTITY,
		.hint = NO_IDENTITY_HINT
	};

	http_refuse(&refusal);
}

pg_noreturn static void
refuse_request_without_scope(const char *scope)
{
	HttpRefusal refusal = {
		.status = 403,
		.headers = psprintf("\"WWW-Authenticate\":\"Bearer error=\\\"insufficient_scope\\\", scope=\\\"%s\\\"\"", scope),
		.code = "42501",
		.message = NO_SCOPE,
		.detail = psprintf("requiredScope=%s", scope),
		.hint = NO_SCOPE_HINT
	};

	http_refuse(&refusal);
}

/*
 * Fail unless identity holds scope. quiet: the statement may contain a token and is kept
 * out of the log.
 */
static void
require_scope(const Identity *identity, const text *scope, bool quiet)
{
	bool		known;

	if (identity == NULL && http_in_request())
		refuse_request_without_identity();
	if (identity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg(NO_IDENTITY),
				 errhint(NO_IDENTITY_HINT)));
	if (scope == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("scope is missing"),
				 errhint("Name a scope, for example databases:read."),
				 errhidestmt(quiet), errhidecontext(quiet)));
	if (scope_list_has(&identity->token->status.effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope)))
		return;

	/* only for the message; a parallel plan allows no newer snapshot */
	known = scope_exists(scope, GetActiveSnapshot());
	if (!known)
	{
		bool		nameable = is_nameable(scope);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 nameable ? errmsg("unknown scope \"%s\"", text_to_cstring(scope)) : errmsg("unknown scope"),
				 errhint("Name a scope of the catalogue. An operator can add one with walwarden.create_scope()."),
				 errhidestmt(quiet), errhidecontext(quiet)));
	}
	if (http_in_request())
		refuse_request_without_scope(text_to_cstring(scope));	/* needs no escapes */
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(NO_SCOPE),
			 errdetail("requiredScope=%s", text_to_cstring(scope)),
			 errhint(NO_SCOPE_HINT),
			 errhidestmt(quiet), errhidecontext(quiet)));
}

/* A copy that outlives the identity. */
static Datum
uuid_result(const pg_uuid_t *uuid)
{
	pg_uuid_t  *copy = palloc(sizeof(pg_uuid_t));

	*copy = *uuid;
	return UUIDPGetDatum(copy);
}

static Datum
text_result(const text *value)
{
	return PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

PG_FUNCTION_INFO_V1(walwarden_authenticate);
Datum
walwarden_authenticate(PG_FUNCTION_ARGS)
{
	const Identity *identity = authenticate(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), client_argument(fcinfo, 1));

	PG_RETURN_DATUM(uuid_result(&identity->token->status.token_id));
}

PG_FUNCTION_INFO_V1(walwarden_authorize);
Datum
walwarden_authorize(PG_FUNCTION_ARGS)
{
	ErrorContextCallback *save_context_stack = error_context_stack;
	const Identity *identity = authenticate(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), client_argument(fcinfo, 2));

	error_context_stack = NULL;
	require_scope(identity, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), true);
	error_context_stack = save_context_stack;
	PG_RETURN_DATUM(uuid_result(&identity->token->status.token_id));
}

/* The result of a call in a query, kept for its next row. */
typedef struct ScopeResult
{
	uint64		serial;			/* of the identity; 0: no result yet */
	bool		literal;		/* the argument is, and so it is constant */
	bool		held;
} ScopeResult;

static bool
identity_has_scope(const text *scope)
{
	const Identity *identity = identity_get();

	return identity != NULL && scope != NULL &&
		scope_list_has(&identity->token->status.effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope));
}

/* A parameter does not count: in PL/pgSQL it is a variable, and the call may be in a loop. */
static bool
argument_is_literal(const FmgrInfo *flinfo)
{
	const Node *call = flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) && IsA(linitial(((const FuncExpr *) call)->args), Const);
}

/*
 * In a policy this runs for each row of a table, nearly always with a literal, so the
 * result is kept at the call site. A parallel worker has its own fn_extra and so calls
 * identity_get(), which fails.
 */
PG_FUNCTION_INFO_V1(walwarden_has_scope);
Datum
walwarden_has_scope(PG_FUNCTION_ARGS)
{
	ScopeResult *result = fcinfo->flinfo->fn_extra;
	bool		held;

	if (likely(result != NULL && result->serial == identity_serial))
		PG_RETURN_BOOL(result->held);

	held = identity_has_scope(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	if (result == NULL)
	{
		result = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ScopeResult));
		result->literal = argument_is_literal(fcinfo->flinfo);
		fcinfo->flinfo->fn_extra = result;
	}
	result->held = held;
	if (result->literal)
		result->serial = identity_serial;
	PG_RETURN_BOOL(held);
}

PG_FUNCTION_INFO_V1(walwarden_require_scope);
Datum
walwarden_require_scope(PG_FUNCTION_ARGS)
{
	require_scope(identity_get(), PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(walwarden_current_token_id);
Datum
walwarden_current_token_id(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(uuid_result(&identity->token->status.token_id));
}

/* walwarden_internal.speaks_for_node() */
PG_FUNCTION_INFO_V1(walwarden_speaks_for_node);
Datum
walwarden_speaks_for_node(PG_FUNCTION_ARGS)
{
	(void) identity_get();
	PG_RETURN_BOOL(identity_speaks_for_node());
}

PG_FUNCTION_INFO_V1(walwarden_current_org_id);
Datum
walwarden_current_org_id(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(uuid_result(&identity->token->status.org_id));
}

PG_FUNCTION_INFO_V1(walwarden_current_org);
Datum
walwarden_current_org(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL || identity->token->status.org_slug == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(text_result(identity->token->status.org_slug));
}

PG_FUNCTION_INFO_V1(walwarden_current_subject);
Datum
walwarden_current_subject(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL || identity->token->status.subject == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(text_result(identity->token->status.subject));
}

static void
append_string(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, ",\"%s\":", key);
	escape_json(json, value);
}

static void
append_scopes(StringInfo json, const char *key, const ScopeList *list, bool hidden)
{
	appendStringInfo(json, ",\"%s\":", key);
	if (hidden)
	{
		appendStringInfoString(json, "null");
		return;
	}
	appendStringInfoChar(json, '[');
	for (int i = 0; i < list->n; i++)
	{
		if (i > 0)
			appendStringInfoChar(json, ',');
		escape_json(json, text_to_cstring(list->names[i]));
	}
	appendStringInfoChar(json, ']');
}

/*
 * walwarden.introspect_token(token text)
 *
 * Only operators see why a token is not active.
 */
PG_FUNCTION_INFO_V1(walwarden_introspect_token);
Datum
walwarden_introspect_token(PG_FUNCTION_ARGS)
{
	text	   *token = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Caller		caller;
	TokenStatus status;
	StringInfoData json;
	char		uuid[UUID_TEXT_LEN + 1];
	char		time[ISO_TIME_LEN + 1];

	caller_record(&caller);
	caller_describe(&caller);
	token_status_of_bearer(token == NULL ? "" : VARDATA_ANY(token), token == NULL ? 0 : VARSIZE_ANY_EXHDR(token), &status);

	initStringInfo(&json);
	if (status.state != TOKEN_ACTIVE && !caller.is_operator)
	{
		appendStringInfoString(&json, "{\"active\":false}");
		PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	}

	appendStringInfo(&json, "{\"active\":%s", status.state == TOKEN_ACTIVE ? "true" : "false");
	if (status.kind != NULL)
	{
		render_uuid(&status.token_id, uuid);
		append_string(&json, "tokenId", uuid);
		if (status.org_slug != NULL)
			append_string(&json, "org", text_to_cstring(status.org_slug));
		else
			appendStringInfoString(&json, ",\"org\":null");
		append_string(&json, "kind", text_to_cstring(status.kind));
		append_scopes(&json, "scopes", &status.scopes, status.legacy);
		append_scopes(&json, "effectiveScopes", &status.effective, status.legacy);
		if (status.has_expiry && render_time(status.expires_at, time))
			append_string(&json, "expiresAt", time);
		else
			appendStringInfoString(&json, ",\"expiresAt\":null");
	}
	if (caller.is_operator)
	{
		append_string(&json, "state", token_state_name(status.state));
		if (status.refusal != REFUSAL_NONE)
			append_string(&json, "reason", refusal_name(status.refusal));
	}
	appendStringInfoChar(&json, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}
