-- Who may use what, decided here alone. Everything is the owner's; PUBLIC gets
-- the doors, which check for themselves, and the identity functions. Objects
-- without a line here are closed.

REVOKE ALL ON SCHEMA walwarden, walwarden_rest FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA walwarden FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden, walwarden_rest FROM PUBLIC;
REVOKE ALL ON TYPE walwarden.caller, walwarden.rest_request, walwarden.rest_item FROM PUBLIC;

-- Default privileges of the installing role may have opened them to others too.
DO $$
DECLARE
    opened record;
BEGIN
    FOR opened IN
        SELECT 'SCHEMA' AS kind, format('%I', n.nspname) AS object, n.nspacl AS acl, n.nspowner AS owner
          FROM pg_namespace AS n
         WHERE n.nspname IN ('walwarden', 'walwarden_rest')
        UNION ALL
        SELECT 'TABLE', format('%I.%I', n.nspname, r.relname), r.relacl, r.relowner
          FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest') AND r.relkind IN ('r', 'v')
        UNION ALL
        SELECT 'FUNCTION', p.oid::regprocedure::text, p.proacl, p.proowner
          FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest')
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text, t.typacl, t.typowner
          FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
         WHERE n.nspname IN ('walwarden', 'walwarden_rest') AND t.typrelid <> 0
           AND EXISTS (SELECT FROM pg_class AS r WHERE r.oid = t.typrelid AND r.relkind = 'c')
    LOOP
        EXECUTE (SELECT coalesce(string_agg(format('REVOKE ALL ON %s %s FROM %s;', opened.kind, opened.object, a.grantee::regrole), ' '), 'SELECT')
                   FROM aclexplode(opened.acl) AS a
                  WHERE a.grantee NOT IN (0, opened.owner));
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA walwarden TO PUBLIC;
GRANT SELECT ON walwarden.token_list TO PUBLIC;
-- and walwarden.stat_auth to each operator: see _grant_operator()

GRANT EXECUTE ON FUNCTION
    -- superusers
    walwarden.grant_operator(name),
    walwarden.revoke_operator(name),
    walwarden.trust_authenticator(name),
    walwarden.untrust_authenticator(name),
    walwarden.grant_rest(name, name),
    walwarden.revoke_rest(name),
    walwarden.grant_runner(name),
    walwarden.revoke_runner(name),
    -- operators
    walwarden.create_org(text, text, text),
    walwarden.set_plan(text, text),
    walwarden.set_org_retention(text, interval),
    walwarden.create_scope(text, text, text),
    walwarden.set_role_scopes(text, text[]),
    walwarden.import_legacy_credential(text, text, uuid, text, text),
    walwarden.run_maintenance(),
    walwarden.auth_statistics(),
    -- operators, owners, admins
    walwarden.add_member(text, text, text, name),
    walwarden.set_member_role(text, text, text),
    walwarden.disable_member(text, text),
    walwarden.enable_member(text, text),
    walwarden.remove_member(text, text),
    walwarden.set_member_sso(text, text, boolean),
    walwarden.list_members(text),
    walwarden.list_audit(text, bigint, integer),
    walwarden.append_audit(text, jsonb, uuid, text),
    walwarden.verify_audit_chain(text, bigint, text),
    walwarden.list_nodes(text),
    -- members
    walwarden.list_orgs(),
    walwarden.issue_token(text, text, text[], timestamptz, text, text, text),
    walwarden.list_tokens(text, uuid, integer),
    walwarden.visible_tokens(),
    walwarden.disable_token(uuid, text),
    walwarden.enable_token(uuid, timestamptz),
    walwarden.update_token(uuid, text, text[], timestamptz),
    walwarden.renew_token(uuid, interval),
    walwarden.revoke_token(uuid, text),
    -- nodes, in roles given grant_runner
    walwarden.register_node(text, text),
    walwarden.claim_job(text[], interval),
    walwarden.heartbeat_job(uuid, bigint, jsonb),
    walwarden.report_job(uuid, bigint, text, jsonb),
    walwarden.record_evidence(uuid, bigint, jsonb),
    -- everyone
    walwarden.pre_request(),
    walwarden.introspect_token(text),
    walwarden.authenticate(text),
    walwarden.authorize(text, text),
    walwarden.has_scope(text),
    walwarden.require_scope(text),
    walwarden.current_token_id(),
    walwarden.current_org(),
    walwarden.current_org_id(),
    walwarden.current_subject()
TO PUBLIC;
