"""L3: asking rspamd about a message by HTTP: what it is told, what it says, and what it means when it says nothing."""
