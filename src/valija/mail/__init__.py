"""L0: the field's words as frozen values (RFC 5321, RFC 5598). Nothing here does I/O or knows the time."""
