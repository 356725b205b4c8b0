"""Reports on their way: made once, sent by mail and HTTPS, tried again, and never lost or doubled by a restart."""

import asyncio
import email
import email.policy
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import MemoryLog
from tests.fakedns import FakeDns, Script
from tests.https_host import Answer, HttpsHost
from valija.content.dkim_key import DkimKey, generate
from valija.dns.caching import CachingResolver
from valija.dns.https import Https
from valija.dns.options import DnsOptions
from valija.logs import Log
from valija.mail.envelope import Notify
from valija.policy.tls_report import TlsResult
from valija.policy.tls_report_body import DAY
from valija.queue.store import NewMessage, QueueFull
from valija.tls_reports.ledger import GIVEN_UP_AFTER, Ledger
from valija.tls_reports.options import TlsReportOptions, Wish
from valija.tls_reports.reporter import HEAD_START, SPREAD, Office, Reporter, due_time

DOMAIN = "example.net"
RECORD = f"_smtp._tls.{DOMAIN}"
PATH = "/tls"
DAY_NUMBER = 19_700
GOOD = TlsResult(DOMAIN, "sts", ("mode: enforce",), ("mx.example.net",))
BAD = TlsResult(DOMAIN, "sts", ("mode: enforce",), ("mx.example.net",), "mx.example.net", result="certificate-expired")
CA = CertificateAuthority()
CERTIFICATE = CA.issue("reports.example.net")
KEY = DkimKey.load("example.org", "2026a", generate("ed25519"))
OPTIONS = TlsReportOptions(True, "Example", "postmaster@example.org", "postmaster@example.org")

Work = Callable[[Reporter, Ledger], Awaitable[object]]


class Setting:
    """A name server, a web server, a queue that remembers, and a clock that is set by hand."""

    def __init__(self, folder: Path, dns: FakeDns, host: HttpsHost) -> None:
        self.folder = folder
        self.dns = dns
        self.host = host
        self.now = due_time(DAY_NUMBER, DOMAIN, "mail.example.org")
        self.queue: list[NewMessage] = []
        self.queue_is_full = False
        self.keys: tuple[DkimKey, ...] = (KEY,)
        self.options = OPTIONS
        self.log = MemoryLog()
        host.answers[PATH] = Answer(status=201)

    def wants(self, *places: str) -> None:
        self.dns.publish(RECORD, [f'1 TXT "v=TLSRPTv1; rua={",".join(places)}"'])

    @property
    def url(self) -> str:
        return f"https://reports.example.net:{self.host.port}{PATH}"

    @property
    def posted(self) -> list[dict[str, Any]]:
        return [json.loads(gzip.decompress(request.body)) for request in self.host.requests]

    @property
    def mailed(self) -> list[EmailMessage]:
        parsed = (email.message_from_bytes(each.content.head, policy=email.policy.default) for each in self.queue)
        return list(parsed)

    def run(self, work: Work) -> None:
        """Be the worker that sends, from its start to its stop."""
        asyncio.run(self._run(work))

    def work(self) -> None:
        """Be a worker that starts, looks at what is due once, and stops."""
        self.run(lambda reporter, _: reporter.work())

    def count(self, day: int = DAY_NUMBER) -> None:
        self.run(lambda _, ledger: ledger.add(day, {GOOD: 3, BAD: 1}))

    async def _run(self, work: Work) -> None:
        log = cast("Log", self.log)
        dns = DnsOptions(nameservers=(self.dns.endpoint,), timeout=0.5)
        resolver = CachingResolver(dns, log, clock=lambda: self.now)
        ledger = Ledger(self.folder / "tls-report.sqlite3", log)
        office = Office(
            options=self.options,
            hostname="mail.example.org",
            resolver=resolver,
            keys=lambda domain: self.keys if domain == "example.org" else (),
            enqueue=self._enqueue,
            https=lambda: Https(resolver),
        )
        numbers = iter(range(1000))
        reporter = Reporter(ledger, office, log, clock=lambda: self.now, unique=lambda: f"u{next(numbers)}")
        try:
            await work(reporter, ledger)
        finally:
            await resolver.close()
            ledger.close()

    async def _enqueue(self, message: NewMessage) -> str:
        if self.queue_is_full:
            raise QueueFull("no room")
        self.queue.append(message)
        return f"q{len(self.queue)}"


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.setenv("SSL_CERT_FILE", str(CA.write_root(tmp_path / "ca.pem")))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with ExitStack() as stack:
        dns = stack.enter_context(FakeDns({"reports.example.net": ["A 127.0.0.1"]}, negative_ttl=1))
        host = stack.enter_context(HttpsHost(CERTIFICATE, tmp_path))
        yield Setting(tmp_path, dns, host)


def test_a_report_by_mail(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()
    setting.work()
    (message,) = setting.queue
    (recipient,) = message.envelope.recipients
    assert message.envelope.reverse_path == ""
    assert (recipient.address, recipient.notify) == ("tls@example.net", Notify.NEVER)
    assert message.envelope.tls_optional
    assert message.origin.role == "local"
    (mail,) = setting.mailed
    assert mail["DKIM-Signature"].replace(" ", "").startswith("v=1;a=ed25519-sha256")
    assert mail["TLS-Report-Submitter"] == "example.org"
    _, document = mail.iter_parts()
    report = json.loads(gzip.decompress(document.get_content()))
    assert report["date-range"]["start-datetime"] == "2023-12-09T00:00:00Z"
    assert report["policies"][0]["summary"] == {
        "total-successful-session-count": 3,
        "total-failure-session-count": 1,
    }
    assert report["report-id"] in mail["Subject"]
    assert document.get_filename() == "example.org!example.net!1702080000!1702166399!u0.json.gz"
    (line,) = setting.log.of("TLS report sent")
    assert line["queue_id"] == "q1"


def test_a_report_by_https(setting: Setting) -> None:
    setting.wants(setting.url)
    setting.count()
    setting.work()
    (request,) = setting.host.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.header["Content-Type"] == "application/tlsrpt+gzip"
    assert setting.posted[0]["contact-info"] == "postmaster@example.org"
    assert setting.queue == []


def test_every_place_gets_the_same_report_once(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net", setting.url, "mailto:more@example.com")
    setting.count()
    setting.work()
    setting.now += 3600
    setting.work()
    assert len(setting.posted) == 1
    assert sorted(mail["To"] for mail in setting.mailed) == ["more@example.com", "tls@example.net"]
    assert len({mail["Subject"].partition("Report-ID")[2] for mail in setting.mailed}) == 1
    assert len({mail["Message-ID"] for mail in setting.mailed}) == 2


def test_who_wants_none_is_forgotten(setting: Setting) -> None:
    for records in ([], ['TXT "v=TLSRPTv1; rua=ftp://example.net"']):
        setting.dns.publish(RECORD, records)
        setting.count()
        setting.work()
    assert setting.queue == []
    setting.wants("mailto:tls@example.net")
    setting.work()
    assert setting.queue == []


def test_before_its_time_nothing_is_sent(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()
    due, setting.now = setting.now, setting.now - 1
    setting.work()
    assert setting.queue == []
    setting.now = due
    setting.work()
    assert len(setting.queue) == 1


def test_times_are_spread_and_stay_what_they_are() -> None:
    midnight = (DAY_NUMBER + 1) * DAY
    times = [due_time(DAY_NUMBER, f"{number}.example", "mail.example.org") - midnight for number in range(1000)]
    assert all(HEAD_START <= time < SPREAD for time in times)
    quarters = [sum(time // (SPREAD / 4) == quarter for time in times) for quarter in range(4)]
    assert min(quarters) > 180
    assert times[7] == due_time(DAY_NUMBER, "7.example", "mail.example.org") - midnight
    assert times[7] != due_time(DAY_NUMBER, "7.example", "mail.example.com") - midnight


def test_where_the_dns_is_silent_the_counts_wait(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.dns.script(RECORD, Script(rcode="SERVFAIL"))
    setting.count()

    async def work(reporter: Reporter, _: Ledger) -> None:
        await reporter.work()
        asked = setting.dns.asked(RECORD)
        setting.dns.script(RECORD, Script())
        setting.now += 3599
        await reporter.work()
        assert setting.dns.asked(RECORD) == asked
        setting.now += 1
        await reporter.work()

    setting.run(work)
    assert len(setting.queue) == 1


def test_https_is_tried_again_over_restarts_for_a_day(setting: Setting) -> None:
    setting.wants(setting.url)
    setting.host.answers[PATH] = Answer(status=503)
    setting.count()
    began = setting.now
    setting.work()
    (line,) = setting.log.of("TLS report not sent, tried again later")
    assert line["reason"] == "it answers 503"
    while setting.now < began + 2 * GIVEN_UP_AFTER:
        setting.now += 600
        setting.work()
    assert 7 <= len(setting.posted) <= 14
    assert len({report["report-id"] for report in setting.posted}) == 1
    assert setting.log.of("TLS report given up")


def test_https_that_comes_back_gets_its_report(setting: Setting) -> None:
    setting.wants(setting.url)
    setting.host.answers[PATH] = Answer(status=503)
    setting.count()
    setting.work()
    setting.host.answers[PATH] = Answer(status=200)
    setting.now += 299
    setting.work()
    assert len(setting.posted) == 1
    setting.now += 1
    setting.work()
    setting.now += 7200
    setting.work()
    assert len(setting.posted) == 2


@pytest.mark.parametrize("trouble", ["name", "redirect", "nobody"])
def test_https_places_that_are_no_good(setting: Setting, trouble: str) -> None:
    match trouble:
        case "name":
            setting.dns.publish("other.example.net", ["A 127.0.0.1"])
            setting.wants(setting.url.replace("reports.", "other."))
        case "redirect":
            setting.wants(setting.url)
            setting.host.answers[PATH] = Answer(status=307, header={"Location": "/else"})
        case "nobody":
            setting.wants("https://gone.example.net/tls")
    setting.count()
    setting.work()
    assert len(setting.log.of("TLS report not sent, tried again later")) == 1
    assert setting.host.asked("/else") == 0


def test_without_a_key_mail_waits_for_one(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.keys = ()
    setting.count()
    setting.work()
    assert setting.queue == []
    (line,) = setting.log.of("TLS report not sent, tried again later")
    assert "valija dkim create example.org" in line["reason"]
    setting.keys = (KEY,)
    setting.now += 300
    setting.work()
    assert len(setting.queue) == 1


def test_a_full_queue_is_tried_again(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.queue_is_full = True
    setting.count()
    setting.work()
    setting.queue_is_full = False
    setting.now += 300
    setting.work()
    assert len(setting.queue) == 1


def test_a_ledger_that_can_not_be_told_makes_no_flood(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()

    async def work(reporter: Reporter, ledger: Ledger) -> None:
        done = ledger.done

        async def full(_: object) -> bool:
            return False

        ledger.done = full  # type: ignore[assignment,method-assign]  # a disk that is full only just now
        for _ in range(5):
            await reporter.work()
            setting.now += 60
        ledger.done = done  # type: ignore[method-assign]  # as it was
        await reporter.work()
        await reporter.work()

    setting.run(work)
    assert len(setting.queue) == 1


def test_what_is_off_sends_nothing(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()
    setting.options = TlsReportOptions(False, *("Example", "p@example.org", "p@example.org"))
    setting.work()
    assert setting.queue == []


def test_a_postmaster_can_have_it_now(setting: Setting) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()
    setting.count(DAY_NUMBER - 1)
    setting.now = DAY_NUMBER * DAY + 1000.0  # the day is not over

    async def work(reporter: Reporter, ledger: Ledger) -> None:
        reporter.ask(Wish("example.com"))
        reporter.ask(Wish(DOMAIN, DAY_NUMBER))
        await reporter.work()
        assert [day for day, _ in await ledger.ended(before=DAY_NUMBER + 1)] == [DAY_NUMBER - 1]
        reporter.ask(Wish())
        await reporter.work()
        assert await ledger.ended(before=DAY_NUMBER + 1) == []

    setting.run(work)
    assert len(setting.queue) == 2


def test_a_wish_wakes_the_reporter_and_brings_forward_what_waits(setting: Setting) -> None:
    setting.wants(setting.url)
    setting.host.answers[PATH] = Answer(status=503)
    setting.count()
    setting.work()
    setting.host.answers[PATH] = Answer(status=200)

    async def work(reporter: Reporter, _: Ledger) -> None:
        running = asyncio.create_task(reporter.run())
        reporter.ask(Wish(DOMAIN))
        await asyncio.to_thread(setting.host.wait_for, lambda: len(setting.host.requests) == 2)
        running.cancel()

    setting.run(work)


def test_a_fault_of_ours_does_not_end_the_reporting(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.wants("mailto:tls@example.net")
    setting.count()
    calls: list[int] = []
    original = Reporter.work

    async def once_broken(self: Reporter) -> None:
        calls.append(1)
        if len(calls) == 1:
            self.ask(Wish())
            raise KeyError("ours")
        await original(self)

    monkeypatch.setattr(Reporter, "work", once_broken)

    async def work(reporter: Reporter, _: Ledger) -> None:
        async with asyncio.timeout(10):
            running = asyncio.create_task(reporter.run())
            while not setting.queue:
                await asyncio.sleep(0.01)
            running.cancel()

    setting.run(work)
    assert setting.log.of("TLS reports not sent")


def test_no_file_no_reports_no_harm(setting: Setting) -> None:
    (setting.folder / "tls-report.sqlite3").mkdir()
    setting.work()
    assert setting.log.of("file can't be used")


def test_a_crash_in_the_middle_loses_nothing(setting: Setting) -> None:
    """Die after the report is made, before it is sent: the next start sends it, once."""
    setting.wants("mailto:tls@example.net")
    setting.count()

    async def die(_: NewMessage) -> str:
        raise asyncio.CancelledError

    original, setting._enqueue = setting._enqueue, die  # type: ignore[assignment,method-assign]  # it dies there
    with pytest.raises(asyncio.CancelledError):
        setting.work()
    setting._enqueue = original  # type: ignore[method-assign]  # as it was
    with apsw.Connection(str(setting.folder / "tls-report.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM counted").get == 0
    setting.work()
    setting.work()
    assert len(setting.queue) == 1
