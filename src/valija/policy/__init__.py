"""L2: decisions, as pure functions of facts and a clock value."""
