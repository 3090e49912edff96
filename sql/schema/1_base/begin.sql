-- walwarden: the token authority of a REST API, inside the database.
-- This file is the concatenation of the parts in sql/schema, in the order of the Makefile.

\echo Use "CREATE EXTENSION walwarden" to load this file. \quit

-- Tokens, chain bodies and their hashes are defined over UTF-8 bytes. In another encoding
-- the same text has different bytes, and nothing would verify.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('walwarden requires a database with encoding UTF8, but this database uses %s', pg_catalog.getdatabaseencoding()),
            HINT = 'Create the database with: CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- The owner of a dependency can drop it, and this extension with it. pgcrypto is a trusted
-- extension, so anyone with CREATE on the database may own it. The owner of the database is
-- accepted, because they can drop everything anyway.
DO $$
DECLARE
    other text;
BEGIN
    SELECT pg_catalog.format('pgcrypto or its schema is owned by %I', r.rolname) INTO other
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
            DETAIL = 'That role could drop it, and walwarden with it.',
            HINT = 'As a superuser, run: CREATE SCHEMA crypto; DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto SCHEMA crypto.';
    END IF;
END
$$;

-- Without IF NOT EXISTS, because an existing schema may contain planted objects.
-- walwarden contains only what users call and read. Everything else is in
-- walwarden_internal, where PUBLIC has no USAGE. The server locks a relation before it
-- checks rights, so a role that can name a table can hold a lock on it. A role that can
-- name a function or a type can make the extension's objects depend on its own.
CREATE SCHEMA walwarden;

CREATE SCHEMA walwarden_internal;

CREATE SCHEMA walwarden_rest;

-- digest() of pgcrypto, bound here by OID, so that pgcrypto may be in any schema and may
-- move later. The argument types match digest(bytea, text) exactly, so no other function
-- can be preferred. Only the auditor's SQL verifier calls it.
CREATE FUNCTION walwarden_internal.digest_sha256(data bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT digest(data, 'sha256'::text);
    END;

-- From here on nothing is found outside pg_catalog unless it is qualified.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Comments for those who read the objects directly: the owner, and auditors in dumps.

COMMENT ON SCHEMA walwarden IS 'Token authority: the functions and views that users call and read.';
COMMENT ON SCHEMA walwarden_internal IS 'Tables, types and internal functions of walwarden. Only for the owner of the extension.';
COMMENT ON SCHEMA walwarden_rest IS 'Entry points of REST v1. The only schema that PostgREST exposes.';
