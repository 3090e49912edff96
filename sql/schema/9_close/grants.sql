-- The grants of this wing.

-- the doors behind them decide who reads which rows
GRANT SELECT ON walwarden.stat_tokens, walwarden.stat_chains, walwarden.stat_alarms, walwarden.stat_jobs, walwarden.stat_progress TO PUBLIC;

GRANT EXECUTE ON FUNCTION
    -- superusers
    walwarden.close_copy(text),
    -- operators
    walwarden.close_org(text, text),
    walwarden.run_maintenance(),
    -- behind the views stat_tokens, stat_chains, stat_alarms, stat_jobs and stat_progress; nobody can name them
    walwarden_internal.stat_tokens_door(),
    walwarden_internal.stat_chains_door(),
    walwarden_internal.stat_alarms_door(),
    walwarden_internal.stat_jobs_door(),
    walwarden_internal.stat_progress_door(),
    -- operators, owners, admins
    walwarden.verify_audit_chain(text, bigint, text)
TO PUBLIC;
