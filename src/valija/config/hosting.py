"""What becomes of mail for the hosted domains: settings of [mailbox] and [forwarding], and the delimiter."""

from pathlib import Path
from typing import Final

from valija.auth.options import INET, socket_fault
from valija.config.document import Document, Reader, Table
from valija.config.faults import Setting, refuse
from valija.config.model import Config
from valija.config.readers import domain, flag, path, text
from valija.deliver.options import MailboxOptions
from valija.mail.fault import Fault
from valija.receive.options import ForwardingOptions

_DELIMITERS: Final = "+-=_#"
_LMTP: Final = "lmtp:"
_UNIX: Final = "unix:"
_REMEDY: Final = 'write "maildir", "lmtp:unix:/run/dovecot/lmtp" or "lmtp:inet:127.0.0.1:24"'


def recipient_delimiter(value: object) -> str:
    """Read what parts a subaddress from its mailbox: one character, or none."""
    written = text(value)
    if written and written not in tuple(_DELIMITERS):
        raise refuse(value, "it parts no subaddress", f'write one of {" ".join(_DELIMITERS)}, or "" for none')
    return written


def read_mailbox(table: Table, folder: Path) -> MailboxOptions:
    """Return where the mail of the hosted domains is kept. Relative paths start at `folder`."""
    return MailboxOptions(lmtp=table.read("transport", _transport(folder), MailboxOptions().lmtp))


def _transport(folder: Path) -> Reader[str]:
    def read(value: object) -> str:
        written = text(value)
        if written == "maildir":
            return ""
        if not written.startswith((_LMTP + _UNIX, _LMTP + INET)):
            raise refuse(value, "it is no way to a mailbox", _REMEDY)
        place = written.removeprefix(_LMTP)
        if place.startswith(_UNIX):
            place = path(folder)(place.removeprefix(_UNIX))
        fault = ("the socket has no path", _REMEDY) if not place else socket_fault(place)
        if fault:
            raise refuse(value, fault[0], _REMEDY)
        return place

    return read


def read_forwarding(table: Table) -> ForwardingOptions:
    """Return how mail is sent on that an alias leads elsewhere."""
    default = ForwardingOptions()
    return ForwardingOptions(
        srs=table.read("srs", flag, default.srs),
        srs_domain=table.read("srs_domain", domain, default.srs_domain),
        arc=table.read("arc", flag, default.arc),
    )


def check_forwarding(document: Document, config: Config) -> None:
    """Refuse return addresses that nothing could come back to."""
    written = config.forwarding.srs_domain
    if not written or written in config.domains or not document.is_sound("", "domains"):
        return
    document.refuse(
        Setting("forwarding", "srs_domain"),
        Fault(written, "it is not hosted here, and reports have to come back to it", "name it in domains, too"),
    )
