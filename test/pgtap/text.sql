-- Names, subjects, labels and reasons: characters that nobody sees, and subjects that look
-- alike.
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org('acme') AS org_id \gset
SELECT token_id AS shared FROM walwarden.issue_token('acme', 'ci') \gset

-- refused in every text
CREATE TEMP TABLE hidden (value text, why text);
INSERT INTO hidden VALUES
    (E'\u200B', 'zero width space alone'), (E'ann\u200B', 'at the end'), (E'\uFEFFann', 'byte order mark'), (E'a\u2060b', 'word joiner'),
    (E'a\u180Eb', 'Mongolian vowel separator'), (E'a\u00ADb', 'soft hyphen'), (E'a\u034Fb', 'grapheme joiner'),
    (E'\u3164', 'Hangul filler'), (E'\u115F', 'Hangul choseong filler'), (E'\uFFA0', 'half-width Hangul filler'),
    (E'a\u2028b', 'line separator'), (E'a\u2029b', 'paragraph separator'), (E'a\u0085b', 'next line'),
    (E'ci \u202Etxt.exe', 'right-to-left override'), (E'a\u2066b', 'isolate'), (E'a\u200Eb', 'left-to-right mark'), (E'a\u061Cb', 'Arabic letter mark'),
    (E'a\U000E0041b', 'tag character'), (E'a\uFFF9b', 'annotation'), (E'a\U0001D173b', 'musical control'),
    (E'a\u200Db', 'joiner between Latin letters'), (E'a\u200C', 'non-joiner at the end'), (E'\u200D', 'joiner alone'),
    (E'\u0645\u200C\u200C\u062E', 'two non-joiners'), (E'\uFE0F', 'variation selector alone'), (E'a\uFE0Fb', 'after a Latin letter'),
    (E'1\uFE0F', 'after a digit without a keycap'), (E'\u2764\uFE0F\uFE0F', 'two of them'), (E'a\U000E0100', 'of ideographs after a letter'),
    (E'a\u180Bb', 'Mongolian one after a Latin letter');
CREATE TEMP TABLE empty (value text, why text);
INSERT INTO empty VALUES
    (E'\u00A0', 'no-break space'), (E'\u3000', 'ideographic space'), (E' \u2003\u00A0', 'blanks of several kinds'), (E'\u2800', 'Braille blank'),
    (E'\u202F\u205F\u1680', 'other blanks'), (E'\u0301', 'combining mark alone'), (E' \u0301\u20DD', 'combining marks on a blank');
SELECT throws_ok(format('SELECT walwarden.issue_token(%L, %L)', 'acme', value), '22023', 'token name contains an invisible character', why)
  FROM hidden WHERE value !~ '[\u0080-\u009F]';
SELECT throws_ok(format('SELECT walwarden.issue_token(%L, %L)', 'acme', value), '22023', 'token name contains a control character', why)
  FROM hidden WHERE value ~ '[\u0080-\u009F]';
SELECT throws_ok(format('SELECT walwarden.issue_token(%L, %L)', 'acme', value), '22023', 'token name has no visible character', why) FROM empty;

-- ordinary text of all languages
CREATE TEMP TABLE ordinary (value text, why text);
INSERT INTO ordinary VALUES
    ('ci', 'ASCII'), (E'd\u00E9ploiement n\u00B0\u00A05', 'French'), (E'de\u0301ploiement', 'with a combining mark'), (E'prix\u202F: 5', 'narrow no-break space'),
    (E'\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645', 'Persian'), (E'\u0915\u094D\u200D\u0937', 'Hindi with a joiner'), (E'\u0DC1\u0DCA\u200D\u0DBB\u0DD3', 'Sinhala'),
    (E'\u5DE5\u7A0B', 'Chinese'), (E'\u845B\U000E0100\u57CE', 'an ideograph with a variation selector'), (E'\uC11C\uC6B8', 'Korean'), (E'\u05E9\u05DC\u05D5\u05DD', 'Hebrew'),
    (E'\u0E40\u0E27\u0E47\u0E1A', 'Thai'), (E'\U0001F680 deploy', 'an emoji'), (E'\u2764\uFE0F', 'with a variation selector'), (E'1\uFE0F\u20E3', 'a keycap'),
    (E'\U0001F468\u200D\U0001F469\u200D\U0001F467', 'a family'), (E'\U0001F3F3\uFE0F\u200D\U0001F308', 'a flag of several emoji'), (E'\u00A9\uFE0F', 'a sign'),
    (E'\U0001F44D\U0001F3FD', 'a skin tone'), (E'\U0001F1E9\U0001F1EA', 'a flag'), (E'\u1820\u180B', 'Mongolian');
SELECT lives_ok(format('SELECT walwarden.issue_token(%L, %L)', 'acme', value), why) FROM ordinary;
SELECT lives_ok(format('SELECT walwarden.add_member(%L, %L)', 'acme', value), why) FROM ordinary;
SELECT is(walwarden_internal.hidden_character(), NULL, 'never hidden: ' || i) FROM generate_series(32, 126) AS i WHERE chr(i) ~ walwarden_internal.hidden_character();

-- everywhere
SELECT throws_ok(format(statement, quote_literal(E'a\u200Bb')), '22023', what || ' contains an invisible character', statement)
  FROM (VALUES
    ('token name', 'SELECT walwarden.issue_token(''acme'', %s)'),
    ('token name', format('SELECT walwarden.update_token(%L, name => %%s)', :'shared')),
    ('token name', 'SELECT walwarden.import_legacy_credential(''acme'', ''ci'', gen_random_uuid(), repeat(''s'', 32), %s)'),
    ('label "k"', 'SELECT walwarden.issue_token(''acme'', ''x'', labels => jsonb_build_object(''k'', %s))'),
    ('label "k"', format('SELECT walwarden.update_token(%L, labels => jsonb_build_object(''k'', %%s))', :'shared')),
    ('reason', format('SELECT walwarden.disable_token(%L, %%s)', :'shared')),
    ('reason', format('SELECT walwarden.revoke_token(%L, %%s)', :'shared')),
    ('reason', 'SELECT walwarden.close_org(''acme'', %s)'),
    ('reason', 'SELECT walwarden.close_copy(%s)'),
    ('display name', 'SELECT walwarden.create_org(''other'', %s)'),
    ('display name', 'SELECT walwarden.rename_org(''acme'', ''acme'', %s)'),
    ('subject', 'SELECT walwarden.add_member(''acme'', %s)'),
    ('subject', 'SELECT walwarden.set_member_subject(''acme'', ''ci'', %s)'),
    ('label', 'SELECT walwarden.create_scope(''a:b'', %s, ''x'')'),
    ('description', 'SELECT walwarden.create_scope(''a:b'', ''x'', %s)')) AS v(what, statement);
SELECT throws_ok(format('SELECT walwarden.create_org(%L)', E'a\u200Bb'), '22023', 'invalid organisation slug "a?b"', 'what is hidden is not shown in a message');

-- nodes, and what a node says of a job
SELECT token AS node FROM walwarden.issue_token('acme', 'node', kind => 'node') \gset
CREATE ROLE t_runner;
SELECT walwarden.grant_runner('t_runner') \g /dev/null
SELECT walwarden.authenticate(:'node') \g /dev/null
SET LOCAL ROLE t_runner;
SELECT throws_ok(format('SELECT walwarden.register_node(%L, %L)', E'a\u200Bb', '1'), '22023', 'node name contains an invisible character', 'a node');
SELECT throws_ok(format('SELECT walwarden.register_node(%L, %L)', 'a', E'\u00A0'), '22023', 'node version has no visible character', 'its version');
RESET ROLE;
SELECT is(walwarden_internal.plain_text(to_jsonb(E'a\u202Eb\nc'::text)), to_jsonb('a b c'::text), 'the error of a job is stored without what is hidden');

-- subjects that look alike
SELECT walwarden.create_org('like') \g /dev/null
SELECT walwarden.add_member('like', s)
  FROM unnest(ARRAY['a@x.example', E'jos\u00E9@x.example', E'stra\u00DFe', E'\u0391\u03A3', E'\u043F\u0451\u0442\u0440', E'\u0645\u06CC\u200C\u062E', 'admin', E'\u304C\u304E']) AS s \g /dev/null
SELECT throws_like(format('SELECT walwarden.%s', format(call, quote_literal(subject))), format('%%already has a member %%, which looks like %%'), call || ': ' || why)
  FROM (VALUES ('A@x.example', 'letter case'), ('A@x.example ', 'and a blank at the end'), (E'\u00A0a@x.example', 'a no-break space before it'),
               (E'\uFF41@x.example', 'a full-width letter'), (E'jose\u0301@x.example', 'the decomposed form'), (E'JOS\u00C9@x.example', 'a capital with an accent'),
               (E'JOSE\u0301@x.example', 'and decomposed'), (E'STRA\u1E9EE', 'a capital sharp s'), (E'\u03B1\u03C2', 'a final sigma'), (E'\u03B1\u03C3', 'another sigma'),
               (E'\u041F\u0401\u0422\u0420', 'Cyrillic capitals'), (E'\u0645\u06CC\u062E', 'without the non-joiner'), (E'ADM\u0130N', 'a capital I with a dot'),
               (E'\u304B\u3099\u304D\u3099', 'kana with combining marks'), (E'\u24D0\uFF20x.example', 'a circled letter')) AS v(subject, why),
       (VALUES ('add_member(''like'', %s)'), ('set_member_subject(''like'', ''admin'', %s)')) AS c(call)
 WHERE NOT (call LIKE 'set%' AND why LIKE '%with a dot');
SELECT throws_ok($$SELECT walwarden.add_member('like', 'A@x.example')$$, '23505', '"like" already has a member "a@x.example", which looks like "A@x.example"', 'the error');
SELECT throws_ok($$SELECT walwarden.add_member('like', 'a@x.example')$$, '23505', '"like" already has a member "a@x.example"', 'the same subject has its own');
SELECT throws_ok($$SELECT walwarden.add_member('like', ' new')$$, '22023', 'subject begins or ends with a blank', 'a blank at the beginning');
SELECT throws_ok(format('SELECT walwarden.add_member(%L, %L)', 'like', E'new\u3000'), '22023', 'subject begins or ends with a blank', 'or at the end');
SELECT isnt(walwarden.add_member('like', s), NULL, 'different: ' || s)
  FROM unnest(ARRAY['b@x.example', 'jose@x.example', 'strasse', E'\u0430@x.example', E'adm\u0131n', 'a @x.example']) AS s;
SELECT ok(walwarden.set_member_subject('like', 'admin', 'Admin'), 'a member''s own subject may change its case');
SELECT ok(walwarden.set_member_subject('like', 'Admin', 'root'), 'and be another');
SELECT isnt(walwarden.add_member('like', 'ADMIN'), NULL, 'which is free then');
SELECT ok(walwarden.remove_member('like', 'ADMIN'), 'and after a removal');
SELECT isnt(walwarden.add_member('like', 'admin'), NULL, 'too');
SELECT isnt(walwarden.add_member('acme', 'A@x.example'), NULL, 'other organisations do not matter');
SELECT throws_ok(format('INSERT INTO walwarden_internal.member (org_id, subject, salt, person, role, created_at, audit_seq) '
                        'SELECT org_id, %L, salt, person, role, created_at, audit_seq FROM walwarden_internal.member WHERE subject = %L', 'ROOT', 'root'),
    '23505', NULL, 'the index holds, whoever writes');

-- every letter has the same form as its other case; the locale of this database knows them
SELECT is(count(*), 0::bigint, 'lower case')
  FROM generate_series(1, 591) AS i
 WHERE walwarden_internal.likeness(chr(i)) <> walwarden_internal.likeness(lower(chr(i)));
SELECT is(walwarden_internal.likeness(E'\U0001E900\u2C80\u1C90\u10A0'), E'\U0001E922\u2C81\u10D0\u2D00', 'letters of other scripts');
SELECT is(walwarden_internal.likeness(''), '', 'nothing');
SELECT is(walwarden_internal.likeness('   '), '', 'blanks only');
SELECT is(walwarden_internal.likeness(repeat(E'\u023A', 1000)), repeat(E'\u2C65', 1000), 'a form longer than the text');

SELECT finish();
ROLLBACK;
