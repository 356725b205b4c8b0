"""Where a domain wants to be told about TLS with its hosts: the TXT record at `_smtp._tls.DOMAIN` (RFC 8460 section 3).

    report_places(["v=TLSRPTv1; rua=mailto:tls@example.net,https://reports.example.net/tls"])
    # (MailPlace("tls@example.net"), HttpsPlace("https://reports.example.net/tls"))

What is written wrongly is left out: reports are a courtesy, and nobody is asked twice where to send them.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from valija.smtp.grammar import PathFault, path

MAX_PLACES: Final = 5
"""Places that a report is sent to; a domain that names more is told at the first of them."""

_VERSION: Final = re.compile(r"v=TLSRPTv1[ \t]*;", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_LONGEST: Final = 1000  # characters of one place


class MailPlace(msgspec.Struct, frozen=True, tag="mail"):
    """An address that takes reports by mail."""

    address: str

    def __str__(self) -> str:
        return f"mailto:{self.address}"


class HttpsPlace(msgspec.Struct, frozen=True, tag="https"):
    """A URL that takes reports by POST."""

    url: str

    def __str__(self) -> str:
        return self.url


Place = MailPlace | HttpsPlace


def report_places(records: Sequence[str]) -> tuple[Place, ...]:
    """Return where a domain with these TXT records wants its reports; `()` where it wants none."""
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return ()
    for field in ours[0].split(";")[1:]:
        name, equals, value = field.strip(" \t").partition("=")
        if not equals or not _NAME.fullmatch(name):
            if name:
                return ()
        elif name == "rua":
            places = (parse_place(written) for written in value.split(","))
            return tuple(dict.fromkeys(place for place in places if place))[:MAX_PLACES]
    return ()


def parse_place(written: str) -> Place | None:
    """Return the place that a URI names, None for one that can't be used."""
    uri = written.strip(" \t")
    if len(uri) > _LONGEST or not uri.isascii() or not uri.isprintable() or " " in uri:
        return None
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        return _mail_place(unquote(rest.partition("?")[0], errors="surrogateescape"))
    if scheme.lower() == "https":
        return _https_place(uri)
    return None


def _mail_place(address: str) -> MailPlace | None:
    if not address.isascii() or not address.isprintable():
        return None
    try:
        found, rest = path(f"<{address}>")
    except PathFault:
        return None
    return MailPlace(found) if found and not rest and not found.endswith("]") else None


def _https_place(uri: str) -> HttpsPlace | None:
    try:
        parts = urlsplit(uri)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0) and "@" not in parts.netloc
    except ValueError:
        return None
    return HttpsPlace(uri) if sound else None
