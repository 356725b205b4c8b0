"""L4: judging any mail server from outside."""
