"""How is a next hop to be encrypted? Decided from the level that was configured, before and while connecting.

    policy = tls_policy("may", next_hop="example.net", host="mx1.example.net", lookup_mx=True)
    policy.after_hello(offers_starttls=True)            # Decision.STARTTLS
    policy.after_refusal()                              # Decision.CLEAR: go on without
    policy.after_failure()                              # Decision.CLEAR: connect anew, without

| level   | without STARTTLS | handshake fails          | certificate                                    |
|---------|------------------|--------------------------|------------------------------------------------|
| none    | clear            | (not tried)              |                                                |
| may     | clear            | clear, on a new connection | not looked at                                |
| encrypt | defer 4.7.4      | defer 4.7.5              | not looked at                                  |
| verify  | defer 4.7.4      | defer 4.7.5              | trusted, for the MX host's name                |
| secure  | defer 4.7.4      | defer 4.7.5              | trusted, for a name in the next hop's domain   |

`verify` believes the DNS for the host's name; `secure` does not: whatever MX host was found, the certificate must name
the next hop's domain or a host within it, as Postfix's `nexthop, dot-nexthop` has it. Where no MX is looked up both ask
for the host's own name or address. `accepts` decides on the names of a certificate.

Known weakness: a TLS library that compares a single name is given `checked_name`, the likeliest; of the certificates
that `accepts` takes it refuses some (for the domain alone, where the MX host lies within it), and takes no other.

Failures of policy are always transient: they may be an attack, and bouncing would be what the attacker wants.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Literal

import msgspec

from valija.mail.reply import Reply

TlsSecurityLevel = Literal["none", "may", "encrypt", "verify", "secure"]


class Decision(Enum):
    """What to do next with a connection."""

    CLEAR = auto()
    STARTTLS = auto()
    DEFER = auto()


class TlsPolicy(msgspec.Struct, frozen=True, gc=False):
    """The policy towards one host.

    `checked_name` is what its certificate must name, `""` where nothing is checked. `domain`, where there is one, is as
    good as that, and so is every name within it.
    """

    level: TlsSecurityLevel
    checked_name: str = ""
    domain: str = ""

    @property
    def is_mandatory(self) -> bool:
        """Whether nothing may travel in clear."""
        return self.level not in ("none", "may")

    @property
    def verifies(self) -> bool:
        """Whether the certificate is checked."""
        return bool(self.checked_name)

    def accepts(self, names: Iterable[str]) -> bool:
        """Whether a trusted certificate for `names`, its DNS names and addresses, is one of whom we mean to reach."""
        return not self.verifies or any(self._is_meant(name.lower().removesuffix(".")) for name in names)

    def _is_meant(self, name: str) -> bool:
        if _covers(name, self.checked_name):
            return True
        return bool(self.domain) and (_covers(name, self.domain) or name.endswith(f".{self.domain}"))

    def after_hello(self, *, offers_starttls: bool) -> Decision:
        """Decide on what the peer announced."""
        if self.level == "none":
            return Decision.CLEAR
        if offers_starttls:
            return Decision.STARTTLS
        return self._without_tls()

    def after_refusal(self) -> Decision:
        """Decide when STARTTLS was announced and then refused (C058); CLEAR is on the same connection."""
        return self._without_tls()

    def after_failure(self) -> Decision:
        """Decide when the handshake failed; CLEAR is on a new connection."""
        return self._without_tls()

    def _without_tls(self) -> Decision:
        return Decision.DEFER if self.is_mandatory else Decision.CLEAR


def tls_policy(level: TlsSecurityLevel, *, next_hop: str, host: str, lookup_mx: bool) -> TlsPolicy:
    """Return the policy towards `host`, which stands for `next_hop`: one of its MX hosts, or the same."""
    if level == "verify":
        return TlsPolicy(level, host)
    if level == "secure":
        if not lookup_mx:
            return TlsPolicy(level, host)
        within = host == next_hop or host.endswith(f".{next_hop}")
        return TlsPolicy(level, host if within else next_hop, domain=next_hop)
    return TlsPolicy(level)


def _covers(name: str, host: str) -> bool:
    """Whether a name in a certificate stands for a host: `*` for exactly one whole left-most label (RFC 9525)."""
    if not name.startswith("*."):
        return name == host
    first, dot, rest = host.partition(".")
    is_address = rest.rpartition(".")[2].isdigit()  # no top-level domain is a number (RFC 3696 section 2)
    return bool(first and dot) and name[2:] == rest and not is_address


def not_offered(host: str) -> Reply:
    """Return the deferral of a host without STARTTLS where encryption is mandatory."""
    return Reply(454, "4.7.4", f"TLS is required, but was not offered by {host}")


def refused(host: str, reply: Reply) -> Reply:
    """Return the deferral of a host that refused the STARTTLS it had announced."""
    return Reply(454, "4.7.4", f"TLS is required, but {host} refused STARTTLS: {reply}")


def failed(host: str, why: str) -> Reply:
    """Return the deferral of a handshake or a certificate check that failed."""
    return Reply(454, "4.7.5", f"TLS is required, but failed with {host}: {why}")
