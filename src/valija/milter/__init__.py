"""Filters that speak the milter protocol: the mail server's side of it."""
