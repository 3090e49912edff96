-- The grants of this wing.

GRANT EXECUTE ON FUNCTION
    -- everyone
    walwarden.pre_request()
TO PUBLIC;
