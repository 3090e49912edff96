CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
CREATE ROLE ops;
SELECT walwarden.grant_operator('ops');
-- before a-server-role-that-was-renamed-or-replaced
ALTER ROLE ops RENAME TO ops_old;
CREATE ROLE ops;
