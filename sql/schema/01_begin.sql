-- walwarden: the token authority of a REST API, inside the database.
-- This file is the concatenation of sql/schema/*.sql, in order of their names.

\echo Use "CREATE EXTENSION walwarden" to load this file. \quit

-- Token texts, chain bodies and their hashes are defined over UTF-8 bytes; in
-- another encoding the same text has other bytes and nothing would verify.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('walwarden needs a database in UTF8, this one is in %s', pg_catalog.getdatabaseencoding()),
            HINT = 'Create the database with: CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- Who owns what this extension depends on can drop it, and this extension with
-- it. pgcrypto is trusted: anyone with CREATE on the database may have made it.
-- The owner of the database is let pass: they can drop all of it anyway.
DO $$
DECLARE
    other text;
BEGIN
    SELECT pg_catalog.format('pgcrypto, or its schema, belongs to %I', r.rolname) INTO other
      FROM pg_catalog.pg_extension AS e
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) e.extowner OR r.oid OPERATOR(pg_catalog.=) n.nspowner
     WHERE e.extname OPERATOR(pg_catalog.=) 'pgcrypto' AND NOT r.rolsuper
       AND r.rolname OPERATOR(pg_catalog.<>) 'pg_database_owner'
       AND r.oid OPERATOR(pg_catalog.<>) (SELECT d.datdba FROM pg_catalog.pg_database AS d
                                           WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = other,
            DETAIL = 'They could drop it, and walwarden with it.',
            HINT = 'As a superuser: CREATE SCHEMA crypto; DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto SCHEMA crypto.';
    END IF;
END
$$;

-- Without IF NOT EXISTS: a schema that is already there may hold planted objects.
CREATE SCHEMA walwarden;
CREATE SCHEMA walwarden_rest;

-- pgcrypto, bound here and by OID, so that it may live in any schema and move
-- later. The argument types match digest(bytea, text) exactly: no other
-- function can be preferred. Only the auditor's SQL verifier calls it.
CREATE FUNCTION walwarden._digest_sha256(data bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT digest(data, 'sha256'::text);
    END;

-- From here on nothing is found outside pg_catalog unless it is qualified.
SET LOCAL search_path = pg_catalog, pg_temp;
