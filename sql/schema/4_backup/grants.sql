-- The grants of this wing.

GRANT EXECUTE ON FUNCTION
    -- everybody
    walwarden.cron_next(text, timestamptz),
    -- operators, owners, admins
    walwarden.list_nodes(text),
    -- operators
    walwarden.accept_history(text, text, text),
    -- nodes, in roles authorised with grant_runner()
    walwarden.register_node(text, text, text),
    walwarden.claim_job(text[], interval, text[]),
    walwarden.held_jobs(),
    walwarden.release_job(uuid, bigint, timestamptz),
    walwarden.heartbeat_job(uuid, bigint, jsonb),
    walwarden.report_job(uuid, bigint, text, jsonb),
    walwarden.record_evidence(uuid, bigint, jsonb),
    walwarden.chain_hashes(bigint, integer),
    walwarden.publish_checkpoint(text),
    walwarden.report_alarm(bigint, text, text),
    walwarden.report_destination(uuid, boolean, jsonb)
TO PUBLIC;
