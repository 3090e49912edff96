-- Roles of the server. They are stored by name, so that a dump can be restored in another
-- cluster. Beside each name stands the OID that the role had when it was named, and the
-- system identifier of that cluster. A role that was renamed, or dropped and created again,
-- has the name of another role: in the cluster where it was named, the name then has no
-- rights until confirm_server_role(). In another cluster OIDs say nothing, so the name is
-- believed, and maintenance stores the OID that the role has there. OID and system identifier
-- are not part of any image.

-- The system identifier of this cluster, in digits.
CREATE FUNCTION walwarden_internal.system_identifier() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_system_identifier';

-- Whether the role with this name is the one that was named. False if it does not exist.
CREATE FUNCTION walwarden_internal.server_role_holds(role name, named_oid oid, named_in text) RETURNS boolean
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_server_role_holds';

-- The OID of a role; NULL if it does not exist.
CREATE FUNCTION walwarden_internal.server_role_oid(role name) RETURNS oid
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = role);
END
$$;

-- Why a stored name of a role is not honoured; NULL if it is.
CREATE FUNCTION walwarden_internal.server_role_problem(role name, named_oid oid, named_in text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN role IS NULL OR walwarden_internal.server_role_holds(role, named_oid, named_in) THEN NULL
        WHEN walwarden_internal.server_role_oid(role) IS NULL THEN format('role %s does not exist in this server', walwarden_internal.shown(role))
        ELSE format('role %s is not the role that was named: that one was renamed or dropped', walwarden_internal.shown(role)) END;
END
$$;

-- Every place that names a role, and what stands there. member_id: NULL for a grant.
CREATE VIEW walwarden_internal.server_role_use AS
    SELECT g.role, g.role_oid AS named_oid, g.system_identifier AS named_in, g.kind, g.role AS granted_to, NULL::uuid AS member_id
      FROM walwarden_internal.role_grant AS g
     WHERE g.revoked_at IS NULL
    UNION ALL
    SELECT g.login, g.login_oid, g.system_identifier, g.kind, g.role, NULL
      FROM walwarden_internal.role_grant AS g
     WHERE g.revoked_at IS NULL AND g.login IS NOT NULL
    UNION ALL
    SELECT m.db_role, m.db_role_oid, m.system_identifier, 'member', NULL, m.id
      FROM walwarden_internal.member AS m
     WHERE m.removed_at IS NULL AND m.db_role IS NOT NULL;
COMMENT ON VIEW walwarden_internal.server_role_use IS 'Where server roles are named, with the OID and the cluster of that moment: grants, and members.';

-- The same for all places that name the role: the first problem.
CREATE FUNCTION walwarden_internal.server_role_problem(role name) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT min(walwarden_internal.server_role_problem(u.role, u.named_oid, u.named_in))
              FROM walwarden_internal.server_role_use AS u
             WHERE u.role = server_role_problem.role);
END
$$;

-- Refuses to name a role once more, where the stored name is not honoured: only
-- confirm_server_role() gives it its rights back.
CREATE FUNCTION walwarden_internal.require_confirmed(role name, named_oid oid, named_in text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := walwarden_internal.server_role_problem(role, named_oid, named_in);
BEGIN
    IF problem IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('55000', problem,
            'Check the role, and let a superuser call walwarden.confirm_server_role(). Or take the rights of the name away first.');
    END IF;
END
$$;

-- Stores the OIDs of this cluster for names that another cluster stored. Without an entry,
-- because nothing changes that an entry describes. A role that does not exist yet is left
-- for a later run.
CREATE FUNCTION walwarden_internal.bind_server_roles() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here text := walwarden_internal.system_identifier();
    bound boolean;
BEGIN
    UPDATE walwarden_internal.role_grant AS g
       SET role_oid = walwarden_internal.server_role_oid(g.role), login_oid = walwarden_internal.server_role_oid(g.login), system_identifier = here
     WHERE g.system_identifier <> here AND walwarden_internal.server_role_oid(g.role) IS NOT NULL
       AND (g.login IS NULL OR walwarden_internal.server_role_oid(g.login) IS NOT NULL);
    bound := FOUND;
    -- two ranges, so that the index finds that there are none
    UPDATE walwarden_internal.member AS m
       SET db_role_oid = walwarden_internal.server_role_oid(m.db_role), system_identifier = here
     WHERE (m.system_identifier < here OR m.system_identifier > here) AND m.removed_at IS NULL
       AND walwarden_internal.server_role_oid(m.db_role) IS NOT NULL;
    RETURN bound OR FOUND;
END
$$;
