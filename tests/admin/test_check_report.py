"""The report for people: a golden page, colours for terminals only, and nothing that could take a terminal over."""

from pathlib import Path

import pytest

from valija.admin.check_report import columns, grant_lines, report_lines, summary
from valija.admin.findings import Finding, failure, fine, unknown, warning
from valija.policy.relay_proof import Grant

GOLDEN = Path(__file__).parent.parent / "golden" / "check" / "report.txt"

FINDINGS = [
    fine("configuration", "/etc/valija/valija.toml is sound; this server is mail.example.org"),
    failure("ports", "smtpd 0.0.0.0:25: master (process 812) listens there", "stop that one, or choose another port"),
    fine("ports", "submission 0.0.0.0:587: free"),
    fine("dkim", "mail of example.org is signed by s1"),
    fine("relay", "nobody outside can relay without a login, whatever the address"),
    unknown("spf", "the SPF record of example.org cannot be looked up: SERVFAIL"),
    warning("dkim", "s1._domainkey.example.org is not published", "publish what valija dkim list example.org prints"),
]

RELAY = [
    Grant("smtpd", "127.0.0.0/8", "none", "anywhere", "mynetworks 127.0.0.0/8"),
    Grant("smtpd", "all others", "none", "example.org", "hosted domains"),
    Grant("submission", "all", "none", "nowhere"),
    Grant("submission", "all", "a user's", "anywhere", "a login"),
]


def test_the_page() -> None:
    page = "\n".join([*report_lines(FINDINGS, RELAY, styled=False), "", summary(FINDINGS), ""])
    assert page == GOLDEN.read_text()


def test_colours_are_all_that_a_terminal_gets_more() -> None:
    plain = list(report_lines(FINDINGS, RELAY, styled=False))
    styled = list(report_lines(FINDINGS, RELAY, styled=True))
    assert "\x1b[1;31mFAILURE\x1b[0m" in "".join(styled)
    assert not any("\x1b" in line for line in plain)
    for code in ("1", "32", "33", "36", "1;31"):
        styled = [line.replace(f"\x1b[{code}m", "") for line in styled]
    assert [line.replace("\x1b[0m", "") for line in styled] == plain


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202eevil", "\x9b2J"])
def test_what_comes_from_the_dns_is_shown_harmless(hostile: str) -> None:
    lines = list(report_lines([Finding("warning", "host", f"is {hostile}", f"not {hostile}")], [], styled=True))
    assert len(lines) == 3
    assert not any(hostile in line for line in lines)


@pytest.mark.parametrize(
    ("grades", "words"),
    [
        (["ok"], "1 ok"),
        (["failure", "ok", "ok"], "1 failure, 2 ok"),
        (["warning", "unknown", "warning", "failure", "failure", "unknown"], "2 failures, 2 warnings, 2 unknown"),
        ([], ""),
    ],
)
def test_the_last_line(grades: list[str], words: str) -> None:
    assert summary([Finding(grade, "x", "y") for grade in grades]) == words  # type: ignore[arg-type]  # they are grades


def test_columns() -> None:
    assert columns(("a", "bb"), [("long", ""), ("", "x")]) == ["a     bb", "long", "      x"]
    assert grant_lines([]) == []
