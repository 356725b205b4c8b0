"""A message's story is told from the log's lines and the caught content."""

import os
from io import BytesIO

import pytest

from valija.demo.sink import Caught
from valija.demo.story import LogLine, Story, read_line
from valija.logs import LogBuffer, build_log

ACCEPTED = "2026-11-25T02:30:14.123Z info  accepted  queue_id=3f2a login=demo@example.org tls_version=TLSv1.3"
DELIVERED = (
    "2026-11-25T02:30:14.130Z info  attempt  queue_id=3f2a recipient=you@example.net outcome=delivered "
    "remote=sink.localhost tls=encrypted tls_version=TLSv1.3"
)
CONTENT = (
    b"Received: from x (localhost [127.0.0.1]) by localhost with ESMTPSA id 3f2a;\r\n Wed, 25 Nov 2026\r\n"
    b"From: demo@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nHello\x1b[2J\r\nthere\r\n"
)


def _tell(*lines: str, caught: bool = False) -> list[str]:
    told: list[str] = []
    story = Story(told.append)
    if caught:
        story.catch(Caught("demo@example.org", ("you@example.net",), CONTENT, "TLSv1.3"))
    for line in lines:
        story.hear(line)
    return told


def test_reads_what_the_log_writes() -> None:
    reading, writing = os.pipe()
    buffer = LogBuffer(writing)
    build_log("info", "text", buffer).info("two words", plain="a@b", odd='quote " and = and \\ blank', none=None)
    buffer.flush()
    os.close(writing)
    with open(reading, "rb") as pipe:
        line = BytesIO(pipe.read()).getvalue().decode()
    assert read_line(line) == LogLine("two words", {"plain": "a@b", "odd": 'quote " and = and \\ blank', "none": "-"})


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):", '2026 info  x  a="open', "\x00"])
def test_other_lines_are_none_of_its_business(line: str) -> None:
    assert _tell(line) == []


def test_one_line_says_it_all() -> None:
    line, view = _tell(ACCEPTED, DELIVERED, caught=True)
    assert line == (
        "3f2a delivered to you@example.net (in over TLSv1.3, logged in: demo@example.org; out over TLSv1.3)"
    )
    assert view.splitlines() == [
        "    | From: demo@example.org",
        "    | Subject: café",
        "    |",
        "    | Hello?[2J",
        "    | there",
    ]


def test_a_deferral_has_its_reason() -> None:
    (line,) = _tell(
        ACCEPTED,
        "2026-11-25T02:30:14.130Z info  attempt  queue_id=3f2a recipient=you@example.net outcome=deferred "
        'remote=sink.localhost tls=none tls_version="" reply="451 4.3.0 later"',
    )
    assert line.startswith("3f2a deferred to you@example.net ")
    assert line.endswith(": 451 4.3.0 later")


def test_mail_for_a_hosted_user_stays() -> None:
    (line,) = _tell(
        ACCEPTED,
        "2026-11-25T02:30:14.130Z info  attempt  queue_id=3f2a recipient=demo@example.org outcome=delivered "
        'remote="" tls=none tls_version=""',
    )
    assert line == "3f2a delivered to demo@example.org (in over TLSv1.3, logged in: demo@example.org; kept here)"
