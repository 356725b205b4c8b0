"""L1: the protocol, both sides, without I/O: octets in, events out."""
