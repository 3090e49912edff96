-- The catalogue of the kinds of entries is complete, and nothing in it is made up.
BEGIN;
SELECT no_plan();

-- Words with a dot between them that functions write as literals: kinds, actions of
-- permissions; relations and settings, which have a prefix of their own.
CREATE TEMP TABLE literal AS
SELECT DISTINCT m[1] AS word
  FROM pg_proc AS p, regexp_matches(p.prosrc, '''([a-z_]+[.][a-z_]+)''', 'g') AS m
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace);
CREATE TEMP TABLE event AS
SELECT event FROM walwarden_internal.token_transition WHERE event IS NOT NULL
UNION
SELECT event FROM walwarden_internal.job_transition;

SELECT is_empty($$
    SELECT word FROM literal
     WHERE word NOT IN (SELECT kind FROM walwarden_internal.audit_kind)
       AND word NOT IN (SELECT action FROM walwarden_internal.permission)
       AND word !~ '^(walwarden|walwarden_internal|request|response|pgaudit)[.]'
       AND word NOT IN ('chain.tsv', 'index.html')      -- files, of a bundle and of the page
    $$,
    'no function appends a kind that is not in the catalogue');
SELECT is_empty('SELECT event FROM event WHERE event NOT IN (SELECT kind FROM walwarden_internal.audit_kind)', 'nor does a transition');
SELECT is_empty($$
    SELECT kind FROM walwarden_internal.audit_kind
     WHERE kind NOT IN (SELECT word FROM literal) AND kind NOT IN (SELECT event FROM event)$$,
    'and every kind in the catalogue is appended by something');
SELECT is_empty('SELECT kind FROM walwarden_internal.audit_kind WHERE kind IN (SELECT action FROM walwarden_internal.permission)', 'no kind is an action, by which it would pass');

-- append() takes its kind from a literal or from a variable of that name, never made up
-- of parts, which the above would not see
SELECT is_empty($$
    SELECT p.proname, m[1] FROM pg_proc AS p, regexp_matches(p.prosrc, 'walwarden_internal[.]append\(\s*[^,]*(?:\(\))?,\s*([^,]*),', 'g') AS m
     WHERE p.pronamespace = 'walwarden_internal'::regnamespace AND m[1] !~ '^(event|kind|''[a-z_.]+'')$'$$, 'kinds are written out');
SELECT isnt_empty($$SELECT FROM pg_proc WHERE prosrc ~ 'walwarden_internal[.]append\('$$, 'they were looked at');

-- which chain
SELECT walwarden.create_org('kinds'), walwarden.add_member('kinds', 'x'), walwarden.create_scope('k:read', 'k', 'k') \g /dev/null
SELECT is_empty($$
    SELECT e.kind, k.chain FROM walwarden_internal.audit_entry AS e LEFT JOIN walwarden_internal.audit_kind AS k ON k.kind = e.kind
     WHERE e.kind !~ '^app[.]' AND k.chain IS DISTINCT FROM CASE WHEN e.org_id = walwarden_internal.system_org() THEN 'system' ELSE 'org' END$$,
    'entries stand in the chain of their kind');

-- the digest that verification compares covers every table that never changes; the chain is
-- verified by itself, and slugs by the images of their organisations
SELECT set_eq($$
    SELECT m[1]::name FROM pg_proc AS p, regexp_matches(p.prosrc, 'FROM walwarden_internal[.](\w+)', 'g') AS m
     WHERE p.oid = 'walwarden_internal.catalogue_digest()'::regprocedure$$, $$
    SELECT g.relation FROM walwarden_internal.guard AS g, walwarden_internal.catalogue_guards(g.relation) AS c
     WHERE g = c AND g.relation NOT IN ('audit_entry', 'org_slug')$$, 'the digest of the catalogues covers them all');

-- those that take rights away, for the warning if standbys are not waited for
\set append `cat src/audit/append.c`
CREATE TEMP TABLE taking AS
SELECT k[1] AS kind FROM regexp_matches(substring(:'append' FROM 'kinds\[\] = \{([^}]*)\}'), '"([a-z_.]+)"', 'g') AS k;
SELECT is_empty('SELECT kind FROM taking WHERE kind NOT IN (SELECT kind FROM walwarden_internal.audit_kind)', 'every kind that takes rights away exists');
SELECT is_empty($$
    SELECT kind FROM walwarden_internal.audit_kind
     WHERE kind ~ '^(authenticator|copy|legacy|member|monitor|operator|org|rest|role|runner|token)[.]' AND kind NOT IN (SELECT kind FROM taking)
       AND kind NOT IN ('authenticator.trusted', 'legacy.imported', 'member.added', 'member.enabled', 'member.erased', 'monitor.granted', 'operator.granted',
                        'org.created', 'org.policy_changed', 'org.renamed', 'org.settings_changed', 'rest.granted', 'runner.granted', 'token.enabled',
                        'token.expired', 'token.expiring', 'token.issued', 'token.removed', 'token.renewed', 'token.revealed_for_owner')$$,
    'and every other kind about rights is known to take none, but for a renewal without an overlap');

SELECT * FROM finish();
ROLLBACK;
