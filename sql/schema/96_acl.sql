-- Who may use what, decided here alone. Everything is the owner's; PUBLIC gets
-- the doors, which check for themselves, and the identity functions. Objects
-- without a line here are closed.

REVOKE ALL ON SCHEMA walwarden, walwarden_rest FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA walwarden FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA walwarden FROM PUBLIC;
REVOKE ALL ON TYPE walwarden.caller FROM PUBLIC;

GRANT USAGE ON SCHEMA walwarden TO PUBLIC;
GRANT SELECT ON walwarden.token_list TO PUBLIC;

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
    -- members
    walwarden.list_orgs(),
    walwarden.issue_token(text, text, text[], timestamptz, text, text, text),
    walwarden.list_tokens(text, uuid, integer),
    walwarden.visible_tokens(),
    walwarden.revoke_token(uuid, text),
    -- everyone
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
