"""What `valija check` finds about a certificate that can be served: will it do tomorrow, and will others trust it?

    for finding in check_chain(pair, "mail.example.org", time.time()):
        print(finding)

Whether others trust it is found out as they do it: by a TLS handshake, in memory, with the system's authorities.
"""

import ssl
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from valija.admin.findings import Finding, failure, fine, warning
from valija.tls.contexts import server_context
from valija.tls.pair import CertificatePair

_DAY: Final = 86_400.0
_SOON: Final = 14 * _DAY  # a certificate that ends sooner should have been renewed
_FLIGHTS: Final = 10  # of a handshake in memory; it needs fewer


def check_chain(pair: CertificatePair, name: str, now: float) -> Iterator[Finding]:
    """Yield the findings about a pair that is for `name` and can be used. `now` is seconds since the epoch."""
    chain = x509.load_pem_x509_certificates(pair.chain_pem)
    yield from ends_soon(pair, chain[0], now)
    yield from dates_of_issuers(pair, chain[1:], now)
    yield from trust(pair, name)


def ends_soon(pair: CertificatePair, leaf: x509.Certificate, now: float) -> Iterator[Finding]:
    """Yield a word about a certificate that should have been renewed."""
    first, last = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    # One that lives for days only is renewed late in its life; it is late in the last tenth.
    if 0 < last - now < min(_SOON, (last - first) / 10):
        days = (last - now) / _DAY
        left = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
        yield warning("certificate", f"{pair.chain_file} ends in {left}", "see why it has not been renewed")


def dates_of_issuers(pair: CertificatePair, issuers: list[x509.Certificate], now: float) -> Iterator[Finding]:
    """Yield the issuers that are not valid now: whoever verifies the chain stops there."""
    for number, issuer in enumerate(issuers, start=2):
        name = issuer.subject.rfc4514_string()
        if now >= issuer.not_valid_after_utc.timestamp():
            what = f"expired on {issuer.not_valid_after_utc.date()}"
        elif now < issuer.not_valid_before_utc.timestamp():
            what = f"is not valid before {issuer.not_valid_before_utc.date()}"
        else:
            continue
        text = f"{pair.chain_file}: its certificate number {number} ({name}) {what}"
        yield failure("certificate", text, "take the chain that the authority gives out now")


def trust(pair: CertificatePair, name: str) -> Iterator[Finding]:
    """Yield whether clients that trust the system's authorities take it for `name`."""
    if reason := why_distrusted(pair, name.replace("*", "any")):
        text = f"a client that trusts the system's authorities would refuse it: {reason}"
        remedy = (
            "put each certificate's issuer behind it in cert_file; an authority of your own has to be known to users"
        )
        yield warning("certificate", text, remedy)
    else:
        yield fine("certificate", "its chain leads to an authority of the system's store")


def why_distrusted(pair: CertificatePair, hostname: str) -> str:
    """Return why a client that trusts the system's authorities would refuse a pair, `""` where it takes it."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.create_default_context()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=hostname)
    server = server_context(pair.chain_pem, pair.key_pem).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        else:
            return ""
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return str(error.reason)
    return "the handshake does not end"
