CREATE DATABASE app;
CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann@acme.example', 'owner');
CREATE ROLE web_anon NOLOGIN;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT web_anon TO authenticator;
