"""How programs of this machine hand mail in: the settings of [local].

A server whose data lies where a system's does has its places beside it, under the same name; others have none unless
they are named, so that a second server, or one that is being tried out, never takes the first one's.

    /var/lib/valija  ->  /run/valija/sendmail.sock and /var/spool/valija/maildrop
"""

from pathlib import Path
from typing import Final

from valija.config.document import Table
from valija.config.faults import Refused, refuse
from valija.config.readers import each, flag, judged, path, text, user
from valija.mail.address import AddressError, normalise_domain, split
from valija.mail.fault import Fault
from valija.receive.options import LocalOptions
from valija.smtp.grammar import PathFault
from valija.smtp.grammar import path as mail_path

_STATE: Final = Path("/var/lib")
_LONGEST_SOCKET: Final = 100  # octets; the system's limit is 108 with the end mark, and it is bound under a longer name


def read_local(table: Table, folder: Path, data_dir: Path) -> LocalOptions:
    """Return what stands in `table`. Relative paths start at `folder`."""
    default = LocalOptions()
    is_usual = data_dir.parent == _STATE
    return LocalOptions(
        socket=table.read(
            "socket", judged(path(folder), _socket_fault), f"/run/{data_dir.name}/sendmail.sock" if is_usual else ""
        ),
        maildrop=table.read("maildrop", path(folder), f"/var/spool/{data_dir.name}/maildrop" if is_usual else ""),
        trusted_users=table.read("trusted_users", each(user), default.trusted_users),
        senders=table.read("senders", _senders, default.senders),
        unclaimed_senders=table.read("unclaimed_senders", flag, default.unclaimed_senders),
    )


def _socket_fault(written: str) -> tuple[str, str] | None:
    if len(written.encode()) <= _LONGEST_SOCKET:
        return None
    return (
        f"it is longer than {_LONGEST_SOCKET} octets, which no socket's path may be",
        "name a shorter one, below /run",
    )


def _senders(value: object) -> dict[str, tuple[str, ...]]:
    """Read users and their addresses."""
    if not isinstance(value, dict):
        raise refuse(value, "it is no table of users", 'write { www-data = ["noreply@example.org", "@shop.example"] }')
    found: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for name, addresses in value.items():
        try:
            found[user(name)] = each(_sender)(addresses)
        except Refused as refused:
            faults.extend(refused.faults)
    if faults:
        raise Refused(*faults)
    return found


def _sender(value: object) -> str:
    """Read an address, or `@domain`."""
    written = text(value)
    try:
        if written.startswith("@"):
            return f"@{normalise_domain(written[1:])}"
        found, rest = mail_path(f"<{written}>")
    except (PathFault, AddressError):
        found, rest = "", ""
    if not found or rest or split(found)[1].startswith("["):
        raise refuse(value, "it is no address", 'write "noreply@example.org", or "@example.org" for all of a domain')
    return found
