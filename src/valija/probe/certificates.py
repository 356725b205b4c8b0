"""The certificate of a port: its names, its dates, and whether an authority that is trusted vouches for it.

    probe_certificate(target, seen, now)

Servers that hand over mail to others rarely look at it, so that on their port a wrong name or an unknown authority is a
warning; users' programs always look.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire
from valija.tls.pair import CertificatePair, CertificateSummary, certificate_summary, covers

_SOON: Final = 14 * 86400.0  # seconds


def probe_certificate(target: Target, seen: Seen, now: float) -> Iterator[Judgement]:
    """Yield three judgements. `now` is seconds since the epoch."""
    wanted = target.name or seen.name or target.address
    name = Question(f"{seen.role}-certificate-name", f"the certificate is for {wanted}", seen.port)
    dates = Question(f"{seen.role}-certificate-dates", "the certificate is valid now", seen.port)
    chain = Question(f"{seen.role}-certificate-chain", "an authority that is trusted vouches for it", seen.port)
    summary = _summary(seen.certificate)
    if summary is None:
        why = seen.fault or "the server has no certificate that can be read"
        yield from (test.not_tested(why) for test in (name, dates, chain))
        return
    yield judge_name(name, summary, wanted, seen)
    yield judge_dates(dates, summary, now)
    is_of_today = summary.not_before <= now < summary.not_after
    yield _verify(target, seen, chain) if is_of_today else chain.not_tested("its dates are wrong")


def judge_name(test: Question, summary: CertificateSummary, name: str, seen: Seen) -> Judgement:
    """Whether the certificate is for the name that the server is reached by."""
    evidence = (f"it is for {', '.join(summary.names[:5]) or 'no name'}",)
    if any(covers(each, name) for each in summary.names):
        return test.good(evidence)
    remedy = f"have one made for {name}; or name what it should be for with --name"
    return test.warning(evidence, remedy) if seen.role == "smtp" else test.bad(evidence, remedy)


def judge_dates(test: Question, summary: CertificateSummary, now: float) -> Judgement:
    """Whether it is valid now, and for a while."""
    evidence = (f"valid from {_day(summary.not_before)} to {_day(summary.not_after)}",)
    if now < summary.not_before:
        return test.bad(evidence, "wait, or set the clocks: the server's when it was made, or the one here")
    if now >= summary.not_after:
        return test.bad(evidence, "renew it, and have the server take up the new one")
    if summary.not_after - now < _SOON:
        return test.warning(evidence, "it ought to have been renewed by now: see why it was not")
    return test.good(evidence)


def _verify(target: Target, seen: Seen, test: Question) -> Judgement:
    try:
        with Wire(target, seen.port) as wire:
            if seen.role != "submissions":
                wire.greet()
                wire.agree_on_tls()
            wire.start_tls(_verifying(target.ca_file))
        return test.good(("verified",))
    except ssl.SSLCertVerificationError as refused:
        evidence = (refused.verify_message,)
    except (Gone, ssl.SSLError) as why:
        return test.unknown((str(why),))
    remedy = "use a certificate of an authority such as Let's Encrypt, with its whole chain (fullchain.pem)"
    return test.warning(evidence, remedy) if seen.role == "smtp" else test.bad(evidence, remedy)


def _verifying(ca_file: str) -> ssl.SSLContext:
    """Verify the chain; the name is judged apart. Raises OSError for a file that can't be read."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.check_hostname = False
    return context


def _summary(der: bytes) -> CertificateSummary | None:
    try:
        return certificate_summary(CertificatePair(ssl.DER_cert_to_PEM_cert(der).encode(), b"")) if der else None
    except ValueError:
        return None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
