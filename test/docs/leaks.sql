-- after README.md
-- before report-in-sql
\! psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'leaked')" > token.txt
