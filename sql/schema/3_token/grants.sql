-- The grants of this wing. PUBLIC may use only the schema walwarden, not the other two.

GRANT USAGE ON SCHEMA walwarden TO PUBLIC;
-- the doors behind them decide who reads which rows
GRANT SELECT ON walwarden.token_list, walwarden.stat_auth, walwarden.stat_grants TO PUBLIC;

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
    walwarden.grant_monitor(name),
    walwarden.revoke_monitor(name),
    walwarden.confirm_server_role(name),
    -- operators
    walwarden.list_grants(),
    walwarden.create_org(text, text, text),
    walwarden.set_plan(text, text),
    walwarden.set_org_retention(text, interval),
    walwarden.rename_org(text, text, text),
    walwarden.create_scope(text, text, text),
    walwarden.set_role_scopes(text, text[]),
    walwarden.add_role_scopes(text, text[]),
    walwarden.remove_role_scopes(text, text[]),
    walwarden.import_legacy_credential(text, text, uuid, text, text),
    -- operators, owners, admins
    walwarden.add_member(text, text, text, name),
    walwarden.set_member_role(text, text, text),
    walwarden.set_member_db_role(text, text, name),
    walwarden.enable_member(text, text),
    walwarden.set_member_sso(text, text, boolean),
    walwarden.list_members(text),
    walwarden.export_people(text),
    walwarden.set_token_policy(text, interval, interval, interval),
    walwarden.list_audit(text, bigint, integer),
    walwarden.search_audit(text, text, text, text, timestamptz, timestamptz, integer),
    walwarden.append_audit(text, jsonb, uuid, text),
    -- members
    walwarden.list_orgs(),
    walwarden.issue_token(text, text, text[], timestamptz, text, text, text, jsonb, cidr[], integer),
    walwarden.list_tokens(text, uuid, integer),
    walwarden.get_token(uuid),
    walwarden.find_tokens(text),
    walwarden.disable_token(uuid, text),
    walwarden.enable_token(uuid, timestamptz),
    walwarden.update_token(uuid, text, text[], timestamptz, jsonb, cidr[], integer),
    walwarden.renew_token(uuid, interval),
    walwarden.end_overlap(uuid),
    walwarden.revoke_token(uuid, text),
    -- behind the views stat_auth, stat_grants and token_list; nobody can name them
    walwarden_internal.stat_auth_door(),
    walwarden_internal.stat_grants_door(),
    walwarden_internal.token_list_door(),
    -- everyone
    walwarden.list_roles(),
    walwarden.list_scopes(),
    walwarden.list_plans(),
    walwarden.introspect_token(text),
    walwarden.report_leaked_token(text, text),
    walwarden.authenticate(text, inet),
    walwarden.authorize(text, text, inet),
    walwarden.has_scope(text),
    walwarden.require_scope(text),
    walwarden.current_token_id(),
    walwarden.current_org(),
    walwarden.current_org_id(),
    walwarden.current_subject(),
    walwarden.receive_usage(uuid[], timestamptz[], timestamptz[], timestamptz[], inet[], bigint[], bigint[], timestamptz[], text[])
TO PUBLIC;
