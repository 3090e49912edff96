-- Bounds of use: from which addresses a token is accepted, and how often. Beside them the
-- labels of a token, which bound nothing. A token without one of them has NULL in its
-- column, so that there is one way to store "none". src/token/identity.c enforces the
-- bounds.

-- Validates labels and returns them as stored.
CREATE FUNCTION walwarden_internal.check_labels(INOUT labels jsonb)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    l record;
    what text;
BEGIN
    IF labels IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'labels are missing',
            'Give a JSON object of strings, or {} for no labels.');
    ELSIF jsonb_typeof(labels) <> 'object' THEN
        PERFORM walwarden_internal.refuse('22023', 'labels are not a JSON object',
            'Give a JSON object of strings, for example {"customer": "4711"}.');
    ELSIF labels = '{}' THEN
        labels := NULL;
        RETURN;
    ELSIF (SELECT count(*) FROM jsonb_object_keys(labels)) > 16 THEN
        PERFORM walwarden_internal.refuse('22023', 'there are too many labels',
            'Give at most 16 labels.');
    END IF;
    FOR l IN SELECT e.key, e.value FROM jsonb_each(labels) AS e LOOP
        what := format('label %s', walwarden_internal.shown(l.key));
        IF l.key !~ '^[a-z][a-z0-9_.-]{0,62}$' THEN
            PERFORM walwarden_internal.refuse('22023', format('invalid name of %s', what),
                'Use 1 to 63 characters: lower-case letters, digits, underscores, dots and hyphens, beginning with a letter.');
        ELSIF jsonb_typeof(l.value) <> 'string' THEN
            PERFORM walwarden_internal.refuse('22023', format('the value of %s is not a string', what),
                'Give a JSON object of strings, for example {"customer": "4711"}.');
        END IF;
        PERFORM walwarden_internal.check_text(what, l.value #>> '{}', 200);
        IF walwarden_internal.holds_secret(l.value #>> '{}') THEN
            PERFORM walwarden_internal.refuse('22023', format('%s contains a secret', what),
                'Labels are shown in listings and kept in the audit chain. Treat this secret as disclosed and change it.');
        END IF;
    END LOOP;
END
$$;

-- Validates networks and returns them as stored: from 1, in one dimension. A client whose
-- IPv6 address is a mapped IPv4 address counts as IPv4, so a mapped network would match
-- nothing.
CREATE FUNCTION walwarden_internal.check_networks(INOUT networks cidr[])
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    network cidr;
    seen cidr[] := '{}';
BEGIN
    IF networks IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'networks are missing',
            'Give the networks from which the token is accepted, or {} for every address.');
    ELSIF cardinality(networks) > 32 THEN
        PERFORM walwarden_internal.refuse('22023', 'there are too many networks',
            'Give at most 32 networks. A wider network covers several.');
    END IF;
    FOREACH network IN ARRAY networks LOOP
        IF network IS NULL THEN
            PERFORM walwarden_internal.refuse('22023', 'networks contain a NULL',
                'Give networks only, for example {192.0.2.0/24,2001:db8::/32}.');
        ELSIF network = ANY (seen) THEN
            PERFORM walwarden_internal.refuse('22023', format('network %s is given twice', network),
                'Give each network once.');
        ELSIF network <<= '::ffff:0.0.0.0/96' THEN
            PERFORM walwarden_internal.refuse('22023', format('network %s is an IPv4 network in IPv6 form', network),
                'Give the IPv4 network. A client with such an address counts as an IPv4 client.');
        END IF;
        seen := seen || network;
    END LOOP;
    FOREACH network IN ARRAY seen LOOP
        IF masklen(network) = 0 THEN
            RAISE WARNING USING
                MESSAGE = format('network %s contains every %s address', network, CASE family(network) WHEN 4 THEN 'IPv4' ELSE 'IPv6' END),
                HINT = 'To accept the token from every address, give no networks. With this one, it is still refused where the address is unknown.';
        END IF;
    END LOOP;
    networks := nullif(seen, '{}');
END
$$;

-- Whether this server can count uses: whether the library is preloaded.
CREATE FUNCTION walwarden_internal.has_limiter() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_has_limiter';

-- Validates a rate limit, in uses per minute.
CREATE FUNCTION walwarden_internal.check_rate_limit(INOUT rate_limit integer)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF rate_limit NOT BETWEEN 1 AND 1000000 THEN
        PERFORM walwarden_internal.refuse('22023', 'rate_limit is not between 1 and 1000000',
            'Give the number of uses that the token may have in a minute.');
    ELSIF rate_limit IS NOT NULL AND NOT walwarden_internal.has_limiter() THEN
        PERFORM walwarden_internal.refuse('55000', 'this server cannot count the uses of a token',
            'Set shared_preload_libraries = ''walwarden'' and restart the server, or omit rate_limit.');
    END IF;
END
$$;

-- Lets another token have the place of this one in the limiter, once this transaction has
-- committed.
CREATE FUNCTION walwarden_internal.release_limiter(token_id uuid) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_release_limiter';
