-- Signatures of nodes: Ed25519, verified by the OpenSSL that the server is built with.

CREATE FUNCTION walwarden_internal.signatures_supported() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_signatures_supported';

CREATE FUNCTION walwarden_internal.public_key_is_valid(public_key text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_public_key_is_valid';

-- Whether a node of this name can sign checkpoints, whose format gives a key a name.
CREATE FUNCTION walwarden_internal.key_name_is_valid(name text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_key_name_is_valid';

-- Why the manifest is not signed with the key; NULL if it is.
CREATE FUNCTION walwarden_internal.signature_problem(manifest text, public_key text) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_signature_problem';

-- All columns are NULL if note is not a checkpoint. signed: by this key, under this name.
CREATE FUNCTION walwarden_internal.read_checkpoint(note text, public_key text, OUT org_id uuid, OUT name text, OUT size bigint, OUT root bytea, OUT signed boolean)
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_read_checkpoint';

CREATE FUNCTION walwarden_internal.require_signatures() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden_internal.signatures_supported() THEN
        PERFORM walwarden_internal.refuse('0A000', 'this server cannot verify signatures',
            'It was built without OpenSSL. Register nodes without a key, under a name that has none.');
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.check_public_key(name text, public_key text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require_signatures();
    IF NOT walwarden_internal.public_key_is_valid(public_key) THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid public key',
            'Give the 32 bytes of an Ed25519 public key in base64: 44 characters, the last of them =.');
    ELSIF NOT walwarden_internal.key_name_is_valid(name) THEN
        PERFORM walwarden_internal.refuse('22023', 'the name of a node with a key contains a space or a plus sign',
            'The name is also that of the key in signed checkpoints, which allow neither. Use hyphens instead.');
    END IF;
END
$$;
