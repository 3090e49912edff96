-- Every row that a chain describes, with the chain, the entry and the state.
CREATE VIEW walwarden._described AS
    SELECT o.id AS org_id, 'org' AS type, o.id::text AS id, o.audit_seq, walwarden._org_state(o) AS state
      FROM walwarden.org AS o
    UNION ALL
    SELECT m.org_id, 'member', m.id::text, m.audit_seq, walwarden._member_state(m)
      FROM walwarden.member AS m
    UNION ALL
    SELECT t.org_id, 'token', t.id::text, t.audit_seq, walwarden._token_state(t, walwarden._credentials(t.id))
      FROM walwarden.token AS t
    UNION ALL
    SELECT n.org_id, 'node', n.id::text, n.audit_seq, walwarden._node_state(n)
      FROM walwarden.node AS n
    UNION ALL
    SELECT walwarden._system_org(), 'scope', s.name, s.audit_seq, walwarden._scope_state(s)
      FROM walwarden.scope AS s
     WHERE NOT s.builtin
    UNION ALL
    SELECT walwarden._system_org(), 'role', r.role, r.audit_seq, walwarden._role_override_state(r)
      FROM walwarden.role_override AS r
    UNION ALL
    SELECT walwarden._system_org(), 'grant', g.kind || ':' || g.role, g.audit_seq, walwarden._role_grant_state(g)
      FROM walwarden.role_grant AS g
    UNION ALL
    SELECT d.org_id, 'destination', d.id::text, d.audit_seq, walwarden._destination_state(d)
      FROM walwarden.destination AS d
    UNION ALL
    SELECT d.org_id, 'database', d.id::text, d.audit_seq, walwarden._database_state(d)
      FROM walwarden.database AS d
    UNION ALL
    SELECT j.org_id, 'job', j.id::text, j.audit_seq, walwarden._job_state(j)
      FROM walwarden.job AS j
    UNION ALL
    SELECT e.org_id, 'evidence', e.backup_job_id::text, e.audit_seq, walwarden._evidence_state(e)
      FROM walwarden.evidence AS e;
