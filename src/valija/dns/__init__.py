"""L3: the DNS. Names in and answers out; what to make of them is decided in policy."""
