"""What the server tells the process that serves HTTPS, one JSON object a line: all of what it is to know.

    errand = Errand(site, (Certificate(pair, wanted),), sockets=(7, 8))
    line = encode(errand)
    decode(line)

The first line has the sockets; each later one takes the place of what was told before. The end of the line ends the
process.
"""

from typing import Final

import msgspec

from valija.https.site import Site
from valija.logs import Format, Level
from valija.tls.options import CertificateOptions
from valija.tls.pair import CertificatePair

LONGEST: Final = 16 * 1024 * 1024  # octets of a line


class Certificate(msgspec.Struct, frozen=True):
    """A pair, and the names that it is meant for."""

    pair: CertificatePair
    wanted: CertificateOptions


class Errand(msgspec.Struct, frozen=True):
    """What to serve, with which certificates, the default one first. `sockets` are descriptors, bound."""

    site: Site
    certificates: tuple[Certificate, ...]
    sockets: tuple[int, ...] = ()
    level: Level = "info"
    format: Format = "text"


def encode(errand: Errand) -> bytes:
    """Return the line."""
    return msgspec.json.encode(errand) + b"\n"


def decode(line: bytes) -> Errand:
    """Return what a line says. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(line, type=Errand)
