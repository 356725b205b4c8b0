"""A memory of facts, shared by all workers, that gives none of them away: digests under a key of the server's life.

    table = DigestTable.shared(lifetime=300.0)                 # in the supervisor, before it forks
    table.remember("alice@example.org", "secret")              # in a worker
    table.holds("alice@example.org", "secret")                 # True in every worker, for 300 seconds at most

What is remembered holds for at least half its lifetime and never longer than that, however often it is asked for: the
digest contains the half lifetime in which it was made, and no other than the present one and the one before are
looked for. So a slot needs no date, and one that is torn (written by one worker while another reads) is a digest of
nothing: it can only say no. No lock is needed, and a worker that dies in the midst of writing leaves no harm.

The table is of fixed size; a new digest takes an empty place among four, or else that of another.

Known weakness: who can read the memory of the process has the key, and can try facts against it at no cost.
"""

import mmap
import secrets
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

PLACES: Final = 16_384
_SIZE: Final = 32  # octets of a digest
_BUCKET: Final = 4 * _SIZE
_EMPTY: Final = bytes(_SIZE)


class DigestTable:
    """What all workers remember. `lifetime` in seconds; `clock` gives monotonic seconds, the same in every process."""

    def __init__(
        self, memory: mmap.mmap, *, lifetime: float, key: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._buckets = len(memory) // _BUCKET
        self._half = lifetime / 2
        self._key = key
        self._clock = clock

    @classmethod
    def shared(
        cls, lifetime: float, *, places: int = PLACES, clock: Callable[[], float] = time.monotonic
    ) -> "DigestTable":
        """Return an empty table in memory that forked processes share, under a fresh key."""
        return cls(mmap.mmap(-1, places * _SIZE), lifetime=lifetime, key=secrets.token_bytes(64), clock=clock)

    def holds(self, *facts: str | bytes) -> bool:
        """Whether the facts were remembered within the lifetime."""
        known, now = _joined(facts), self._now()
        return self._finds(self._digest(known, now)) or self._finds(self._digest(known, now - 1))

    def remember(self, *facts: str | bytes) -> None:
        """Remember the facts from now on."""
        digest = self._digest(_joined(facts), self._now())
        start = self._bucket_of(digest)
        bucket = self._memory[start : start + _BUCKET]
        if digest in bucket:
            return
        places = [place for place in range(0, _BUCKET, _SIZE) if bucket[place : place + _SIZE] == _EMPTY]
        place = start + (places[0] if places else digest[-1] % 4 * _SIZE)
        self._memory[place : place + _SIZE] = digest

    def _now(self) -> int:
        return int(self._clock() / self._half)

    def _digest(self, known: bytes, half: int) -> bytes:
        return blake2b(b"%d;%b" % (half, known), key=self._key, digest_size=_SIZE).digest()

    def _finds(self, digest: bytes) -> bool:
        start = self._bucket_of(digest)
        return digest in self._memory[start : start + _BUCKET]

    def _bucket_of(self, digest: bytes) -> int:
        return int.from_bytes(digest[:4], "big") % self._buckets * _BUCKET


def _joined(facts: tuple[str | bytes, ...]) -> bytes:
    """Return the facts as one, their lengths keeping them apart."""
    octets = [fact.encode() if isinstance(fact, str) else fact for fact in facts]
    return b"".join([b"%d:%b" % (len(fact), fact) for fact in octets])
