-- The kinds of entries, except kinds of applications, which begin with app. Each wing adds
-- its rows; docs/audit-chain.md lists them.
CREATE TABLE walwarden_internal.audit_kind (
    kind    text COLLATE "C" PRIMARY KEY,
    chain   text NOT NULL CHECK (chain IN ('org', 'system')),
    meaning text NOT NULL
);
COMMENT ON TABLE walwarden_internal.audit_kind IS 'The kinds of audit entries, the chain in which each occurs, and what it records. Built in, immutable.';
