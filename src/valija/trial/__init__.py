"""L6: trying any server by hand: one message, the whole conversation shown."""
