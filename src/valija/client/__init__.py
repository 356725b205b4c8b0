"""L4: a client for trying any server by hand: one message, and the whole conversation shown."""
