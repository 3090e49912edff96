-- The rows that this wing adds to tables of lower wings.

INSERT INTO walwarden_internal.guard
SELECT g.* FROM walwarden_internal.catalogue_guards('audit_kind') AS g;

INSERT INTO walwarden_internal.guard (relation, trigger, timing, events, level, function) VALUES
    -- hash NULL: a new entry, with its payload in body; the trigger fills in the rest.
    -- hash given: a restored entry, accepted unchanged if the CHECK holds
    ('audit_entry', 'append',          'BEFORE', 'INSERT',           'ROW',       'audit_append'),
    ('audit_entry', 'refuse_change',   'BEFORE', 'DELETE OR UPDATE', 'ROW',       'refuse_change'),
    ('audit_entry', 'refuse_truncate', 'BEFORE', 'TRUNCATE',         'STATEMENT', 'refuse_change');
