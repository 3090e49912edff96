-- JWTs of people, which PostgREST has verified: what they must claim, whom they name, and that
-- one is exchanged for a session once. Roles last longer than a transaction here, because
-- claims are read once a transaction.
SET client_min_messages = warning;
SELECT no_plan();
CREATE ROLE tj_web;
CREATE ROLE tj_login LOGIN NOINHERIT;
GRANT tj_web TO tj_login;
SELECT walwarden.grant_rest('tj_web', 'tj_login'), walwarden.create_org('tj-one'), walwarden.create_org('tj-two'),
       walwarden.add_member('tj-one', 'ann@j.example', 'owner'), walwarden.set_member_sso('tj-one', 'ann@j.example', true),
       walwarden.add_member('tj-two', 'ann@j.example', 'owner'), walwarden.add_member('tj-one', 'bob@j.example'),
       walwarden.add_member('tj-one', 'off@j.example'), walwarden.set_member_sso('tj-one', 'off@j.example', true), walwarden.disable_member('tj-one', 'off@j.example') \g /dev/null

-- What a request with these claims gets: the status, and what explains it.
CREATE FUNCTION tj_request(claims text, path text, headers jsonb DEFAULT '{"authorization": "Bearer a.b.c"}', exchange boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    PERFORM set_config('request.jwt.claims', claims, true),
            set_config('request.headers', (headers || jsonb_build_object('x-walwarden-method', 'GET', 'x-walwarden-path', path))::text, true);
    answer := CASE WHEN exchange THEN walwarden_rest.v1_post('') ELSE walwarden_rest.v1_get() END;
    RETURN concat_ws(' ', current_setting('response.status'), answer #>> '{error,reason}', answer #>> '{error,field}', answer ->> 'subject', answer ->> 'method',
                     (SELECT string_agg(o ->> 'slug', ',') FROM json_array_elements(answer -> 'orgs') AS o));
END
$$;
-- The organisations whose members the same claims list through a public function.
CREATE FUNCTION tj_lists(claims text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.jwt.claims', claims, true);
    RETURN (SELECT coalesce(string_agg(slug, ',' ORDER BY slug), '') FROM walwarden.list_orgs());
END
$$;
-- claims that are accepted, with some changed; null takes one out
-- the same for all requests, because another second is another JWT
SELECT set_config('tj.exp', (extract(epoch FROM now())::bigint + 600)::text, false) \g /dev/null
CREATE FUNCTION tj_claims(changed jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('iss', 'https://idp.example', 'aud', 'walwarden', 'sub', 'ann@j.example', 'exp', current_setting('tj.exp')::bigint) || changed)::text
$$;

SELECT token AS token FROM walwarden.issue_token('tj-one', 'jwt') \gset
-- off, until a superuser has done three things
SELECT format('SELECT is(tj_request(tj_claims(), ''/api/v1/orgs''), ''401 jwt_not_accepted'', ''not set up'')') AS try \gset
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
:try;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT string_agg(problem, '') FROM walwarden.list_grants() WHERE role = 'tj_login'), NULL, 'nobody is trusted');
SELECT walwarden.trust_authenticator('tj_login') \g /dev/null
SELECT is((SELECT agrees::text || ' ' || problem FROM walwarden.list_grants() WHERE role = 'tj_login'), 'true claims unchecked', 'a grant says that claims are not checked');
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
:try;
SELECT is(tj_lists('{"sub": "ann@j.example"}'), 'tj-one,tj-two', 'public functions take the subject as it is');
RESET SESSION AUTHORIZATION;
SET walwarden.jwt_issuer = 'https://idp.example';
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
:try;
SELECT is(tj_lists('{"sub": "ann@j.example"}'), '', 'no more, once a setting is there');
SELECT is(tj_lists(tj_claims()), '', 'an empty audience is nobody''s');
SELECT is(tj_lists(tj_claims('{"aud": ""}')), '', 'nor that of an empty claim');
RESET SESSION AUTHORIZATION;
SET walwarden.jwt_issuer = '';
SET walwarden.jwt_audience = 'walwarden';
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
:try;
RESET SESSION AUTHORIZATION;
SET walwarden.jwt_issuer = 'https://idp.example';
SELECT is((SELECT problem FROM walwarden.list_grants() WHERE role = 'tj_login'), NULL, 'claims are checked');

-- the claims, each by itself
CREATE TABLE tj_cases (changed jsonb, outcome text, what text);
INSERT INTO tj_cases VALUES
    ('{}',                                       '200 ann@j.example jwt tj-one', 'all that it needs'),
    ('{"aud": ["other", "walwarden"]}',          '200 ann@j.example jwt tj-one', 'one audience of several'),
    ('{"role": "postgres", "email": "x"}',       '200 ann@j.example jwt tj-one', 'further claims'),
    ('{"exp": null}',                            '401 claim_refused exp', 'no expiry'),
    ('{"exp": "4102444800"}',                    '401 claim_refused exp', 'an expiry as a string'),
    ('{"exp": true}',                            '401 claim_refused exp', 'as a boolean'),
    ('{"exp": 1e300}',                           '401 claim_refused exp', 'beyond all calendars'),
    ('{"exp": 1e400}',                           '401 claim_refused exp', 'beyond all floating-point numbers'),
    ('{"exp": -1}',                              '401 claim_refused exp', 'before them'),
    ('{"iss": null}',                            '401 claim_refused iss', 'no issuer'),
    ('{"iss": "https://idp.example/"}',          '401 claim_refused iss', 'another issuer'),
    ('{"iss": ["https://idp.example"]}',         '401 claim_refused iss', 'issuers'),
    ('{"iss": "HTTPS://idp.example"}',           '401 claim_refused iss', 'an issuer in other letters'),
    ('{"aud": null}',                            '401 claim_refused aud', 'no audience'),
    ('{"aud": "other"}',                         '401 claim_refused aud', 'another audience'),
    ('{"aud": "walwarden "}',                    '401 claim_refused aud', 'an audience with a blank'),
    ('{"aud": []}',                              '401 claim_refused aud', 'no audience in an array'),
    ('{"aud": ["other"]}',                       '401 claim_refused aud', 'another in an array'),
    ('{"aud": [["walwarden"]]}',                 '401 claim_refused aud', 'an array in an array'),
    ('{"aud": {"walwarden": "walwarden"}}',      '401 claim_refused aud', 'an object'),
    ('{"sub": null}',                            '401 claim_refused sub', 'no subject'),
    ('{"sub": ""}',                              '401 claim_refused sub', 'an empty subject'),
    ('{"sub": 1}',                               '401 claim_refused sub', 'a subject that is a number'),
    ('{"sub": "ANN@j.example"}',                 '401 not_a_member', 'a subject in other letters'),
    ('{"sub": "nobody@j.example"}',              '401 not_a_member', 'an unknown subject'),
    ('{"sub": "bob@j.example"}',                 '401 not_a_member', 'a member without single sign-on'),
    ('{"sub": "off@j.example"}',                 '401 not_a_member', 'a disabled member');
GRANT SELECT ON tj_cases TO PUBLIC;
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT format('SELECT is(tj_request(tj_claims(%L), ''/api/v1/orgs''), %L, %L)', changed, outcome, what),
       format('SELECT is(tj_lists(tj_claims(%L)), %L, %L)', changed, CASE WHEN outcome ~ '^200' THEN 'tj-one,tj-two' WHEN changed ->> 'sub' ~ 'bob' THEN 'tj-one' ELSE '' END, what || ', for a public function')
  FROM tj_cases \gexec
SELECT is(tj_request('["x"]', '/api/v1/orgs'), '401 claim_refused exp', 'claims that are no object');
SELECT is(tj_request('', '/api/v1/orgs'), '401 jwt_not_accepted', 'a field that nobody has verified');
SELECT is(tj_request('{"role": "tj_web"}', '/api/v1/orgs', '{"authorization": "Basic x"}'), '401 claim_refused exp', 'another scheme');
SELECT is(tj_request(tj_claims(), '/api/v1/orgs', '{}'), '401 token_missing', 'claims without the field');
SELECT is(tj_request(tj_claims(), '/api/v1/orgs/tj-one'), '200', 'an organisation with single sign-on');
SELECT is(tj_request(tj_claims(), '/api/v1/orgs/tj-two'), '404 no_such_organisation', 'and one without');
SELECT is(tj_request(tj_claims(), '/api/v1/databases'), '403 token_path', 'a path for tokens');

-- nothing beside it
SELECT format('SELECT is(tj_request(tj_claims(), ''/api/v1/orgs'', jsonb_build_object(''authorization'', ''Bearer a.b.c'', %L, ''x'')), %L, ''%s beside it'')', f, outcome, f)
  FROM (VALUES ('x-walwarden-token', '401 token_refused'), ('x-wallarmapi-token', '401 token_refused'), ('x-wallarmapi-uuid', '401 token_refused'), ('x-walwarden-session', '401 session_refused')) AS v(f, outcome) \gexec

-- the exchange: a change, once
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/sso'), '503 read_only', 'not by the entry point that reads');
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/api/v1/signin/sso', exchange => true), '404 no_such_path', 'not in the API');
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/ss%6f', exchange => true), '404 no_such_path', 'not by another spelling');
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/sso', '{}', true), '401 jwt_refused', 'not without a JWT');
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/sso', jsonb_build_object('x-walwarden-token', :'token'), true), '401 jwt_refused', 'nor with a token');
SELECT is(tj_request(tj_claims(format('{"exp": %s}', extract(epoch FROM now())::bigint + 90000)::jsonb), '/signin/sso', exchange => true), '401 claim_refused exp', 'not one that outlives what is known of it');
BEGIN;
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/sso', exchange => true), '303', 'exchanged');
SELECT matches(current_setting('response.headers'), '"Location" : "/".*"Set-Cookie" : "__Host-walwarden=[0-9a-f]{64}; Path=/; Secure; HttpOnly; SameSite=Strict"', 'for a cookie and the page');
SELECT substring(current_setting('response.headers'), '__Host-walwarden=([0-9a-f]{64})') AS cookie \gset
COMMIT;
SELECT is(tj_request(tj_claims('{"jti": "1"}'), '/signin/sso', exchange => true), '401 jwt_used', 'and not again');
SELECT is(tj_request(tj_claims('{"jti": "1"}')::json::text || ' ', '/signin/sso', exchange => true), '401 jwt_used', 'however it is written');
SELECT is(tj_request('', '/api/v1/orgs', jsonb_build_object('x-walwarden-session', :'cookie')), '200 ann@j.example sso tj-one', 'the session');
SELECT is(tj_request(tj_claims('{"jti": "2"}'), '/signin/sso', jsonb_build_object('x-walwarden-session', :'cookie'), true), '401 jwt_refused', 'is not exchanged for another');
SELECT is(tj_request('', '/api/v1/orgs/tj-two', jsonb_build_object('x-walwarden-session', :'cookie')), '404 no_such_organisation', 'which opens the same organisations');
RESET SESSION AUTHORIZATION;
SELECT is((s.subject, s.method, s.cookie_hash, octet_length(s.claims_hash))::text, ('ann@j.example'::text, 'sso', sha256(convert_to(:'cookie', 'UTF8')), 32)::text, 'its row')
  FROM walwarden_internal.session AS s WHERE s.method = 'sso';
SELECT is((SELECT body::jsonb #>> '{payload,session,method}' || ' ' || (body::jsonb #> '{payload}' ? 'linkBy') FROM walwarden.list_audit('_system', 0, 100000) WHERE kind = 'session.started' ORDER BY seq DESC LIMIT 1),
    'sso false', 'its entry names no link');

-- a change of the member binds on the next request
SELECT walwarden.set_member_sso('tj-one', 'ann@j.example', false) \g /dev/null
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT is(tj_request('', '/api/v1/orgs', jsonb_build_object('x-walwarden-session', :'cookie')), '401 session_refused', 'no single sign-on any more, no session');
SELECT is(tj_request(tj_claims(), '/api/v1/orgs'), '401 not_a_member', 'and no JWT');
RESET SESSION AUTHORIZATION;
SELECT walwarden.set_member_sso('tj-one', 'ann@j.example', true) \g /dev/null

-- whom an entry names
CREATE FUNCTION tj_issue() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.jwt.claims', tj_claims(), true),
            set_config('request.headers', jsonb_build_object('authorization', 'Bearer a.b.c', 'idempotency-key', 'tj', 'x-walwarden-content-type', 'application/json',
                'x-walwarden-method', 'POST', 'x-walwarden-path', '/api/v1/orgs/tj-one/destinations')::text, true);
    PERFORM walwarden_rest.v1_post('{"name": "tj", "provider": "local", "uri": "file:///srv"}');
    RETURN current_setting('response.status');
END
$$;
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT is(tj_issue(), '201', 'a change by a program of a person, with no field of a browser');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT body::jsonb #> '{payload,actor}' FROM walwarden.list_audit('tj-one', 0, 1000) ORDER BY seq DESC LIMIT 1),
    jsonb_build_object('kind', 'member', 'memberId', m.id), 'is one of the member, without a session') FROM walwarden_internal.member AS m WHERE m.subject = 'ann@j.example' AND m.sso;

-- e-mail addresses
SET walwarden.subject_claim = 'email';
TRUNCATE tj_cases;
INSERT INTO tj_cases VALUES
    ('{"sub": "x", "email": "Ann@J.Example", "email_verified": true}',   '200 ann@j.example jwt tj-one', 'verified, in lower case'),
    ('{"email": "ann@j.example"}',                                       '401 claim_refused email_verified', 'not verified'),
    ('{"email": "ann@j.example", "email_verified": false}',              '401 claim_refused email_verified', 'said to be not verified'),
    ('{"email": "ann@j.example", "email_verified": "true"}',             '401 claim_refused email_verified', 'verified as a string'),
    ('{"email": "ann@j.example", "email_verified": 1}',                  '401 claim_refused email_verified', 'as a number'),
    ('{"email_verified": true}',                                         '401 claim_refused email', 'without an address'),
    ('{"email": ["ann@j.example"], "email_verified": true}',             '401 claim_refused email', 'several');
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT format('SELECT is(tj_request(tj_claims(%L), ''/api/v1/orgs''), %L, %L)', changed, outcome, what) FROM tj_cases \gexec
RESET SESSION AUTHORIZATION;
SET walwarden.subject_claim = 'oid';
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT is(tj_request(tj_claims('{"sub": "x", "oid": "ann@j.example"}'), '/api/v1/orgs'), '200 ann@j.example jwt tj-one', 'another claim');
SELECT throws_ok(format('SET walwarden.%s = %L', s, 'x'), '42501', NULL, s || ' is a superuser''s') FROM unnest('{subject_claim,jwt_issuer,jwt_audience}'::text[]) AS s;
RESET SESSION AUTHORIZATION;
SELECT throws_ok(format('SET walwarden.subject_claim = %L', v), '22023', NULL, 'no claim: ' || v) FROM unnest(ARRAY['', 'a b', repeat('x', 256)]) AS v;

SELECT walwarden.untrust_authenticator('tj_login') \g /dev/null
SET walwarden.subject_claim = 'sub';
SET SESSION AUTHORIZATION tj_login; SET ROLE tj_web;
SELECT is(tj_request(tj_claims(), '/api/v1/orgs'), '401 jwt_not_accepted', 'trusted no more');
RESET SESSION AUTHORIZATION;
SELECT walwarden.revoke_rest('tj_web') \g /dev/null
DELETE FROM walwarden_internal.session WHERE method = 'sso';
DROP TABLE tj_cases;
DROP FUNCTION tj_request, tj_lists, tj_claims, tj_issue;
SELECT * FROM finish();
