"""`valija crash-test`: a server of its own, killed again and again under load, and an account of what it accepted."""
