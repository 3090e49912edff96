TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'page', ARRAY['databases:read', 'databases:write', 'destinations:write', 'backups:trigger'])")
