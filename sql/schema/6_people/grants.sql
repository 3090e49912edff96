-- The grants of this wing.

GRANT EXECUTE ON FUNCTION
    -- operators
    walwarden.sign_in_link(text),
    -- operators, owners, admins
    walwarden.set_member_subject(text, text, text),
    walwarden.disable_member(text, text),
    walwarden.remove_member(text, text),
    walwarden.erase_member(text, text)
TO PUBLIC;
