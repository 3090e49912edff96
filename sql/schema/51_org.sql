-- Organisations and plans.

CREATE FUNCTION walwarden._check_plan(plan text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.plan AS p WHERE p.name = _check_plan.plan) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown plan %s', walwarden._shown(plan)),
            HINT = 'The plans are: ' || (SELECT string_agg(p.name, ', ' ORDER BY p.name) FROM walwarden.plan AS p) || '.';
    END IF;
END
$$;

CREATE FUNCTION walwarden._create_org(slug text, display_name text, plan text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    o walwarden.org;
BEGIN
    PERFORM walwarden._require(c, NULL, 'org.create', 'any');
    IF slug IS NULL OR slug !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad organisation slug %s', walwarden._shown(slug)),
            HINT = 'A slug has 1 to 63 lower-case letters, digits and hyphens, with no hyphen at its ends.';
    END IF;
    display_name := coalesce(display_name, slug);
    PERFORM walwarden._check_text('display name', display_name, 100);
    PERFORM walwarden._check_plan(plan);

    o.id := gen_random_uuid();
    o.slug := slug;
    o.display_name := display_name;
    o.plan := plan;
    o.retention := '7 days';
    o.created_at := clock_timestamp();
    o.audit_seq := 1;               -- the first entry of its chain, below
    INSERT INTO walwarden.org SELECT o.* ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'unique_violation',
            MESSAGE = format('organisation %s already exists', walwarden._shown(slug)),
            HINT = 'Choose another slug.';
    END IF;
    PERFORM walwarden._append(o.id, 'org.created',
        walwarden._change(walwarden._actor(c, o.id), 'org', o.id::text, NULL, walwarden._org_state(o)));
    RETURN o.id;
END
$$;

-- Stores the changed row o of org was, with its entry; false when nothing differs.
CREATE FUNCTION walwarden._update_org(c walwarden.caller, event text, was walwarden.org, o walwarden.org) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF walwarden._org_state(was) = walwarden._org_state(o) THEN
        RETURN false;
    END IF;
    o.audit_seq := walwarden._append(o.id, event,
        walwarden._change(walwarden._actor(c, o.id), 'org', o.id::text, walwarden._org_state(was), walwarden._org_state(o)));
    UPDATE walwarden.org SET plan = o.plan, retention = o.retention, audit_seq = o.audit_seq WHERE org.id = o.id;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._set_plan(org text, plan text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.org := walwarden._lock_org(c, org, 'org.configure', 'any');
    o walwarden.org := was;
BEGIN
    c := walwarden._caller();       -- after the wait
    PERFORM walwarden._check_plan(plan);
    o.plan := plan;
    RETURN walwarden._update_org(c, 'org.plan_changed', was, o);
END
$$;

CREATE FUNCTION walwarden._set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.org := walwarden._lock_org(c, org, 'org.configure', 'any');
    o walwarden.org := was;
BEGIN
    c := walwarden._caller();       -- after the wait
    -- in days and seconds, so that it means the same in every month
    o.retention := CASE WHEN retention BETWEEN '0' AND '4000 days' THEN justify_hours(make_interval(days => 365 * extract(year FROM retention)::integer + 30 * extract(month FROM retention)::integer
                                                       + extract(day FROM retention)::integer,
                                               secs => floor(extract(epoch FROM retention - date_trunc('day', retention))))) END;
    IF o.retention IS NULL OR o.retention NOT BETWEEN '0' AND '3650 days' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad retention',
            HINT = 'Give an interval from 0 to 3650 days; a month counts as 30 days, a year as 365.';
    END IF;
    RETURN walwarden._update_org(c, 'org.settings_changed', was, o);
END
$$;

CREATE FUNCTION walwarden._list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
BEGIN
    IF walwarden._may(c, NULL, 'org.list', 'all') THEN
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at
              FROM walwarden.org AS o
             ORDER BY o.slug;
    ELSE
        RETURN QUERY
            SELECT o.id, o.slug, o.display_name, o.plan, o.retention, o.created_at
              FROM walwarden._memberships(c) AS m
              JOIN walwarden.org AS o ON o.id = m.org_id
             ORDER BY o.slug;
    END IF;
END
$$;

CREATE FUNCTION walwarden.create_org(slug text, display_name text DEFAULT NULL, plan text DEFAULT 'team') RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.create_org(text, text, text) IS
'Creates an organisation and starts its audit chain; returns its id. slug: 1 to 63 lower-case letters, digits, hyphens. display_name: 1 to 100 characters, NULL for the slug. plan: free, pro or team. For operators. Errors: 42501 no operator, 22023 bad value, 23505 slug taken. Example: SELECT walwarden.create_org(''globex'', ''Globex Ltd'');';

CREATE FUNCTION walwarden.set_plan(org text, plan text) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_plan(text, text) IS
'Changes the plan of an organisation: free, pro or team. API tokens work on team alone; on another plan they are inactive until it returns. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown organisation, 22023 unknown plan. Example: SELECT walwarden.set_plan(''acme'', ''pro'');';

CREATE FUNCTION walwarden.set_org_retention(org text, retention interval) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.set_org_retention(text, interval) IS
'Sets for how long tokens of an organisation are kept once they are disabled, expired or stopped by their owner''s disabling: 0 to 3650 days, in whole seconds, a month counts as 30 days, a year as 365. run_maintenance() removes what is older. For operators. Returns whether anything changed. Errors: 42501 no operator, 42704 unknown organisation, 22023 bad interval. Example: SELECT walwarden.set_org_retention(''acme'', ''30 days'');';

CREATE FUNCTION walwarden.list_orgs()
    RETURNS TABLE (org_id uuid, slug text, display_name text, plan text, retention interval, created_at timestamptz)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_orgs() IS
'Lists the organisations by slug: every one for operators, their own for members, none for anyone else. Errors: none. Example: SELECT slug, plan FROM walwarden.list_orgs();';
