-- The triggers that append to the chain, that refuse changes, and that tell every
-- backend of changes, for everyone and under every session_replication_role. They are made from this list, and
-- the verifiers compare the server with it.

CREATE VIEW walwarden._protecting_trigger AS
    SELECT t.relation, t.trigger,
           format('CREATE TRIGGER %s %s %s ON walwarden.%s FOR EACH %s EXECUTE FUNCTION walwarden.%s()',
                  t.trigger, CASE t.trigger WHEN 'refresh_standing' THEN 'AFTER' ELSE 'BEFORE' END,
                  t.events, t.relation, t.level, t.function) AS definition
      FROM (VALUES
        -- hash NULL: a new entry, body holds its payload, the trigger fills in the rest;
        -- hash given: a restored entry, taken as it is if the CHECK holds
        ('audit_entry', 'append',          'INSERT',                     'ROW',       '_audit_append'),
        ('audit_entry', 'refuse_change',   'DELETE OR UPDATE',           'ROW',       '_refuse_change'),
        ('audit_entry', 'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- scopes may be added, through walwarden.create_scope()
        ('scope',       'refuse_builtin',  'INSERT',                     'ROW WHEN (new.builtin)', '_refuse_change'),
        ('scope',       'refuse_change',   'DELETE OR UPDATE',           'ROW',       '_refuse_change'),
        ('scope',       'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- the other catalogues are complete as they are installed
        ('role',        'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('role',        'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('plan',        'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('plan',        'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('capability',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('capability',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('permission',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('permission',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        -- what decides about a token stands in its credentials too
        ('credential',    'copy_standing',    'INSERT OR UPDATE',        'ROW',       '_copy_standing'),
        ('token',         'refresh_standing', 'INSERT OR DELETE OR UPDATE', 'ROW',       '_refresh_standing'),
        -- what a token's standing depends on; a new token, owner or org makes nothing old
        ('org',           'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('org',           'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('member',        'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('member',        'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('token',         'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('token',         'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('credential',    'signal_change',   'DELETE OR UPDATE',           'ROW',       '_signal_change'),
        ('credential',    'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('role_override', 'signal_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_signal_change'),
        ('role_override', 'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('scope',         'signal_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_signal_change'),
        ('scope',         'signal_truncate', 'TRUNCATE',                   'STATEMENT', '_signal_change'),
        ('token_transition', 'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('token_transition', 'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('job_state',       'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('job_state',       'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('job_transition',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('job_transition',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_error',      'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_error',      'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_schema',     'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_schema',     'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change'),
        ('rest_operation',  'refuse_change',   'INSERT OR DELETE OR UPDATE', 'ROW',       '_refuse_change'),
        ('rest_operation',  'refuse_truncate', 'TRUNCATE',                   'STATEMENT', '_refuse_change')
      ) AS t(relation, trigger, events, level, function);

DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT * FROM walwarden._protecting_trigger LOOP
        EXECUTE p.definition;
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', p.relation, p.trigger);
    END LOOP;
END
$$;

-- The catalogues as they are, in one value; and as they were installed, which
-- the verifiers compare. A delta that changes a catalogue replaces the second.
CREATE FUNCTION walwarden._catalogue_digest() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(sha256(convert_to(string_agg(c.line, chr(10) ORDER BY c.line COLLATE "C"), 'UTF8')), 'hex')
      FROM (SELECT jsonb_build_array('capability', c.name, c.description)::text FROM walwarden.capability AS c
            UNION ALL
            SELECT jsonb_build_array('permission', p.action, p.target, p.any_of)::text FROM walwarden.permission AS p
            UNION ALL
            SELECT jsonb_build_array('plan', p.name, p.api_tokens)::text FROM walwarden.plan AS p
            UNION ALL
            SELECT jsonb_build_array('role', r.name, r.scopes, r.capabilities, r.description)::text FROM walwarden.role AS r
            UNION ALL
            SELECT jsonb_build_array('scope', s.name, s.label, s.description)::text FROM walwarden.scope AS s WHERE s.builtin
            UNION ALL
            SELECT jsonb_build_array('token_transition', t.*)::text FROM walwarden.token_transition AS t
            UNION ALL
            SELECT jsonb_build_array('job_state', s.*)::text FROM walwarden.job_state AS s
            UNION ALL
            SELECT jsonb_build_array('job_transition', t.*)::text FROM walwarden.job_transition AS t
            UNION ALL
            SELECT jsonb_build_array('rest_error', e.*)::text FROM walwarden.rest_error AS e
            UNION ALL
            SELECT jsonb_build_array('rest_schema', s.*)::text FROM walwarden.rest_schema AS s
            UNION ALL
            SELECT jsonb_build_array('rest_operation', o.*)::text FROM walwarden.rest_operation AS o) AS c(line)
$$;

DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden._catalogue_installed() RETURNS text '
                   'LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %L', walwarden._catalogue_digest());
END
$$;
