CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
SELECT walwarden.add_member('acme', 'ann@acme.example', 'owner');
SELECT walwarden.issue_token('acme', 'ci', ARRAY['databases:read']);
\set secret 0123456789abcdef0123456789abcdef
CREATE TABLE old_keys AS SELECT 'ann@acme.example' AS email, gen_random_uuid() AS uuid, repeat('s', 32) AS secret;
