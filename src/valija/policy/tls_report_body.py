"""The report about a day's sessions with a domain's hosts, as RFC 8460 section 4.4 wants it: JSON, made of counts.

    counts = [Counted(TlsResult("example.net", "sts", lines, ("mx.example.net",)), 5326), ...]
    report = build_report("example.net", 19_700, counts, sender, "2023-12-09.5f3a")
    report_json(report)                # the octets that are compressed and sent
    report_filename(report)            # "example.org!example.net!1702080000!1702166399!5f3a.json.gz"

A day is a number of whole days since the epoch, in UTC. Successes and failures are given for each policy that held.
Whatever comes from a peer is cut and made printable before it is counted: see `told`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from valija.content.compose import printable
from valija.mail.address import domain_of
from valija.policy.tls_report import SUCCESS, PolicyType, ResultType, TlsResult

DAY: Final = 86_400
"""Seconds of a day."""

MOST_LINES: Final = 100
"""Lines of a policy, and patterns of host names, that a report quotes."""

_LONGEST_DETAIL: Final = 300  # characters
_LONGEST_LINE: Final = 1000


class Sender(msgspec.Struct, frozen=True):
    """Who reports: its name, and the address that answers questions. The address's domain is the submitter."""

    organization: str
    contact: str

    @property
    def submitter(self) -> str:
        """The domain that reports (RFC 8460 section 5.3)."""
        return domain_of(self.contact)


class Counted(msgspec.Struct, frozen=True):
    """How many sessions ended in the same way."""

    result: TlsResult
    sessions: int


class _Json(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """A part of the document: field names with hyphens, and nothing where there is nothing to say."""


class DateRange(msgspec.Struct, frozen=True, rename="kebab"):
    """The day, its first and last second."""

    start_datetime: str
    end_datetime: str


class Policy(_Json, frozen=True):
    """What held for the sessions."""

    policy_type: PolicyType
    policy_domain: str
    policy_string: tuple[str, ...] = ()
    mx_host: tuple[str, ...] = ()


class Summary(msgspec.Struct, frozen=True, rename="kebab"):
    """How many sessions were as the policy wants them, and how many not."""

    total_successful_session_count: int
    total_failure_session_count: int


class FailureDetails(_Json, frozen=True):
    """Sessions that failed in the same way."""

    result_type: ResultType
    failed_session_count: int
    sending_mta_ip: str = ""
    receiving_mx_hostname: str = ""
    receiving_ip: str = ""
    failure_reason_code: str = ""


class PolicyResult(msgspec.Struct, frozen=True, rename="kebab"):
    """A policy and what came of the sessions under it."""

    policy: Policy
    summary: Summary
    failure_details: tuple[FailureDetails, ...]


class Report(msgspec.Struct, frozen=True, rename="kebab"):
    """The whole document."""

    organization_name: str
    date_range: DateRange
    contact_info: str
    report_id: str
    policies: tuple[PolicyResult, ...]

    @property
    def domain(self) -> str:
        """The domain that is told."""
        return self.policies[0].policy.policy_domain

    @property
    def sessions(self) -> tuple[int, int]:
        """All sessions, and those that failed."""
        failed = sum(each.summary.total_failure_session_count for each in self.policies)
        good = sum(each.summary.total_successful_session_count for each in self.policies)
        return good + failed, failed


def told(result: TlsResult) -> TlsResult:
    """Return a result as it is counted: of a success only the policy matters, and no text is without bounds."""
    lines = tuple(printable(line, _LONGEST_LINE) for line in result.policy[:MOST_LINES])
    host = (result.host,) if result.policy_type == "tlsa" and result.host else ()  # its policy is that host's own
    patterns = result.mx_patterns[:MOST_LINES] or host
    if result.result == SUCCESS:
        return TlsResult(result.domain, result.policy_type, lines, patterns)
    return msgspec.structs.replace(
        result, policy=lines, mx_patterns=patterns, detail=printable(result.detail, _LONGEST_DETAIL)
    )


def build_report(domain: str, day: int, counts: Iterable[Counted], sender: Sender, unique: str) -> Report:
    """Return the report on a domain's day. `unique` tells it from others: letters and digits."""
    by_policy: dict[Policy, list[Counted]] = {}
    for counted in counts:
        result = counted.result
        policy = Policy(result.policy_type, domain, result.policy, result.mx_patterns)
        by_policy.setdefault(policy, []).append(counted)
    return Report(
        sender.organization,
        DateRange(_date_time(day * DAY), _date_time(day * DAY + DAY - 1)),
        sender.contact,
        f"{date_of(day)}.{unique}@{sender.submitter}",
        tuple(_policy_result(policy, those) for policy, those in by_policy.items()),
    )


def _policy_result(policy: Policy, counts: Sequence[Counted]) -> PolicyResult:
    failures = [counted for counted in counts if counted.result.result != SUCCESS]
    failed = sum(counted.sessions for counted in failures)
    succeeded = sum(counted.sessions for counted in counts) - failed
    ordered = sorted(failures, key=lambda counted: -counted.sessions)
    return PolicyResult(policy, Summary(succeeded, failed), tuple(map(_failure, ordered)))


def _failure(counted: Counted) -> FailureDetails:
    result = counted.result
    return FailureDetails(
        result.result, counted.sessions, result.sending_address, result.host, result.address, result.detail
    )


def report_json(report: Report) -> bytes:
    """Return the document (RFC 8460 section 4.4)."""
    return msgspec.json.encode(report)


def parse_report(document: bytes) -> Report:
    """Return the report in a document of ours."""
    return msgspec.json.decode(document, type=Report)


def report_filename(report: Report) -> str:
    """Return the name of the compressed document (RFC 8460 section 5.1)."""
    submitter = domain_of(report.contact_info)
    unique = report.report_id.partition("@")[0].rpartition(".")[2]
    start, end = _seconds(report.date_range.start_datetime), _seconds(report.date_range.end_datetime)
    return f"{submitter}!{report.domain}!{start}!{end}!{unique}.json.gz"


def date_of(day: int) -> str:
    """Return a day as a date, `2026-11-25`."""
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def _date_time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
