"""The macros of the milter protocol: what is known of a client and its message, by the names that Sendmail gave it.

    known = {"j": "mail.example.org", "{client_addr}": "192.0.2.7"}
    chosen(Stage.CONNECT, terms, known)       # [("j", "mail.example.org"), ("{client_addr}", "192.0.2.7")]

A filter gets what it asked for, or what is usual at that stage; what is not known is not sent.

Known weakness: the queue id (`i`) is known once the content is there, not before.
"""

from collections.abc import Mapping
from typing import Final

from valija.milter.terms import Stage, Terms

_CLIENT: Final = ("{client_addr}", "{client_name}", "{client_port}", "{client_ptr}")

USUAL: Final[Mapping[Stage, tuple[str, ...]]] = {
    Stage.CONNECT: ("j", "_", "v", "{daemon_name}", "{daemon_addr}", "{daemon_port}", *_CLIENT),
    Stage.HELO: ("{tls_version}", "{cipher}"),
    Stage.MAIL: (
        "{auth_type}",
        "{auth_authen}",
        "{mail_addr}",
        "{mail_host}",
        "{mail_mailer}",
        "{client_addr}",
        "{client_name}",
    ),
    Stage.RCPT: ("{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"),
    Stage.DATA: ("i",),
    Stage.END_OF_HEADER: ("i",),
    Stage.END_OF_MESSAGE: ("i",),
}


def chosen(stage: Stage, terms: Terms, known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the macros of a stage, each with its value."""
    names = terms.macros.get(stage, USUAL[stage])
    return [(name, known[name]) for name in map(_written, names) if known.get(name)]


def _written(name: str) -> str:
    """Return a name as it is written: in braces, if it is longer than a letter."""
    return name if len(name) == 1 or name.startswith("{") else f"{{{name}}}"
