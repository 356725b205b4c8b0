"""When a certificate is renewed, when a failed attempt is repeated, and how loudly a failure is told. Pure.

    renew_at = renewal_time(first, last, window=None, chance=0.3)
    wait = pause_after(failures=3, kind="challenge", retry_after=0.0, chance=0.5)       # seconds
    loudness(first, last, now)                                                         # "warning", "error", "critical"

Times are seconds since the epoch; `chance` is from 0 to 1. An authority that gives a window (ARI, RFC 9773) is obeyed,
but never so far that the certificate would end. Otherwise its own lifetime decides: a third is left when it is renewed,
a half where it lives ten days or less. No fixed timer: certificates of 6 days and of 90 go by the same rule.
"""

from typing import Final, Literal

FailureKind = Literal["unreachable", "challenge", "rate-limited", "refused", "unfit", "ours"]
Loudness = Literal["warning", "error", "critical"]

DAY: Final = 86_400.0
SHORT_LIVED: Final = 10 * DAY
_JITTER: Final = 1 / 30  # of a lifetime: many servers that started in one hour do not come back in one hour
_LAST_TENTH: Final = 0.1  # of a lifetime, after which no window is waited for

# seconds before the second attempt, doubled with each failure, and at most. An authority that was not reached counts no
# attempt; one that tried a challenge counts failures by the hour (five an hour at Let's Encrypt).
_PAUSES: Final[dict[FailureKind, tuple[float, float]]] = {
    "unreachable": (60.0, 3_600.0),
    "challenge": (300.0, 12 * 3_600.0),
    "rate-limited": (3_600.0, 24 * 3_600.0),
    "refused": (600.0, 12 * 3_600.0),
    "unfit": (3_600.0, 24 * 3_600.0),  # it was issued, and counts
    "ours": (300.0, 12 * 3_600.0),
}
_LONGEST_RETRY_AFTER: Final = 7 * DAY
_ARI_AGAIN: Final = (60.0, DAY)  # seconds between two questions for the window (RFC 9773 section 4.3.1)


def renewal_time(first: float, last: float, window: tuple[float, float] | None, chance: float) -> float:
    """Return when to renew a certificate that is valid from `first` to `last`; a time in the past is now."""
    lifetime = max(last - first, 0.0)
    latest = last - _LAST_TENTH * lifetime
    if window and window[0] < last:
        start, end = window[0], max(window)
        return min(start + chance * (end - start), latest)
    left = 1 / 2 if lifetime <= SHORT_LIVED else 1 / 3
    return min(last - left * lifetime + chance * _JITTER * lifetime, latest)


def ask_again(now: float, retry_after: float) -> float:
    """Return when to ask for the window again, within reason whatever the authority says."""
    shortest, longest = _ARI_AGAIN
    return now + min(max(retry_after, shortest), longest)


def pause_after(
    failures: int, kind: FailureKind, retry_after: float, chance: float, lifetime: float = 90 * DAY
) -> float:
    """Return how many seconds to wait after the last of `failures`. What the authority asked for is kept to.

    A certificate that lives for days only is tried more often: twenty times in its life at least.
    """
    base, longest = _PAUSES[kind]
    longest = max(base, min(longest, lifetime / 20))
    wait = min(base * 2.0 ** min(failures - 1, 30), longest) * (0.8 + 0.4 * chance)
    return max(wait, min(retry_after, _LONGEST_RETRY_AFTER))


def loudness(first: float, last: float, now: float) -> Loudness:
    """Return how a failed renewal is told: louder when a sixth of the lifetime is left, loudest when none is."""
    if now >= last:
        return "critical"
    return "error" if last - now < (last - first) / 6 else "warning"
