"""L4: listeners and sessions: how mail comes in."""
