-- One comment for a column that many tables have.

DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT a.attrelid
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r' AND a.attname = 'audit_seq'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.audit_seq IS %L', relation, 'seq of the entry that describes the row');
    END LOOP;
END
$$;
