-- What pg_dump keeps. Catalogues come with the extension; only what was added
-- to them is dumped.

SELECT pg_extension_config_dump('walwarden.scope', 'WHERE NOT builtin');
SELECT pg_extension_config_dump('walwarden.role_override', '');
SELECT pg_extension_config_dump('walwarden.role_grant', '');
SELECT pg_extension_config_dump('walwarden.org', '');
SELECT pg_extension_config_dump('walwarden.member', '');
SELECT pg_extension_config_dump('walwarden.token', '');
SELECT pg_extension_config_dump('walwarden.credential', '');
SELECT pg_extension_config_dump('walwarden.token_usage', '');
SELECT pg_extension_config_dump('walwarden.node', '');
SELECT pg_extension_config_dump('walwarden.destination', '');
SELECT pg_extension_config_dump('walwarden.database', '');
SELECT pg_extension_config_dump('walwarden.job', '');
SELECT pg_extension_config_dump('walwarden.evidence', '');
SELECT pg_extension_config_dump('walwarden.idempotency_key', '');
-- not verification: what was verified was another database
SELECT pg_extension_config_dump('walwarden.audit_entry', '');
