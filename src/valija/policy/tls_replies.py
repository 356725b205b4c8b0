"""What the recipients of a message are told where TLS is required and did not come about: what failed, who asked.

    not_offered("mx1.example.net", policy)
    # 454 4.7.4 TLS is required (MTA-STS policy of example.net), but was not offered by mx1.example.net

Transient, all of it: see policy/tls. A peer without REQUIRETLS is final, which the standard says (RFC 8689 section
4.2.1).
"""

from typing import Final

from valija.mail.reply import Reply
from valija.policy.tls import TlsPolicy
from valija.policy.tls_ladders import TlsSource

_BY: Final[dict[TlsSource, str]] = {
    "default": "by default",
    "configured": "configured here",
    "login": "a password is to be sent",
    "dane": "TLSA records of the host",
    "mta-sts": "MTA-STS policy of {next_hop}",
    "requiretls": "REQUIRETLS of the sender",
    "tls-required-no": "configured here",
}


def not_offered(host: str, policy: TlsPolicy) -> Reply:
    """Return the deferral of a host without STARTTLS where encryption is mandatory."""
    return Reply(454, "4.7.4", f"TLS is required ({_who(policy)}), but was not offered by {host}")


def refused(host: str, policy: TlsPolicy, reply: Reply) -> Reply:
    """Return the deferral of a host that refused the STARTTLS it had announced."""
    return Reply(454, "4.7.4", f"TLS is required ({_who(policy)}), but {host} refused STARTTLS: {reply}")


def failed(host: str, policy: TlsPolicy, why: str) -> Reply:
    """Return the deferral of a handshake that failed."""
    return Reply(454, "4.7.5", f"TLS is required ({_who(policy)}), but failed with {host}: {why}")


def not_proved(host: str, policy: TlsPolicy, why: str) -> Reply:
    """Return the deferral of a peer that could not prove who it is."""
    return Reply(454, "4.7.5", f"TLS with proof of the host's name is required ({_who(policy)}), but {host}: {why}")


def not_announced(host: str) -> Reply:
    """Return the refusal of a host without REQUIRETLS, for a message that needs it."""
    return Reply(550, "5.7.30", f"The sender asks for REQUIRETLS, which {host} does not offer")


def _who(policy: TlsPolicy) -> str:
    source: TlsSource = "requiretls" if policy.announces and policy.source == "default" else policy.source
    return _BY[source].format(next_hop=policy.next_hop)
