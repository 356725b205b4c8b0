"""What `valija check` finds about mailboxes: can mail be handed over to them, and does each name mean what it did."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from valija.admin.asked_as import asked_as
from valija.admin.findings import Finding, failure, fine, warning
from valija.auth.accounts import Accounts
from valija.auth.database import AccountsUnusable
from valija.config import Config
from valija.deliver.lmtp_question import ask
from valija.mail.address import split, unquote
from valija.mail.reply import Reply
from valija.privileges import PrivilegeError

_PATIENCE: Final = 5.0  # seconds
_SHOWN: Final = 5  # names


def check_mailboxes(config: Config) -> Iterator[Finding]:
    """Yield the findings. The server of the mailboxes is asked, for some seconds at most."""
    if config.mailbox.lmtp:
        yield from _check_lmtp(config)
    else:
        yield fine("mailboxes", f"mail of the hosted domains is kept in {config.data_dir / 'mail'}")
    yield from _check_names(config)


def _check_lmtp(config: Config) -> Iterator[Finding]:
    place = config.mailbox.lmtp

    asking = partial(_ask, place, config.hostname, f"postmaster@{config.domains[0]}")
    try:
        reply = msgspec.json.decode(asked_as(config.user, asking), type=Reply)
    except PrivilegeError:
        return  # said already, of the user
    if reply.is_transient:
        remedy = f"start Dovecot with its LMTP service, and let user {config.user!r} into the socket"
        yield failure("mailboxes", f"mail can't be handed over now: {reply.text}", remedy)
    else:
        yield fine("mailboxes", f"mail of the hosted domains is handed over by LMTP at {place}")


def _ask(place: str, hostname: str, address: str) -> bytes:
    return msgspec.json.encode(asyncio.run(ask(place, hostname, address, _PATIENCE)))


def _names(accounts_file: Path) -> bytes:
    """Return the names of accounts and aliases; none where they can't be read, which the server says itself."""
    names: list[str] = []
    with contextlib.suppress(AccountsUnusable), contextlib.closing(Accounts(accounts_file, create=False)) as accounts:
        names = [*accounts.list(), *accounts.aliases()]
    return msgspec.json.encode(names)


def _check_names(config: Config) -> Iterator[Finding]:
    """Yield the names that another delimiter has made unreachable."""
    delimiter = config.recipient_delimiter
    if not delimiter:
        return
    try:
        names = msgspec.json.decode(asked_as(config.user, partial(_names, config.accounts_file)), type=list[str])
    except PrivilegeError:
        return
    barred = sorted({name for name in names if delimiter in unquote(split(name)[0])[1:]})
    if barred:
        more = f" and {len(barred) - _SHOWN} more" if len(barred) > _SHOWN else ""
        text = f"the delimiter of subaddresses, {delimiter!r}, stands in names: {', '.join(barred[:_SHOWN])}{more}"
        yield warning("mailboxes", text, "choose another recipient_delimiter, or make them anew under other names")
