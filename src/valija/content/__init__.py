"""L1: message content as octets, without I/O."""
