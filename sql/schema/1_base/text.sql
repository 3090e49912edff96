-- Texts and times: validation of input, and rendering for messages and payloads.

-- The only way to reject a call: raises an SQLSTATE with a lower-case message, a hint that
-- says what to do, and an optional detail.
CREATE FUNCTION walwarden_internal.refuse(state text, message text, hint text, detail text DEFAULT NULL) RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_refuse';

-- A time in a payload: UTC with microseconds, regardless of TimeZone and DateStyle.
-- In a payload, -infinity is the end of a credential that ended at once. Years before 1 never
-- occur, and are rendered distinctly.
CREATE FUNCTION walwarden_internal.iso(at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN isfinite(at)
                THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                     || CASE WHEN at < '0001-01-01 00:00:00+00' THEN ' BC' ELSE '' END
                ELSE at::text END;

-- The blanks of Unicode, and blanks that are none by name, for a bracket expression.
CREATE FUNCTION walwarden_internal.blanks() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '\u0020\u00A0\u1680\u2000-\u200A\u202F\u205F\u2800\u3000';

-- The characters beside a zero width joiner or non-joiner, for a bracket expression: Arabic to
-- Myanmar, other scripts of South and South-East Asia, and emoji.
CREATE FUNCTION walwarden_internal.joining_characters() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '\u0600-\u109F\u1780-\u18AF\u1900-\u1CFF\u2190-\u27FF\u2900-\u2BFF\uA800-\uABFF\uFB50-\uFDFF\uFE0F\uFE70-\uFEFC'
        || '\U00010A00-\U00011FFF\U0001E900-\U0001E95F\U0001F000-\U0001FAFF';

-- A regular expression that matches one control character.
CREATE FUNCTION walwarden_internal.control_character() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '[\u0001-\u001F\u007F-\u009F]';

-- A regular expression that matches one character that nobody sees, as of Unicode 14: two
-- texts that differ in it look the same, or a text reads otherwise than it is stored. Some of
-- these characters are part of ordinary writing, and match only in other places.
CREATE FUNCTION walwarden_internal.hidden_character() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '(?:'
        -- controls
        || '[\u0001-\u001F\u007F-\u009F]'
        -- soft hyphen, grapheme joiner, fillers, inherent vowels, Mongolian vowel separator
        || '|[\u00AD\u034F\u115F\u1160\u17B4\u17B5\u180E\u3164\uFFA0]'
        -- zero width space and marks, separators, bidirectional and invisible operators
        || '|[\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF]'
        -- interlinear annotation, shorthand and musical format controls, tags
        || '|[\uFFF0-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E00FF\U000E01F0-\U000E0FFF]'
        -- a zero width joiner or non-joiner belongs between two letters of a script that
        -- joins them, or between two emoji
        || '|(?<![' || walwarden_internal.joining_characters() || '])[\u200C\u200D]'
        || '|[\u200C\u200D](?![' || walwarden_internal.joining_characters() || '])'
        -- a variation selector belongs after an emoji, a symbol, an ideograph or a letter that
        -- has variants, or between a digit and the enclosing keycap
        || '|(?<![0-9#*\u00A9\u00AE\u1000-\u109F\u203C\u2049\u2100-\u27FF\u2900-\u2FFF\u3001-\uD7FF\uF900-\uFAFF\U0001D400-\U0003FFFF])[\uFE00-\uFE0F]'
        || '|(?<=[0-9#*])[\uFE00-\uFE0F](?!\u20E3)'
        || '|(?<![\u2E80-\u2FFF\u3005-\u3007\u3400-\u9FFF\uF900-\uFAFF\U00020000-\U0003FFFF])[\U000E0100-\U000E01EF]'
        || '|(?<![\u1820-\u18AA])[\u180B-\u180D\u180F]'
        || ')';

-- A regular expression that matches one character that leaves a mark by itself. The others
-- are blanks, marks that belong to no script and so need a letter before them, and what
-- belongs between or after characters. Search only a text without hidden characters.
CREATE FUNCTION walwarden_internal.visible_character() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '[^' || walwarden_internal.blanks()
        || '\u0300-\u036F\u0483-\u0489\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\u302A-\u302D\u3099\u309A\uFE20-\uFE2F'
        || '\u200C\u200D\u180B-\u180D\u180F\uFE00-\uFE0F\U000E0100-\U000E01EF]';

-- Whether a text contains a token anywhere, and so must not be stored.
CREATE FUNCTION walwarden_internal.contains_token(value text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_contains_token';

-- Text from a caller, made fit for a message: short, printable, and without anything that
-- looks like a token.
CREATE FUNCTION walwarden_internal.shown(value text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('"' || CASE WHEN length(safe) > 60 THEN left(safe, 60) || '...' ELSE safe END || '"', 'NULL')
      FROM (SELECT regexp_replace(regexp_replace(left(value, 200), walwarden_internal.hidden_character(), '?', 'g'),
                                  'wal_[0-9A-Fa-f]{16,}', 'wal_...', 'g')) AS s(safe)
$$;

-- Validates text from a caller: 1 to max characters, at least one of them visible, none hidden,
-- and no token. Every name, subject, label and reason goes through here;
-- src/base/schema_problem.c checks those of a request alike.
CREATE FUNCTION walwarden_internal.check_text(what text, INOUT value text, max integer)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hidden text;
BEGIN
    IF value IS NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('%s is missing', what),
            format('Give 1 to %s characters.', max));
    ELSIF btrim(value) = '' THEN
        PERFORM walwarden_internal.refuse('22023', format('%s is empty', what),
            format('Give 1 to %s characters.', max));
    ELSIF length(value) > max THEN
        PERFORM walwarden_internal.refuse('22023', format('%s is too long', what),
            format('Give 1 to %s characters.', max),
            format('It has %s characters.', length(value)));
    ELSIF value ~ walwarden_internal.control_character() THEN
        PERFORM walwarden_internal.refuse('22023', format('%s contains a control character', what),
            'Use printable characters only: no newline, tab or escape.');
    ELSIF walwarden_internal.contains_token(value) THEN
        PERFORM walwarden_internal.refuse('22023', format('%s contains a token', what),
            'A token is a secret and is never stored. Treat this token as disclosed and revoke it.');
    ELSIF value ~ '[^ -~]' THEN
        hidden := substring(value FROM walwarden_internal.hidden_character());
        IF hidden IS NOT NULL THEN
            PERFORM walwarden_internal.refuse('22023', format('%s contains an invisible character', what),
                'Remove it. Characters of zero width and characters that change the direction of text make different texts look alike.',
                format('It contains U+%s.', lpad(upper(to_hex(ascii(hidden))), 4, '0')));
        ELSIF value !~ walwarden_internal.visible_character() THEN
            PERFORM walwarden_internal.refuse('22023', format('%s has no visible character', what),
                format('Give 1 to %s characters, not only blanks and combining marks.', max));
        END IF;
    END IF;
END
$$;

-- The form in which look-alikes are equal: without differences of letter case or of Unicode
-- form (NFKD), without blanks at the ends, and without characters of zero width. Depends on
-- no locale. Letters of different scripts stay different.
CREATE FUNCTION walwarden_internal.likeness(value text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_likeness';

-- NULL if value is not a UUID with hyphens.
CREATE FUNCTION walwarden_internal.uuid_or_null(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
