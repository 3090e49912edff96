-- Searching audit entries.

-- The first entry of a chain that is not earlier than a time, by bisection: at never goes back
-- within a chain. Beyond the last entry if there is none.
CREATE FUNCTION walwarden_internal.first_seq_at(chain uuid, at timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low bigint := 1;
    high bigint := 1 + coalesce((SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = chain ORDER BY e.seq DESC LIMIT 1), 0);
    middle bigint;
    earlier boolean;
BEGIN
    WHILE low < high LOOP
        middle := (low + high) / 2;
        -- the next one, if somebody has deleted it
        SELECT e.at < first_seq_at.at INTO earlier
          FROM walwarden_internal.audit_entry AS e WHERE e.org_id = chain AND e.seq >= middle ORDER BY e.seq LIMIT 1;
        IF earlier THEN
            low := middle + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- The kinds that a search looks for: one kind, or those that begin with a group such as
-- token. or app.invoice. NULL stays NULL.
CREATE FUNCTION walwarden_internal.check_kinds(kind text) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kinds text[];
BEGIN
    IF kind IS NULL THEN
        RETURN NULL;
    ELSIF kind ~ '^app([.][a-z0-9_]+)+$' AND length(kind) <= 100 THEN
        RETURN ARRAY[kind];
    ELSIF kind ~ '^app[.]([a-z0-9_]+[.])*$' AND length(kind) <= 100 THEN
        RETURN '{}';        -- see app_kinds()
    END IF;
    kinds := ARRAY(SELECT k.kind FROM walwarden_internal.audit_kind AS k
                    WHERE k.kind = check_kinds.kind OR check_kinds.kind ~ '[.]$' AND starts_with(k.kind, check_kinds.kind));
    IF kinds = '{}' THEN
        PERFORM walwarden_internal.refuse('22023', format('unknown audit kind %s', walwarden_internal.shown(kind)),
            'Give a kind such as token.revoked, or a group with its dot, such as token. (docs/audit-chain.md lists them).');
    END IF;
    RETURN kinds;
END
$$;

-- The kinds of applications in a chain that begin with a group, at most so many. Reads one
-- entry for each.
CREATE FUNCTION walwarden_internal.app_kinds(chain uuid, kind_group text, most integer) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE found(kind) AS (
        SELECT (SELECT e.kind FROM walwarden_internal.audit_entry AS e
                 WHERE e.org_id = chain AND e.kind > kind_group ORDER BY e.kind LIMIT 1)
        UNION ALL
        SELECT (SELECT e.kind FROM walwarden_internal.audit_entry AS e
                 WHERE e.org_id = chain AND e.kind > f.kind ORDER BY e.kind LIMIT 1)
          FROM found AS f
         WHERE starts_with(f.kind, kind_group)
    )
    SELECT ARRAY(SELECT f.kind FROM found AS f WHERE starts_with(f.kind, kind_group) LIMIT most)
$$;

-- The object of a search as entries write it; NULL stays NULL.
CREATE FUNCTION walwarden_internal.check_object(object text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[] := regexp_match(object, '^([a-z_]+):(.+)$');
BEGIN
    IF object IS NULL THEN
        RETURN NULL;
    ELSIF parts IS NULL OR length(object) > 200 THEN
        PERFORM walwarden_internal.refuse('22023', format('invalid object %s', walwarden_internal.shown(object)),
            'Give a type, a colon and an id, for example token:0b6f5a3e-8c1d-4e2f-9a7b-3c4d5e6f7081.');
    END IF;
    RETURN (SELECT j.canonical FROM walwarden_internal.canonical_json(convert_to(
        jsonb_build_object('type', parts[1], 'id', coalesce(walwarden_internal.uuid_or_null(parts[2])::text, parts[2]))::text, 'UTF8')) AS j);
END
$$;

-- The ids of those whom a name may mean as the actor: members by subject or server role, and
-- tokens by the handle of a plaintext that they have.
CREATE FUNCTION walwarden_internal.actor_ids(chain uuid, actor text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    -- chain is not NULL for one organisation: looking for those of others as well takes longer,
    -- which would tell that they exist
    SELECT ARRAY(SELECT m.id::text FROM walwarden_internal.member AS m
                  WHERE (m.subject = actor OR m.db_role = actor) AND (chain IS NULL OR m.org_id = chain)
                 UNION ALL
                 SELECT c.token_id::text FROM walwarden_internal.credential AS c
                  WHERE actor ~ '^[0-9a-f]{12}$' AND (chain IS NULL OR c.org_id = chain)
                    AND c.fingerprint BETWEEN decode(rpad(actor, 64, '0'), 'hex') AND decode(rpad(actor, 64, 'f'), 'hex'))
$$;

-- Whether an actor is the one that is looked for: a role or login, a member, a token or a
-- session by id, one of these ids, or the system.
CREATE FUNCTION walwarden_internal.is_actor(body text, wanted text, ids text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(wanted IN (a.actor ->> 'role', a.actor ->> 'login')
                    OR wanted = 'system' AND a.actor ->> 'kind' = 'system'
                    OR ARRAY[a.actor ->> 'memberId', a.actor ->> 'tokenId', a.actor ->> 'sessionId'] && (ids || wanted), false)
      FROM (SELECT walwarden_internal.json_or_null(body) #> '{payload,actor}') AS a(actor)
$$;

-- An actor as people read it. One who used SET ROLE comes first, then the role.
CREATE FUNCTION walwarden_internal.shown_actor(actor jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE actor ->> 'kind'
               WHEN 'system' THEN 'system'
               WHEN 'token' THEN 'token ' || coalesce((SELECT t.name FROM walwarden_internal.token AS t WHERE t.id = walwarden_internal.uuid_or_null(actor ->> 'tokenId')), actor ->> 'tokenId')
               WHEN 'operator' THEN concat_ws(' as ', coalesce(p.name, nullif(actor ->> 'login', actor ->> 'role')), actor ->> 'role')
               WHEN 'session' THEN coalesce(p.name, 'session ' || (actor ->> 'sessionId'))
               ELSE p.name END
      FROM (SELECT coalesce(walwarden_internal.member_name(actor ->> 'memberId'), actor ->> 'memberId')) AS p(name)
$$;

-- Whether an entry satisfies those conditions of a search that its index does not. mentions: the
-- actor and the ids as JSON, because to look for them in the text of an entry costs much less
-- than to parse it.
CREATE FUNCTION walwarden_internal.is_wanted(
        e walwarden_internal.audit_entry, kinds text[], kind_group text, actor text, ids text[], mentions text[]) RETURNS boolean
    LANGUAGE sql STABLE     -- without a path, so that the planner can put it into a query
    RETURN (kinds IS NULL OR e.kind = ANY (kinds))
       AND (kind_group IS NULL OR starts_with(e.kind, kind_group))
       AND (actor IS NULL OR e.body LIKE ANY (mentions) AND walwarden_internal.is_actor(e.body, actor, ids));

-- Entries of one chain from first to last that satisfy every condition that is not NULL: the
-- first max_rows in this order. One query for each index and order. kinds: {} for the group of
-- kinds of applications. max_read: about how many entries may be read to look for an actor, or for
-- a group of too many kinds, which no index finds; NULL for all. read_to: how far they were read,
-- if that was not to the end; NULL otherwise.
CREATE FUNCTION walwarden_internal.search_chain(
        chain uuid, kinds text[], kind_group text, actor text, ids text[], object text, first bigint, last bigint,
        newest boolean, max_rows integer, max_read integer, OUT entries walwarden_internal.audit_entry[], OUT read_to bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most_kinds CONSTANT integer := 100;
    mentions text[] := ARRAY(SELECT '%' || regexp_replace(to_jsonb(n.name)::text, '[' || repeat(chr(92), 2) || '%_]', repeat(chr(92), 3) || '&', 'g') || '%' FROM unnest(ids || actor) AS n(name));
BEGIN
    IF kinds = '{}' THEN
        kinds := walwarden_internal.app_kinds(chain, kind_group, most_kinds + 1);
    END IF;
    IF cardinality(kinds) > most_kinds THEN
        kinds := NULL;
    ELSE
        kind_group := NULL;
    END IF;
    IF object IS NULL AND (actor IS NOT NULL OR kind_group IS NOT NULL) AND max_read IS NOT NULL THEN
        IF kinds IS NULL THEN
            read_to := CASE WHEN newest THEN last - max_read ELSE first + max_read END;
        ELSIF newest THEN
            SELECT max(b.seq) INTO read_to
              FROM unnest(kinds) AS k(kind), LATERAL (
                SELECT f.seq FROM walwarden_internal.audit_entry AS f
                 WHERE f.org_id = chain AND f.kind = k.kind AND f.seq BETWEEN first AND last
                 ORDER BY f.seq DESC OFFSET max_read / cardinality(kinds) LIMIT 1) AS b;
        ELSE
            SELECT min(b.seq) INTO read_to
              FROM unnest(kinds) AS k(kind), LATERAL (
                SELECT f.seq FROM walwarden_internal.audit_entry AS f
                 WHERE f.org_id = chain AND f.kind = k.kind AND f.seq BETWEEN first AND last
                 ORDER BY f.seq OFFSET max_read / cardinality(kinds) LIMIT 1) AS b;
        END IF;
        IF newest AND read_to > first THEN
            first := read_to;
        ELSIF NOT newest AND read_to < last THEN
            last := read_to;
        ELSE
            read_to := NULL;
        END IF;
    END IF;

    IF object IS NOT NULL THEN
        entries := ARRAY(
            (SELECT e FROM walwarden_internal.audit_entry AS e
              WHERE newest AND e.org_id = chain AND walwarden_internal.entry_object(e.body) = object AND e.seq BETWEEN first AND last
                AND walwarden_internal.is_wanted(e, kinds, kind_group, actor, ids, mentions)
              ORDER BY e.seq DESC LIMIT max_rows)
            UNION ALL
            (SELECT e FROM walwarden_internal.audit_entry AS e
              WHERE NOT newest AND e.org_id = chain AND walwarden_internal.entry_object(e.body) = object AND e.seq BETWEEN first AND last
                AND walwarden_internal.is_wanted(e, kinds, kind_group, actor, ids, mentions)
              ORDER BY e.seq LIMIT max_rows));
    ELSIF kinds IS NOT NULL THEN
        entries := ARRAY(
            (SELECT e.f FROM unnest(kinds) AS k(kind), LATERAL (
                SELECT f, f.seq FROM walwarden_internal.audit_entry AS f
                 WHERE newest AND f.org_id = chain AND f.kind = k.kind AND f.seq BETWEEN first AND last
                   AND walwarden_internal.is_wanted(f, NULL, NULL, actor, ids, mentions)
                 ORDER BY f.seq DESC LIMIT max_rows) AS e
              ORDER BY e.seq DESC LIMIT max_rows)
            UNION ALL
            (SELECT e.f FROM unnest(kinds) AS k(kind), LATERAL (
                SELECT f, f.seq FROM walwarden_internal.audit_entry AS f
                 WHERE NOT newest AND f.org_id = chain AND f.kind = k.kind AND f.seq BETWEEN first AND last
                   AND walwarden_internal.is_wanted(f, NULL, NULL, actor, ids, mentions)
                 ORDER BY f.seq LIMIT max_rows) AS e
              ORDER BY e.seq LIMIT max_rows));
    ELSE
        entries := ARRAY(
            (SELECT e FROM walwarden_internal.audit_entry AS e
              WHERE newest AND e.org_id = chain AND e.seq BETWEEN first AND last
                AND walwarden_internal.is_wanted(e, NULL, kind_group, actor, ids, mentions)
              ORDER BY e.seq DESC LIMIT max_rows)
            UNION ALL
            (SELECT e FROM walwarden_internal.audit_entry AS e
              WHERE NOT newest AND e.org_id = chain AND e.seq BETWEEN first AND last
                AND walwarden_internal.is_wanted(e, NULL, kind_group, actor, ids, mentions)
              ORDER BY e.seq LIMIT max_rows));
    END IF;
    IF cardinality(entries) = max_rows THEN
        read_to := NULL;
    END IF;
END
$$;

-- The span of a search: since is before until.
CREATE FUNCTION walwarden_internal.check_span(since timestamptz, until timestamptz) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF since >= until THEN
        PERFORM walwarden_internal.refuse('22023', 'since is not before until',
            'Give an earlier since or a later until. Entries at since are included, those at until are not.');
    END IF;
END
$$;

-- The actor of a search: an id is written as entries write it. NULL stays NULL.
CREATE FUNCTION walwarden_internal.check_actor(actor text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF actor IS NOT NULL THEN
        PERFORM walwarden_internal.check_text('actor', actor, 500);
    END IF;
    RETURN coalesce(walwarden_internal.uuid_or_null(actor)::text, actor);
END
$$;

CREATE FUNCTION walwarden_internal.search_audit(
        wanted_org text, wanted_kind text, wanted_actor text, wanted_object text, since timestamptz, until timestamptz, max_rows integer)
    RETURNS TABLE (org text, seq bigint, at timestamptz, kind text, actor text, object text, body jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    chain_id uuid;
    kinds text[];
    ids text[];
    searched text;
    found walwarden_internal.audit_entry[] := '{}';
    chain record;
BEGIN
    IF wanted_org IS NULL THEN
        PERFORM walwarden_internal.require(c, NULL, 'audit.list', 'all');
    ELSE
        chain_id := walwarden_internal.permitted_chain(c, wanted_org, 'audit.list');
    END IF;
    kinds := walwarden_internal.check_kinds(wanted_kind);
    searched := walwarden_internal.check_object(wanted_object);
    IF max_rows IS NULL OR max_rows < 1 OR max_rows > 1000 THEN
        PERFORM walwarden_internal.refuse('22023', 'max_rows is not between 1 and 1000',
            'Give 1 to 1000. To see older entries, give the at of the last one as until. To read all entries of a chain, call list_audit().');
    END IF;
    -- because no index finds an actor
    IF wanted_actor IS NOT NULL THEN
        since := coalesce(since, walwarden_internal.later(coalesce(until, statement_timestamp()), -90 * 86400));
    END IF;
    PERFORM walwarden_internal.check_span(since, until);
    wanted_actor := walwarden_internal.check_actor(wanted_actor);
    ids := walwarden_internal.actor_ids(chain_id, wanted_actor);
    PERFORM walwarden_internal.flush_audit();

    -- the chain with the newest entry first, until no other chain can have a newer one
    FOR chain IN SELECT o.id, h.seq, h.at
                   FROM (SELECT f.id FROM walwarden_internal.org AS f WHERE chain_id IS NULL
                         UNION ALL
                         SELECT coalesce(chain_id, walwarden_internal.system_org())) AS o(id)
                  CROSS JOIN LATERAL (SELECT e.seq, e.at FROM walwarden_internal.audit_entry AS e WHERE e.org_id = o.id ORDER BY e.seq DESC LIMIT 1) AS h
                  ORDER BY h.at DESC LOOP
        EXIT WHEN chain.at < since OR chain.at < found[max_rows].at;
        found := ARRAY(
            SELECT f FROM (SELECT p FROM unnest(found) AS p
                           UNION ALL
                           SELECT e FROM walwarden_internal.search_chain(
                               chain.id, kinds, wanted_kind, wanted_actor, ids, searched,
                               CASE WHEN since IS NULL THEN 1 ELSE walwarden_internal.first_seq_at(chain.id, since) END,
                               CASE WHEN until IS NULL OR until > chain.at THEN chain.seq ELSE walwarden_internal.first_seq_at(chain.id, until) - 1 END,
                               true, max_rows, NULL) AS s, unnest(s.entries) AS e) AS u(f)
             ORDER BY (f).at DESC, (f).org_id, (f).seq DESC LIMIT max_rows);
    END LOOP;

    RETURN QUERY
        SELECT coalesce(o.slug, '_system'), e.seq, e.at, e.kind, walwarden_internal.shown_actor(b.json #> '{payload,actor}'),
               (b.object ->> 'type') || ':' || (b.object ->> 'id'), b.json
          FROM unnest(found) WITH ORDINALITY AS e(org_id, seq, at, kind, job_id, body, prev_hash, hash, n)
         CROSS JOIN LATERAL (SELECT walwarden_internal.json_or_null(e.body), walwarden_internal.entry_object(e.body)::jsonb) AS b(json, object)
          LEFT JOIN walwarden_internal.org AS o ON o.id = e.org_id
         ORDER BY e.n;
END
$$;

CREATE FUNCTION walwarden.search_audit(
        org text DEFAULT NULL, kind text DEFAULT NULL, actor text DEFAULT NULL, object text DEFAULT NULL,
        since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (org text, seq bigint, at timestamptz, kind text, actor text, object text, body jsonb)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.search_audit(text, text, text, text, timestamptz, timestamptz, integer) IS
'Searches audit entries, newest first. Every condition that is not NULL applies. org: the slug of an organisation, _system for the system chain, NULL for all chains. kind: a kind such as token.revoked, or a group with its dot: token. finds every kind that begins with it. actor: a subject, a server role or login, the id of a member, token or session, the handle of a token, or system. A person is found by the present subject and server role, a token by the handles of its credentials. object: a type, a colon and an id, such as token:<uuid>. since, until: entries at or after since and before until. With an actor, since NULL means 90 days before until, or before now. max_rows: 1 to 1000. Column actor is readable: the subject of a member, the name of a token, the id of a session outside of any organisation, an operator''s login and role; column object is type:id, or NULL. body is NULL if it is not JSON. For operators, and for owners and admins of the organisation. To follow a chain, use list_audit(). Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist, 22023 if another value is invalid. Example: SELECT at, kind, actor FROM walwarden.search_audit(''acme'', ''token.'', since => now() - interval ''1 day'');';
