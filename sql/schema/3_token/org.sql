-- Organisations, their slugs and plans. 9_close/org.sql closes one.

CREATE FUNCTION walwarden_internal.check_plan(plan text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden_internal.plan AS p WHERE p.name = check_plan.plan) THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown plan %s', walwarden_internal.shown(plan)),
            'Use one of these plans: ' || (SELECT string_agg(p.name, ', ' ORDER BY p.name) FROM walwarden_internal.plan AS p) || '.');
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.check_slug(slug text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF slug IS NULL OR slug !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
        PERFORM walwarden_internal.refuse('22023', format('invalid organisation slug %s', walwarden_internal.shown(slug)),
            'Give 1 to 63 lower-case letters, digits and hyphens, without a hyphen at either end.');
    END IF;
END
$$;

-- Gives a slug to an organisation, which may have had it before. Waits for a concurrent
-- transaction that takes the same slug.
CREATE FUNCTION walwarden_internal.take_slug(slug text, org_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO walwarden_internal.org_slug (slug, org_id) VALUES (slug, org_id) ON CONFLICT DO NOTHING;
    IF NOT EXISTS (SELECT FROM walwarden_internal.org_slug AS s WHERE s.slug = slug AND s.org_id = org_id) THEN
        PERFORM walwarden_internal.refuse('23505', format('the slug %s is already taken', walwarden_internal.shown(slug)),
            'Choose another slug. A slug is never given to a second organisation, even if the first was renamed or closed.');
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.create_org(slug text, display_name text, plan text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    o walwarden_internal.org;
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'org.create', 'any');
    PERFORM walwarden_internal.check_slug(slug);
    display_name := coalesce(display_name, slug);
    PERFORM walwarden_internal.check_text('display name', display_name, 100);
    PERFORM walwarden_internal.check_plan(plan);

    o.id := gen_random_uuid();
    o.slug := slug;
    o.display_name := display_name;
    o.plan := plan;
    o.retention := '7 days';
    o.notice := '7 days';
    o.created_at := clock_timestamp();
    o.audit_seq := 1;               -- the first entry of its chain, below
    -- nothing is inserted if the slug is taken, which take_slug() finds
    INSERT INTO walwarden_internal.org SELECT o.* ON CONFLICT DO NOTHING;
    PERFORM walwarden_internal.take_slug(slug, o.id);
    PERFORM walwarden_internal.append(o.id, 'org.created',
        walwarden_internal.change(walwarden_internal.actor('caller', c, o.id), 'org', o.id::text, NULL, walwarden_internal.org_image(o, ARRAY[slug])));
    RETURN o.id;
END
$$;

-- Appends the entry and stores the row o in place of was; returns false if they are equal.
CREATE FUNCTION walwarden_internal.update_org(
        c walwarden_internal.caller, event text, was walwarden_internal.org, o walwarden_internal.org, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    slugs text[] := walwarden_internal.org_slugs(o.id);
    before jsonb := walwarden_internal.org_image(was, slugs);
    after jsonb;
BEGIN
    IF o.slug <> was.slug THEN
        PERFORM walwarden_internal.take_slug(o.slug, o.id);
        slugs := walwarden_internal.org_slugs(o.id);
    END IF;
    after := walwarden_internal.org_image(o, slugs);
    IF before = after THEN
        RETURN false;
    END IF;
    o.audit_seq := walwarden_internal.append(o.id, event,
        walwarden_internal.change(walwarden_internal.actor('caller', c, o.id), 'org', o.id::text, before, after)
        || CASE WHEN reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', reason) END);
    UPDATE walwarden_internal.org
       SET slug = o.slug, display_name = o.display_name, plan = o.plan, retention = o.retention, closed_at = o.closed_at, audit_seq = o.audit_seq,
           default_lifetime = o.default_lifetime, max_lifetime = o.max_lifetime, notice = o.notice
     WHERE org.id = o.id;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden_internal.rename_org(org text, slug text, display_name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.org := walwarden_internal.lock_org(c, org, 'org.rename', 'any');
    o walwarden_internal.org := was;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    PERFORM walwarden_internal.check_slug(slug);
    o.slug := slug;
    IF display_name IS NOT NULL THEN
        PERFORM walwarden_internal.check_text('display name', display_name, 100);
        o.display_name := display_name;
    END IF;
    RETURN walwarden_internal.update_org(c, 'org.renamed', was, o);
END
$$;

CREATE FUNCTION walwarden_internal.set_plan(org text, plan text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.org := walwarden_internal.lock_org(c, org, 'org.configure', 'any');
    o walwarden_internal.org := was;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    PERFORM walwarden_internal.check_plan(plan);
    o.plan := plan;
    RETURN walwarden_internal.update_org(c, 'org.plan_changed', was, o);
END
$$;

CREATE FUNCTION walwarden_internal.set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.org := walwarden_internal.lock_org(c, org, 'org.configure', 'any');
    o walwarden_internal.org := was;
    seconds numeric := walwarden_internal.setting_seconds('retention', retention, 3650, NULL);
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    IF seconds IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'retention is missing', 'Give an interval of whole seconds, from 0 to 3650 days.');
    END IF;
    o.retention := walwarden_internal.span(seconds);
    RETURN walwarden_internal.update_org(c, 'org.settings_changed', was, o);
END
$$;

-- An interval of a setting in seconds, which are whole: nobody is to get less than they asked
-- for. rest: what else the hint says.
CREATE FUNCTION walwarden_internal.setting_seconds(what text, span interval, max_days integer, rest text) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds numeric := walwarden_internal.seconds(span);
BEGIN
    IF seconds NOT BETWEEN 0 AND max_days * 86400::numeric OR seconds <> floor(seconds) THEN
        PERFORM walwarden_internal.refuse('22023', format('invalid %s', what),
            concat_ws(' ', format('Give an interval of whole seconds, from 0 to %s days. A month counts as 30 days, a year as 365.', max_days), rest));
    END IF;
    RETURN seconds;
END
$$;

CREATE FUNCTION walwarden_internal.policy_seconds(what text, span interval) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.setting_seconds(what, span, 36500, format('To keep the present %s, give NULL; to lift it, give ''0''.', what));
END
$$;

-- The maximum lifetime of an organisation's tokens of kind api, in seconds; NULL for none.
CREATE FUNCTION walwarden_internal.max_lifetime(o walwarden_internal.org) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN least(walwarden_internal.seconds(o.max_lifetime), nullif(walwarden_internal.setting('max_token_lifetime'), 0));
END
$$;

CREATE FUNCTION walwarden_internal.set_token_policy(org text, default_lifetime interval, max_lifetime interval, notice interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.org := walwarden_internal.lock_org(walwarden_internal.caller(), org, 'org.policy', 'any');
    c walwarden_internal.caller := walwarden_internal.caller();      -- after the wait
    o walwarden_internal.org := was;
    wanted_default numeric := walwarden_internal.policy_seconds('default_lifetime', default_lifetime);
    wanted_max numeric := walwarden_internal.policy_seconds('max_lifetime', max_lifetime);
    wanted_notice numeric := walwarden_internal.policy_seconds('notice', notice);
    most numeric := nullif(walwarden_internal.setting('max_token_lifetime'), 0);
BEGIN
    PERFORM walwarden_internal.check_plan_has_tokens(o);
    IF wanted_default IS NOT NULL THEN
        o.default_lifetime := walwarden_internal.span(nullif(wanted_default, 0));
    END IF;
    IF wanted_max IS NOT NULL THEN
        o.max_lifetime := walwarden_internal.span(nullif(wanted_max, 0));
    END IF;
    IF wanted_notice IS NOT NULL THEN
        o.notice := walwarden_internal.span(wanted_notice);
    END IF;
    IF wanted_max > most THEN
        PERFORM walwarden_internal.refuse('22023', 'max_lifetime exceeds walwarden.max_token_lifetime',
            format('Give at most %s. The administrator of the server sets this limit for all organisations.', walwarden_internal.shown_span(most)));
    ELSIF (wanted_default IS NOT NULL OR wanted_max IS NOT NULL)
          AND walwarden_internal.seconds(o.default_lifetime) > walwarden_internal.max_lifetime(o) THEN
        PERFORM walwarden_internal.refuse('22023', 'default_lifetime exceeds the maximum lifetime',
            format('Give a default_lifetime of at most %s%s', walwarden_internal.shown_span(walwarden_internal.max_lifetime(o)),
                   CASE WHEN walwarden_internal.max_lifetime(o) = most THEN ', which walwarden.max_token_lifetime allows.' ELSE ', or a greater max_lifetime.' END),
            format('The default would be %s.', walwarden_internal.shown_span(walwarden_internal.seconds(o.default_lifetime))));
    END IF;
    RETURN walwarden_internal.update_org(c, 'org.policy_changed', was, o);
END
$$;

CREATE FUNCTION walwarden_internal.list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz, closed_at timestamptz,
                   default_lifetime interval, max_lifetime interval, notice interval)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
BEGIN
    IF walwarden_internal.may(c, NULL, 'org.list', 'all') THEN
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at, o.closed_at, o.default_lifetime, o.max_lifetime, o.notice
              FROM walwarden_internal.org AS o
             ORDER BY o.slug;
    ELSE
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at, o.closed_at, o.default_lifetime, o.max_lifetime, o.notice
              FROM walwarden_internal.memberships(c) AS m
              JOIN walwarden_internal.org AS o ON o.id = m.org_id
             ORDER BY o.slug;
    END IF;
END
$$;

CREATE FUNCTION walwarden.create_org(slug text, display_name text DEFAULT NULL, plan text DEFAULT 'team') RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_org(text, text, text) IS
'Creates an organisation and starts its audit chain; returns its id. slug: 1 to 63 lower-case letters, digits and hyphens. display_name: 1 to 100 characters; NULL uses the slug. plan: free, pro or team. For operators. Errors: 42501 if the caller is not an operator, 22023 if a value is invalid, 23505 if an organisation has or had the slug. Example: SELECT walwarden.create_org(''globex'', ''Globex Ltd'');';

CREATE FUNCTION walwarden.set_plan(org text, plan text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_plan(text, text) IS
'Changes the plan of an organisation to free, pro or team. Only team includes API tokens; on other plans they are inactive. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the organisation does not exist, 22023 if the plan is unknown, 55000 if the organisation is closed. Example: SELECT walwarden.set_plan(''acme'', ''pro'');';

CREATE FUNCTION walwarden.set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_org_retention(text, interval) IS
'Sets how long an organisation keeps a token after it was disabled, it expired, or its owner was disabled. retention: 0 to 3650 days, in whole seconds; a month counts as 30 days, a year as 365. run_maintenance() removes older tokens. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the organisation does not exist, 22023 if the interval is invalid, 55000 if the organisation is closed. Example: SELECT walwarden.set_org_retention(''acme'', ''30 days'');';

CREATE FUNCTION walwarden.rename_org(org text, slug text, display_name text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.rename_org(text, text, text) IS
'Gives an organisation another slug, from commit on. Its id, chain and tokens stay as they are. The former slug no longer finds it, and is never given to another organisation; the organisation itself can take it again. slug: 1 to 63 lower-case letters, digits and hyphens; the present slug to change only the display name. display_name: 1 to 100 characters; NULL keeps it. For operators. Returns whether anything changed. Errors: 42501 if the caller is not an operator, 42704 if the organisation does not exist, 22023 if a value is invalid, 23505 if another organisation has or had the slug, 55000 if the organisation is closed. Example: SELECT walwarden.rename_org(''acme'', ''acme-group'', ''Acme Group'');';

CREATE FUNCTION walwarden.set_token_policy(
        org text, default_lifetime interval DEFAULT NULL, max_lifetime interval DEFAULT NULL, notice interval DEFAULT '7 days') RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_token_policy(text, interval, interval, interval) IS
'Sets how long the tokens of an organisation live, and when their end is announced. default_lifetime: a token that is issued without an expiry gets this one. max_lifetime: no token ends later than this after it was issued, renewed or enabled, and none lives for ever; a call that would exceed it fails with 22023 and changes nothing. Both apply to tokens of kind api only. walwarden.max_token_lifetime limits them in all organisations. notice: how long before its expiry a token gets the entry token.expiring. All are whole seconds, up to 36500 days; a month counts as 30 days, a year as 365. NULL keeps what is set, ''0'' lifts it; a call without notice sets 7 days. Tokens that exist keep their expiry. list_orgs() shows the policy. For operators, owners and admins. Returns whether anything changed. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist, 22023 if an interval is invalid, if the default exceeds the maximum, or the maximum walwarden.max_token_lifetime, 55000 if the organisation is closed, or the plan does not include API tokens. Example: SELECT walwarden.set_token_policy(''acme'', ''90 days'', ''1 year'', notice => ''14 days'');';

CREATE FUNCTION walwarden.list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz, closed_at timestamptz,
                   default_lifetime interval, max_lifetime interval, notice interval)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_orgs() IS
'Lists organisations by slug, with their token policies: set_token_policy() describes default_lifetime, max_lifetime and notice. closed_at is NULL for an open one. Operators see all organisations, members see their own, and other callers see none. Errors: none. Example: SELECT slug, plan FROM walwarden.list_orgs();';
