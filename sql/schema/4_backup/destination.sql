-- Destinations, as nodes find them.

CREATE FUNCTION walwarden_internal.report_destination(destination_id uuid, ok boolean, detail jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    runner_org uuid := walwarden_internal.require_runner(c);
    was walwarden_internal.destination;
    d walwarden_internal.destination;
BEGIN
    IF ok IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'ok is missing',
            'Give true if a test object could be written, read and deleted, else false.');
    END IF;
    PERFORM walwarden_internal.check_report_size('detail', detail);
    detail := nullif(detail, 'null');
    IF detail IS NOT NULL THEN
        IF jsonb_typeof(detail) = 'object' AND detail ? 'message' THEN
            detail := jsonb_set(detail, '{message}', walwarden_internal.plain_text(detail -> 'message'));
        END IF;
        PERFORM walwarden_internal.check_report('detail', 'DestinationReport', detail);
    END IF;
    PERFORM walwarden_internal.acquire_org_lock(runner_org);
    IF walwarden_internal.index_has('destination_of_org', runner_org, destination_id) THEN
        SELECT * INTO was FROM walwarden_internal.destination AS f WHERE f.id = destination_id AND f.deleted_at IS NULL FOR NO KEY UPDATE;
    END IF;
    IF was.id IS NULL THEN
        PERFORM walwarden_internal.refuse('42704', format('destination %s does not exist', coalesce(destination_id::text, 'NULL')),
            'Use the id of the destination that walwarden.claim_job() returned with a job.');
    END IF;
    PERFORM walwarden_internal.require_open(runner_org);
    PERFORM walwarden_internal.see_node(walwarden_internal.current_node());

    d := was;
    d.reported_state := CASE WHEN ok THEN 'verified' ELSE 'failing' END;
    IF d.reported_state IS DISTINCT FROM was.reported_state THEN
        d.audit_seq := walwarden_internal.append(runner_org, 'destination.reported',
            walwarden_internal.change(walwarden_internal.actor('token', c), 'destination', d.id::text,
                              walwarden_internal.destination_image(was), walwarden_internal.destination_image(d))
            || jsonb_build_object('detail', detail));
    END IF;
    UPDATE walwarden_internal.destination AS f
       SET reported_state = d.reported_state, reported_at = clock_timestamp(), reported_detail = detail, audit_seq = d.audit_seq
     WHERE f.id = d.id;
    RETURN d.reported_state IS DISTINCT FROM was.reported_state;
END
$$;

CREATE FUNCTION walwarden.report_destination(destination_id uuid, ok boolean, detail jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_destination(uuid, boolean, jsonb) IS
'Records whether a node could write, read and delete at a destination. ok: true makes the destination verified, false failing. detail: {"class","message"}, each optional: 1 to 100 and 1 to 1000 characters; NULL for none. REST v1 shows the state, with the time and the detail of the last report. Returns whether the state changed, which appends an entry; a report that repeats the state appends none. For node tokens, in a role authorised with grant_runner(). Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 42704 if the destination does not exist, 22023 if ok is NULL or detail is invalid, 55000 if the organisation is closed, 55P03 if the organisation or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_destination($1, false, ''{"class":"access_denied","message":"the bucket does not accept the key"}'');';
