-- The guards of the tables: functions that reject and signal changes, and the list of the
-- triggers that call them.

CREATE FUNCTION walwarden_internal.refuse_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_refuse_change';

-- Always empty. A change to a row that the status of many tokens depends on invalidates this
-- relation, which tells every backend that its cache is stale. A change of one token tells
-- them so of few tokens only (src/base/invalidation.c).
CREATE TABLE walwarden_internal.cache_signal ();
COMMENT ON TABLE walwarden_internal.cache_signal IS 'Always empty. Its invalidation tells every backend that all of its token cache is stale.';

CREATE FUNCTION walwarden_internal.signal_change() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_signal_change';

-- The triggers that append to the chain, reject changes, and signal changes to every
-- backend. They fire for every role and under every session_replication_role. Each wing adds
-- its rows; 9_close creates the triggers, and both verifiers compare the server with them.
CREATE TABLE walwarden_internal.guard (
    relation name NOT NULL,
    trigger  name NOT NULL,
    timing   text NOT NULL CHECK (timing IN ('BEFORE', 'AFTER')),
    events   text NOT NULL,
    level    text NOT NULL,       -- and the condition, if any
    function name NOT NULL,
    PRIMARY KEY (relation, trigger)
);
COMMENT ON TABLE walwarden_internal.guard IS 'The triggers that protect the tables, as they must be. Built in, immutable.';

CREATE VIEW walwarden_internal.protecting_trigger AS
    SELECT g.relation, g.trigger,
           format('CREATE TRIGGER %s %s %s ON walwarden_internal.%s FOR EACH %s EXECUTE FUNCTION walwarden_internal.%s()',
                  g.trigger, g.timing, g.events, g.relation, g.level, g.function) AS definition
      FROM walwarden_internal.guard AS g;
COMMENT ON VIEW walwarden_internal.protecting_trigger IS 'The definition of each trigger in guard. Both verifiers compare the server with it.';

-- The two guards of a catalogue that never changes after installation.
CREATE FUNCTION walwarden_internal.catalogue_guards(relation name) RETURNS SETOF walwarden_internal.guard
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ($1, 'refuse_change'::name,   'BEFORE', 'INSERT OR DELETE OR UPDATE', 'ROW',       'refuse_change'::name),
           ($1, 'refuse_truncate'::name, 'BEFORE', 'TRUNCATE',                   'STATEMENT', 'refuse_change'::name)
$$;

INSERT INTO walwarden_internal.guard
SELECT g.* FROM unnest('{guard,json_schema}'::name[]) AS c(relation), walwarden_internal.catalogue_guards(c.relation) AS g;
