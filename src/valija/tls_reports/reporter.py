"""Sending the reports: once a day to each domain that asks for them, spread over hours, with retries (RFC 8460).

    reporter = Reporter(ledger, office, log, clock=time.time, unique=partial(secrets.token_hex, 8))
    await reporter.run()                          # in one worker, until cancelled
    reporter.ask(domain="example.net")            # send what there is about a domain now

- When a day is over, each of its domains has its time within SPREAD after midnight, by chance, but the same after a
  restart. Then it is asked in the DNS whether it wants reports; who does not is forgotten.
- The report is made in one transaction with taking its counts out, and goes to each place that was named: by mail into
  our own queue, by HTTPS from here. What fails is tried again, with growing pauses, for a day.
- A crash between handing a mail to the queue and noting it makes a duplicate, with the same Report-ID.

By HTTPS a certificate that can't be trusted is a failure, as for everybody else; the standard would allow to go on.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from valija.content.dkim_key import DkimKey
from valija.content.tls_report_mail import ReportMail, report_mail, signed_report
from valija.dns.resolver import Resolver, Status
from valija.logs import Log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Notify, Recipient
from valija.mail.origin import Origin
from valija.policy.tls_report_body import DAY, Report, Sender, date_of, report_filename, report_json
from valija.policy.tls_report_record import HttpsPlace, MailPlace, report_places
from valija.queue.store import NewMessage
from valija.tls_reports.ledger import GIVEN_UP_AFTER, Errand, Ledger
from valija.tls_reports.options import TlsReportOptions, Wish

if TYPE_CHECKING:
    from valija.dns.https import Https

T = TypeVar("T")

SPREAD: Final = 4 * 3600.0  # seconds after midnight within which reports leave (RFC 8460 section 4.1)
HEAD_START: Final = 120.0  # seconds after midnight for all workers to have written their counts down
LOOK_INTERVAL: Final = 60.0
POST_PATIENCE: Final = 60.0
_FIRST_PAUSE: Final = 300.0  # seconds before a report is tried again; each time twice as long
_LONGEST_PAUSE: Final = 4 * 3600.0
_NO_ANSWER_PAUSE: Final = 3600.0  # where the DNS does not say whether a domain wants reports
_AT_ONCE: Final = 8
_ERRANDS_AT_ONCE: Final = 1000  # of one look
_MEDIA_TYPE: Final = "application/tlsrpt+gzip"


class Office(msgspec.Struct, frozen=True):
    """What a reporter works with; a reload may bring another one.

    `keys` returns what signs for a domain, `enqueue` takes a message into the queue and returns its id. `https` makes
    the client for places that take reports by POST: its import takes long, so it is called in a thread.
    """

    options: TlsReportOptions
    hostname: str
    resolver: Resolver
    keys: Callable[[str], Sequence[DkimKey]]
    enqueue: Callable[[NewMessage], Awaitable[str]]
    https: "Callable[[], Https]"

    @property
    def sender(self) -> Sender:
        """Who reports."""
        return Sender(self.options.organization, self.options.contact)


class NotSent(Exception):
    """A report did not arrive; the text says why."""


class Reporter:
    """Sends reports. `clock` gives epoch seconds, `unique` names reports: letters and digits."""

    def __init__(
        self, ledger: Ledger, office: Office, log: Log, *, clock: Callable[[], float], unique: Callable[[], str]
    ) -> None:
        self._office = office
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._unique = unique
        self._resting: dict[tuple[int, str], float] = {}
        self._wishes: list[Wish] = []
        self._wake = asyncio.Event()
        self._https: Https | None = None
        self._finished: set[tuple[str, str]] = set()  # errands that the ledger could not be told the end of

    def use(self, office: Office) -> None:
        """Go on with another office: the configuration has changed."""
        self._office, self._https = office, None

    def ask(self, wish: Wish) -> None:
        """Have reports sent now, also about days that are not over."""
        self._wishes.append(wish)
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            try:
                await self.work()
            except Exception:
                self._log.exception("TLS reports not sent")
            try:
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def work(self) -> None:
        """Make the reports that are due, and try those that wait."""
        self._wake.clear()
        wishes, self._wishes = self._wishes, []
        now = self._clock()
        today = int(now // DAY)
        await self._ledger.forget_old(today, now)
        if not self._office.options.is_on:
            return
        if wishes:
            await self._ledger.bring_forward(now)
        self._resting = {tallied: until for tallied, until in self._resting.items() if until > now}
        counted = await self._ledger.ended(before=today + 1 if wishes else today)
        await _each(self._prepare, [each for each in counted if _is_wished(each, wishes) or self._is_due(each, now)])
        await _each(self._run_errand, await self._ledger.due(self._clock(), _ERRANDS_AT_ONCE))

    def _is_due(self, tallied: tuple[int, str], now: float) -> bool:
        return tallied not in self._resting and now >= due_time(*tallied, self._office.hostname)

    # Making

    async def _prepare(self, tallied: tuple[int, str]) -> None:
        """Make the report on a domain's day, if the domain wants to know."""
        _, domain = tallied
        answer = await self._office.resolver.lookup(f"_smtp._tls.{domain}", "TXT")
        if answer.status is Status.FAILED:
            self._resting[tallied] = self._clock() + _NO_ANSWER_PAUSE
            self._log.info("TLS report waits", domain=domain, reason=answer.detail)
            return
        places = report_places(answer.records)
        if not places:
            await self._ledger.forget(tallied)
            return
        report = await self._ledger.make_report(tallied, places, self._office.sender, self._unique(), self._clock())
        if report is not None:
            sessions, failed = report.sessions
            places_told = [str(place) for place in places]
            facts = {"sessions": sessions, "failed": failed, "places": places_told}
            self._log.info("TLS report made", domain=domain, date=date_of(tallied[0]), report=report.report_id, **facts)

    # Sending

    async def _run_errand(self, errand: Errand) -> None:
        report, place = errand.report, errand.place
        if (report.report_id, str(place)) in self._finished:
            await self._finish(errand)
            return
        facts = {"domain": report.domain, "place": str(place), "report": report.report_id}
        try:
            if isinstance(place, MailPlace):
                facts["queue_id"] = await self._mail(report, place)
            else:
                await self._post(report, place)
        except NotSent as failure:
            await self._put_off(errand, {**facts, "reason": str(failure)})
        except Exception as error:
            self._log.exception("TLS report fault", **facts)
            await self._put_off(errand, {**facts, "reason": f"{type(error).__name__}: {error}"})
        else:
            await self._finish(errand)
            self._log.info("TLS report sent", **facts)

    async def _finish(self, errand: Errand) -> None:
        """Record the end of an errand, also where the disk is full just now: nobody wants a report each minute."""
        key = errand.report.report_id, str(errand.place)
        self._finished.add(key)
        if await self._ledger.done(errand):
            self._finished.discard(key)

    async def _put_off(self, errand: Errand, facts: dict[str, str]) -> None:
        again = self._clock() + min(_FIRST_PAUSE * 2.0**errand.tries, _LONGEST_PAUSE)
        if again > errand.made + GIVEN_UP_AFTER:
            await self._finish(errand)
            self._log.warning("TLS report given up", **facts)
        else:
            await self._ledger.put_off(errand, again)
            self._log.info("TLS report not sent, tried again later", **facts)

    async def _mail(self, report: Report, place: MailPlace) -> str:
        options = self._office.options
        keys = self._office.keys(options.signing_domain)
        if not keys:
            domain = options.signing_domain
            raise NotSent(f"reports by mail have to be signed; make a key: valija dkim create {domain}")
        now = self._clock()
        mail = ReportMail(
            sender=options.sender,
            recipient=place.address,
            submitter=self._office.sender.submitter,
            domain=report.domain,
            date=report.date_range.start_datetime[:10],
            report_id=report.report_id,
            sessions=report.sessions,
            filename=report_filename(report),
            document=_compressed(report),
        )
        content = Content.of(signed_report(report_mail(mail, now=now, unique=self._unique()), keys, now))
        # No report on a report: nobody could do anything about it, and it would tell of itself.
        envelope = Envelope("", (Recipient(place.address, Notify.NEVER),), tls_optional=True)
        return await self._office.enqueue(
            NewMessage(envelope, content, Origin("local", now, rule=f"TLS report {report.report_id}"))
        )

    async def _post(self, report: Report, place: HttpsPlace) -> None:
        if self._https is None:
            self._https = await asyncio.to_thread(self._office.https)
        from valija.dns.https import HttpsFailed  # by now it is there

        try:
            status = await self._https.post(place.url, _compressed(report), _MEDIA_TYPE, patience=POST_PATIENCE)
        except HttpsFailed as failed:
            raise NotSent(str(failed)) from None
        if not 200 <= status < 300:
            raise NotSent(f"it answers {status}")


def _is_wished(tallied: tuple[int, str], wishes: Sequence[Wish]) -> bool:
    return any(wish.covers(tallied) for wish in wishes)


async def _each(work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    """Do some work on all items, _AT_ONCE of them at once."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with room:
            await work(item)

    await asyncio.gather(*(one(item) for item in items))


def due_time(day: int, domain: str, hostname: str) -> float:
    """Return when a domain's day is to be reported: within SPREAD after its end, as if by chance."""
    chance = blake2b(f"{day} {domain} {hostname}".encode(), digest_size=8).digest()
    return (day + 1) * DAY + HEAD_START + (SPREAD - HEAD_START) * int.from_bytes(chance) / 2**64


def _compressed(report: Report) -> bytes:
    return gzip.compress(report_json(report), mtime=0)
