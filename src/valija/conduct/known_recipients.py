"""Whom each account has written to before: a memory that all workers share, and that outlives the server.

    known = KnownRecipients.shared()                       # in the supervisor, before it forks
    known.load(secret, pages)                              # what was saved before
    known.strangers("alice@example.org", ["bob@example.net"])    # in a worker: 1, she never wrote to him
    known.note("alice@example.org", ["bob@example.net"])         # the same, and from now on she did
    for number, octets in known.unsaved(most=64): ...      # in one worker, now and then

Neither accounts nor recipients can be read from it: it holds digests of both together under a secret of the server's,
eight octets for each pair, six of the digest and two for the day it was last used. Addresses that differ in case alone
are one. It is a table of a million places, 8 MiB, and never grows. A pair takes an empty place among sixteen, or that
of the pair that was unused for longest: where the table is full, what nobody has written to for long is forgotten, and
is new once more when it comes again. One account can add no more in a day than its limit of first-time recipients.

A place that is torn (written by one worker while another reads) holds a digest of nothing: it can only say no.

Known weakness: who can read the file has the secret beside it, and can try addresses.
"""

import mmap
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final

PLACES: Final = 1 << 20
PAGE: Final = 4096  # octets saved at once
_DIGEST: Final = 6
_ENTRY: Final = 8
_BUCKET: Final = 16 * _ENTRY
_EMPTY: Final = bytes(_ENTRY)
_DAY: Final = 86_400


class KnownRecipients:
    """The table. `clock` gives epoch seconds."""

    def __init__(self, memory: mmap.mmap, changed: mmap.mmap, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._changed = changed  # an octet for each page, 1 where it is to be saved
        self._buckets = len(memory) // _BUCKET
        self._clock = clock
        self._secret = b""

    @classmethod
    def shared(cls, places: int = PLACES, clock: Callable[[], float] = time.time) -> "KnownRecipients":
        """Return an empty table in memory that forked processes share."""
        size = places * _ENTRY
        return cls(mmap.mmap(-1, size), mmap.mmap(-1, max(1, size // PAGE)), clock)

    def load(self, secret: bytes, pages: Iterable[tuple[int, bytes]]) -> None:
        """Take up what was saved; `secret` has 16 octets or more. Pages of another size than ours are left out."""
        self._secret = secret
        for number, octets in pages:
            start = number * PAGE
            if len(octets) == PAGE and 0 <= start <= len(self._memory) - PAGE:
                self._memory[start : start + PAGE] = octets

    def strangers(self, login: str, addresses: Iterable[str]) -> int:
        """Return how many of these addresses the account has never written to."""
        count = 0
        for address in addresses:
            start, digest = self._place(login, address)
            count += _find(self._memory[start : start + _BUCKET], digest) < 0
        return count

    def note(self, login: str, addresses: Iterable[str]) -> int:
        """Note that the account writes to these addresses today; return to how many for the first time."""
        count, today = 0, self._today()
        for address in addresses:
            start, digest = self._place(login, address)
            bucket = self._memory[start : start + _BUCKET]
            entry = _find(bucket, digest)
            if entry < 0:
                entry = _entry_for_new(bucket)
                count += 1
            elif bucket[entry + _DIGEST : entry + _ENTRY] == today:
                continue
            self._memory[start + entry : start + entry + _ENTRY] = digest + today
            self._changed[start // PAGE] = 1
        return count

    def unsaved(self, most: int) -> Iterator[tuple[int, bytes]]:
        """Yield pages to be saved, by their numbers; from then on they count as saved."""
        for _ in range(most):
            number = self._changed.find(b"\1")
            if number < 0:
                return
            self._changed[number] = 0  # before it is read: what changes from now on is saved next time
            yield number, self._memory[number * PAGE : (number + 1) * PAGE]

    def mark_unsaved(self, numbers: Iterable[int]) -> None:
        """Have pages saved again: they could not be."""
        for number in numbers:
            self._changed[number] = 1

    def _place(self, login: str, address: str) -> tuple[int, bytes]:
        """Return the bucket of a pair of account and address, and the digest that tells it from others there."""
        pair = f"{login}\0{address.lower()}".encode("utf-8", "surrogateescape")
        digest = blake2b(pair, key=self._secret, digest_size=4 + _DIGEST).digest()
        return int.from_bytes(digest[:4], "big") % self._buckets * _BUCKET, digest[4:]

    def _today(self) -> bytes:
        return (int(self._clock()) // _DAY).to_bytes(2, "big")


def _find(bucket: bytes, digest: bytes) -> int:
    entry = bucket.find(digest)
    while entry > 0 and entry % _ENTRY:
        entry = bucket.find(digest, entry + 1)
    return entry


def _entry_for_new(bucket: bytes) -> int:
    """Return the first empty entry, or the one that was unused for longest."""
    empty = _find(bucket, _EMPTY)
    if empty >= 0:
        return empty
    return min(range(0, _BUCKET, _ENTRY), key=lambda entry: bucket[entry + _DIGEST : entry + _ENTRY])
