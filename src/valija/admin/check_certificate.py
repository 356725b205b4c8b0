"""What `valija check` finds about the certificate: names, chain, dates, who trusts it, and who can read the key.

    for finding in check_certificate(config, time.time(), reader):
        print(finding)

Whether others will trust it is found out as they do it: by a TLS handshake, in memory, with the system's authorities.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from valija.admin.findings import Finding, failure, fine, warning
from valija.config import Config
from valija.privileges import Account, first_barred
from valija.tls.contexts import server_context
from valija.tls.pair import CertificatePair, PairFault, certificate_summary, check_pair, covers, read_pair

_DAY: Final = 86_400.0
_SOON: Final = 14 * _DAY  # a certificate that ends sooner should have been renewed
_FLIGHTS: Final = 10  # of a handshake in memory; it needs fewer


def check_certificate(config: Config, now: float, reader: Account | None) -> Iterator[Finding]:
    """Yield the findings. `now` is seconds since the epoch; `reader` is the user that root becomes, if it does."""
    if config.tls.certificate != "files":
        yield from _made_here(config)
        return
    pair, faults = read_pair(config.tls.cert_file, config.tls.key_file)
    faults += check_pair(pair, config.hostname, now)
    if any(fault.is_fatal for fault in faults):
        grade = failure
    else:
        # The server starts with such a pair, but whoever verifies its name or date hands it no mail.
        grade = warning if _is_for(pair, config.hostname, now) else failure
    for fault in faults:
        yield grade("certificate", _placed(fault, config), fault.remedy)
    if not faults:
        yield fine("certificate", _described(pair))
    if not any(fault.is_fatal for fault in faults):
        yield from _of_a_usable_pair(pair, config, now, reader)


def served_chain(config: Config) -> bytes:
    """Return the chain in PEM that the server shows, empty where this user cannot read it."""
    made = config.data_dir / "tls" / "self-signed.pem"
    path = Path(config.tls.cert_file) if config.tls.certificate == "files" else made
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _made_here(config: Config) -> Iterator[Finding]:
    text = f"a self-signed one for {config.hostname} is kept in {config.data_dir / 'tls'}, made at the first start"
    yield fine("certificate", text)
    yield warning(
        "certificate",
        "mail programs of users will ask whether to trust it",
        'name one from an authority: [tls] certificate = "files", cert_file and key_file',
    )


def _of_a_usable_pair(pair: CertificatePair, config: Config, now: float, reader: Account | None) -> Iterator[Finding]:
    chain = x509.load_pem_x509_certificates(pair.chain_pem)
    yield from _ends_soon(pair, chain[0], now)
    yield from _dates_of_issuers(pair, chain[1:], now)
    if _is_for(pair, config.hostname, now):
        yield from _trust(pair, config.hostname)
    yield from _readable(config, reader)


def _is_for(pair: CertificatePair, hostname: str, now: float) -> bool:
    """Whether a certificate names the host, and is valid now."""
    summary = certificate_summary(pair)
    return summary.not_before <= now < summary.not_after and any(covers(name, hostname) for name in summary.names)


def _placed(fault: PairFault, config: Config) -> str:
    is_key = fault.value == config.tls.key_file != config.tls.cert_file
    key = "key_file" if is_key else "cert_file"
    return f'[tls] {key} = "{fault.value}": {fault.reason}'


def _described(pair: CertificatePair) -> str:
    summary = certificate_summary(pair)
    until = datetime.fromtimestamp(summary.not_after, UTC).date()
    return f"{pair.chain_file} is for {', '.join(summary.names) or 'no name'}, valid until {until}"


def _ends_soon(pair: CertificatePair, leaf: x509.Certificate, now: float) -> Iterator[Finding]:
    first, last = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    # One that lives for days only is renewed late in its life; it is late in the last tenth.
    if 0 < last - now < min(_SOON, (last - first) / 10):
        days = (last - now) / _DAY
        left = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
        yield warning("certificate", f"{pair.chain_file} ends in {left}", "see why it has not been renewed")


def _dates_of_issuers(pair: CertificatePair, issuers: list[x509.Certificate], now: float) -> Iterator[Finding]:
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


def _trust(pair: CertificatePair, hostname: str) -> Iterator[Finding]:
    if reason := why_distrusted(pair, hostname):
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


def _readable(config: Config, reader: Account | None) -> Iterator[Finding]:
    """Yield files that root reads at the start, and its user cannot read again when they are renewed."""
    for key, path in (("cert_file", config.tls.cert_file), ("key_file", config.tls.key_file)):
        if reader and not reader.is_root and (barred := first_barred(Path(path), reader)):
            text = f'[tls] {key} = "{path}": user {reader.name!r} cannot read {barred}'
            remedy = f"a renewed one is taken up by a restart; or let it be read: chgrp {reader.name}, chmod g+rX"
            yield warning("certificate", text, remedy)
