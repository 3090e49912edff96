-- Writing rows from C, beside what others have put on the tables.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org('store') \g /dev/null
SELECT token_id AS one FROM walwarden.issue_token('store', 'one') \gset

-- a trigger that leaves a row out would have the tables differ from the chain
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER zzz BEFORE INSERT ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION leave_out();
SELECT throws_ok(format('SELECT walwarden.disable_token(%L)', :'one'), '55000', 'a trigger keeps a row of walwarden_internal.audit_entry from being written', 'of an entry');
DROP TRIGGER zzz ON walwarden_internal.audit_entry;
CREATE TRIGGER zzz BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION leave_out();
SELECT throws_ok(format('SELECT walwarden.disable_token(%L)', :'one'), '55000', 'a trigger keeps a row of walwarden_internal.token from being written', 'of a token');
DROP TRIGGER zzz ON walwarden_internal.token;
SELECT is(t.disabled_at, NULL, 'nothing is stored') FROM walwarden_internal.token AS t WHERE t.id = :'one';

-- an old value that is no credential any more does not prevent a new one
UPDATE walwarden_internal.credential SET valid_until = now() + '1 day' WHERE token_id = :'one';
SELECT isnt(walwarden.renew_token(:'one', '1 hour'), NULL, 'a token without a current value can be renewed');
SELECT is(count(*), 1::bigint, 'which is its only one then') FROM walwarden_internal.credential WHERE token_id = :'one';

-- columns and triggers of others
SAVEPOINT others;
ALTER TABLE walwarden_internal.token_usage ADD COLUMN note text NOT NULL DEFAULT 'new', ADD COLUMN n integer GENERATED ALWAYS AS IDENTITY, ADD COLUMN twice text GENERATED ALWAYS AS (note || note) STORED;
CREATE TABLE public.seen (what text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (TG_ARGV[0]); RETURN NULL; END$$;
CREATE TRIGGER zz_state AFTER UPDATE OF disabled_at ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION see('disabled_at');
CREATE TRIGGER zz_name AFTER UPDATE OF created_by ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION see('created_by');
SELECT token_id AS two FROM walwarden.issue_token('store', 'two') \gset
SELECT is((u.note, u.n > 0, u.twice), ('new'::text, true, 'newnew'::text), 'a column that others added has its default') FROM walwarden_internal.token_usage AS u WHERE u.token_id = :'two';
SELECT walwarden.disable_token(:'two') \g /dev/null
SELECT results_eq('SELECT what FROM public.seen', ARRAY['disabled_at'], 'triggers for columns that change fire, and no others');
ROLLBACK TO others;

SELECT throws_ok($$SELECT walwarden_internal.store_token('{}', 'token.issued', NULL, jsonb_populate_record(NULL::walwarden_internal.token, '{"name": "a"}'))$$,
                 'XX000', 'unexpected null in a token', 'a token without an organisation');
SELECT throws_ok($$SELECT walwarden_internal.token_change('{}', NULL, '{}', jsonb_populate_record(NULL::walwarden_internal.token, '{"name": "a"}'), '{}', NULL)$$,
                 'XX000', 'unexpected null in a token', 'or an id');
SET TRANSACTION READ ONLY;
SELECT throws_ok($$SELECT walwarden.issue_token('store', 'three')$$, '25006', 'cannot execute INSERT in a read-only transaction', 'a transaction that only reads');
SELECT * FROM finish();
ROLLBACK;
