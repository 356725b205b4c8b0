"""What the running server leaves open to others: its processes, its files, its TLS."""
