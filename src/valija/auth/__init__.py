"""L3: who may log in, and which addresses a login may use."""
