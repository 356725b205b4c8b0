"""Aliases followed, as a message is taken: from the recipients that were given to those that it goes to.

    recipients = follow(directory, domains, envelope.recipients, header, partial(paths.made_for, envelope.reverse_path))

Each address is there once. What came by an alias names it (`given`), for reports and for the copy that leaves. Where
the end is elsewhere it has a return path (see mail/envelope.Recipient), if the sender needs one.

A message that an alias has sent away once, and that comes back to it, is not sent round again: the recipient stays as
it was given, for the mailbox transport, which fails it as a loop (5.4.6). So a loop ends with one report.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from valija.content.trace import was_delivered_to
from valija.mail.address import domain_of
from valija.mail.envelope import Recipient


class Expander(Protocol):
    """Who knows where aliases lead."""

    def expand(self, address: str) -> tuple[str, ...]:
        """Return where mail for a hosted address goes; what is no alias stands for itself."""


def follow(
    directory: Expander,
    domains: Collection[str],
    recipients: Sequence[Recipient],
    header: bytes,
    return_path: Callable[[], str],
) -> tuple[Recipient, ...]:
    """Return who gets a message in the end. `return_path` is asked for what leaves the hosted `domains`."""
    ends: dict[str, Recipient] = {}
    for recipient in recipients:
        for end in _ends(directory, domains, recipient, header, return_path):
            ends.setdefault(end.address, end)
    return tuple(ends.values())


def leaves(directory: Expander, domains: Collection[str], recipients: Sequence[Recipient]) -> bool:
    """Whether any of the recipients is an alias that leads elsewhere."""
    return any(
        domain_of(end) not in domains
        for recipient in recipients
        if domain_of(recipient.address) in domains
        for end in directory.expand(recipient.address)
    )


def _ends(
    directory: Expander,
    domains: Collection[str],
    recipient: Recipient,
    header: bytes,
    return_path: Callable[[], str],
) -> list[Recipient]:
    given = recipient.address
    if domain_of(given) not in domains:
        return [recipient]
    ends = directory.expand(given)
    if ends in ((), (given,)) or was_delivered_to(header, given):
        return [recipient]
    return [
        Recipient(
            end,
            recipient.notify,
            recipient.orcpt,
            given=recipient.given or given,
            return_path="" if domain_of(end) in domains else return_path(),
        )
        if end != given
        else recipient
        for end in ends
    ]
