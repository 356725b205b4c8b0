"""How one value is read: functions from what TOML holds to what a layer wants. Each raises Refused with the remedy."""

import re
import shlex
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from valija.config.document import Reader
from valija.config.faults import Refused, refuse
from valija.mail.address import AddressError, normalise_domain
from valija.mail.endpoint import Endpoint
from valija.mail.fault import Fault

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_USER_OF_URL = re.compile(r"//[^/?#]*@")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?", re.ASCII | re.IGNORECASE)

C = TypeVar("C", bound=str)
T = TypeVar("T")


def text(value: object) -> str:
    """Read a string without control characters."""
    if not isinstance(value, str):
        raise refuse(value, "it is not a string", 'put it in quotes: "..."')
    if not value.isprintable():
        raise refuse(value, "it holds a control character", "remove it")
    return value


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise refuse(value, "it is neither true nor false", "write true or false, without quotes")
    return value


def choice(*choices: C) -> Reader[C]:
    """Read one of some words."""
    listed = ", ".join(f'"{one}"' for one in choices)
    remedy = f"choose one of {listed}" if len(choices) > 1 else f"write {listed}"

    def read(value: object) -> C:
        if value not in choices:
            raise refuse(value, "it is none of the choices", remedy)
        return value

    return read


def number(least: int, most: int, unit: str = "") -> Reader[int]:
    """Read a whole number of the range, ends included. `unit` is named in the remedy."""
    wanted = f"write a whole number from {least} to {most}{f' ({unit})' if unit else ''}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise refuse(value, "it is not a whole number", f"{wanted}, without quotes")
        if not least <= value <= most:
            raise refuse(value, f"it is not between {least} and {most}", wanted)
        return value

    return read


def duration(least: str, most: str = "3650d") -> Reader[float]:
    """Read a duration of the range, ends included, in seconds: a number with s, m, h or d."""
    shortest, longest = _seconds(least), _seconds(most)

    def read(value: object) -> float:
        seconds = _seconds(value)
        if seconds < shortest:
            raise refuse(value, f"it is shorter than {least}", f'write a duration from "{least}" to "{most}"')
        if seconds > longest:
            raise refuse(value, f"it is longer than {most}", f'write a duration from "{least}" to "{most}"')
        return seconds

    return read


def _seconds(value: object) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refuse(value, "it is not a duration", 'write a number with s, m, h or d in quotes, such as "30s" or "5m"')
    return float(match[1]) * _SECONDS[match[2]]


def entries(value: object) -> list[object]:
    """Read a list, whatever it holds."""
    if not isinstance(value, list):
        remedy = f"put it in square brackets: [{value!r}]" if isinstance(value, str) else "write [...]"
        raise refuse(value, "it is not a list", remedy.replace("'", '"'))
    return value


def parsed(parse: Callable[[object], T | Fault]) -> Reader[T]:
    """Read by a layer's own function, which returns the fault of what it does not take."""

    def read(value: object) -> T:
        result = parse(value)
        if isinstance(result, Fault):
            raise Refused(result)
        return result

    return read


def each(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """Read a list, each entry by `reader`; every wrong entry is a fault of its own."""

    def read(value: object) -> tuple[T, ...]:
        found: list[T] = []
        faults: list[Fault] = []
        for entry in entries(value):
            try:
                found.append(reader(entry))
            except Refused as refused:
                faults.extend(refused.faults)
        if faults:
            raise Refused(*faults)
        return tuple(found)

    return read


def endpoint(value: object) -> Endpoint:
    """Read an address with a port to listen on. What no socket could be bound to is refused here, not at the bind."""
    try:
        found = Endpoint.parse(text(value))
    except ValueError as error:
        raise refuse(value, str(error), 'write "0.0.0.0:25", "[::]:25" or "127.0.0.1:2525"') from None
    address = ip_address(found.host)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            plain = Endpoint(str(address.ipv4_mapped), found.port)
            raise refuse(value, "it is an IPv4 address, written as an IPv6 one", f'write the IPv4 address, "{plain}"')
        if address.scope_id or address.is_link_local:
            what = "it is an address of a single link, where no mail server is looked for"
            raise refuse(value, what, f'write an address that others can reach, or "[::]:{found.port}" for all')
    if address.is_multicast:
        raise refuse(value, "it is a multicast address", "write an address that this machine has")
    return found


def domain(value: object) -> str:
    """Read a host or domain name as lower-case A-labels."""
    try:
        name = normalise_domain(text(value))
    except AddressError as error:
        raise refuse(value, str(error), 'write a full name such as "mail.example.org"') from None
    if name.rpartition(".")[2].isdigit():
        raise refuse(value, "it is an IP address", 'write a full name such as "mail.example.org"')
    return name


def certificate_name(value: object) -> str:
    """Read a host name as lower-case A-labels, or `*.` and a domain for every host right below it."""
    written = text(value)
    rest = written.removeprefix("*.")
    name = domain(rest)
    if "." not in name:
        raise refuse(value, "no authority vouches for a name without a dot", 'write a full name, "mail.example.org"')
    return name if rest == written else f"*.{name}"


def https_url(value: object) -> str:
    """Read the address of something that is spoken to over TLS only."""
    written = text(value)
    parts = urlsplit(written)
    if parts.scheme != "https" or not parts.hostname or " " in written:
        raise refuse(shown_url(written), "it is not an https address", 'write "https://..."')
    return written


def shown_url(written: str) -> str:
    """Return a URL as it may be shown, less a user name and a password that stand in it."""
    return _USER_OF_URL.sub("//...@", written)


def command(folder: Path) -> Reader[tuple[str, ...]]:
    """Read a command and its first arguments, as a shell parts them; there is no shell when it is run."""

    def read(value: object) -> tuple[str, ...]:
        try:
            words = shlex.split(text(value))
        except ValueError as error:
            raise refuse(value, f"it cannot be parted into words ({error})", "close each quote") from None
        if words and not words[0].startswith("/") and "/" in words[0]:
            words[0] = str(folder / words[0])
        return tuple(words)

    return read


def user(value: object) -> str:
    """Read the name of a system user."""
    name = text(value)
    if not _USER.fullmatch(name):
        raise refuse(value, "it is not a user's name", 'write a user of the system, such as "valija"')
    return name


def judged(reader: Reader[T], judge: Callable[[T], tuple[str, str] | None]) -> Reader[T]:
    """Read by `reader`; what `judge` then finds wrong, with a reason and a remedy, is refused."""

    def read(value: object) -> T:
        found = reader(value)
        if verdict := judge(found):
            raise refuse(value, *verdict)
        return found

    return read


def folder_path(folder: Path, default: str) -> Reader[str]:
    """Read the path of a folder that there has to be; `default` is named in the remedy."""

    def read(value: object) -> str:
        found = path(folder)(value)
        if not found:
            raise refuse(value, "it names no folder", f'write a path, or leave it out for "{default}"')
        return found

    return read


def path(folder: Path) -> Reader[str]:
    """Read a path, `""` for none; a relative one starts at `folder`, where the configuration file lies."""

    def read(value: object) -> str:
        written = text(value)
        return str(folder / written) if written else ""

    return read
