-- Locks (src/base/lock.c).

-- Acquires the lock of an organisation and holds it to the end of the transaction. Waits at
-- most walwarden.audit_lock_timeout; then it fails with 55P03, which names the blocking
-- processes.
-- The uuid of the system chain locks data that belongs to no organisation. Tables are not
-- locked for this, because any role can hold ROW EXCLUSIVE on any table, by calling
-- nextval() with its OID.
CREATE FUNCTION walwarden_internal.acquire_org_lock(org_id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_acquire_org_lock';

-- The same without waiting; returns false if another transaction holds the lock.
CREATE FUNCTION walwarden_internal.try_org_lock(org_id uuid) RETURNS boolean
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_try_org_lock';

-- acquire_org_lock() for a legacy credential that is being imported. id: half of its fingerprint.
CREATE FUNCTION walwarden_internal.acquire_credential_lock(id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_acquire_credential_lock';

-- Acquires the maintenance lock, to the end of the transaction; returns false if another
-- session holds it. Does not wait, because the other session does the same work.
CREATE FUNCTION walwarden_internal.try_maintenance_lock() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_try_maintenance_lock';

-- Limits each wait for a lock to so many milliseconds, until the door returns or the step of
-- the worker ends.
CREATE FUNCTION walwarden_internal.bound_waits(milliseconds integer) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_bound_waits';
