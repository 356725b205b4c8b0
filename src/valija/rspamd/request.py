"""What rspamd is told of a message beside its octets: header fields of an HTTP request. Pure.

    request_fields(Facts(queue_id="3f2a", reverse_path="bob@example.net", recipients=("alice@example.org",), ...))
    # [("Queue-Id", "3f2a"), ("From", "<bob@example.net>"), ("Rcpt", "<alice@example.org>"), ...]

What a client says of itself goes into these fields, and rspamd reads local files for whoever asks it to (`File`,
`Path`, `Shm`): a value that could end its field would be a way into the machine, so controls are escaped here.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from valija.content.compose import readable
from valija.mail.origin import TlsFacts

MOST_FOR_RECIPIENTS: Final = 32 * 1024  # octets; rspamd takes 80 KiB of header fields, and no request with more
_LONGEST: Final = 1000  # characters of a value


class Facts(msgspec.Struct, frozen=True):
    """A message's envelope and where it comes from. What is not known is `""`.

    `host_name` is the client's, by the DNS and back again; `mta_name` is who asks.
    """

    queue_id: str
    reverse_path: str
    recipients: Sequence[str]
    mta_name: str
    address: str = ""
    helo: str = ""
    host_name: str = ""
    login: str = ""
    tls: TlsFacts | None = None


def request_fields(facts: Facts) -> list[tuple[str, str]]:
    """Return the fields. Of very many recipients only the first are named."""
    return [(name, readable(value, _LONGEST)) for name, value in _fields(facts)]


def _fields(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "Queue-Id", facts.queue_id
    yield "From", f"<{facts.reverse_path}>"
    yield from (("Rcpt", f"<{address}>") for address in _first(facts.recipients))
    yield "MTA-Name", facts.mta_name
    known = {"IP": facts.address, "Helo": facts.helo, "Hostname": facts.host_name, "User": facts.login}
    yield from ((name, value) for name, value in known.items() if value)
    if facts.tls is not None:
        yield "TLS-Version", facts.tls.version
        yield "TLS-Cipher", facts.tls.cipher


def _first(recipients: Sequence[str]) -> Iterator[str]:
    room = MOST_FOR_RECIPIENTS
    for address in recipients:
        room -= len(address.encode("utf-8", "replace")) + len("Rcpt: <>\r\n")
        if room < 0:
            return
        yield address
