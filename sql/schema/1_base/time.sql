-- Spans of time. What an interval is in seconds is decided only here. A day has 86,400
-- seconds, and nothing is added to a time but seconds: a month or a change to summer time
-- has no length of its own, so no result depends on TimeZone.

-- The seconds of an interval. A month counts as 30 days, a year as 365. The index org_with_long_notice
-- depends on it: a version that changes this rebuilds that.
CREATE FUNCTION walwarden_internal.seconds(span interval) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN isfinite(span) THEN extract(epoch FROM span) - 21600 * extract(year FROM span)     -- which has 365.25 days there
                ELSE extract(epoch FROM span) END;

-- The same, but NULL for an interval with months or years, and for an infinite one. For what
-- a program gives: a lease or an overlap in months is a mistake.
CREATE FUNCTION walwarden_internal.exact_seconds(span interval) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN isfinite(span) AND extract(year FROM span) = 0 AND extract(month FROM span) = 0
                THEN extract(epoch FROM span) END;

-- An interval in an image. An entry holds integers only, so a fraction of a second, which no
-- function stores, is text, and not the same as none.
CREATE FUNCTION walwarden_internal.seconds_image(span interval) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds numeric := walwarden_internal.seconds(span);
BEGIN
    RETURN CASE WHEN seconds % 1 = 0 THEN to_jsonb(seconds::bigint) ELSE to_jsonb(seconds::text) END;
END
$$;

-- The time that is so many seconds after another, or before it if they are negative.
CREATE FUNCTION walwarden_internal.later(at timestamptz, seconds numeric) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN at + make_interval(secs => seconds::double precision);

-- Seconds as an interval, and as text for a message.
CREATE FUNCTION walwarden_internal.span(seconds numeric) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN justify_hours(make_interval(secs => seconds::double precision));

CREATE FUNCTION walwarden_internal.shown_span(seconds numeric) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN seconds = 86400 THEN '1 day'
                WHEN seconds % 86400 = 0 THEN trunc(seconds / 86400) || ' days'
                ELSE trunc(seconds) || ' seconds' END;

-- The value of an integer setting, by its name without the prefix; of a lifetime, in seconds.
-- current_setting() would return text with units.
CREATE FUNCTION walwarden_internal.setting(name text) RETURNS integer
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_setting';
