-- The rows that this wing adds to tables of lower wings.

INSERT INTO walwarden_internal.guard
SELECT g.* FROM unnest('{rest_error,rest_reason,rest_operation,rest_description,rest_filter,rest_refusal}'::name[]) AS c(relation), walwarden_internal.catalogue_guards(c.relation) AS g;

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('database.created',    'org', 'a database was created'),
    ('database.updated',    'org', 'a database was changed'),
    ('database.deleted',    'org', 'a database was deleted'),
    ('destination.created', 'org', 'a destination was created'),
    ('destination.updated', 'org', 'a destination was changed'),
    ('destination.deleted', 'org', 'a destination was deleted'),
    ('evidence.exported',   'org', 'evidence was exported');
