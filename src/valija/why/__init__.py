"""What became of a message, a client or an address, and why: told from the history, the queue and the configuration."""
