-- Which tables refuse which changes, for everyone and under every
-- session_replication_role. The verifiers compare the server with this list.

CREATE VIEW walwarden._protecting_trigger AS
    SELECT t.relation, t.trigger, t.definition
      FROM (VALUES
        -- entries are appended and never changed (created with the table)
        ('audit_entry', 'append',          NULL),
        ('audit_entry', 'refuse_change',   NULL),
        ('audit_entry', 'refuse_truncate', NULL),
        -- scopes may be added, through walwarden.create_scope()
        ('scope',       'refuse_change',   'BEFORE UPDATE OR DELETE ON %I.%I FOR EACH ROW'),
        ('scope',       'refuse_truncate', 'BEFORE TRUNCATE ON %I.%I FOR EACH STATEMENT'),
        -- the other catalogues are complete as they are installed
        ('role',        'refuse_change',   'BEFORE INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH ROW'),
        ('role',        'refuse_truncate', 'BEFORE TRUNCATE ON %I.%I FOR EACH STATEMENT'),
        ('plan',        'refuse_change',   'BEFORE INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH ROW'),
        ('plan',        'refuse_truncate', 'BEFORE TRUNCATE ON %I.%I FOR EACH STATEMENT'),
        ('capability',  'refuse_change',   'BEFORE INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH ROW'),
        ('capability',  'refuse_truncate', 'BEFORE TRUNCATE ON %I.%I FOR EACH STATEMENT'),
        ('permission',  'refuse_change',   'BEFORE INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH ROW'),
        ('permission',  'refuse_truncate', 'BEFORE TRUNCATE ON %I.%I FOR EACH STATEMENT')
      ) AS t(relation, trigger, definition);

DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT * FROM walwarden._protecting_trigger LOOP
        IF p.definition IS NOT NULL THEN
            EXECUTE format('CREATE TRIGGER %I ' || p.definition || ' EXECUTE FUNCTION walwarden._refuse_change()',
                           p.trigger, 'walwarden', p.relation);
        END IF;
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', p.relation, p.trigger);
    END LOOP;
END
$$;
