"""Where does mail for a hosted address go? Aliases followed to their ends, and the addresses that always exist. Pure.

    book = Book(targets={"sales@example.org": ["ann@example.org", "bob@example.net"]}.get, is_mailbox=..., ...)
    list(ends("Sales+x@example.org", book))         # ["ann@example.org", "bob@example.net"]
    next(ends("nobody@example.org", book), "")      # "": there is no such address

An address is, the first of these that it is:

1. an alias: its mail goes to each target, and on from there. One that names itself leaves a copy in the mailbox of its
   own address. Circles are left out; what only turns in one exists no more than what leads nowhere;
2. a mailbox;
3. of a domain whose alias is `@example.org`: its mail goes to the targets of that. A target `@new.example` keeps the
   local part, and so makes one domain another name of the other: what exists there exists here;
4. `postmaster`, a mailbox in every hosted domain (RFC 5321 section 4.5.1), or `abuse`, which is postmaster's
   (RFC 2142);
5. none at all.

An alias comes before a mailbox of its address, so that a mailbox can be forwarded; the alias of a whole domain comes
behind both.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import msgspec

from valija.mail.address import fold_case, mailbox_key, split
from valija.policy.relay import ABUSE, POSTMASTER

MOST_ALIASES: Final = 1000
"""So many aliases are followed for one address."""


class _EveryDomain(frozenset[str]):
    """The set of all domains."""

    def __contains__(self, domain: object) -> bool:
        return True


EVERY_DOMAIN: Final = _EveryDomain()


class TooManyAliases(Exception):
    """An address leads through more aliases than are followed: somebody should look at them."""


class Book(msgspec.Struct, frozen=True):
    """Who is told apart from whom. `targets` is asked for a mailbox key, or `@domain`; nothing means no alias.

    `is_mailbox` is asked for an address as written. `domains` are the hosted ones: all other addresses are ends.
    """

    targets: Callable[[str], Sequence[str]]
    is_mailbox: Callable[[str], bool]
    domains: Collection[str]
    delimiter: str = "+"


def ends(address: str, book: Book) -> Iterator[str]:
    """Yield where mail for an address goes in the end, in the order it is come to, each once. Raises TooManyAliases."""
    followed: set[str] = set()
    found: set[str] = set()
    pending = deque([(address, "")])
    while pending:
        reached, source = pending.popleft()
        if reached in found:
            continue
        if split(reached)[1] not in book.domains:
            found.add(reached)
            yield reached
            continue
        key = mailbox_key(reached, book.delimiter)
        further = _further(reached, key, source, followed, book)
        if further is None:
            found.add(reached)
            yield reached
        else:
            pending.extend((target, key) for target in further)


def _further(address: str, key: str, source: str, followed: set[str], book: Book) -> Sequence[str] | None:
    """Return where an address leads, None where it is an end itself."""
    if key in followed:
        is_copy = key == source and book.is_mailbox(address)
        return None if is_copy else ()
    if targets := book.targets(key):
        return _follow(key, followed, targets)
    if book.is_mailbox(address):
        return None
    local, domain = split(address)
    if targets := book.targets(f"@{domain}"):
        return _follow(key, followed, [local + target if target.startswith("@") else target for target in targets])
    name = fold_case(local)
    if name == POSTMASTER:
        return None
    return (f"{POSTMASTER}@{domain}",) if name == ABUSE else ()


def _follow(key: str, followed: set[str], targets: Sequence[str]) -> Sequence[str]:
    if len(followed) >= MOST_ALIASES:
        raise TooManyAliases(f"more than {MOST_ALIASES} aliases lead from one to the next, {key} among them")
    followed.add(key)
    return targets
