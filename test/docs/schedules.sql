CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
