"""DANE on the way out, with a real validating resolver: each rung is seen to hold, and to refuse who stands between."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ca import CertificateAuthority, Issued
from tests.deliver.setting import MemoryLog, Run, Sender, both_loops, free_port, job_for, sending, states
from tests.scripted_sink import EXTENSIONS, ScriptedSink
from tests.unbound import MISSING, LiveUnbound, Zone
from valija.dns.caching import CachingResolver
from valija.dns.options import DnsOptions
from valija.dns.resolver import Resolver
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.outcome import Channel, Outcome, State
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_rules import TlsRule

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

MX = "mx.signed.example"
PORT = free_port("127.0.0.2")
GOOD, EVIL = "127.0.0.2", "127.0.0.3"

ROOT = CertificateAuthority()
RIGHT = ROOT.issue(MX, "mx.plain.example")
STRANGER = CertificateAuthority("Evil").issue(MX, "mx.plain.example")


def leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.chain_pem)


def key_digest(certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


EE = f"TLSA 3 1 1 {key_digest(leaf(RIGHT))}"
TA = f"TLSA 2 0 0 {ROOT.certificate.public_bytes(Encoding.DER).hex()}"


def at(host: str) -> str:
    return f"_{PORT}._tcp.{host}"


def zones() -> dict[str, Zone]:
    mx, good = "@ MX 10 mx", f"mx A {GOOD}"
    away = f"@ MX 10 {MX}."
    return {
        "signed.example": Zone(mx, good, f"{at('mx')} {EE}", signed=True),
        "ta.example": Zone("@ MX 10 mx.ta.example.", good, f"{at('mx')} {TA}", signed=True),
        "unusable.example": Zone(mx, good, f"{at('mx')} TLSA 1 1 1 {'00' * 32}", signed=True),
        "none.example": Zone(mx, good, signed=True),
        "plain.example": Zone(mx, good, f"{at('mx')} TLSA 3 1 1 {'00' * 32}"),
        "half.example": Zone(away),
        "aliased.example": Zone("@ MX 10 alias", f"alias CNAME {MX}.", signed=True),
        "outside.example": Zone("@ MX 10 own", "own CNAME mx.plain.example.", f"{at('own')} {EE}", signed=True),
        "two.example": Zone("@ MX 10 first", f"@ MX 20 {MX}.", f"first A {EVIL}", f"{at('first')} {EE}", signed=True),
        "lost.example": Zone(
            "@ MX 10 first", f"@ MX 20 {MX}.", f"first A {EVIL}", f"{at('first')} {EE}", bogus=[f"{at('first')} TLSA"]
        ),
        "bogus-mx.example": Zone(mx, good, f"{at('mx')} {EE}", bogus=["@ MX"]),
        "bogus-a.example": Zone(mx, good, f"{at('mx')} {EE}", bogus=["mx A"]),
        "bogus-tlsa.example": Zone(mx, good, f"{at('mx')} {EE}", bogus=[f"{at('mx')} TLSA"]),
    }


@pytest.fixture(scope="module")
def unbound() -> Iterator[LiveUnbound]:
    with LiveUnbound(zones()) as dns:
        yield dns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dane")


def context(issued: Issued, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*issued.write(folder, str(id(issued))))
    return made


@pytest.fixture(scope="module")
def right(folder: Path) -> ssl.SSLContext:
    return context(RIGHT, folder)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> ssl.SSLContext:
    return context(STRANGER, folder)


def sink(tls: ssl.SSLContext | None = None, address: str = GOOD, **more: Any) -> ScriptedSink:
    return ScriptedSink(tls=tls, address=address, port=PORT, **more)


@asynccontextmanager
async def resolving(unbound: LiveUnbound, **options: Any) -> AsyncIterator[Sender]:
    resolver = CachingResolver(DnsOptions(nameservers=(unbound.endpoint,)), cast("Log", MemoryLog()))
    try:
        async with sending(port=PORT, real_resolver=cast("Resolver", resolver), **options) as sender:
            yield sender
    finally:
        await resolver.close()


async def attempt(sender: Sender, domain: str, **envelope: Any) -> Outcome:
    demand = "required" if envelope.get("require_tls") else "optional" if envelope.get("tls_optional") else ""
    route = Route("remote", domain, tls_demand=demand)  # type: ignore[arg-type]  # one of the three
    [outcome] = await sender.deliver(job_for(f"bob@{domain}", route=route, **envelope))
    return outcome


def facts(outcome: Outcome) -> tuple[State, Channel, str, str]:
    return outcome.state, outcome.channel, outcome.tls_level, outcome.tls_source


VERIFIED = (State.DELIVERED, Channel.VERIFIED, "dane", "dane")


# Each rung holds


@both_loops
@pytest.mark.parametrize("level", ["may", "encrypt", "dane"])
@pytest.mark.parametrize("domain", ["signed.example", "aliased.example", "outside.example"])
def test_dane_by_itself(run: Run[None], domain: str, level: str, unbound: LiveUnbound, right: ssl.SSLContext) -> None:
    async def main() -> None:
        async with sink(right) as mx, resolving(unbound, tls_security_level=level) as sender:
            assert facts(await attempt(sender, domain)) == VERIFIED
            assert mx.messages[0].tls
            [line] = sender.log.of("attempt")
            assert (line["tls"], line["tls_level"], line["tls_source"]) == ("verified", "dane", "dane")
            assert line["tls_version"] == "TLSv1.3"
            [noted] = sender.noted
            assert (noted.domain, noted.policy_type, noted.result) == (domain, "tlsa", "")
            assert noted.policy == (EE.removeprefix("TLSA "),)
            assert noted.sending_address == "127.0.0.1"

    run(main())


def test_dane_ta(unbound: LiveUnbound, folder: Path) -> None:
    async def of(names: list[str]) -> Outcome:
        async with sink(context(ROOT.intermediate().issue(*names), folder)), resolving(unbound) as sender:
            return await attempt(sender, "ta.example")

    assert facts(asyncio.run(of(["mx.ta.example"]))) == VERIFIED
    assert facts(asyncio.run(of(["ta.example"]))) == VERIFIED  # the signed domain itself (RFC 7672 section 3.2.2)
    elsewhere = asyncio.run(of([MX]))
    assert (elsewhere.state, elsewhere.reply.enhanced) == (State.DEFERRED, "4.7.5")
    assert MX in elsewhere.reply.text


def test_records_that_cannot_be_used_demand_encryption(unbound: LiveUnbound, stranger: ssl.SSLContext) -> None:
    async def main() -> None:
        async with resolving(unbound) as sender:
            async with sink(stranger):
                outcome = await attempt(sender, "unusable.example")
                assert facts(outcome) == (State.DELIVERED, Channel.ENCRYPTED, "encrypt", "dane")
            async with sink() as stripped:
                outcome = await attempt(sender, "unusable.example")
                assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
                assert not stripped.messages

    asyncio.run(main())


@pytest.mark.parametrize("domain", ["none.example", "plain.example"])
def test_without_authentic_records_it_is_may(domain: str, unbound: LiveUnbound, stranger: ssl.SSLContext) -> None:
    async def main() -> None:
        async with sink(stranger), resolving(unbound) as sender:
            outcome = await attempt(sender, domain)
            assert facts(outcome) == (State.DELIVERED, Channel.ENCRYPTED, "may", "default")
            assert [noted.policy_type for noted in sender.noted] == ["no-policy-found"]

    asyncio.run(main())


def test_a_signed_host_of_an_unsigned_domain(
    unbound: LiveUnbound, right: ssl.SSLContext, stranger: ssl.SSLContext
) -> None:
    async def of(level: str, tls: ssl.SSLContext) -> tuple[State, Channel, str, str]:
        async with sink(tls), resolving(unbound, tls_security_level=level) as sender:
            return facts(await attempt(sender, "half.example"))

    assert asyncio.run(of("may", right))[1] is Channel.ENCRYPTED
    assert asyncio.run(of("dane", right)) == VERIFIED
    assert asyncio.run(of("dane", stranger))[0] is State.DEFERRED


def test_dane_only(unbound: LiveUnbound, right: ssl.SSLContext) -> None:
    async def main() -> None:
        async with sink(right) as mx, resolving(unbound, tls_security_level="dane-only") as sender:
            outcome = await attempt(sender, "signed.example")
            assert facts(outcome) == (State.DELIVERED, Channel.VERIFIED, "dane-only", "configured")
            for domain in ("none.example", "plain.example", "half.example", "unusable.example"):
                outcome = await attempt(sender, domain)
                assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
                assert domain in outcome.reply.text
            assert len(mx.sessions) == 1

    asyncio.run(main())


# Who stands between is refused


@both_loops
def test_a_wrong_certificate_gets_no_mail_command(
    run: Run[None], unbound: LiveUnbound, stranger: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with sink(stranger) as mx, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example")
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.5")
            assert (outcome.tls_level, outcome.tls_source) == ("dane", "dane")
            assert "TLSA records" in outcome.reply.text
            await mx.until(lambda: mx.sessions[0].closed)
            assert [session.verbs() for session in mx.sessions] == [["EHLO", "STARTTLS"]]
            assert [noted.result for noted in sender.noted] == ["validation-failure"]

    run(main())


def test_a_stripped_starttls(unbound: LiveUnbound) -> None:
    async def main() -> None:
        async with sink() as mx, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example")
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            assert not mx.messages
            assert [noted.result for noted in sender.noted] == ["starttls-not-supported"]

    asyncio.run(main())


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "502 5.5.1 what"])
def test_a_refused_starttls(reply: str, unbound: LiveUnbound) -> None:
    async def main() -> None:
        script = {"STARTTLS": [reply]}
        async with sink(script=script, extensions=[*EXTENSIONS, "STARTTLS"]) as mx, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example")
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            assert not mx.messages

    asyncio.run(main())


@pytest.mark.parametrize(
    ("domain", "enhanced"),
    [("bogus-mx.example", "4.4.3"), ("bogus-a.example", "4.4.3"), ("bogus-tlsa.example", "4.7.5")],
)
@pytest.mark.parametrize("level", ["may", "encrypt", "dane", "dane-only"])
def test_a_forged_answer_waits_and_nobody_is_connected_to(
    domain: str, enhanced: str, level: str, unbound: LiveUnbound, right: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with sink(right) as mx, resolving(unbound, tls_security_level=level) as sender:
            outcome = await attempt(sender, domain)
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, enhanced)
            assert not mx.sessions

    asyncio.run(main())


@pytest.mark.parametrize("domain", ["two.example", "lost.example"])
def test_a_host_that_is_not_right_leads_to_the_next(
    domain: str, unbound: LiveUnbound, right: ssl.SSLContext, stranger: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with sink(right) as good, sink(stranger, EVIL) as evil, resolving(unbound) as sender:
            assert facts(await attempt(sender, domain)) == VERIFIED
            assert len(good.messages) == 1
            assert not evil.messages
            assert len(evil.sessions) == (1 if domain == "two.example" else 0)
            first = sender.noted[0]
            assert first.host == f"first.{domain}"
            assert first.result == ("validation-failure" if domain == "two.example" else "dnssec-invalid")

    asyncio.run(main())


# DANE and MTA-STS


def test_dane_wins_over_mta_sts(unbound: LiveUnbound, right: ssl.SSLContext) -> None:
    async def main() -> None:
        sts = {"signed.example": StsPolicy("enforce", ("other.example",), 86400)}
        async with sink(right), resolving(unbound, sts=sts) as sender:
            assert facts(await attempt(sender, "signed.example")) == VERIFIED

    asyncio.run(main())


def test_mta_sts_is_no_way_around_a_failing_dane(unbound: LiveUnbound, stranger: ssl.SSLContext, folder: Path) -> None:
    async def main() -> None:
        sts = {"signed.example": StsPolicy("enforce", (MX,), 86400)}
        trusted = context(CertificateAuthority().issue(MX), folder)  # for which MTA-STS would do, were it trusted
        async with sink(trusted) as mx, resolving(unbound, sts=sts) as sender:
            outcome = await attempt(sender, "signed.example")
            assert (outcome.state, outcome.tls_source) == (State.DEFERRED, "dane")
            assert not mx.messages

    asyncio.run(main())


# What senders ask for


def test_requiretls(unbound: LiveUnbound, right: ssl.SSLContext, folder: Path) -> None:
    ca_file = str(ROOT.write_root(folder / "root.pem"))

    async def main() -> None:
        async with (
            sink(right, after_tls=[*EXTENSIONS, "REQUIRETLS"]) as mx,
            resolving(unbound, tls_ca_file=ca_file) as sender,
        ):
            outcome = await attempt(sender, "signed.example", require_tls=True)
            assert facts(outcome) == VERIFIED
            assert mx.messages[0].mail.endswith(" REQUIRETLS")
            for domain in ("plain.example", "half.example"):
                outcome = await attempt(sender, domain, require_tls=True)
                assert (outcome.state, outcome.reply.enhanced) == (State.FAILED, "5.7.30")
            outcome = await attempt(sender, "bogus-tlsa.example", require_tls=True)
            assert outcome.state is State.DEFERRED
        async with sink(right) as without, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example", require_tls=True)
            assert (outcome.state, outcome.reply.enhanced) == (State.FAILED, "5.7.30")
            assert not without.messages
        async with sink() as stripped, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example", require_tls=True)
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "4.7.4")
            assert not stripped.messages

    asyncio.run(main())


def test_requiretls_is_only_hopeless_where_all_hosts_are(unbound: LiveUnbound, right: ssl.SSLContext) -> None:
    async def main() -> None:
        async with sink(right), resolving(unbound) as sender:  # the first of its hosts does not answer
            outcome = await attempt(sender, "two.example", require_tls=True)
            assert (outcome.state, outcome.reply.enhanced) == (State.DEFERRED, "5.7.30")

    asyncio.run(main())


def test_tls_required_no(unbound: LiveUnbound, stranger: ssl.SSLContext) -> None:
    async def main() -> None:
        async with sink(stranger) as mx, resolving(unbound) as sender:
            outcome = await attempt(sender, "signed.example", tls_optional=True)
            assert facts(outcome) == (State.DELIVERED, Channel.ENCRYPTED, "may", "tls-required-no")
            assert states([await attempt(sender, "bogus-tlsa.example", tls_optional=True)]) == [State.DELIVERED]
            assert len(mx.messages) == 2
        async with sink() as stripped, resolving(unbound) as sender:
            assert (await attempt(sender, "signed.example", tls_optional=True)).channel is Channel.NONE
            assert len(stripped.messages) == 1

    asyncio.run(main())


# Configured


def test_fingerprint(unbound: LiveUnbound, right: ssl.SSLContext, stranger: ssl.SSLContext) -> None:
    certificate = leaf(RIGHT)
    of_certificate = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    of_key = bytes.fromhex(key_digest(certificate))

    async def of(fingerprint: bytes, tls: ssl.SSLContext) -> tuple[State, Channel, str, str]:
        rule = TlsRule("plain.example", "fingerprint", fingerprints=(bytes(32), fingerprint))
        async with sink(tls), resolving(unbound, policies=(rule,)) as sender:
            return facts(await attempt(sender, "plain.example"))

    for fingerprint in (of_certificate, of_key):
        expected = (State.DELIVERED, Channel.VERIFIED, "fingerprint", "configured")
        assert asyncio.run(of(fingerprint, right)) == expected
        assert asyncio.run(of(fingerprint, stranger))[0] is State.DEFERRED


def test_a_relayhost_has_tlsa_records_of_its_own_port(
    unbound: LiveUnbound, right: ssl.SSLContext, stranger: ssl.SSLContext
) -> None:
    async def of(tls: ssl.SSLContext) -> Outcome:
        route = Route("remote", MX, PORT, lookup_mx=False, is_relayhost=True)
        async with sink(tls), resolving(unbound) as sender:
            [outcome] = await sender.deliver(job_for("bob@plain.example", route=route))
            assert not sender.noted  # that is the postmaster's own affair
            return outcome

    assert facts(asyncio.run(of(right))) == VERIFIED
    assert asyncio.run(of(stranger)).state is State.DEFERRED
