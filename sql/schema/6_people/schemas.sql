-- The schemas of requests and responses of people.

INSERT INTO walwarden_internal.json_schema (name, schema) VALUES
('SignIn', '{
  "type": "object", "additionalProperties": false,
  "required": ["code"],
  "properties": {
    "code": {"description": "The code of a one-time link: what follows # in it. It is neither stored nor logged.", "type": "string", "maxLength": 64, "writeOnly": true, "x-secret": true, "examples": ["<64 hex digits>"]}
  }}'),

('SignedIn', '{
  "description": "Who is signed in, and the organisations of which they are an active member.",
  "type": "object",
  "required": ["subject", "method", "expiresAt", "orgs"],
  "properties": {
    "subject": {"type": "string", "examples": ["ann@acme.example"]},
    "method": {"description": "How the person signed in: by a one-time link, or by single sign-on; jwt: the request has a JWT.", "type": "string", "enum": ["link", "sso", "jwt"], "examples": ["link"]},
    "expiresAt": {"description": "Of the session, or of the JWT.", "type": "string", "format": "date-time"},
    "orgs": {"type": "array", "items": {"type": "object", "required": ["slug", "name", "plan", "role"], "properties": {
      "slug": {"type": "string", "examples": ["acme"]},
      "name": {"type": "string", "examples": ["Acme Ltd"]},
      "plan": {"type": "string", "enum": ["free", "pro", "team"], "examples": ["team"]},
      "role": {"type": "string", "examples": ["owner"]}}}}
  }}'),

('Org', '{
  "description": "An organisation, and what the person may do in it.",
  "type": "object",
  "required": ["id", "slug", "name", "plan", "apiTokens", "memberId", "role", "capabilities", "roles", "scopes", "policy"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "slug": {"type": "string", "examples": ["acme"]},
    "name": {"type": "string", "examples": ["Acme Ltd"]},
    "plan": {"type": "string", "enum": ["free", "pro", "team"], "examples": ["team"]},
    "apiTokens": {"description": "Whether the plan includes API tokens. Without them, tokens can only be listed, disabled and revoked.", "type": "boolean", "examples": [true]},
    "memberId": {"type": "string", "format": "uuid"},
    "role": {"type": "string", "examples": ["owner"]},
    "capabilities": {"description": "What the role may do, as docs/roles.md names it.", "type": "array", "items": {"type": "string"}, "examples": [["member", "own_tokens"]]},
    "roles": {"type": "array", "items": {"type": "object", "required": ["name", "description", "scopes"], "properties": {
      "name": {"type": "string", "examples": ["analyst"]},
      "description": {"type": "string"},
      "scopes": {"description": "The scopes that the role carries now.", "type": "array", "items": {"type": "string"}, "examples": [["databases:read"]]}}}},
    "scopes": {"description": "The catalogue of scopes.", "type": "array", "items": {"type": "object", "required": ["name", "label", "description", "carried"], "properties": {
      "name": {"type": "string", "examples": ["databases:read"]},
      "label": {"type": "string", "examples": ["Read databases"]},
      "description": {"type": "string"},
      "carried": {"description": "Whether the role of the person carries the scope.", "type": "boolean", "examples": [true]}}}},
    "policy": {"$ref": "#/components/schemas/Policy"}
  }}'),

('Policy', '{
  "description": "Lifetimes of tokens of kind api, the notice of their expiry, and the retention of ended tokens, in seconds.",
  "type": "object",
  "required": ["defaultLifetimeSeconds", "maxLifetimeSeconds", "noticeSeconds", "retentionSeconds"],
  "properties": {
    "defaultLifetimeSeconds": {"type": ["integer", "null"], "examples": [7776000]},
    "maxLifetimeSeconds": {"description": "The maximum of the organisation or of the server, whichever is lower; null without one.", "type": ["integer", "null"], "examples": [31536000]},
    "noticeSeconds": {"type": "integer", "examples": [604800]},
    "retentionSeconds": {"type": "integer", "examples": [604800]}
  }}'),

('PolicyUpdate', '{
  "description": "Omitted fields stay as they are; null lifts a lifetime. The retention is for operators.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "defaultLifetimeSeconds": {"type": ["integer", "null"], "minimum": 1, "maximum": 3155760000, "examples": [7776000]},
    "maxLifetimeSeconds": {"type": ["integer", "null"], "minimum": 1, "maximum": 3155760000, "examples": [null]},
    "noticeSeconds": {"type": "integer", "minimum": 0, "maximum": 3155760000, "examples": [604800]}
  }}'),

('Member', '{
  "description": "A member of the organisation. The server role that may act as one is never shown over HTTP.",
  "type": "object",
  "required": ["memberId", "subject", "role", "sso", "state", "createdAt", "disabledAt"],
  "properties": {
    "memberId": {"type": "string", "format": "uuid"},
    "subject": {"type": "string", "examples": ["ann@acme.example"]},
    "role": {"type": "string", "examples": ["member"]},
    "sso": {"description": "Whether the member can sign in by single sign-on.", "type": "boolean", "examples": [false]},
    "state": {"type": "string", "enum": ["active", "disabled"], "examples": ["active"]},
    "createdAt": {"type": "string", "format": "date-time"},
    "disabledAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]}
  }}'),

('MemberAdd', '{
  "type": "object", "additionalProperties": false,
  "required": ["subject", "role"],
  "properties": {
    "subject": {"description": "The identity of the person, exactly as they sign in with it.", "type": "string", "minLength": 1, "maxLength": 255, "examples": ["zoe@acme.example"]},
    "role": {"type": "string", "maxLength": 64, "examples": ["member"]}
  }}'),

('MemberUpdate', '{
  "description": "Omitted fields stay as they are. Each change has an entry of its own.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "subject": {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["zoe.b@acme.example"]},
    "role": {"type": "string", "maxLength": 64, "examples": ["analyst"]},
    "disabled": {"type": "boolean", "examples": [false]},
    "sso": {"description": "Whether the member can sign in by single sign-on. true ends their legacy credentials for good.", "type": "boolean", "examples": [false]}
  }}'),

('AuditVerdict', '{
  "description": "What a verification of the chain has found.",
  "type": "object",
  "required": ["ok", "entries", "headSeq", "headHash", "firstBadSeq", "reason"],
  "properties": {
    "ok": {"type": "boolean", "examples": [true]},
    "entries": {"description": "How many entries were read.", "type": "integer", "examples": [19]},
    "headSeq": {"description": "seq of the last entry. Keep it with headHash: a later verification by SQL takes them, and then finds a lost tail.", "type": "integer", "examples": [19]},
    "headHash": {"description": "hash of the last entry.", "type": "string"},
    "firstBadSeq": {"description": "The entry of the first finding, if it concerns one.", "type": ["integer", "null"], "examples": [null]},
    "reason": {"description": "The first finding, or null.", "type": ["string", "null"], "examples": [null]}
  }}'),

('RegisteredNode', '{
  "description": "A machine that runs jobs.",
  "type": "object",
  "required": ["nodeId", "name", "version", "registeredAt", "tokenId", "tokenState", "lastSeenAt", "publicKey"],
  "properties": {
    "nodeId": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["node-1"]},
    "version": {"type": "string", "examples": ["0.3.0"]},
    "registeredAt": {"type": "string", "format": "date-time"},
    "tokenId": {"description": "The token that last registered the node.", "type": "string", "format": "uuid"},
    "tokenState": {"type": "string", "enum": ["active", "inactive", "disabled", "expired", "revoked", "removed"], "examples": ["active"]},
    "lastSeenAt": {"description": "Its last call, within a minute.", "type": ["string", "null"], "format": "date-time"},
    "publicKey": {"description": "The Ed25519 key with which it signs, in base64.", "type": ["string", "null"], "examples": [null]}
  }}'),

('Token', '{
  "description": "A token, as list_tokens() shows it; never its plaintext.",
  "type": "object",
  "required": ["tokenId", "name", "fingerprintHandle", "kind", "visibility", "owner", "role", "scopes", "effectiveScopes", "state", "createdAt", "createdBy", "expiresAt", "lastUsedAt", "disabledAt", "disabledReason", "revokedAt", "revokedBy", "revokedReason", "overlapUntil", "labels", "networks", "rateLimit", "lastUsedFrom", "uses", "refusals", "lastRefusedAt", "lastRefusedReason", "previousHandle", "previousLastUsedAt"],
  "properties": {
    "tokenId": {"type": "string", "format": "uuid"},
    "name": {"type": "string", "examples": ["ci"]},
    "fingerprintHandle": {"description": "The first 12 hex digits of the SHA-256 of the newest plaintext.", "type": ["string", "null"], "examples": ["718c24a5918d"]},
    "kind": {"type": "string", "enum": ["api", "node", "legacy"], "examples": ["api"]},
    "visibility": {"type": "string", "enum": ["private", "shared"], "examples": ["shared"]},
    "owner": {"description": "The subject of the owner; null for a shared token.", "type": ["string", "null"], "examples": [null]},
    "role": {"description": "The role from which the permissions come; null for scopes.", "type": ["string", "null"], "examples": [null]},
    "scopes": {"description": "The scopes as issued; empty for a token with a role, null for a legacy token.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read"]]},
    "effectiveScopes": {"description": "The scopes that the token holds now; null for a legacy token.", "type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read"]]},
    "state": {"type": "string", "enum": ["active", "inactive", "disabled", "expired", "revoked"], "examples": ["active"]},
    "createdAt": {"type": "string", "format": "date-time"},
    "createdBy": {"description": "The subject of a person, or a server role.", "type": "string", "examples": ["ann@acme.example"]},
    "expiresAt": {"description": "null for never.", "type": ["string", "null"], "format": "date-time"},
    "lastUsedAt": {"description": "null if no use was recorded. A server that does not count (uses is null) records no reads.", "type": ["string", "null"], "format": "date-time", "examples": [null]},
    "disabledAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "disabledReason": {"type": ["string", "null"], "examples": [null]},
    "revokedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "revokedBy": {"type": ["string", "null"], "examples": [null]},
    "revokedReason": {"type": ["string", "null"], "examples": [null]},
    "overlapUntil": {"description": "When the previous value stops working; null if it does not work any more.", "type": ["string", "null"], "format": "date-time", "examples": [null]},
    "labels": {"description": "Strings by name.", "type": "object", "additionalProperties": {"type": "string"}, "examples": [{"team": "ops"}]},
    "networks": {"description": "The networks from which the token is accepted; empty for every address.", "type": "array", "items": {"type": "string"}, "examples": [["192.0.2.0/24"]]},
    "rateLimit": {"description": "Uses per minute; null for no limit.", "type": ["integer", "null"], "examples": [null]},
    "lastUsedFrom": {"description": "The address of the client at lastUsedAt, if it is known.", "type": ["string", "null"], "examples": [null]},
    "uses": {"description": "How often the token was accepted; null if this server does not count.", "type": ["integer", "null"], "examples": [0]},
    "refusals": {"description": "How often a value of the token was refused; null if this server does not count.", "type": ["integer", "null"], "examples": [0]},
    "lastRefusedAt": {"type": ["string", "null"], "format": "date-time", "examples": [null]},
    "lastRefusedReason": {"type": ["string", "null"], "examples": [null]},
    "previousHandle": {"description": "fingerprintHandle of the previous value, while it still works.", "type": ["string", "null"], "examples": [null]},
    "previousLastUsedAt": {"description": "When the previous value was last used, while it still works; null if no use was recorded.", "type": ["string", "null"], "format": "date-time", "examples": [null]}
  }}'),

('IssuedToken', '{
  "description": "A new value of a token. This is the only response that has it.",
  "type": "object",
  "required": ["tokenId", "token", "name", "scopes", "expiresAt", "createdAt"],
  "properties": {
    "tokenId": {"type": "string", "format": "uuid"},
    "token": {"description": "The plaintext. It is stored nowhere.", "type": "string", "examples": ["wal_<64 hex digits>"]},
    "name": {"type": "string", "examples": ["ci"]},
    "scopes": {"type": ["array", "null"], "items": {"type": "string"}, "examples": [["databases:read"]]},
    "expiresAt": {"description": "null for never.", "type": ["string", "null"], "format": "date-time"},
    "createdAt": {"type": "string", "format": "date-time"}
  }}'),

('TokenIssue', '{
  "type": "object", "additionalProperties": false,
  "required": ["name", "visibility"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["ci"]},
    "visibility": {"description": "private: of the person who issues it, and inactive with them. shared: of the organisation.", "type": "string", "enum": ["private", "shared"], "examples": ["private"]},
    "kind": {"description": "node: for a machine that runs jobs. It is shared, and has neither scopes nor a role. If omitted: api.", "type": "string", "enum": ["api", "node"], "examples": ["api"]},
    "scopes": {"description": "Within the scopes that the role of the person carries.", "type": "array", "maxItems": 200, "uniqueItems": true, "items": {"type": "string", "maxLength": 64}, "examples": [["databases:read"]]},
    "role": {"description": "A role from which to take the permissions, instead of scopes.", "type": ["string", "null"], "maxLength": 64, "examples": [null]},
    "expiresAt": {"description": "null for never. If it is omitted, the default lifetime of the organisation applies, if it has one.", "type": ["string", "null"], "format": "date-time", "examples": ["2099-01-01T00:00:00Z"]},
    "labels": {"description": "At most 16 strings by names of lower-case letters, digits, underscores, dots and hyphens.", "type": "object", "additionalProperties": {"type": "string"}, "examples": [{"team": "ops"}]},
    "networks": {"description": "The networks from which the token is accepted; empty for every address.", "type": "array", "maxItems": 32, "items": {"type": "string", "maxLength": 50}, "examples": [["127.0.0.0/8", "::1/128"]]},
    "rateLimit": {"description": "Uses per minute; null for no limit. It needs a server that counts.", "type": ["integer", "null"], "minimum": 1, "maximum": 1000000, "examples": [null]}
  }}'),

('TokenUpdate', '{
  "description": "Omitted fields stay as they are. labels and networks replace all of those before.",
  "type": "object", "additionalProperties": false, "minProperties": 1,
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["ci"]},
    "scopes": {"type": "array", "maxItems": 200, "uniqueItems": true, "items": {"type": "string", "maxLength": 64}, "examples": [["databases:read"]]},
    "expiresAt": {"description": "null for never.", "type": ["string", "null"], "format": "date-time", "examples": ["2099-01-01T00:00:00Z"]},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}, "examples": [{"team": "ops"}]},
    "networks": {"type": "array", "maxItems": 32, "items": {"type": "string", "maxLength": 50}, "examples": [[]]},
    "rateLimit": {"description": "null lifts the limit.", "type": ["integer", "null"], "minimum": 1, "maximum": 1000000, "examples": [null]}
  }}'),

('TokenEnd', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "reason": {"description": "It is kept in the audit chain.", "type": "string", "minLength": 1, "maxLength": 500, "examples": ["laptop lost"]}
  }}'),

('TokenEnable', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "expiresAt": {"description": "null for never. If it is omitted, an expiry that lies ahead stays; an expired token needs a new one.", "type": ["string", "null"], "format": "date-time", "examples": ["2099-01-01T00:00:00Z"]}
  }}'),

('TokenRenew', '{
  "type": "object", "additionalProperties": false,
  "properties": {
    "overlapSeconds": {"description": "How long the previous value still works. If omitted: 0.", "type": "integer", "minimum": 0, "maximum": 604800, "examples": [3600]}
  }}');
