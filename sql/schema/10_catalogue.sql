-- The closed catalogues: capabilities, permissions, plans, scopes, roles.
-- Rights are data: what a role may do is decided by the rows below and nowhere
-- else. Built-in rows come with the extension, are never dumped and cannot be
-- changed (triggers at the end of the script).
-- Names are COLLATE "C" because C code looks them up by index.

CREATE TABLE walwarden.capability (
    name        text COLLATE "C" PRIMARY KEY,
    description text NOT NULL
);

INSERT INTO walwarden.capability (name, description) VALUES
    ('superuser',      'a superuser of the server'),
    ('operator',       'a superuser, or a role given grant_operator'),
    ('member',         'any active member of the organisation'),
    ('own_tokens',     'may have private tokens of their own'),
    ('manage_tokens',  'issues shared tokens; sees, disables and revokes every token of the organisation'),
    ('manage_members', 'adds, changes and removes members'),
    ('manage_owners',  'gives and takes the role owner'),
    ('read_audit',     'reads, verifies and extends the audit chain of the organisation'),
    ('register_nodes', 'registers nodes that run jobs');

-- A caller may do an action on a target when one of any_of is among the
-- caller's capabilities in that organisation.
CREATE TABLE walwarden.permission (
    action text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    any_of text[] NOT NULL,
    PRIMARY KEY (action, target)
);

INSERT INTO walwarden.permission (action, target, any_of) VALUES
    ('server_role.grant', 'any',     '{superuser}'),
    ('org.create',        'any',     '{operator}'),
    ('org.configure',     'any',     '{operator}'),
    ('org.list',          'all',     '{operator}'),
    ('scope.create',      'any',     '{operator}'),
    ('role.configure',    'any',     '{operator}'),
    ('member.list',       'any',     '{operator,manage_members}'),
    ('member.change',     'any',     '{operator,manage_members}'),
    ('member.change',     'owner',   '{operator,manage_owners}'),
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
    -- one that its owner disabled is not theirs to enable: see _enable_token()
    ('token.enable',      'private', '{operator,manage_tokens}'),
    ('token.enable',      'shared',  '{operator,manage_tokens}'),
    ('token.update',      'own',     '{own_tokens}'),
    ('token.update',      'private', '{}'),
    ('token.update',      'shared',  '{operator,manage_tokens}'),
    ('token.renew',       'own',     '{own_tokens}'),
    ('token.renew',       'private', '{}'),
    ('token.renew',       'shared',  '{operator,manage_tokens}'),
    ('token.revoke',      'own',     '{member}'),
    ('token.revoke',      'private', '{operator,manage_tokens}'),
    ('token.revoke',      'shared',  '{operator,manage_tokens}'),
    ('legacy.import',     'any',     '{operator}'),
    ('node.list',         'any',     '{operator,manage_tokens}'),
    ('maintenance.run',   'any',     '{operator}'),
    ('statistics.read',   'any',     '{operator}'),
    ('audit.list',        'org',     '{operator,read_audit}'),
    ('audit.list',        'system',  '{operator}'),
    ('audit.append',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'org',     '{operator,read_audit}'),
    ('audit.verify',      'system',  '{operator}'),
    ('audit.verify',      'all',     '{operator}');

CREATE TABLE walwarden.plan (
    name       text COLLATE "C" PRIMARY KEY,
    api_tokens boolean NOT NULL
);

INSERT INTO walwarden.plan (name, api_tokens) VALUES
    ('free', false),
    ('pro',  false),
    ('team', true);

-- Custom scopes (builtin = false) are described by entry audit_seq of the
-- system chain.
CREATE TABLE walwarden.scope (
    name        text COLLATE "C" PRIMARY KEY
                CHECK (name ~ '^[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_-]{0,30}$'),
    label       text NOT NULL,
    description text NOT NULL,
    builtin     boolean NOT NULL DEFAULT false,
    audit_seq   bigint,
    CHECK (builtin = (audit_seq IS NULL))
);

INSERT INTO walwarden.scope (name, label, description, builtin) VALUES
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

-- scopes NULL: every scope of the catalogue, custom ones too.
CREATE TABLE walwarden.role (
    name         text COLLATE "C" PRIMARY KEY,
    scopes       text[],
    capabilities text[] NOT NULL,
    description  text NOT NULL
);

INSERT INTO walwarden.role (name, scopes, capabilities, description) VALUES
    ('owner', NULL,
     '{member,own_tokens,manage_tokens,manage_members,manage_owners,read_audit}',
     'Manages everything of the organisation, its owners too.'),
    ('admin', NULL,
     '{member,own_tokens,manage_tokens,manage_members,read_audit}',
     'Manages everything of the organisation but its owners.'),
    ('analyst',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read,backups:trigger,restores:write,evidence:export}',
     '{member,own_tokens}',
     'Reads everything, starts backups and restores, exports evidence.'),
    ('member',
     '{databases:read,destinations:read,backups:trigger,restores:read,restores:write,evidence:read,evidence:export,readiness:read}',
     '{member,own_tokens}',
     'Works with what is there, without changing it.'),
    ('api_developer',
     '{databases:read,readiness:read}',
     '{member}',
     'Sees databases and readiness; has no tokens of their own.'),
    ('read_only',
     '{databases:read,destinations:read,restores:read,evidence:read,audit:read,readiness:read}',
     '{member}',
     'Reads everything; has no tokens of their own.'),
    ('deploy',
     '{}',
     '{member,register_nodes}',
     'No REST v1 scope; registers nodes that run jobs.');

-- What becomes of a token: an action leads from a state to another, with an
-- audit entry, or, where event is NULL, finds the work done and changes nothing.
-- What is not here is refused. States are those that listings show; none and
-- removed stand for no token yet and none any more.
CREATE TABLE walwarden.token_transition (
    action     text COLLATE "C" NOT NULL,
    from_state text COLLATE "C" NOT NULL,
    to_state   text COLLATE "C" NOT NULL,
    event      text COLLATE "C",
    PRIMARY KEY (action, from_state)
);

INSERT INTO walwarden.token_transition (action, from_state, to_state, event) VALUES
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
    ('revoke',  'active',   'revoked',  'token.revoked'),
    ('revoke',  'inactive', 'revoked',  'token.revoked'),
    ('revoke',  'disabled', 'revoked',  'token.revoked'),
    ('revoke',  'expired',  'revoked',  'token.revoked'),
    ('revoke',  'revoked',  'revoked',  NULL),
    ('expire',  'active',   'expired',  'token.expired'),
    ('expire',  'inactive', 'expired',  'token.expired'),
    ('expire',  'disabled', 'expired',  'token.expired'),
    ('remove',  'inactive', 'removed',  'token.removed'),
    ('remove',  'disabled', 'removed',  'token.removed'),
    ('remove',  'expired',  'removed',  'token.removed');
