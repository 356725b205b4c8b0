"""What a filter may be told: where it is, how long it may take, and what becomes of mail while it is away."""

from typing import Final, Literal

import msgspec

from valija.auth.options import INET, host_and_port, socket_fault
from valija.mail.origin import Role

UNIX: Final = "unix:"
REMEDY: Final = 'write "inet:127.0.0.1:8891" or "unix:/run/opendkim/opendkim.sock"'

DefaultAction = Literal["tempfail", "accept", "reject", "quarantine"]


class MilterOptions(msgspec.Struct, frozen=True):
    """One filter. Durations in seconds.

    `place` is `inet:HOST:PORT` or `unix:PATH`. `default_action` is what happens while it can't be asked: come again,
    go on without it, refuse, or keep the message for a human. `connect_timeout` bounds the connection and the agreement
    on options, `command_timeout` each answer, `content_timeout` the one to a whole message.
    """

    place: str
    default_action: DefaultAction = "tempfail"
    connect_timeout: float = 30.0
    command_timeout: float = 30.0
    content_timeout: float = 300.0


class Milters(msgspec.Struct, frozen=True):
    """The filters of mail by where it comes in, in the order in which they are asked."""

    smtpd: tuple[MilterOptions, ...] = ()
    submission: tuple[MilterOptions, ...] = ()
    local: tuple[MilterOptions, ...] = ()

    def of(self, role: Role) -> tuple[MilterOptions, ...]:
        """Return the filters of the mail that comes in by a role's listener."""
        return {"smtpd": self.smtpd, "local": self.local}.get(role, self.submission)

    @property
    def all(self) -> tuple[MilterOptions, ...]:
        """Each filter once."""
        return tuple(dict.fromkeys((*self.smtpd, *self.submission, *self.local)))


def place_fault(place: str) -> tuple[str, str] | None:
    """Return what is wrong with a filter's place, and the remedy; None where nothing is."""
    if place.startswith(INET):
        fault = socket_fault(place)
        return (fault[0], REMEDY) if fault else None
    if not place.startswith(UNIX):
        return "it begins neither with inet: nor with unix:", REMEDY
    path = path_of(place)
    if not path.startswith("/"):
        return "a socket's path begins with a slash", REMEDY
    return socket_fault(path)


def path_of(place: str) -> str:
    """Return the path of a Unix socket, `""` where the place is an address."""
    return place.removeprefix(UNIX) if place.startswith(UNIX) else ""


def address_of(place: str) -> tuple[str, int]:
    """Return host and port of a place that begins with `inet:`."""
    return host_and_port(place)
