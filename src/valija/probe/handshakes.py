"""Which TLS does the server agree to? Versions and ciphers that nobody should use, each in a handshake of its own.

    probe_handshakes(target, seen)

Between servers old TLS is better than none, so that there it is a warning; for users it is over (RFC 8996, RFC 8997).
TLS without a certificate harms nobody who does not ask for it.
Whether it can be asked at all depends on the OpenSSL here: what that refuses to offer is `unknown`.
"""

import ssl
import warnings
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen, any_server
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire, tls_words

_NOT_HERE: Final = ("no protocols available", "no ciphers available", "no cipher match", "no cipher can be selected")
_OLD: Final = "agree to TLS 1.2 and later only: smtpd_tls_protocols = >=TLSv1.2 in Postfix"
_WEAK: Final = "smtpd_tls_mandatory_exclude_ciphers = aNULL, eNULL, 3DES, RC4, EXPORT in Postfix"

Fault = Literal["everywhere", "for users", "nowhere"]


class Offer(msgspec.Struct, frozen=True):
    """What one handshake offers: nothing but this. `fault` tells where agreeing is one."""

    id: str
    what: str
    version: ssl.TLSVersion
    ciphers: str
    remedy: str
    fault: Fault = "for users"


OFFERS: Final = (
    Offer("tls-1.0", "TLS 1.0", ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0", _OLD),
    Offer("tls-1.1", "TLS 1.1", ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", _OLD),
    Offer("cipher-null", "TLS that encrypts nothing", ssl.TLSVersion.TLSv1_2, "eNULL:@SECLEVEL=0", _WEAK, "everywhere"),
    Offer(
        "cipher-anonymous", "TLS without a certificate", ssl.TLSVersion.TLSv1_2, "aNULL:@SECLEVEL=0", _WEAK, "nowhere"
    ),
    Offer("cipher-old", "RC4, 3DES or DES", ssl.TLSVersion.TLSv1_2, "RC4:3DES:DES:EXPORT:@SECLEVEL=0", _WEAK),
)


def probe_handshakes(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Yield a judgement for each offer."""
    for offer in OFFERS:
        test = Question(f"{seen.role}-{offer.id}", f"no {offer.what}", seen.port)
        yield _offer(target, seen, test, offer) if seen.has_tls else test.not_tested(seen.fault)


def _offer(target: Target, seen: Seen, test: Question, offer: Offer) -> Judgement:
    try:
        context = _context(offer)
        with Wire(target, seen.port) as wire:
            if seen.role != "submissions":
                wire.greet()
                wire.agree_on_tls()
            wire.start_tls(context)
            evidence = (f"agreed to {wire.tls[0]}, {wire.tls[1]}",)
    except ssl.SSLError as refused:
        return judge_refusal(test, refused)
    except Gone as why:
        return test.ended(why)
    is_fault = offer.fault == "everywhere" or (offer.fault == "for users" and seen.role != "smtp")
    return test.bad(evidence, offer.remedy) if is_fault else test.warning(evidence, offer.remedy)


def judge_refusal(test: Question, refused: ssl.SSLError) -> Judgement:
    """Whose refusal was it: the server's, or the library's here?"""
    words = tls_words(refused)
    if any(mark in words for mark in _NOT_HERE):
        return test.unknown((f"the OpenSSL here can't offer it: {words}",))
    return test.good((f"refused: {words}",))


def _context(offer: Offer) -> ssl.SSLContext:
    context = any_server()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that these are old is what the test is about
        context.minimum_version = context.maximum_version = offer.version
    context.set_ciphers(offer.ciphers)
    return context
