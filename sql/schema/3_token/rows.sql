-- The rows that this wing adds to tables of lower wings, and its audited rows.

INSERT INTO walwarden_internal.guard
SELECT g.* FROM unnest('{capability,permission,plan,role,token_transition}'::name[]) AS c(relation), walwarden_internal.catalogue_guards(c.relation) AS g;

INSERT INTO walwarden_internal.guard (relation, trigger, timing, events, level, function) VALUES
    -- scopes can be added, through walwarden.create_scope()
    ('scope',         'refuse_builtin',   'BEFORE', 'INSERT',                     'ROW WHEN (new.builtin)', 'refuse_change'),
    ('scope',         'refuse_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'refuse_change'),
    ('scope',         'refuse_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'refuse_change'),
    -- slugs are only added
    ('org_slug',      'refuse_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'refuse_change'),
    ('org_slug',      'refuse_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'refuse_change'),
    -- credentials contain a copy of their token
    ('credential',    'copy_token_status',    'BEFORE', 'INSERT OR UPDATE',           'ROW',       'copy_token_status'),
    ('token',         'refresh_token_status', 'AFTER',  'INSERT OR DELETE OR UPDATE', 'ROW',       'refresh_token_status'),
    -- the status of a token depends on these; a new token, owner or org makes nothing stale
    ('org',           'signal_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'signal_change'),
    ('org',           'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('member',        'signal_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'signal_change'),
    ('member',        'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('token',         'signal_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'signal_change'),
    ('token',         'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('credential',    'signal_change',    'BEFORE', 'DELETE OR UPDATE',           'ROW',       'signal_change'),
    ('credential',    'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('role_grant',    'signal_change',    'BEFORE', 'INSERT OR DELETE OR UPDATE', 'ROW',       'signal_change'),
    ('role_grant',    'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('role_override', 'signal_change',    'BEFORE', 'INSERT OR DELETE OR UPDATE', 'ROW',       'signal_change'),
    ('role_override', 'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change'),
    ('scope',         'signal_change',    'BEFORE', 'INSERT OR DELETE OR UPDATE', 'ROW',       'signal_change'),
    ('scope',         'signal_truncate',  'BEFORE', 'TRUNCATE',                   'STATEMENT', 'signal_change');

-- Every row of this wing that a chain describes, with the chain, the entry and the image.
-- key: the id as a uuid, to find the row by its primary key; NULL where the id is a name.
-- first_seq: the entry with which the row must begin; NULL if none is stored.
CREATE VIEW walwarden_internal.token_audited_row AS
    SELECT o.id AS org_id, 'org' AS type, o.id AS key, o.id::text AS id, o.audit_seq, NULL::bigint AS first_seq, walwarden_internal.org_image(o, walwarden_internal.org_slugs(o.id)) AS image
      FROM walwarden_internal.org AS o
    UNION ALL
    SELECT m.org_id, 'member', m.id, m.id::text, m.audit_seq, NULL, walwarden_internal.member_image(m)
      FROM walwarden_internal.member AS m
    UNION ALL
    SELECT t.org_id, 'token', t.id, t.id::text, t.audit_seq, NULL, walwarden_internal.token_image(t,
               (SELECT coalesce(jsonb_agg(walwarden_internal.credential_image(c) ORDER BY c.created_at, c.fingerprint), '[]')
                  FROM walwarden_internal.credential AS c
                 WHERE c.token_id = t.id))
      FROM walwarden_internal.token AS t
    UNION ALL
    SELECT walwarden_internal.system_org(), 'scope', NULL, s.name, s.audit_seq, NULL, walwarden_internal.scope_image(s)
      FROM walwarden_internal.scope AS s
     WHERE NOT s.builtin
    UNION ALL
    SELECT walwarden_internal.system_org(), 'role', NULL, r.role, r.audit_seq, NULL, walwarden_internal.role_override_image(r)
      FROM walwarden_internal.role_override AS r
    UNION ALL
    SELECT walwarden_internal.system_org(), 'grant', NULL, g.kind || ':' || g.role, g.audit_seq, NULL, walwarden_internal.role_grant_image(g)
      FROM walwarden_internal.role_grant AS g;
COMMENT ON VIEW walwarden_internal.token_audited_row IS 'The audited rows of organisations, members, tokens, scopes, roles and grants.';

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('org.created',              'org',    'an organisation was created'),
    ('org.plan_changed',         'org',    'the plan of an organisation changed'),
    ('org.settings_changed',     'org',    'the retention of an organisation changed'),
    ('org.renamed',              'org',    'an organisation got another slug or display name'),
    ('org.policy_changed',       'org',    'the lifetimes of an organisation''s tokens, or the notice of their expiry, changed'),
    ('member.added',             'org',    'a person became a member'),
    ('member.role_changed',      'org',    'the role of a member changed'),
    ('member.subject_changed',   'org',    'a member got another subject, and a new salt'),
    ('member.db_role_changed',   'org',    'the server role that acts as a member changed'),
    ('member.sso_changed',       'org',    'single sign-on was turned on or off for a member'),
    ('member.disabled',          'org',    'a member was disabled'),
    ('member.enabled',           'org',    'a member was enabled again'),
    ('member.removed',           'org',    'a member was removed for good'),
    ('member.erased',            'org',    'the subject, salt and server role of a removed member were deleted'),
    ('token.issued',             'org',    'a token was issued'),
    ('token.revealed_for_owner', 'org',    'the plaintext of a private token was returned to someone other than its owner'),
    ('token.updated',            'org',    'the name, scopes or expiry of a token changed'),
    ('token.renewed',            'org',    'a token got a new plaintext'),
    ('token.overlap_ended',      'org',    'the previous plaintext of a token was ended before the end of its overlap'),
    ('token.disabled',           'org',    'a token was disabled'),
    ('token.enabled',            'org',    'a token was enabled again'),
    ('token.expiring',           'org',    'a token will expire within the notice of its organisation'),
    ('token.expired',            'org',    'a token expired'),
    ('token.revoked',            'org',    'a token was revoked for good'),
    ('token.leaked',             'org',    'a token was revoked for good because somebody reported its plaintext'),
    ('token.removed',            'org',    'a token that ended longer ago than the retention was removed, with its fingerprints'),
    ('legacy.imported',          'org',    'a legacy credential was imported as a token'),
    ('legacy.ended',             'org',    'a legacy credential ended for good'),
    ('scope.created',            'system', 'a custom scope was added to the catalogue'),
    ('role.scopes_changed',      'system', 'the scopes of a role were overridden, or the override was lifted'),
    ('operator.granted',         'system', 'a server role was made an operator'),
    ('operator.revoked',         'system', 'the rights of an operator were revoked'),
    ('authenticator.trusted',    'system', 'a login role was trusted to verify JWTs'),
    ('authenticator.untrusted',  'system', 'the trust in an authenticator was withdrawn'),
    ('rest.granted',             'system', 'a server role was allowed to serve REST v1'),
    ('rest.revoked',             'system', 'the right to serve REST v1 was revoked'),
    ('runner.granted',           'system', 'a server role was allowed to use the runner protocol'),
    ('runner.revoked',           'system', 'the right to use the runner protocol was revoked'),
    ('monitor.granted',          'system', 'a server role was allowed to read the monitoring views'),
    ('monitor.revoked',          'system', 'the right to read the monitoring views was revoked'),
    ('server_role.confirmed',    'system', 'a superuser confirmed a server role that was renamed, or dropped and created again');
