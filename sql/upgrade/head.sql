-- From @OLD@ to @NEW@. Made by sql/make_delta.

\echo Use "ALTER EXTENSION walwarden UPDATE TO '@NEW@'" to load this file. \quit

-- Unqualified names are looked up in pg_catalog alone. Otherwise pgcrypto's schema would be
-- searched too, and others may have created objects there.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Replacing a view locks it, and any role can hold a lock on a public view. Until the end
-- of the transaction, no lock wait is longer than the settings allow. LOAD, because the
-- library defines its own settings. Not from pg_settings: every role may update that view,
-- and therefore lock it.
LOAD 'MODULE_PATHNAME';
SELECT set_config('lock_timeout', s.value, true)
  FROM unnest(ARRAY[current_setting('lock_timeout'), current_setting('walwarden.audit_lock_timeout')]) AS s(value)
 WHERE s.value <> '0'
 ORDER BY s.value::interval
 LIMIT 1;

-- New objects belong to the role that runs this.
DO $$
BEGIN
    IF (SELECT e.extowner FROM pg_extension AS e WHERE e.extname = 'walwarden')
       <> (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'only the owner of walwarden can update it',
            HINT = 'SET ROLE to the owner of the extension.';
    END IF;
END
$$;
