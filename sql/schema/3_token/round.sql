-- Rounds of maintenance and the clock. A clock that jumps ahead must not make a round erase
-- what is not due. A round that comes more than 24 hours after the last one comes after a
-- jump, an outage, or the restore of a dump. It removes only what a round at least 24 hours
-- before it had found due, and so do the rounds of the next 24 hours. Meanwhile somebody can
-- set the clock right.

-- The row round is written by each round. It comes with a dump, so that the first round
-- after a restore is as careful. The row installation stands in for it until the first
-- round, and is not dumped, because every database has its own. The chain describes neither.
CREATE TABLE walwarden_internal.maintenance_round (
    source        text COLLATE "C" PRIMARY KEY CHECK (source IN ('installation', 'round')),
    at            timestamptz NOT NULL,
    careful_until timestamptz,
    found_until   timestamptz
);
INSERT INTO walwarden_internal.maintenance_round (source, at) VALUES ('installation', clock_timestamp());
SELECT pg_extension_config_dump('walwarden_internal.maintenance_round', 'WHERE source = ''round''');
COMMENT ON TABLE walwarden_internal.maintenance_round IS 'When maintenance last ran (source round; installation until then). Until careful_until it removes only what was due at found_until.';
COMMENT ON COLUMN walwarden_internal.maintenance_round.careful_until IS '24 hours after the last round that came late; NULL if none did';
COMMENT ON COLUMN walwarden_internal.maintenance_round.found_until IS 'the round before the one that came late: what was due then may be removed';

-- The state after a round at a time. The clock may also have been set back: the 24 hours
-- then count from here, so that they end.
CREATE FUNCTION walwarden_internal.next_round(at timestamptz, OUT careful_until timestamptz, OUT found_until timestamptz)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN $1 > walwarden_internal.later(r.at, 86400) OR walwarden_internal.later($1, 86400) < r.careful_until
                THEN walwarden_internal.later($1, 86400) ELSE r.careful_until END,
           CASE WHEN $1 > walwarden_internal.later(r.at, 86400) THEN r.at ELSE r.found_until END
      FROM walwarden_internal.maintenance_round AS r
     ORDER BY r.source DESC
     LIMIT 1
$$;

-- What was due until this time may be removed now.
CREATE FUNCTION walwarden_internal.removal_limit() RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN coalesce(n.careful_until, '-infinity') <= now.at THEN now.at
                WHEN n.found_until <= walwarden_internal.later(now.at, -86400) THEN n.found_until
                ELSE '-infinity' END
      FROM (SELECT clock_timestamp() OFFSET 0) AS now(at)
     CROSS JOIN LATERAL walwarden_internal.next_round(now.at) AS n
$$;

CREATE FUNCTION walwarden_internal.record_round() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r walwarden_internal.maintenance_round;
BEGIN
    r.source := 'round';
    r.at := clock_timestamp();
    SELECT n.careful_until, n.found_until INTO r.careful_until, r.found_until FROM walwarden_internal.next_round(r.at) AS n;
    INSERT INTO walwarden_internal.maintenance_round SELECT r.*
        ON CONFLICT ON CONSTRAINT maintenance_round_pkey DO UPDATE
       SET at = r.at, careful_until = r.careful_until, found_until = r.found_until;
END
$$;
