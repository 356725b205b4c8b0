"""L4: delivery agents: how mail goes out."""
