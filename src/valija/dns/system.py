"""The system's name servers: /etc/resolv.conf, read again when it changes.

    system = SystemNameservers()
    system.current()      # (Endpoint("192.0.2.53", 53),)

Only `nameserver` lines count: names are always asked for as they stand, so there is no search list, and `options
trust-ad` is not enough to be trusted for DNSSEC here (see DnsOptions.trust_ad).
"""

from pathlib import Path
from typing import Final

from valija.dns.options import parse_nameserver
from valija.mail.endpoint import Endpoint

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_DEFAULT: Final[tuple[Endpoint, ...]] = (
    Endpoint("127.0.0.1", 53),
)  # resolv.conf(5): no nameserver line means the local machine
_MAX_SERVERS: Final = 3  # resolv.conf(5), MAXNS


class SystemNameservers:
    """The name servers in a file of resolv.conf's form."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._servers = _DEFAULT

    def current(self) -> tuple[Endpoint, ...]:
        """Return the name servers as the file has them now. A file that cannot be read changes nothing."""
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._servers = read_nameservers(self._path.read_text("utf-8", "replace"))
                self._version = version
        except OSError:
            pass
        return self._servers


def read_nameservers(text: str) -> tuple[Endpoint, ...]:
    """Return the name servers a resolv.conf names, the local machine where it names none."""
    found: list[Endpoint] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver":
            server = parse_nameserver(fields[1])
            if isinstance(server, Endpoint):
                found.append(server)
    return tuple(found[:_MAX_SERVERS]) or _DEFAULT
