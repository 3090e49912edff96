-- The page for people: the files of web/, and the function that serves them. The page uses
-- REST v1 and nothing else.

-- make puts each file in the place of the line that names it.
CREATE VIEW walwarden_internal.page_file (name, media_type, content) AS
SELECT f.name, f.media_type, convert_to(substr(f.text, 2), 'UTF8')
  FROM (VALUES
    ('index.html', 'text/html; charset=utf-8', $file$
@web/index.html
$file$),
    ('page.css', 'text/css; charset=utf-8', $file$
@web/page.css
$file$),
    ('page.js', 'text/javascript; charset=utf-8', $file$
@web/page.js
$file$),
    ('page.svg', 'image/svg+xml', $file$
@web/page.svg
$file$)) AS f(name, media_type, text);
COMMENT ON VIEW walwarden_internal.page_file IS 'The files of the page for people, byte for byte. Built in.';

-- What PostgREST takes from a function that returns it goes to the client as it is, whatever
-- Accept says.
CREATE DOMAIN walwarden_rest."*/*" AS bytea;
COMMENT ON DOMAIN walwarden_rest."*/*" IS 'A response that is not JSON, for PostgREST.';

-- A path that names no file is a view of the page, and the module knows which. HTML is never kept, so
-- that going back to it shows nothing that was there; the browser asks for the others each time.
CREATE FUNCTION walwarden_internal.v1_page() RETURNS bytea
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    fields json := nullif(current_setting('request.headers', true), '');
    file walwarden_internal.page_file;
    tag text;
    headers jsonb;
BEGIN
    SELECT f.* INTO file FROM walwarden_internal.page_file AS f
     WHERE f.name IN ('index.html', substr(fields ->> 'x-walwarden-path', 2))
     ORDER BY f.name = 'index.html' LIMIT 1;
    headers := jsonb_build_array(
        jsonb_build_object('Content-Type', file.media_type),
        jsonb_build_object('Content-Security-Policy', concat_ws('; ',
            'default-src ''none''', 'script-src ''self''', 'style-src ''self''', 'connect-src ''self''', 'img-src ''self''',
            'base-uri ''none''', 'form-action ''self''', 'frame-ancestors ''none''', 'require-trusted-types-for ''script''')),
        jsonb_build_object('X-Frame-Options', 'DENY'),
        jsonb_build_object('Referrer-Policy', 'no-referrer'),
        jsonb_build_object('Cross-Origin-Opener-Policy', 'same-origin'),
        jsonb_build_object('Cross-Origin-Resource-Policy', 'same-origin'));
    IF file.name = 'index.html' THEN
        headers := headers || jsonb_build_object('Cache-Control', 'no-store');
    ELSE
        tag := format('"%s"', left(encode(sha256(file.content), 'hex'), 32));
        headers := headers || jsonb_build_object('Cache-Control', 'no-cache') || jsonb_build_object('ETag', tag);
    END IF;
    IF strpos(fields ->> 'if-none-match', tag) > 0 THEN
        PERFORM set_config('response.status', '304', true);
        file.content := '';
    ELSE
        headers := headers || jsonb_build_object('Content-Length', octet_length(file.content)::text);
    END IF;
    PERFORM set_config('response.headers', headers::text, true);
    RETURN file.content;
END
$$;

CREATE FUNCTION walwarden_rest.v1_page() RETURNS walwarden_rest."*/*"
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_page() IS
'Entry point of the page for people. Returns the file of the page that the header field X-Walwarden-Path names, or else its HTML, and sets the header fields of the response. nginx adds X-Content-Type-Options to them. For roles authorised with grant_rest(). Errors: 42501 if the role is not authorised. Example: SELECT convert_from(walwarden_rest.v1_page(), ''UTF8'');';
