"""EXTERNAL: who shows a client certificate in TLS is whom it names (RFC 4422 appendix A).

    backend = ExternalBackend(account_logins(accounts))
    exchange = backend.start("EXTERNAL", facts)       # None where the client showed no certificate
    await exchange.respond(b"")                       # Success("alice@example.org")

The handshake has verified the certificate against the authorities of `[sasl] external_ca_file`. It names mail addresses
(rfc822Name of its subjectAltName, RFC 5280 section 4.2.1.6); those that are logins here are the client's to choose
from. With one of them nothing need be said, with several the authzid says which.

Known weaknesses: revoked certificates are not recognised; take the account away, or the authority. Internationalised
addresses (RFC 9598) are not looked at.
"""

from typing import Final

from cryptography import x509

from valija.auth.backend import Challenge, ConnectionFacts, Exchange, Malformed, Step, Success, Unavailable, Wrong
from valija.auth.identities import LoginOf
from valija.smtp.sasl import parse_name

EXTERNAL: Final = "EXTERNAL"


def mail_addresses(certificate: bytes) -> tuple[str, ...]:
    """Return the mail addresses that a certificate (DER) names; none where it can't be understood."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(names.get_values_for_type(x509.RFC822Name))
    except (x509.ExtensionNotFound, ValueError):
        return ()


class ExternalBackend:
    """An AuthBackend for EXTERNAL alone."""

    def __init__(self, login_of: LoginOf) -> None:
        self._login_of = login_of

    def mechanisms(self) -> tuple[str, ...]:
        """EXTERNAL; backend.fitting leaves it out where it is of no use."""
        return (EXTERNAL,)

    def start(self, mechanism: str, facts: ConnectionFacts) -> Exchange | None:
        """Begin an exchange; None where there is no certificate."""
        certificate = facts.channel.client_certificate() if facts.secured and facts.channel is not None else b""
        return _Exchange(self._login_of, certificate) if certificate and mechanism.upper() == EXTERNAL else None

    def close(self) -> None:
        """There is nothing to let go of."""


class _Exchange:
    def __init__(self, login_of: LoginOf, certificate: bytes) -> None:
        self._login_of = login_of
        self._certificate = certificate

    async def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        authzid = parse_name(response)
        if authzid is None:
            return Malformed()
        try:
            return self._judge(authzid)
        except Exception as error:  # a fault of ours must not make a mail program forget its certificate
            return Unavailable(f"{type(error).__name__}: {error}")

    def cancel(self) -> None:
        """Nothing is held between two responses."""

    def _judge(self, authzid: str) -> Step:
        named = mail_addresses(self._certificate)
        logins = {login for address in named if (login := self._login_of(address))}
        wanted = {self._login_of(authzid)} if authzid else logins
        chosen = logins & wanted
        return Success(chosen.pop()) if len(chosen) == 1 else Wrong(authzid or ", ".join(named[:3]))
