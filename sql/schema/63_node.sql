-- Nodes: the machines that run jobs. They speak with a node token, or one whose
-- role may register nodes; what they do with jobs is the runner protocol.

CREATE FUNCTION walwarden._register_node(name text, version text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden.caller := walwarden._caller();
    runner_org uuid := walwarden._require_runner(c);
    was walwarden.node;
    n walwarden.node;
BEGIN
    PERFORM walwarden._check_text('node name', name, 100);
    PERFORM walwarden._check_text('node version', version, 100);
    PERFORM walwarden._take_org_lock(runner_org);
    SELECT * INTO was FROM walwarden.node AS f WHERE f.org_id = runner_org AND f.name = name;
    IF was.token_id = walwarden.current_token_id() AND was.version = version THEN
        RETURN was.id;
    ELSIF was.id IS NULL AND (SELECT count(*) FROM walwarden.node AS f WHERE f.org_id = runner_org) >= 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = 'the organisation has 1000 nodes already',
            HINT = 'Register under the name of a node that is no longer there.';
    END IF;
    n := was;
    n.id := coalesce(was.id, gen_random_uuid());
    n.org_id := runner_org;
    n.token_id := walwarden.current_token_id();
    n.name := name;
    n.version := version;
    n.registered_at := clock_timestamp();
    n.audit_seq := walwarden._append(runner_org, 'node.registered',
        walwarden._change(walwarden._token_actor(c), 'node', n.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._node_state(was) END, walwarden._node_state(n)));
    INSERT INTO walwarden.node SELECT n.*
        ON CONFLICT ON CONSTRAINT node_pkey DO UPDATE
        SET token_id = n.token_id, version = n.version, registered_at = n.registered_at, audit_seq = n.audit_seq;
    RETURN n.id;
END
$$;

CREATE FUNCTION walwarden._list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    wanted uuid;
BEGIN
    -- a node sees those of its organisation
    IF org = walwarden.current_org() AND walwarden._is_granted(c.role, '{runner}')
       AND walwarden._speaks_for_node() THEN
        wanted := walwarden.current_org_id();
    ELSE
        wanted := (walwarden._org(c, org, 'node.list', 'any')).id;
    END IF;
    RETURN QUERY
        SELECT n.id, n.name, n.version, n.registered_at, n.token_id,
               CASE (s.standing).state WHEN 'unknown' THEN 'removed' ELSE (s.standing).state END
          FROM walwarden.node AS n
         CROSS JOIN LATERAL (SELECT walwarden._token_standing(n.token_id)) AS s(standing)
         WHERE n.org_id = wanted
         ORDER BY n.name;
END
$$;

CREATE FUNCTION walwarden.register_node(name text, version text) RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.register_node(text, text) IS
'Makes a node known under a name, 1 to 100 characters, with the version of what it runs; returns its id. The same name again is the same node: a new version or token is recorded, no difference is not. At most 1000 names an organisation. With a node token''s identity, or that of a token from the role deploy, in a role given grant_runner. Errors: 28000 no identity, 42501 no node token or role, 22023 bad name or version, 53400 too many, 55P03 locked for too long. Example: SELECT walwarden.register_node(''node-1'', ''2.4.0'');';

CREATE FUNCTION walwarden.list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_nodes(text) IS
'Lists the nodes of an organisation by name, with the token that last registered each and its state (active, inactive, disabled, expired, revoked or removed). For operators, owners and admins, and for a node of the organisation in a role given grant_runner. Errors: 42501 no right, 42704 unknown organisation. Example: SELECT name, version, token_state FROM walwarden.list_nodes(''acme'');';
