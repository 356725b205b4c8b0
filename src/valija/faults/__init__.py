"""Faults on purpose: places where a test may kill the server, or have its disk fail. They are off otherwise."""
