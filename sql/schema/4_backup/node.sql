-- Nodes: the machines that run jobs. A job belongs to a node, and a node may have several
-- tokens, so that a token can be replaced while a job runs.

-- Nodes by the name under which they registered.
CREATE TABLE walwarden_internal.node (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id        uuid NOT NULL REFERENCES walwarden_internal.org,
    token_id      uuid NOT NULL REFERENCES walwarden_internal.token,
    name          text NOT NULL,
    version       text NOT NULL,
    registered_at timestamptz NOT NULL,
    audit_seq     bigint NOT NULL,
    last_seen_at  timestamptz,
    public_key    text COLLATE "C",
    UNIQUE (org_id, name)
);
SELECT pg_extension_config_dump('walwarden_internal.node', '');
COMMENT ON TABLE walwarden_internal.node IS 'The machines that run jobs, as recorded by register_node(). token_id: the token that last registered the node.';
COMMENT ON COLUMN walwarden_internal.node.last_seen_at IS 'the last call of the node, within a minute; the chain does not describe it';
COMMENT ON COLUMN walwarden_internal.node.public_key IS '32 bytes of Ed25519 in base64; NULL if the node does not sign';

-- The tokens that speak for a node. A token speaks for one node, for good.
CREATE TABLE walwarden_internal.node_token (
    token_id  uuid PRIMARY KEY REFERENCES walwarden_internal.token,
    org_id    uuid NOT NULL REFERENCES walwarden_internal.org,
    node_id   uuid NOT NULL REFERENCES walwarden_internal.node,
    audit_seq bigint NOT NULL
);
-- for verification
CREATE UNIQUE INDEX node_token_of_org ON walwarden_internal.node_token (org_id, token_id);
SELECT pg_extension_config_dump('walwarden_internal.node_token', '');
COMMENT ON TABLE walwarden_internal.node_token IS 'The node that each token speaks for, as recorded by its first register_node().';

CREATE FUNCTION walwarden_internal.node_image(n walwarden_internal.node) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN walwarden_internal.with_later(jsonb_build_object(
        'id', n.id, 'tokenId', n.token_id, 'name', n.name, 'version', n.version,
        'registeredAt', walwarden_internal.iso(n.registered_at)),
        jsonb_build_object('publicKey', n.public_key));

CREATE FUNCTION walwarden_internal.node_token_image(t walwarden_internal.node_token) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('tokenId', t.token_id, 'nodeId', t.node_id);

-- Nodes authenticate with a node token, or with a token whose role may register nodes. Their
-- work on jobs is the runner protocol.

-- The node that the identity speaks for; all columns are NULL before register_node().
CREATE FUNCTION walwarden_internal.current_node() RETURNS walwarden_internal.node
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n walwarden_internal.node;
BEGIN
    SELECT f.* INTO n
      FROM walwarden_internal.node_token AS t
      JOIN walwarden_internal.node AS f ON f.id = t.node_id
     WHERE t.token_id = walwarden.current_token_id();
    RETURN n;
END
$$;

CREATE FUNCTION walwarden_internal.require_node() RETURNS walwarden_internal.node
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n walwarden_internal.node := walwarden_internal.current_node();
BEGIN
    IF n.id IS NULL THEN
        PERFORM walwarden_internal.refuse('55000', 'the token has not registered a node',
            'Call walwarden.register_node() once, before the first job.');
    END IF;
    RETURN n;
END
$$;

-- Records that the node has called; does nothing if the token has none. Writes at most once a
-- minute, and never waits: another token of the node may be doing the same.
CREATE FUNCTION walwarden_internal.see_node(n walwarden_internal.node) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    -- a time in the future is from before the clock was set back
    IF n.last_seen_at <= now AND n.last_seen_at > walwarden_internal.later(now, -60) THEN
        RETURN;
    END IF;
    PERFORM FROM walwarden_internal.node AS f WHERE f.id = n.id FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE walwarden_internal.node AS f SET last_seen_at = now WHERE f.id = n.id;
    END IF;
END
$$;

-- The name at issue of a token, which a later name does not change.
CREATE FUNCTION walwarden_internal.name_at_issue(token_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT coalesce(t.key_name, t.name) FROM walwarden_internal.token AS t WHERE t.id = $1);
END
$$;

CREATE FUNCTION walwarden_internal.register_node(name text, version text, public_key text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    runner_org uuid := walwarden_internal.require_runner(c);
    token_id uuid := walwarden.current_token_id();
    mine walwarden_internal.node;
    was walwarden_internal.node;
    n walwarden_internal.node;
    t walwarden_internal.node_token;
    event text := 'node.registered';
BEGIN
    PERFORM walwarden_internal.check_text('node name', name, 100);
    PERFORM walwarden_internal.check_text('node version', version, 100);
    IF public_key IS NOT NULL THEN
        PERFORM walwarden_internal.check_public_key(name, public_key);
    END IF;
    PERFORM walwarden_internal.acquire_org_lock(runner_org);
    PERFORM walwarden_internal.require_open(runner_org);
    mine := walwarden_internal.current_node();
    SELECT * INTO was FROM walwarden_internal.node AS f WHERE f.org_id = runner_org AND f.name = name FOR NO KEY UPDATE;
    -- without a key the node keeps the one that it has, so that it cannot lose its key unnoticed
    public_key := coalesce(public_key, was.public_key);
    IF mine.id IS NOT NULL AND mine.id IS DISTINCT FROM was.id THEN
        PERFORM walwarden_internal.refuse('55000', 'the token speaks for another node',
            format('Register under the name %s, or use a token of its own for each node.', walwarden_internal.shown(mine.name)));
    ELSIF mine.id IS NULL AND was.id IS NOT NULL
          AND walwarden_internal.name_at_issue(was.token_id) IS DISTINCT FROM walwarden_internal.name_at_issue(token_id) THEN
        PERFORM walwarden_internal.refuse('42501', format('the node %s belongs to other tokens', walwarden_internal.shown(name)),
            'Use a token that was issued under the same name as the tokens of this node, or register under another name.');
    ELSIF was.id IS NULL THEN
        IF (SELECT count(*) FROM walwarden_internal.node AS f WHERE f.org_id = runner_org) >= 1000 THEN
            PERFORM walwarden_internal.refuse('53400', 'the organisation already has 1000 nodes',
                'Register under the name of a node that is no longer in use.');
        END IF;
    END IF;

    n := was;
    IF was.token_id IS DISTINCT FROM token_id OR was.version <> version OR was.public_key IS DISTINCT FROM public_key THEN
        n.id := coalesce(was.id, gen_random_uuid());
        n.org_id := runner_org;
        n.token_id := token_id;
        n.name := name;
        n.version := version;
        n.public_key := public_key;
        n.registered_at := clock_timestamp();
        IF was.id IS NOT NULL AND was.public_key IS DISTINCT FROM public_key THEN
            event := 'node.key_changed';
        END IF;
        n.audit_seq := walwarden_internal.append(runner_org, event,
            walwarden_internal.change(walwarden_internal.actor('token', c), 'node', n.id::text,
                              CASE WHEN was.id IS NOT NULL THEN walwarden_internal.node_image(was) END, walwarden_internal.node_image(n)));
        INSERT INTO walwarden_internal.node SELECT n.*
            ON CONFLICT ON CONSTRAINT node_pkey DO UPDATE
            SET token_id = n.token_id, version = n.version, public_key = n.public_key, registered_at = n.registered_at, audit_seq = n.audit_seq;
    END IF;
    IF mine.id IS NULL THEN
        t.token_id := token_id;
        t.org_id := runner_org;
        t.node_id := n.id;
        t.audit_seq := walwarden_internal.append(runner_org, 'node.token_joined',
            walwarden_internal.change(walwarden_internal.actor('token', c), 'node_token', token_id::text, NULL, walwarden_internal.node_token_image(t)));
        INSERT INTO walwarden_internal.node_token SELECT t.*;
    END IF;
    PERFORM walwarden_internal.see_node(n);
    RETURN n.id;
END
$$;

CREATE FUNCTION walwarden_internal.list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text, last_seen_at timestamptz, public_key text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    wanted uuid;
BEGIN
    -- a node may list the nodes of its organisation
    IF walwarden_internal.is_granted(c.role, '{runner}') AND org = walwarden.current_org()
       AND walwarden_internal.speaks_for_node() THEN
        wanted := walwarden.current_org_id();
    ELSE
        wanted := (walwarden_internal.permitted_org(c, org, 'node.list', 'any')).id;
    END IF;
    RETURN QUERY
        SELECT n.id, n.name, n.version, n.registered_at, n.token_id,
               coalesce(nullif(walwarden_internal.state(t), 'unknown'), 'removed'), n.last_seen_at, n.public_key
          FROM walwarden_internal.node AS n
          LEFT JOIN walwarden_internal.token AS t ON t.id = n.token_id
         WHERE n.org_id = wanted
         ORDER BY n.name;
END
$$;

CREATE FUNCTION walwarden.register_node(name text, version text, public_key text DEFAULT NULL) RETURNS uuid
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.register_node(text, text, text) IS
'Registers a node under a name, with the version of its software; returns its id. name, version: 1 to 100 characters. public_key: 32 bytes of an Ed25519 key in base64, 44 characters. A node with a key signs its manifests and checkpoints: record_evidence() rejects a manifest that is not signed with the key. NULL leaves the key as it is: a node without one stays without, and a node cannot give up its key, only replace it. The name of a node with a key contains no space and no plus sign. From then on the token speaks for this node, and for no other. A node may have several tokens: a token that was issued under the same name as the node''s tokens joins it by registering its name. Registering again updates the node, if its version, token or key has changed. At most 1000 names per organisation. For node tokens and tokens with the role deploy, in a role authorised with grant_runner(). Errors: 28000 if the transaction has no identity, 42501 if the role or the token may not run jobs, or the name belongs to a node whose tokens were issued under another name, 22023 if name, version or public_key is invalid, 0A000 for a key if the server has no OpenSSL, 53400 if the organisation already has 1000 nodes, 55000 if the token speaks for another node or the organisation is closed, 55P03 if the organisation is locked for too long. Example: SELECT walwarden.register_node(''node-1'', ''2.4.0'');';

CREATE FUNCTION walwarden.list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text, last_seen_at timestamptz, public_key text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_nodes(text) IS
'Lists the nodes of an organisation by name, with the token that last registered each node and the state of that token (as in token_list, or removed), and its public key, NULL if it does not sign. last_seen_at: its last call of the runner protocol, within a minute. For operators, owners and admins, and for nodes of the organisation in a role authorised with grant_runner(). Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist. Example: SELECT name, version, token_state FROM walwarden.list_nodes(''acme'');';
