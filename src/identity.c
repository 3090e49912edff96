/*
 * identity.c
 *		The identity of a transaction: authenticate() sets it, has_scope() and
 *		the current_*() functions read it.
 *
 * Invariants: only identity_take_credential() sets an identity, after a check against the
 * latest committed state; it is fixed until the next call;
 * it ends with the transaction, and a subtransaction that rolls back takes its
 * own along; a parallel worker has none and says so instead of answering no.
 * Every failure to authenticate looks the same, and no error of this file
 * carries the statement, the context or the token.
 */
#include "walwarden.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

/* A name of a scope is shorter, a token is longer. */
#define SCOPE_NAME_LIMIT 64

typedef struct Identity
{
	ResolvedToken *token;		/* pinned */
	int			nest_level;		/* of the subtransaction that set it */
	struct Identity *outer;		/* what holds again when that rolls back */
} Identity;

static Identity *current_identity = NULL;

/*
 * Counts the changes of current_identity and the ends of transactions: an answer
 * given under one number holds as long as the number does.
 */
static uint64 identity_serial = 1;

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
			/* the structs go with TopTransactionContext */
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

/* Make identity's predecessor current again. */
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

void
identity_init(void)
{
	RegisterXactCallback(identity_xact_callback, NULL);
	RegisterSubXactCallback(identity_subxact_callback, NULL);
}

/* One identity at most for each level: a new one replaces its equal. */
static void
identity_push(Identity *identity)
{
	identity->nest_level = GetCurrentTransactionNestLevel();
	if (current_identity != NULL && current_identity->nest_level == identity->nest_level)
		identity_pop();
	identity->outer = current_identity;
	set_current(identity);
}

/* The same answer to every bad token, and nothing around it that could hold one. */
static void
refuse_token(void)
{
	error_context_stack = NULL; /* PL/pgSQL's context quotes the statement */
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("invalid or inactive token"),
			 errhint("Check that the whole token was sent; an operator sees the reason with walwarden.introspect_token()."),
			 errhidestmt(true),
			 errhidecontext(true)));
}

/*
 * Make a credential the identity of the transaction, in place of an earlier
 * one; false, and nothing changed, when it is not good.
 */
static bool
identity_take_credential(ValueKind kind, const uint8 *fingerprint)
{
	/* made first, so that nothing can fail once the token is pinned */
	Identity   *identity = MemoryContextAlloc(TopTransactionContext, sizeof(Identity));
	const char *reason = NULL;

	identity->token = cache_resolve(kind, fingerprint, &reason);
	stat_count(reason);
	if (identity->token == NULL)
	{
		pfree(identity);
		return false;
	}
	identity_push(identity);
	usage_note(&identity->token->standing.token_id, &identity->token->noted);
	return true;
}

/* What cannot be a credential needs no look-up. */
static bool
refuse_malformed(void)
{
	stat_count("malformed");
	return false;
}

/* The same for a token's value. */
bool
identity_take(const char *value, size_t len)
{
	uint8		fingerprint[DIGEST_LEN];

	if (!token_is_well_formed(value, len))
		return refuse_malformed();
	token_fingerprint(value, len, fingerprint);
	return identity_take_credential(VALUE_BEARER, fingerprint);
}

/* The same for a pair of a UUID and a secret. */
bool
identity_take_pair(const char *uuid, const char *secret)
{
	uint8		fingerprint[DIGEST_LEN];

	if (!pair_fingerprint(uuid, strlen(uuid), secret, strlen(secret), fingerprint))
		return refuse_malformed();
	return identity_take_credential(VALUE_PAIR, fingerprint);
}

/* What the identity of the transaction is and may do; NULL without one. */
const Standing *
identity_standing(void)
{
	return current_identity == NULL ? NULL : &current_identity->token->standing;
}

bool
identity_speaks_for_node(void)
{
	return current_identity != NULL && standing_speaks_for_node(&current_identity->token->standing);
}

static const Identity *
authenticate(const text *token)
{
	caller_note_claims();
	if (!(token == NULL ? refuse_malformed() : identity_take(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token))))
		refuse_token();
	return current_identity;
}

/* The identity, or NULL. A worker does not have the leader's. */
static inline const Identity *
identity_get(void)
{
	if (unlikely(IsParallelWorker()))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the identity of the transaction is not known to a parallel worker"),
				 errhint("Mark the function that calls walwarden PARALLEL RESTRICTED.")));
	caller_note_claims();
	return current_identity;
}

/* Whether text can be the misspelt name of a scope, and so stand in a message. */
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

/*
 * Error unless identity holds scope. quiet: the statement may hold a token and
 * is kept out of the log.
 */
static void
require_scope(const Identity *identity, const text *scope, bool quiet)
{
	bool		known;

	if (identity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the transaction has no identity"),
				 errhint("Call walwarden.authenticate() first, in the same transaction; over HTTP, send a token.")));
	if (scope == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("scope is missing"),
				 errhint("Name a scope, for example databases:read."),
				 errhidestmt(quiet), errhidecontext(quiet)));
	if (scope_list_has(&identity->token->standing.effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope)))
		return;

	/* for the message only; a parallel plan, where this may run, allows no newer one */
	known = scope_exists(scope, GetActiveSnapshot());
	if (!known)
	{
		bool		nameable = is_nameable(scope);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 nameable ? errmsg("unknown scope \"%s\"", text_to_cstring(scope)) : errmsg("unknown scope"),
				 errhint("The catalogue of scopes is closed; an operator adds to it with walwarden.create_scope()."),
				 errhidestmt(quiet), errhidecontext(quiet)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the token does not hold the required scope"),
			 errdetail("requiredScope=%s", text_to_cstring(scope)),
			 errhint("Use a token that was issued with this scope; for a private token the owner's role must carry it too."),
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
	const Identity *identity = authenticate(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));

	PG_RETURN_DATUM(uuid_result(&identity->token->standing.token_id));
}

PG_FUNCTION_INFO_V1(walwarden_authorize);
Datum
walwarden_authorize(PG_FUNCTION_ARGS)
{
	ErrorContextCallback *save_context_stack = error_context_stack;
	const Identity *identity = authenticate(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));

	error_context_stack = NULL;
	require_scope(identity, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), true);
	error_context_stack = save_context_stack;
	PG_RETURN_DATUM(uuid_result(&identity->token->standing.token_id));
}

/* What one call in a query has found out, for its next row. */
typedef struct ScopeAnswer
{
	uint64		serial;			/* of the identity that it is about; 0: none yet */
	bool		literal;		/* the argument is one, and so the same each time */
	bool		held;
} ScopeAnswer;

static bool
identity_has_scope(const text *scope)
{
	const Identity *identity = identity_get();

	return identity != NULL && scope != NULL &&
		scope_list_has(&identity->token->standing.effective, VARDATA_ANY(scope), VARSIZE_ANY_EXHDR(scope));
}

/* A parameter will not do: in PL/pgSQL it is a variable, and the call stands in a loop. */
static bool
argument_is_literal(const FmgrInfo *flinfo)
{
	const Node *call = flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) && IsA(linitial(((const FuncExpr *) call)->args), Const);
}

/*
 * In a policy this runs for each row of a table, nearly always with a literal: the
 * answer is kept where the call stands. A parallel worker has fn_extra of its own,
 * and so comes to identity_get(), which refuses it.
 */
PG_FUNCTION_INFO_V1(walwarden_has_scope);
Datum
walwarden_has_scope(PG_FUNCTION_ARGS)
{
	ScopeAnswer *answer = fcinfo->flinfo->fn_extra;
	bool		held;

	if (likely(answer != NULL && answer->serial == identity_serial))
		PG_RETURN_BOOL(answer->held);

	held = identity_has_scope(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	if (answer == NULL)
	{
		answer = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ScopeAnswer));
		answer->literal = argument_is_literal(fcinfo->flinfo);
		fcinfo->flinfo->fn_extra = answer;
	}
	answer->held = held;
	if (answer->literal)
		answer->serial = identity_serial;
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
	PG_RETURN_DATUM(uuid_result(&identity->token->standing.token_id));
}

/* walwarden._speaks_for_node() */
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
	PG_RETURN_DATUM(uuid_result(&identity->token->standing.org_id));
}

PG_FUNCTION_INFO_V1(walwarden_current_org);
Datum
walwarden_current_org(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(text_result(identity->token->standing.org_slug));
}

PG_FUNCTION_INFO_V1(walwarden_current_subject);
Datum
walwarden_current_subject(PG_FUNCTION_ARGS)
{
	const Identity *identity = identity_get();

	if (identity == NULL || identity->token->standing.subject == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(text_result(identity->token->standing.subject));
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
 * Only operators learn why a token is not active.
 */
PG_FUNCTION_INFO_V1(walwarden_introspect_token);
Datum
walwarden_introspect_token(PG_FUNCTION_ARGS)
{
	text	   *token = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	Caller		caller;
	Standing	standing;
	StringInfoData json;
	char		uuid[UUID_TEXT_LEN + 1];
	char		time[ISO_TIME_LEN + 1];

	caller_note(&caller);
	caller_describe(&caller);
	standing_of_value(token == NULL ? "" : VARDATA_ANY(token), token == NULL ? 0 : VARSIZE_ANY_EXHDR(token), &standing);

	initStringInfo(&json);
	if (standing.state != TOKEN_ACTIVE && !caller.is_operator)
	{
		appendStringInfoString(&json, "{\"active\":false}");
		PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	}

	appendStringInfo(&json, "{\"active\":%s", standing.state == TOKEN_ACTIVE ? "true" : "false");
	if (standing.kind != NULL)
	{
		render_uuid(&standing.token_id, uuid);
		append_string(&json, "tokenId", uuid);
		if (standing.org_slug != NULL)
			append_string(&json, "org", text_to_cstring(standing.org_slug));
		else
			appendStringInfoString(&json, ",\"org\":null");
		append_string(&json, "kind", text_to_cstring(standing.kind));
		append_scopes(&json, "scopes", &standing.scopes, standing.legacy);
		append_scopes(&json, "effectiveScopes", &standing.effective, standing.legacy);
		if (standing.has_expiry && render_time(standing.expires_at, time))
			append_string(&json, "expiresAt", time);
		else
			appendStringInfoString(&json, ",\"expiresAt\":null");
	}
	if (caller.is_operator)
	{
		append_string(&json, "state", token_state_name(standing.state));
		if (standing.reason != NULL)
			append_string(&json, "reason", standing.reason);
	}
	appendStringInfoChar(&json, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}
