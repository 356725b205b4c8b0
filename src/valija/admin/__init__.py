"""L5: what the running server tells about itself."""
