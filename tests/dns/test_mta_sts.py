"""MTA-STS policies: fetched from a real web server, found by a real name server, kept beyond restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.ca import CertificateAuthority, Issued
from tests.deliver.setting import MemoryLog
from tests.dns.loops import Run, both_loops
from tests.fakedns import FakeDns, Script
from tests.https_host import Answer, HttpsHost
from valija.dns.caching import CachingResolver
from valija.dns.https import Https
from valija.dns.mta_sts import CHECK_AGAIN, FAILED_FOR, NONE_FOR, StsPolicies
from valija.dns.mta_sts_file import IN_USE, LEAST_AGE, REFRESH_AFTER, StsFile
from valija.dns.options import DnsOptions
from valija.logs import Log
from valija.policy.mta_sts import StsPolicy
from valija.policy.tls_report import TlsResult

DOMAIN = "example.net"
HOST = f"mta-sts.{DOMAIN}"
RECORD = f"_mta-sts.{DOMAIN}"
PATH = "/.well-known/mta-sts.txt"
TEXT = "version: STSv1\nmode: enforce\nmx: mx1.example.net\nmax_age: 604800\n"
CA = CertificateAuthority()
GOOD = CA.issue(HOST)


def record(identity: str) -> list[str]:
    return [f'1 TXT "v=STSv1; id={identity};"']


class Setting:
    """A policy host, a name server, a clock that is set by hand, and what was logged and noted."""

    def __init__(self, folder: Path, dns: FakeDns, host: HttpsHost) -> None:
        self.path = folder / "mta-sts.sqlite3"
        self.dns = dns
        self.host = host
        self.now = 1_700_000_000.0
        self.log = MemoryLog()
        self.noted: list[TlsResult] = []

    def serve(self, text: str = TEXT, **how: Any) -> None:
        """Have the host answer with a policy."""
        self.host.answers[PATH] = Answer(text.encode(), **how)

    @property
    def fetches(self) -> int:
        return self.host.asked(PATH)

    @property
    def results(self) -> list[str]:
        return [noted.result for noted in self.noted]

    @asynccontextmanager
    async def policies(self, **options: Any) -> AsyncIterator[StsPolicies]:
        """Be a worker: with a memory of its own, and the file that all share."""
        log = cast("Log", self.log)
        options_of_dns = DnsOptions(nameservers=(self.dns.endpoint,), timeout=0.5)
        resolver = CachingResolver(options_of_dns, log, clock=lambda: self.now)
        https = Https(resolver, port=self.host.port)
        policies = StsPolicies(
            resolver,
            StsFile(self.path, log),
            note=self.noted.append,
            log=log,
            clock=lambda: self.now,
            https=https,
            **options,
        )
        try:
            yield policies
        finally:
            await policies.close()
            await resolver.close()

    async def ask(self, domain: str = DOMAIN) -> StsPolicy | None:
        """Ask once, as a worker that has just started."""
        async with self.policies() as policies:
            return await policies.policy(domain)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CA.write_root(tmp_path / "ca.pem")))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture
def make(tmp_path: Path, trusted: None) -> Iterator[Callable[[Issued], Setting]]:
    """Make settings whose policy host has a certificate."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(issued: Issued) -> Setting:
            zone = {RECORD: record("1"), HOST: ["A 127.0.0.1"], DOMAIN: ["MX 10 mx1.example.net."]}
            dns = stack.enter_context(FakeDns(zone, negative_ttl=1))
            host = stack.enter_context(HttpsHost(issued, tmp_path))
            setting = Setting(tmp_path, dns, host)
            setting.serve()
            return setting

        yield start


@pytest.fixture
def setting(make: Callable[[Issued], Setting]) -> Setting:
    return make(GOOD)


# Fetching


@both_loops
def test_a_policy_is_found_and_fetched(setting: Setting, run: Run[StsPolicy | None]) -> None:
    assert run(setting.ask()) == StsPolicy("enforce", ("mx1.example.net",), 604800, TEXT)
    (request,) = setting.host.requests
    assert (request.method, request.path) == ("GET", PATH)
    assert request.host == f"{HOST}:{setting.host.port}"
    assert request.header["Accept-Encoding"] == "identity"
    assert setting.noted == []
    assert setting.path.stat().st_mode & 0o777 == 0o600


def test_its_own_client_is_made_where_a_domain_has_a_policy(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            policies._https = None
            assert await policies.policy(DOMAIN) is None  # nobody is at port 443 here
            assert isinstance(policies._https, Https)

    asyncio.run(main())
    assert setting.results == ["sts-policy-fetch-error"]


def test_testing_is_a_policy_and_none_is_none(setting: Setting) -> None:
    setting.serve(TEXT.replace("enforce", "testing"))
    policy = asyncio.run(setting.ask())
    assert policy is not None
    assert policy.mode == "testing"
    setting.serve(TEXT.replace("enforce", "none"))
    setting.dns.publish(RECORD, record("2"))
    assert asyncio.run(setting.ask()) is None
    assert setting.noted == []


def test_who_has_no_record_is_not_asked_for_a_policy(setting: Setting) -> None:
    for records in ([], ['TXT "v=spf1 -all"'], record("1") + record("2"), ['TXT "v=STSv1; id=a b;"']):
        setting.dns.publish(RECORD, records)
        assert asyncio.run(setting.ask()) is None
    assert setting.fetches == 0
    assert setting.noted == []


@pytest.mark.parametrize("domain", ["[192.0.2.1]", "192.0.2.1", "[IPv6:2001:db8::1]", "localhost", "example.org", ""])
def test_what_is_no_domain_of_others_is_not_asked_about(setting: Setting, domain: str) -> None:
    async def main() -> None:
        async with setting.policies(is_ours=lambda name: name == "example.org") as policies:
            assert await policies.policy(domain) is None

    asyncio.run(main())
    assert setting.dns.questions == []


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        (Answer(TEXT.encode(), 404), "sts-policy-fetch-error", "answers 404"),
        (Answer(b"", 301, header={"Location": f"https://{HOST}/other"}), "sts-policy-fetch-error", "answers 301"),
        (Answer(b"", 304), "sts-policy-fetch-error", "answers 304"),
        (Answer(TEXT.encode(), media_type="text/html"), "sts-policy-fetch-error", "text/html"),
        (Answer(TEXT.encode() + b"x" * 65536), "sts-policy-fetch-error", "longer than 65536"),
        (Answer(endless=True), "sts-policy-fetch-error", "longer than 65536"),
        (Answer(b"version: STSv1\n"), "sts-policy-invalid", "no mode"),
        (Answer(b"\x1f\x8b\x00", header={"Content-Encoding": "gzip"}), "sts-policy-invalid", "UTF-8"),
    ],
)
def test_what_a_host_serves_amiss(setting: Setting, answer: Answer, result: str, words: str) -> None:
    setting.host.answers = {PATH: answer, "/other": Answer(TEXT.encode())}
    assert asyncio.run(setting.ask()) is None
    (noted,) = setting.noted
    assert (noted.domain, noted.policy_type, noted.result) == (DOMAIN, "sts", result)
    assert words in noted.detail
    assert setting.host.asked("/other") == 0
    (line,) = setting.log.of("MTA-STS policy not fetched")
    assert words in line["reason"]


def test_media_type_with_parameters(setting: Setting) -> None:
    setting.serve(media_type="Text/Plain; charset=utf-8; x=y")
    assert asyncio.run(setting.ask()) is not None


def test_an_invalid_policy_is_quoted_for_the_report(setting: Setting) -> None:
    setting.serve("version: STSv1\nmode: strict\nmx: mx1.example.net\nmax_age: 1\n")
    assert asyncio.run(setting.ask()) is None
    assert setting.noted[0].policy == ("version: STSv1", "mode: strict", "mx: mx1.example.net", "max_age: 1")


@pytest.mark.parametrize(
    ("issued", "words"),
    [
        (CA.issue(HOST, days=(-30, -1)), "expired"),
        (CA.issue("mta-sts.example.com"), "mismatch"),
        (CA.issue(DOMAIN), "mismatch"),
        (CA.issue(common_name=HOST), "mismatch"),
        (CertificateAuthority("Somebody").issue(HOST), "issuer"),
    ],
    ids=["expired", "other name", "the domain itself", "common name alone", "untrusted"],
)
def test_a_host_that_can_not_be_trusted(make: Callable[[Issued], Setting], issued: Issued, words: str) -> None:
    setting = make(issued)
    assert asyncio.run(setting.ask()) is None
    assert setting.results == ["sts-webpki-invalid"]
    assert words in setting.noted[0].detail.lower()
    assert setting.fetches == 0


def test_a_wildcard_certificate_will_do(make: Callable[[Issued], Setting]) -> None:
    assert asyncio.run(make(CA.issue("*.example.net")).ask()) is not None


def test_a_host_without_an_address(setting: Setting) -> None:
    setting.dns.publish(HOST, [])
    assert asyncio.run(setting.ask()) is None
    assert setting.results == ["sts-policy-fetch-error"]
    assert f"{HOST}: it has no address" in setting.noted[0].detail


# Who has to wait


def test_nobody_waits_longer_than_bearable_and_the_look_up_goes_on(setting: Setting) -> None:
    setting.serve(held=True)

    async def main() -> None:
        async with setting.policies(patience=0.2) as policies:
            assert await policies.policy(DOMAIN) is None
            setting.host.release()
            await policies._looking[DOMAIN]
            assert await policies.policy(DOMAIN) is not None

    asyncio.run(main())
    assert setting.fetches == 1
    assert setting.log.of("MTA-STS look-up takes long, mail goes on")


def test_what_is_kept_serves_those_who_will_not_wait(setting: Setting) -> None:
    old = asyncio.run(setting.ask())
    setting.dns.publish(RECORD, record("2"))
    setting.serve(TEXT.replace("mx1", "mx2"), held=True)

    async def main() -> None:
        async with setting.policies(patience=0.2) as policies:
            assert await policies.policy(DOMAIN) == old

    asyncio.run(main())


def test_all_who_ask_at_once_share_one_look_up(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            answers = await asyncio.gather(*(policies.policy(DOMAIN) for _ in range(50)))
            assert answers == [answers[0]] * 50
            assert answers[0] is not None

    asyncio.run(main())
    assert setting.fetches == 1
    assert setting.dns.asked(RECORD) == 1


def test_who_is_cancelled_ends_nobody_elses_look_up(setting: Setting) -> None:
    setting.serve(held=True)

    async def main() -> None:
        async with setting.policies() as policies:
            first, second = (asyncio.create_task(policies.policy(DOMAIN)) for _ in range(2))
            await asyncio.to_thread(setting.host.wait_for, lambda: setting.fetches == 1)
            first.cancel()
            setting.host.release()
            assert await second is not None

    asyncio.run(main())


# Keeping


def test_a_restart_keeps_the_policy(setting: Setting) -> None:
    first = asyncio.run(setting.ask())
    assert asyncio.run(setting.ask()) == first
    assert setting.fetches == 1


def test_the_record_is_looked_at_now_and_then_only(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.now += CHECK_AGAIN - 1
            await policies.policy(DOMAIN)
            assert setting.dns.asked(RECORD) == 1
            setting.now += 1
            await policies.policy(DOMAIN)
            assert setting.dns.asked(RECORD) == 2

    asyncio.run(main())
    assert setting.fetches == 1


def test_a_new_id_fetches_the_new_policy(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.dns.publish(RECORD, record("2"))
            setting.serve(TEXT.replace("mx1", "mx2"))
            setting.now += CHECK_AGAIN
            policy = await policies.policy(DOMAIN)
            assert policy is not None
            assert policy.mx == ("mx2.example.net",)

    asyncio.run(main())
    assert setting.fetches == 2


@pytest.mark.parametrize("trouble", ["record gone", "record fails", "host fails", "policy invalid"])
def test_what_was_fetched_is_good_until_it_ends_whatever_fails(setting: Setting, trouble: str) -> None:
    policy = asyncio.run(setting.ask())
    setting.dns.publish(RECORD, record("2"))
    match trouble:
        case "record gone":
            setting.dns.publish(RECORD, [])
        case "record fails":
            setting.dns.script(RECORD, Script(rcode="SERVFAIL"))
        case "host fails":
            setting.serve(status=503)
        case "policy invalid":
            setting.serve("version: STSv1\n")
    setting.now += 604_700
    assert asyncio.run(setting.ask()) == policy
    result = "sts-policy-invalid" if trouble == "policy invalid" else "sts-policy-fetch-error"
    assert [(noted.result, noted.mx_patterns) for noted in setting.noted] == [(result, ("mx1.example.net",))]
    assert ("warning", "MTA-STS policy not fetched") in [line[:2] for line in setting.log.lines]
    setting.now += 101
    assert asyncio.run(setting.ask()) is None


def test_a_policy_ends_in_memory_too(setting: Setting) -> None:
    setting.serve(TEXT.replace("604800", str(int(LEAST_AGE) + 10)))

    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.dns.script(RECORD, Script(rcode="SERVFAIL"))
            setting.now += CHECK_AGAIN + 5
            assert await policies.policy(DOMAIN) is not None
            setting.now += 10
            assert await policies.policy(DOMAIN) is None

    asyncio.run(main())


def test_a_policy_of_no_age_serves_the_mail_at_hand(setting: Setting) -> None:
    setting.serve(TEXT.replace("604800", "0"))

    async def main() -> None:
        async with setting.policies() as policies:
            for _ in range(5):
                assert await policies.policy(DOMAIN) is not None
            setting.now += LEAST_AGE
            assert await policies.policy(DOMAIN) is not None

    asyncio.run(main())
    assert setting.fetches == 2


def test_that_there_is_none_is_known_for_a_while(setting: Setting) -> None:
    setting.dns.publish(RECORD, [])

    async def main() -> None:
        async with setting.policies() as policies:
            assert await policies.policy(DOMAIN) is None
            setting.dns.publish(RECORD, record("1"))
            setting.now += NONE_FOR - 1
            assert await policies.policy(DOMAIN) is None
            setting.now += 1
            assert await policies.policy(DOMAIN) is not None

    asyncio.run(main())


def test_a_failing_host_is_left_alone_for_a_while(setting: Setting) -> None:
    setting.serve(status=500)

    async def main() -> None:
        async with setting.policies() as policies:
            for _ in range(3):
                assert await policies.policy(DOMAIN) is None
            assert setting.fetches == 1
            setting.serve()
            setting.now += FAILED_FOR
            assert await policies.policy(DOMAIN) is not None

    asyncio.run(main())
    assert setting.results == ["sts-policy-fetch-error"]


def test_one_worker_fetches_for_all(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as one, setting.policies() as other:
            assert await one.policy(DOMAIN) == await other.policy(DOMAIN)

    asyncio.run(main())
    assert setting.fetches == 1


def test_a_damaged_file_is_set_aside(setting: Setting) -> None:
    setting.path.write_bytes(b"what is this? " * 1000)
    assert asyncio.run(setting.ask()) is not None
    assert setting.log.of("file set aside")
    assert asyncio.run(setting.ask()) is not None
    assert setting.fetches == 1


def test_without_a_file_policies_are_found_all_the_same(setting: Setting) -> None:
    setting.path.mkdir()
    assert asyncio.run(setting.ask()) is not None
    assert setting.log.of("file can't be used")


# Refreshing


def test_policies_in_use_are_fetched_again_without_mail(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.now += REFRESH_AFTER - 1
            await policies.refresh()
            assert setting.fetches == 1
            setting.now += 1
            await policies.refresh()
            assert setting.fetches == 2
            await policies.refresh()
            assert setting.fetches == 2

    asyncio.run(main())
    setting.now += 604_800 - 1
    setting.host.answers = {}
    assert asyncio.run(setting.ask()) is not None  # its age counts from the last fetch


def test_a_refresh_that_fails_is_told_and_tried_again_later(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.now += REFRESH_AFTER
            setting.serve(status=500)
            await policies.refresh()
            await policies.refresh()
            assert setting.fetches == 2
            assert setting.results == ["sts-policy-fetch-error"]
            setting.now += 3600
            setting.serve()
            await policies.refresh()
            assert setting.fetches == 3

    asyncio.run(main())


def test_a_refresh_does_not_need_the_record(setting: Setting) -> None:
    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.dns.script(RECORD, Script(rcode="SERVFAIL"))
            setting.now += REFRESH_AFTER
            await policies.refresh()

    asyncio.run(main())
    assert setting.fetches == 2


def test_policies_that_nobody_uses_are_left_to_end(setting: Setting) -> None:
    setting.serve(TEXT.replace("604800", "31557600"))

    async def main() -> None:
        async with setting.policies() as policies:
            await policies.policy(DOMAIN)
            setting.now += IN_USE + 1
            await policies.refresh()

    asyncio.run(main())
    assert setting.fetches == 1


def test_a_fault_of_ours_takes_no_policy_away(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = asyncio.run(setting.ask())

    async def broken(*_: object) -> None:
        raise KeyError("ours")

    setting.dns.publish(RECORD, record("2"))
    monkeypatch.setattr(StsPolicies, "_get", broken)
    assert asyncio.run(setting.ask()) == policy
    assert setting.log.of("MTA-STS fault")
