SET client_min_messages = warning;
CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme'), walwarden.issue_token('acme', 'ci');
