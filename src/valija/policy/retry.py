"""When is a deferred recipient tried again, and when is it given up? (RFC 5321 section 4.5.4.1)

    policy = RetryPolicy()
    next_attempt(policy, attempts=1, now=now, begun=now - 2, random=0.5)    # about now + 300

The first retry follows after `minimal_backoff`, each later one after twice the time, up to `maximal_backoff`, each
with up to a tenth more or less, so that mail deferred together does not come back together. The last attempt lies at
the end of the lifetime. Whoever is tried after that end is given up if it fails: so one attempt is always made after
the clock was found to be past it, also where the clock jumped.

The lifetime begins with the arrival, or with the release of a message that was to be held (RFC 4865). Where a sender
set a time to deliver by (RFC 2852), the last attempt before it comes a minute ahead, and then the deadline itself is an
attempt's time, so that it is noticed.
"""

from typing import Final

import msgspec

_JITTER: Final = 0.1
_LAST_CALL: Final = 60.0  # seconds before a deadline
_NEVER: Final = float("inf")


class RetryPolicy(msgspec.Struct, frozen=True):
    """Durations in seconds. `delay_warning` 0 sends no warning."""

    minimal_backoff: float = 300.0
    maximal_backoff: float = 14400.0
    lifetime: float = 432000.0
    delay_warning: float = 14400.0

    @property
    def longest_wait(self) -> float:
        """No next attempt lies farther ahead than this, unless the clock was set back."""
        return max(self.minimal_backoff, self.maximal_backoff) * (1 + _JITTER)


def begin_of(arrived: float, hold_until: float) -> float:
    """Return from when on a message's time counts."""
    return max(arrived, hold_until)


def next_attempt(
    policy: RetryPolicy, attempts: int, now: float, begun: float, random: float, *, deadline: float = _NEVER
) -> float:
    """Return when to try again after `attempts` ended attempts (1 or more); `random` is in [0, 1)."""
    doublings = min(attempts - 1, 32)  # far beyond any maximum, and small enough to compute
    backoff = min(policy.minimal_backoff * 2.0**doublings, policy.maximal_backoff)
    due = now + backoff * (1 + _JITTER * (2 * random - 1))
    end = begun + policy.lifetime
    due = min(due, end) if now < end else due
    return _before(deadline, now) if now < deadline <= due else due


def _before(deadline: float, now: float) -> float:
    last = deadline - _LAST_CALL
    return last if now + _LAST_CALL <= last else deadline


def is_given_up(policy: RetryPolicy, started: float, begun: float) -> bool:
    """Whether a recipient that an attempt begun at `started` deferred is given up."""
    return started >= begun + policy.lifetime


def is_warning_due(policy: RetryPolicy, now: float, begun: float) -> bool:
    """Whether the sender should hear that a message is late."""
    return 0 < policy.delay_warning <= now - begun
