"""valija tls-report: what other domains will be told about TLS with their servers."""

import os
import time
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import click

from valija.cli.frame import Call, Refusal, command, rfc3339
from valija.mail.address import AddressError, normalise_domain

if TYPE_CHECKING:
    from valija.config import Config
    from valija.logs import Log
    from valija.policy.tls_report_body import Report
    from valija.tls_reports.ledger import Errand, Tallied


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "tls-report")
    @click.argument("domain", required=False)
    @click.option("--date", "day", metavar="DATE", help="One day alone, such as 2026-11-25 (UTC).")
    @click.option("--send", is_flag=True, help="Have the running server send it now, also where the day is not over.")
    def tls_report(call: Call, domain: str | None, day: str | None, send: bool) -> None:
        """Show what was counted about TLS with the servers of DOMAIN, or of all, and the reports under way."""
        import asyncio

        from valija.cli.server import ask

        name, number = _domain(domain), _day(day)
        config = call.enter()
        if send:
            ask(call, "tls-report", domain=name, day=number)
            call.answer({"asked": True}, ["the server sends what there is; its log tells what becomes of it"])
            return
        if not config.tls_report.is_on:
            call.note("nothing is counted: [tls_report] is not enabled, or no domain is hosted here")
        places = asyncio.run(_places(config, name)) if name else None
        tallied, errands = _look(call, config, name, number)
        call.answer(_as_json(config, tallied, errands, places), _lines(config, tallied, errands, places))


def _domain(written: str | None) -> str:
    try:
        return normalise_domain(written) if written else ""
    except AddressError as error:
        raise Refusal(f"{written!r} is no domain: {error}") from None


def _day(written: str | None) -> int | None:
    """Return a date as days since the epoch."""
    try:
        return (date.fromisoformat(written) - date(1970, 1, 1)).days if written else None
    except ValueError:
        raise click.UsageError(f"{written!r} is no date: write it as 2026-11-25") from None


class _Notes:
    """What stands for a log here: what is wrong with the file is said beside the answer."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def error(self, event: str, **facts: object) -> None:
        self._call.note(f"{event}: {', '.join(map(str, facts.values()))}")


def _look(call: Call, config: "Config", domain: str, day: int | None) -> "tuple[list[Tallied], list[Errand]]":
    from valija.tls_reports.ledger import Ledger

    if not config.tls_report_file.exists():
        return [], []
    ledger = Ledger(config.tls_report_file, cast("Log", _Notes(call)))
    try:
        tallied = ledger.look(domain, day)
        errands = [errand for errand in ledger.under_way() if domain in ("", errand.report.domain)]
    finally:
        ledger.close()
    return tallied, errands if day is None else [errand for errand in errands if _day_of(errand.report) == day]


def _day_of(report: "Report") -> int | None:
    return _day(report.date_range.start_datetime[:10])


async def _places(config: "Config", domain: str) -> list[str] | None:
    """Return where a domain wants its reports; None where nobody could say."""
    from valija.dns.caching import CachingResolver
    from valija.dns.resolver import Status
    from valija.logs import LogBuffer, build_log
    from valija.policy.tls_report_record import report_places

    silence = LogBuffer(os.open(os.devnull, os.O_WRONLY))
    resolver = CachingResolver(config.dns, build_log("error", "text", silence))
    try:
        answer = await resolver.lookup(f"_smtp._tls.{domain}", "TXT")
    finally:
        await resolver.close()
    return None if answer.status is Status.FAILED else [str(place) for place in report_places(answer.records)]


def _report(config: "Config", tallied: "Tallied") -> "Report":
    """Return the report as it would be sent, but for its name."""
    from valija.policy.tls_report_body import Sender, build_report

    sender = Sender(config.tls_report.organization, config.tls_report.contact)
    return build_report(tallied.domain, tallied.day, tallied.counts, sender, "preview")


def _due(config: "Config", tallied: "Tallied") -> float:
    from valija.tls_reports.reporter import due_time

    return due_time(tallied.day, tallied.domain, config.hostname)


def _as_json(
    config: "Config", tallied: "list[Tallied]", errands: "list[Errand]", places: list[str] | None
) -> dict[str, Any]:
    return {
        "counted": [
            {
                "domain": each.domain,
                "date": _report(config, each).date_range.start_datetime[:10],
                "due": rfc3339(_due(config, each)),
                "report": _report(config, each),
            }
            for each in tallied
        ],
        "under_way": [
            {
                "domain": errand.report.domain,
                "place": str(errand.place),
                "tries": errand.tries,
                "due": rfc3339(errand.due),
                "report": errand.report,
            }
            for errand in errands
        ],
        "places": places,
    }


def _lines(
    config: "Config", tallied: "list[Tallied]", errands: "list[Errand]", places: list[str] | None
) -> Iterator[str]:
    for each in tallied:
        report = _report(config, each)
        yield f"{_heading(report)}; {_when(_due(config, each))}"
        yield from _details(report)
    for errand in errands:
        tries = f", {errand.tries} tries so far" if errand.tries else ""
        yield f"{_heading(errand.report)}; on its way to {errand.place}{tries}, due {rfc3339(errand.due)}"
        yield from _details(errand.report)
    if not tallied and not errands:
        yield "nothing is counted, and no report is under way"
    if places is not None:
        yield f"reports go to {', '.join(places)}" if places else "the domain does not ask for reports"


def _when(due: float) -> str:
    return f"to be reported at {rfc3339(due)}" if due > time.time() else "to be reported now"


def _heading(report: "Report") -> str:
    sessions, failed = report.sessions
    return f"{report.date_range.start_datetime[:10]}  {report.domain}  {sessions} sessions, {failed} failed"


def _details(report: "Report") -> Iterator[str]:
    for result in report.policies:
        summary = result.summary
        good, bad = summary.total_successful_session_count, summary.total_failure_session_count
        yield f"    {result.policy.policy_type}: {good} as it should be, {bad} failed"
        for failure in result.failure_details:
            where = " ".join(filter(None, (failure.receiving_mx_hostname, failure.receiving_ip)))
            why = f": {failure.failure_reason_code}" if failure.failure_reason_code else ""
            yield f"        {failure.failed_session_count} {failure.result_type} {where}".rstrip() + why
