CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
SELECT walwarden.issue_token('acme', 'ci', ARRAY['databases:read']);
CREATE TABLE invoices (id bigint PRIMARY KEY);
-- before if-the-role-that-installed-walwarden-was-dropped
DROP EXTENSION walwarden;
DO $$BEGIN CREATE ROLE former SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END$$;
SET ROLE former;
CREATE EXTENSION walwarden;
RESET ROLE;
REASSIGN OWNED BY former TO CURRENT_USER;
-- refused from 19 on, so the role may be there again
DO $$BEGIN DROP ROLE former; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$;
SELECT walwarden.create_org('acme');
SELECT walwarden.issue_token('acme', 'ci', ARRAY['databases:read']);
