"""The queue: its contract and the pure part (L2), the stores (L3) and the scheduler (L4)."""
