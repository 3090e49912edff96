-- The operations of REST v1 for people. Those of catalogue.sql (5_rest) that are for any caller
-- are for them too.

INSERT INTO walwarden_internal.rest_reason (reason, status, meaning) VALUES
    ('jwt_refused',          401, 'The JWT does not have a valid signature, has expired, or is not valid yet; or there is none.'),
    ('jwt_not_accepted',     401, 'The server is not configured to accept JWTs.'),
    ('claim_refused',        401, 'field names a claim of the JWT that is missing or is not accepted.'),
    ('jwt_used',             401, 'The JWT was exchanged for a session before.'),
    ('not_a_member',         401, 'The person is no active member of any organisation, or of none in which single sign-on is enabled for them.'),
    ('code_refused',         401, 'The code is unknown, used or expired, or the person is no active member of any organisation.'),
    ('token_already_issued', 409, 'An earlier request with this key issued tokenId. Its value was returned once.'),
    ('value_already_shown',  409, 'An earlier request with this key renewed tokenId. The value was returned once.'),
    ('member_not_removed',   409, 'A member is erased after they were removed.');

INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response) VALUES
    ('POST',   '/session',    'createSession', 'anyone', 204, 'Sign in by the code of a one-time link', 'beta', 'SignIn', NULL),
    ('DELETE', '/session',    'deleteSession', 'person', 204, 'Sign out', 'beta', 'Nothing', NULL),
    ('GET',    '/signin/sso', 'signInBySso', 'sso', 303, 'Sign in by single sign-on', 'beta', NULL, NULL),
    ('GET',    '/orgs',       'listOrgs',      'person', 200, 'Show who is signed in, and their organisations', 'beta', NULL, 'SignedIn'),
    ('GET',    '/orgs/{org}', 'getOrg',        'person', 200, 'Show an organisation, and what the person may do in it', 'beta', NULL, 'Org');

INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response, list_field, location, repeated, action) VALUES
    ('GET',   '/orgs/{org}/tokens',                       'listTokens',   'person', 200, 'List the tokens that the person sees', 'beta', NULL, 'Token', 'tokens', NULL, NULL, 'token.list'),
    ('POST',  '/orgs/{org}/tokens',                       'issueToken',   'person', 201, 'Issue a token; the response is the only one with its value', 'beta', 'TokenIssue', 'IssuedToken', NULL, '/tokens/{tokenId}', 'token_already_issued', 'token.issue'),
    ('GET',   '/orgs/{org}/tokens/{tokenId}',             'getToken',     'person', 200, 'Read a token', 'beta', NULL, 'Token', NULL, NULL, NULL, 'token.list'),
    ('PATCH', '/orgs/{org}/tokens/{tokenId}',             'updateToken',  'person', 200, 'Change a token', 'beta', 'TokenUpdate', 'Token', NULL, NULL, NULL, 'token.update'),
    ('POST',  '/orgs/{org}/tokens/{tokenId}/disable',     'disableToken', 'person', 200, 'Disable a token until it is enabled', 'beta', 'TokenEnd', 'Token', NULL, NULL, NULL, 'token.disable'),
    ('POST',  '/orgs/{org}/tokens/{tokenId}/enable',      'enableToken',  'person', 200, 'Enable a disabled or expired token', 'beta', 'TokenEnable', 'Token', NULL, NULL, NULL, 'token.enable'),
    ('POST',  '/orgs/{org}/tokens/{tokenId}/revoke',      'revokeToken',  'person', 200, 'Revoke a token for good', 'beta', 'TokenEnd', 'Token', NULL, NULL, NULL, 'token.revoke'),
    ('POST',  '/orgs/{org}/tokens/{tokenId}/renew',       'renewToken',   'person', 200, 'Give a token a new value; the response is the only one with it', 'beta', 'TokenRenew', 'IssuedToken', NULL, NULL, 'value_already_shown', 'token.renew'),
    ('POST',  '/orgs/{org}/tokens/{tokenId}/end-overlap', 'endOverlap',   'person', 200, 'End the previous value of a renewed token', 'beta', 'Nothing', 'Token', NULL, NULL, NULL, 'token.end_overlap');

INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response, list_field, location, action) VALUES
    ('GET',    '/orgs/{org}/members',                  'listMembers',  'person', 200, 'List the members', 'beta', NULL, 'Member', 'members', NULL, 'member.list'),
    ('POST',   '/orgs/{org}/members',                  'addMember',    'person', 201, 'Add a member', 'beta', 'MemberAdd', 'Member', NULL, '/members/{memberId}', 'member.change'),
    ('GET',    '/orgs/{org}/members/{memberId}',       'getMember',    'person', 200, 'Read a member', 'beta', NULL, 'Member', NULL, NULL, 'member.list'),
    ('PATCH',  '/orgs/{org}/members/{memberId}',       'updateMember', 'person', 200, 'Change, disable or enable a member', 'beta', 'MemberUpdate', 'Member', NULL, NULL, 'member.change'),
    ('DELETE', '/orgs/{org}/members/{memberId}',       'removeMember', 'person', 204, 'Remove a member for good', 'beta', 'Nothing', NULL, NULL, NULL, 'member.change'),
    ('POST',   '/orgs/{org}/members/{memberId}/erase', 'eraseMember',  'person', 204, 'Erase the identity of a removed member for good', 'beta', 'Nothing', NULL, NULL, NULL, 'member.erase'),
    ('GET',    '/orgs/{org}/nodes',                    'listNodes',    'person', 200, 'List the nodes', 'beta', NULL, 'RegisteredNode', 'nodes', NULL, 'node.list'),
    ('GET',    '/orgs/{org}/policy',                   'getPolicy',    'person', 200, 'Show the policy of tokens', 'beta', NULL, 'Policy', NULL, NULL, NULL),
    ('PATCH',  '/orgs/{org}/policy',                   'updatePolicy', 'person', 200, 'Change the policy of tokens', 'beta', 'PolicyUpdate', 'Policy', NULL, NULL, 'org.policy');

-- Verifying a long chain takes a while, and nothing that it reads needs the organisation to stand still.
INSERT INTO walwarden_internal.rest_operation (method, path, operation, caller, success_status, summary, stage, request, response, action, locks_org) VALUES
    ('POST',   '/orgs/{org}/audit/verifications',      'verifyAudit',  'person', 200, 'Verify the audit chain, and that the current state agrees with it', 'beta', 'Nothing', 'AuditVerdict', 'audit.verify', false);

INSERT INTO walwarden_internal.rest_filter (operation, name, description, schema) VALUES
    ('listTokens', 'state', 'Only tokens in this state.', '{"type": "string", "enum": ["active", "inactive", "disabled", "expired", "revoked"], "examples": ["active"]}'),
    ('listTokens', 'name',  'Only tokens whose name contains this, in upper or lower case.', '{"type": "string", "minLength": 1, "maxLength": 100, "examples": ["ci"]}'),
    ('listTokens', 'owner', 'Only private tokens of the member with this subject.', '{"type": "string", "minLength": 1, "maxLength": 255, "examples": ["ann@acme.example"]}');

INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('tag', 'orgs',    'The organisations of a person, for people who signed in.'),
    ('tag', 'session', 'Signing in and out.'),
    ('tag', 'signin',  'Signing in by single sign-on.'),
    ('operation', 'signInBySso',   'For the address bar of a browser, outside of /api/v1. A link on a page of the same origin leads to the identity provider, and back here with a session. It is 404 where single sign-on is off.'),
    ('operation', 'createSession', 'The cookie of the response is the session. An earlier session in the same browser ends.'),
    ('operation', 'deleteSession', 'The session ends for good, and the browser forgets what it has of this site.'),
    ('operation', 'listOrgs',      'Those of which the person is an active member, by slug.'),
    ('operation', 'getOrg',        'A page needs no more to show what a person may do here.');

INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('tag', 'tokens', 'The tokens of an organisation, for people who manage them.'),
    ('parameter', 'tokenId', 'The id of a token.'),
    ('operation', 'listTokens',   'Newest first, revoked ones too. Owners and admins see all of them, others their own.'),
    ('operation', 'issueToken',   'Nothing stores the value. A repeated request with the same key is 409 with tokenId.'),
    ('operation', 'getToken',     'The status is 404 for a token that the person may not see.'),
    ('operation', 'updateToken',  'Changes only the fields that the body contains. The value stays valid.'),
    ('operation', 'disableToken', 'It is removed if it stays disabled for longer than the retention of the organisation.'),
    ('operation', 'enableToken',  'An expired token needs a new expiry.'),
    ('operation', 'revokeToken',  'The token stays in lists.'),
    ('operation', 'renewToken',   'The previous value stops at once, or after overlapSeconds. A repeated request with the same key is 409 with tokenId.'),
    ('operation', 'endOverlap',   'The newest value goes on.');

INSERT INTO walwarden_internal.rest_description (subject, name, description) VALUES
    ('tag', 'members', 'The members of an organisation, for owners and admins.'),
    ('tag', 'nodes',   'The machines that run jobs, for owners and admins.'),
    ('tag', 'policy',  'How long tokens of kind api may live.'),
    ('parameter', 'memberId', 'The id of a member.'),
    ('operation', 'listMembers',  'Newest first, without removed ones.'),
    ('operation', 'addMember',    'A person can be a member of several organisations, with the same subject.'),
    ('operation', 'getMember',    'The status is 404 for a removed member.'),
    ('operation', 'updateMember', 'Changes only the fields that the body contains. The last active owner or admin stays one.'),
    ('operation', 'removeMember', 'Their private tokens are revoked.'),
    ('operation', 'eraseMember',  'Deletes the subject and the salt of a member who was removed before.'),
    ('operation', 'listNodes',    'Newest first.'),
    ('operation', 'getPolicy',    'For every member.'),
    ('operation', 'verifyAudit',  'For owners and admins. The verdict is stored, and getAuditVerification shows it. A repeated request with the same key returns the verdict of the first.'),
    ('operation', 'updatePolicy', 'For owners and admins. It applies from the next issue, renewal or enabling of a token on.');
