CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
SELECT walwarden.add_member('acme', 'ann@acme.example', 'owner');
