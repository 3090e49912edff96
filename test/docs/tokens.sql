-- after README.md
-- before with-one-token
SELECT walwarden.issue_token('acme', 'deploy', ARRAY['databases:read'])
 WHERE NOT EXISTS (SELECT FROM walwarden.token_list WHERE name = 'deploy' AND state = 'active') \g /dev/null
