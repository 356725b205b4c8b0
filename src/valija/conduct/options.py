"""What the `[limits]` table may say."""

import msgspec

from valija.policy.limits import AccountLimits


class ConductOptions(msgspec.Struct, frozen=True):
    """How much accounts may send, and whether one that looks stolen is frozen."""

    limits: AccountLimits = AccountLimits()
    circuit_breaker: bool = True
