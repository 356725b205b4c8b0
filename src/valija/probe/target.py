"""Which server is probed, from where, and as whom: the facts that every test shares."""

import ipaddress
from typing import Final, Literal

import msgspec

Role = Literal["smtp", "submission", "submissions"]
ROLES: Final[tuple[Role, ...]] = ("smtp", "submission", "submissions")


class Target(msgspec.Struct, frozen=True):
    """A server. `address` is what `host` resolved to.

    `name` is what its certificate has to be for, `""` for what it calls itself.

    `outside` is a mailbox that this server has nothing to do with: no mail is ever sent to it. `recipient` receives
    mail on the server, `""` where none is known; `domain` is hosted there, `""` to take what it calls itself. `source`
    is the address to connect from, `""` for the system's choice. `timeout` is seconds for each answer; after
    `deadline`, by the monotonic clock, no connection is made any more. `is_at_home` tells that the server may rightly
    trust where we come from: it is the same machine.
    """

    host: str
    address: str
    name: str
    ehlo: str
    ports: dict[Role, int]
    outside: str = "valija-probe@example.com"
    recipient: str = ""
    domain: str = ""
    source: str = ""
    ca_file: str = ""
    timeout: float = 10.0
    deadline: float = float("inf")
    is_at_home: bool = False

    @property
    def literal(self) -> str:
        """The address as the domain of a mailbox (RFC 5321 section 4.1.3)."""
        return f"[IPv6:{self.address}]" if ":" in self.address else f"[{self.address}]"

    @property
    def server_hostname(self) -> str | None:
        """The name for SNI, None where there is none: addresses are not (RFC 6066 section 3)."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return self.name or None
        return None
