-- after README.md docs/applications.md docs/rest-setup.md docs/own-tables.md
SELECT walwarden.add_member('acme', 'bob@acme.example'), walwarden.remove_member('acme', 'bob@acme.example') \g /dev/null
