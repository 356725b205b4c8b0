"""Which of our own addresses have no name that leads back to them: big receivers refuse mail from those.

    reverse = ReverseNames(resolver, log, hostname="mail.example.org")
    reverse.is_missing("2001:db8::7")     # False at first; asked for in the background, and True later if it is so

Mail never waits for it: what is not known yet counts as fine, and so does what could not be looked up. Addresses that
the internet does not know are not judged.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from valija.dns.resolver import Resolver
from valija.dns.reverse import ReverseName, find_reverse_name
from valija.logs import Log
from valija.policy.public import is_public

GOOD_FOR: Final = 3600.0  # seconds until a name is looked up again
BAD_FOR: Final = 600.0  # and a missing one, or one that could not be looked up: a remedy should soon be seen
_MOST: Final = 100  # addresses; a machine may change its own for ever, for privacy


class _Known(msgspec.Struct, frozen=True, gc=False):
    missing: str  # why it does not count, "" where it does
    until: float


class ReverseNames:
    """Remembers for each of our addresses whether it has a reverse name. Belongs to one event loop."""

    def __init__(
        self, resolver: Resolver, log: Log, hostname: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._log = log
        self._hostname = hostname
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()

    def is_missing(self, source: str) -> bool:
        """Whether an address is known to have no name that leads back to it."""
        if not is_public(source):
            return False
        known = self._known.get(source)
        if (known is None or self._clock() >= known.until) and source not in self._asking:
            self._asking[source] = asyncio.get_running_loop().create_task(self._find(source))
        return known is not None and bool(known.missing)

    def is_avoided(self, source: str, instead: str) -> None:
        """Hear that an address is left alone because of this: it is said once, with the remedy."""
        if source not in self._told:
            self._told.add(source)
            self._log.warning(
                "source address avoided",
                source=source,
                instead=instead,
                reason=self._known[source].missing,
                remedy=f"have your provider set its reverse name to {self._hostname}",
            )

    async def _find(self, source: str) -> None:
        try:
            found = await find_reverse_name(self._resolver, source)
            self._learn(source, found)
        except Exception:
            self._log.exception("look-up fault", name=source, rtype="PTR")
        finally:
            del self._asking[source]

    def _learn(self, source: str, found: ReverseName) -> None:
        before = self._known.pop(source, None)
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        why = before.missing if before and found.failed else _why_missing(found)
        until = self._clock() + (GOOD_FOR if found.confirmed else BAD_FOR)
        self._known[source] = _Known(why, until)
        if not why:
            self._told.discard(source)


def _why_missing(found: ReverseName) -> str:
    if not found.is_missing:
        return ""
    return f"{', '.join(found.names)} does not lead back to it" if found.names else "it has no reverse name"
