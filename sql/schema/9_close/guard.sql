-- Stores the structure of the tables, the objects and a digest of the catalogues, which are
-- complete here, and creates the triggers in guard.

-- The digest of the catalogues now, and at installation. The verifiers compare the two. A
-- delta that changes a catalogue replaces the second function.
CREATE FUNCTION walwarden_internal.catalogue_digest() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(sha256(convert_to(string_agg(c.line, chr(10) ORDER BY c.line COLLATE "C"), 'UTF8')), 'hex')
      FROM (SELECT jsonb_build_array('capability', c.name, c.description)::text FROM walwarden_internal.capability AS c
            UNION ALL
            SELECT jsonb_build_array('permission', p.action, p.target, p.any_of)::text FROM walwarden_internal.permission AS p
            UNION ALL
            SELECT jsonb_build_array('guard', g.*)::text FROM walwarden_internal.guard AS g
            UNION ALL
            SELECT jsonb_build_array('structure', s.*)::text FROM walwarden_internal.table_structure AS s
            UNION ALL
            SELECT jsonb_build_array('plan', p.name, p.api_tokens)::text FROM walwarden_internal.plan AS p
            UNION ALL
            SELECT jsonb_build_array('role', r.name, r.scopes, r.capabilities, r.description)::text FROM walwarden_internal.role AS r
            UNION ALL
            SELECT jsonb_build_array('scope', s.name, s.label, s.description)::text FROM walwarden_internal.scope AS s WHERE s.builtin
            UNION ALL
            SELECT jsonb_build_array('audit_kind', k.*)::text FROM walwarden_internal.audit_kind AS k
            UNION ALL
            SELECT jsonb_build_array('token_transition', t.*)::text FROM walwarden_internal.token_transition AS t
            UNION ALL
            SELECT jsonb_build_array('job_state', s.*)::text FROM walwarden_internal.job_state AS s
            UNION ALL
            SELECT jsonb_build_array('job_transition', t.*)::text FROM walwarden_internal.job_transition AS t
            UNION ALL
            SELECT jsonb_build_array('rest_error', e.*)::text FROM walwarden_internal.rest_error AS e
            UNION ALL
            SELECT jsonb_build_array('rest_reason', r.*)::text FROM walwarden_internal.rest_reason AS r
            UNION ALL
            SELECT jsonb_build_array('json_schema', s.*)::text FROM walwarden_internal.json_schema AS s
            UNION ALL
            SELECT jsonb_build_array('rest_filter', f.*)::text FROM walwarden_internal.rest_filter AS f
            UNION ALL
            SELECT jsonb_build_array('rest_refusal', r.*)::text FROM walwarden_internal.rest_refusal AS r
            UNION ALL
            SELECT jsonb_build_array('rest_operation', o.*)::text FROM walwarden_internal.rest_operation AS o
            UNION ALL
            SELECT jsonb_build_array('rest_description', d.*)::text FROM walwarden_internal.rest_description AS d) AS c(line)
$$;

-- Every object but catalogue_installed() exists.
INSERT INTO walwarden_internal.table_structure
SELECT s.* FROM walwarden_internal.present_structure() AS s;

-- The list is read completely before the first trigger is created, because guard itself has
-- triggers.
DO $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY(
        SELECT format('%s; ALTER TABLE walwarden_internal.%I ENABLE ALWAYS TRIGGER %I', p.definition, p.relation, p.trigger)
          FROM walwarden_internal.protecting_trigger AS p)
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden_internal.catalogue_installed() RETURNS text '
                   'LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %L', walwarden_internal.catalogue_digest());
END
$$;
