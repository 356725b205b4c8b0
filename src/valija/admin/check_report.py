"""What was found, for people: grouped by topic, a line each, the remedy below it, and tables in columns.

for line in report_lines(findings, relay_table(config), styled=False):
    print(line)

certificate
  ok       /etc/ssl/mail.pem is for mail.example.org, valid until 2027-01-05
  WARNING  its chain does not lead to an authority that this machine trusts
           -> put the intermediate certificates behind it
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from valija.admin.findings import Finding, Grade
from valija.config.faults import printable
from valija.policy.relay_proof import Grant

_MARKS: Final[dict[Grade, str]] = {"ok": "ok", "warning": "WARNING", "failure": "FAILURE", "unknown": "unknown"}
_COLOURS: Final[dict[Grade, str]] = {"ok": "32", "warning": "33", "failure": "1;31", "unknown": "36"}
_WIDTH: Final = 7  # of the longest mark


def report_lines(findings: Sequence[Finding], relay: Sequence[Grant], *, styled: bool) -> Iterator[str]:
    """Yield the report's lines, safe to be printed; `styled` puts colours in, for a terminal."""
    for topic in dict.fromkeys(finding.topic for finding in findings):
        yield _style(topic, "1", styled)
        for finding in findings:
            if finding.topic == topic:
                yield from _finding_lines(finding, styled)
        if topic == "relay":
            yield from (f"  {' ' * _WIDTH}  {line}" for line in grant_lines(relay))


def _finding_lines(finding: Finding, styled: bool) -> Iterator[str]:
    mark = _style(f"{_MARKS[finding.grade]:{_WIDTH}}", _COLOURS[finding.grade], styled)
    yield f"  {mark}  {printable(finding.text)}"
    if finding.remedy:
        yield f"  {' ' * _WIDTH}  -> {printable(finding.remedy)}"


def summary(findings: Iterable[Finding]) -> str:
    """Return in words how many findings are of which grade; the good ones last."""
    grades = [finding.grade for finding in findings]
    counts = {grade: grades.count(grade) for grade in ("failure", "warning", "unknown", "ok")}
    return ", ".join(f"{count} {_plural(grade, count)}" for grade, count in counts.items() if count)


def _plural(grade: str, count: int) -> str:
    return f"{grade}s" if count != 1 and grade in ("failure", "warning") else grade


def _style(text: str, code: str, styled: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if styled else text


def grant_lines(grants: Sequence[Grant]) -> list[str]:
    """Return the table of who may send where, as lines; none where nobody can send anything."""
    rows = [(each.listener, each.clients, each.login, each.may_send_to, each.rule) for each in grants]
    return columns(("listener", "clients", "login", "may send to", "by"), rows) if rows else []


def columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines, each column as wide as its widest cell."""
    table = [tuple(titles), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
