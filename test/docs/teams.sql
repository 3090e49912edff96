-- what rest-setup.md made
CREATE EXTENSION walwarden CASCADE;
CREATE ROLE web_anon NOLOGIN;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT web_anon TO authenticator;
SELECT walwarden.grant_rest('web_anon', 'authenticator');
SELECT walwarden.create_org('acme');
