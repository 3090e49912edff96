-- The closed catalogues: capabilities, permissions, plans, scopes, roles.
-- Rights are data: only the rows below decide what a role may do. Built-in rows come with
-- the extension, are never dumped, and cannot be changed (triggers at the end of the
-- script). Names are COLLATE "C" because C code looks them up by index.

CREATE TABLE walwarden_internal.capability (
    name        text COLLATE "C" PRIMARY KEY,
    description text NOT NULL
);

INSERT INTO walwarden_internal.capability (name, description) VALUES
    ('superuser',      'a superuser of the server'),
    ('operator',       'a superuser, or a role authorised with grant_operator()'),
    ('monitor',        'a role authorised with grant_monitor(), or a member of pg_monitor'),
    ('member',         'any active member of the organisation'),
    ('own_tokens',     'may have private tokens'),
    ('manage_tokens',  'issues shared tokens; sees, disables and revokes every token of the organisation'),
    ('manage_members', 'adds, changes and removes members'),
    ('manage_owners',  'grants and revokes the role owner'),
    ('read_audit',     'reads, verifies and extends the audit chain of the organisation'),
    ('own_nodes',      'may own a private token that speaks for a node'),
    ('register_nodes', 'registers nodes that run jobs');
COMMENT ON TABLE walwarden_internal.capability IS 'The capabilities of callers and roles, which permissions require. Built in, immutable.';

-- A caller may do an action on a target if the caller has one of the capabilities any_of in
-- that organisation.
CREATE TABLE walwarden_internal.permission (
    action text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    any_of text[] NOT NULL,
    PRIMARY KEY (action, target)
);

INSERT INTO walwarden_internal.permission (action, target, any_of) VALUES
    ('server_role.grant', 'any',     '{superuser}'),
    ('server_role.list',  'any',     '{operator}'),
    ('server_role.confirm', 'any',   '{superuser}'),
    ('org.create',        'any',     '{operator}'),
    ('org.configure',     'any',     '{operator}'),
    ('org.rename',        'any',     '{operator}'),
    ('org.close',         'any',     '{operator}'),
    ('org.policy',        'any',     '{operator,manage_tokens}'),
    ('org.list',          'all',     '{operator}'),
    ('scope.create',      'any',     '{operator}'),
    ('role.configure',    'any',     '{operator}'),
    ('member.list',       'any',     '{operator,manage_members}'),
    ('member.export',     'any',     '{operator,manage_members}'),
    ('member.change',     'any',     '{operator,manage_members}'),
    ('member.change',     'owner',   '{operator,manage_owners}'),
    ('member.erase',      'any',     '{operator,manage_members}'),
    ('member.erase',      'owner',   '{operator,manage_owners}'),
    ('token.issue',       'own',     '{own_tokens}'),
    ('token.issue',       'private', '{operator}'),
    ('token.issue',       'shared',  '{operator,manage_tokens}'),
    ('token.issue',       'role',    '{operator,manage_tokens}'),
    ('token.issue',       'node',    '{operator,manage_tokens}'),
    ('token.list',        'all',     '{operator,manage_tokens}'),
    ('token.list',        'own',     '{operator,member}'),
    ('token.disable',     'own',     '{member}'),
    ('token.disable',     'private', '{operator,manage_tokens}'),
    ('token.disable',     'shared',  '{operator,manage_tokens}'),
    ('token.enable',      'own',     '{own_tokens}'),
    -- not if its owner disabled it: see enable_token()
    ('token.enable',      'private', '{operator,manage_tokens}'),
    ('token.enable',      'shared',  '{operator,manage_tokens}'),
    ('token.update',      'own',     '{own_tokens}'),
    ('token.update',      'private', '{}'),
    ('token.update',      'shared',  '{operator,manage_tokens}'),
    ('token.renew',       'own',     '{own_tokens}'),
    ('token.renew',       'private', '{}'),
    ('token.renew',       'shared',  '{operator,manage_tokens}'),
    ('token.end_overlap', 'own',     '{own_tokens}'),
    ('token.end_overlap', 'private', '{}'),
    ('token.end_overlap', 'shared',  '{operator,manage_tokens}'),
    ('token.revoke',      'own',     '{member}'),
    ('token.revoke',      'private', '{operator,manage_tokens}'),
    ('token.revoke',      'shared',  '{operator,manage_tokens}'),
    ('legacy.import',     'any',     '{operator}'),
    ('node.list',         'any',     '{operator,manage_tokens}'),
    ('history.accept',    'any',     '{operator}'),
    ('session.link',      'any',     '{operator}'),
    ('maintenance.run',   'any',     '{operator}'),
    ('copy.close',        'any',     '{superuser}'),
    ('statistics.read',   'any',     '{operator,monitor}'),
    ('audit.list',        'org',     '{operator,read_audit}'),
    ('audit.list',        'system',  '{operator}'),
    ('audit.list',        'all',     '{operator}'),
    ('audit.append',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'system',  '{operator}'),
    ('audit.verify',      'all',     '{operator}');
COMMENT ON TABLE walwarden_internal.permission IS 'A caller may do action on target if the caller has one of the capabilities any_of. Built in, immutable.';

CREATE TABLE walwarden_internal.plan (
    name       text COLLATE "C" PRIMARY KEY,
    api_tokens boolean NOT NULL
);

INSERT INTO walwarden_internal.plan (name, api_tokens) VALUES
    ('free', false),
    ('pro',  false),
    ('team', true);
COMMENT ON TABLE walwarden_internal.plan IS 'The plans of organisations, and whether each includes API tokens. Built in, immutable.';

-- Entry audit_seq of the system chain describes a custom scope (builtin = false).
CREATE TABLE walwarden_internal.scope (
    name        text COLLATE "C" PRIMARY KEY
                CHECK (name ~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$'),
    label       text NOT NULL,
    description text NOT NULL,
    builtin     boolean NOT NULL DEFAULT false,
    audit_seq   bigint,
    CHECK (builtin = (audit_seq IS NULL))
);

INSERT INTO walwarden_internal.scope (name, label, description, builtin) VALUES
    ('databases:read',     'Read databases',        'List and read protected databases, their backups and recovery state.', true),
    ('databases:write',    'Manage databases',      'Create, change and delete protected databases.', true),
    ('destinations:read',  'Read destinations',     'List and read backup destinations.', true),
    ('destinations:write', 'Manage destinations',   'Create, change and delete backup destinations.', true),
    ('backups:trigger',    'Trigger backups',       'Start, cancel and dismiss backup jobs.', true),
    ('restores:read',      'Read restores',         'List and read restore jobs.', true),
    ('restores:write',     'Start restores',        'Create restores and restore drills.', true),
    ('evidence:read',      'Read evidence',         'List and read the evidence of backups.', true),
    ('evidence:export',    'Export evidence',       'Export evidence packages.', true),
    ('audit:read',         'Read the audit trail',  'Read audit entries and the verification status.', true),
    ('readiness:read',     'Read readiness',        'Read service readiness and health.', true);

SELECT pg_extension_config_dump('walwarden_internal.scope', 'WHERE NOT builtin');
COMMENT ON TABLE walwarden_internal.scope IS 'The closed catalogue of scopes. create_scope() adds custom scopes (builtin = false).';

-- scopes NULL: every scope of the catalogue, including custom scopes.
CREATE TABLE walwarden_internal.role (
    name         text COLLATE "C" PRIMARY KEY,
    scopes       text[],
    capabilities text[] NOT NULL,
    description  text NOT NULL
);

INSERT INTO walwarden_internal.role (name, scopes, capabilities, description) VALUES
    ('owner', NULL,
     '{member,own_tokens,own_nodes,manage_tokens,manage_members,manage_owners,read_audit}',
     'Manages everything in the organisation, including its owners.'),
    ('admin', NULL,
     '{member,own_tokens,own_nodes,manage_tokens,manage_members,read_audit}',
     'Manages everything in the organisation except its owners.'),
    ('analyst',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read,backups:trigger,restores:write,evidence:export}',
     '{member,own_tokens}',
     'Reads everything, starts backups and restores, exports evidence.'),
    ('member',
     '{databases:read,destinations:read,backups:trigger,restores:read,restores:write,evidence:read,evidence:export,readiness:read}',
     '{member,own_tokens}',
     'Starts backups and restores and exports evidence; changes no databases or destinations.'),
    ('api_developer',
     '{databases:read,readiness:read}',
     '{member}',
     'Reads databases and readiness; has no private tokens.'),
    ('read_only',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read}',
     '{member}',
     'Reads everything; has no private tokens.'),
    ('deploy',
     '{}',
     '{member,own_nodes,register_nodes}',
     'Registers nodes that run jobs; has no scopes of REST v1.');
COMMENT ON TABLE walwarden_internal.role IS 'The roles of members, with their capabilities and scopes (NULL: all). Built in, immutable; role_override can replace the scopes.';

-- The state machine of tokens. An action moves a token from one state to another and appends
-- an audit entry. If event is NULL, the action changes nothing. Combinations that are not
-- listed are rejected. States are the same as in listings, plus none (not issued yet) and
-- removed.
CREATE TABLE walwarden_internal.token_transition (
    action     text COLLATE "C" NOT NULL,
    from_state text COLLATE "C" NOT NULL,
    to_state   text COLLATE "C" NOT NULL,
    event      text COLLATE "C",
    PRIMARY KEY (action, from_state)
);

INSERT INTO walwarden_internal.token_transition (action, from_state, to_state, event) VALUES
    ('issue',   'none',     'active',   'token.issued'),
    ('import',  'none',     'active',   'legacy.imported'),
    ('disable', 'active',   'disabled', 'token.disabled'),
    ('disable', 'inactive', 'disabled', 'token.disabled'),
    ('disable', 'disabled', 'disabled', NULL),
    ('enable',  'disabled', 'active',   'token.enabled'),
    ('enable',  'expired',  'active',   'token.enabled'),
    ('enable',  'active',   'active',   NULL),
    ('enable',  'inactive', 'inactive', NULL),
    ('update',  'active',   'active',   'token.updated'),
    ('update',  'disabled', 'disabled', 'token.updated'),
    ('renew',   'active',   'active',   'token.renewed'),
    ('end_overlap', 'active',   'active',   'token.overlap_ended'),
    ('end_overlap', 'disabled', 'disabled', 'token.overlap_ended'),
    ('end_overlap', 'expired',  'expired',  'token.overlap_ended'),
    ('end_overlap', 'revoked',  'revoked',  NULL),
    ('revoke',  'active',   'revoked',  'token.revoked'),
    ('revoke',  'inactive', 'revoked',  'token.revoked'),
    ('revoke',  'disabled', 'revoked',  'token.revoked'),
    ('revoke',  'expired',  'revoked',  'token.revoked'),
    ('revoke',  'revoked',  'revoked',  NULL),
    ('leak',    'active',   'revoked',  'token.leaked'),
    ('leak',    'inactive', 'revoked',  'token.leaked'),
    ('leak',    'disabled', 'revoked',  'token.leaked'),
    ('leak',    'expired',  'revoked',  'token.leaked'),
    ('leak',    'revoked',  'revoked',  NULL),
    ('notice',  'active',   'active',   'token.expiring'),
    ('notice',  'inactive', 'inactive', 'token.expiring'),
    ('expire',  'active',   'expired',  'token.expired'),
    ('expire',  'inactive', 'expired',  'token.expired'),
    ('expire',  'disabled', 'expired',  'token.expired'),
    ('remove',  'inactive', 'removed',  'token.removed'),
    ('remove',  'disabled', 'removed',  'token.removed'),
    ('remove',  'expired',  'removed',  'token.removed');
COMMENT ON TABLE walwarden_internal.token_transition IS 'The state to which an action moves a token, and the audit entry that it appends. event NULL: nothing changes. Built in, immutable; docs/lifecycle.md shows it.';
