-- From 0.1.0 to 0.2.0.

\echo Use "ALTER EXTENSION walwarden UPDATE TO '0.2.0'" to load this file. \quit

-- What is created belongs to whoever runs this.
DO $$
BEGIN
    IF (SELECT e.extowner FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'walwarden')
       OPERATOR(pg_catalog.<>) (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'walwarden is updated by its owner',
            HINT = 'SET ROLE to the owner of the extension.';
    END IF;
END
$$;

-- Every relation says what it is.
COMMENT ON TYPE walwarden.caller IS 'Who calls a door. Internal.';
COMMENT ON TABLE walwarden._standing_signal IS 'Never holds a row: its invalidation tells every backend that what it remembers of tokens is old.';
COMMENT ON VIEW walwarden._described IS 'Every row that a chain describes: the chain, the entry that last described it, and its state as entries hash it. Both verifiers compare with it.';
COMMENT ON VIEW walwarden._protecting_trigger IS 'The triggers that append to the chain, refuse changes and signal them, as they have to be. Both verifiers compare the server with it.';
COMMENT ON VIEW walwarden._token_overview IS 'Every token, resolved as authenticate() would; token_list shows a caller''s part of it.';
COMMENT ON VIEW walwarden._ended_token IS 'Tokens that ended and are neither revoked nor removed, and since when; maintenance records and removes them.';
COMMENT ON VIEW walwarden._telling_restore IS 'Restores and drills that say whether their backup can be restored.';
COMMENT ON VIEW walwarden._current_evidence IS 'Evidence of the claim that holds or completed its backup.';
COMMENT ON VIEW walwarden._standing_evidence IS 'Evidence that claims of recovery rest on: verified, still there, and not refuted.';
COMMENT ON VIEW walwarden._shown_destination IS 'Destinations as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_database IS 'Databases as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_backup IS 'Backups as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_restore IS 'Restores and drills as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_evidence IS 'Evidence as REST v1 shows it.';
