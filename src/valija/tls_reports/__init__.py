"""L3: reports to other domains about TLS with their hosts (RFC 8460): counted, kept, and sent once a day."""
