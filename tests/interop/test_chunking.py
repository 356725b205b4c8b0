"""Small messages in one flight, to a real Postfix that announces CHUNKING: each recipient gets what it should."""

import asyncio
import re
import smtplib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.deliver.setting import job_for, sending, states
from tests.interop.postfix import DEADLINE, DOMAIN, Postfix, need_postfix
from valija.mail.job import Job, Route
from valija.mail.outcome import Outcome, State

pytestmark = pytest.mark.interop

DOTS = b"\r\n.\r\n..\r\n...x\r\n\r\n.\r\nEND\r\n"
REFUSALS = "inline:{{no@postfix.example=550 5.1.1 unknown}, {later@postfix.example=450 4.7.1 greylisted}}"
SETTINGS = {
    "smtpd_recipient_restrictions": f"check_recipient_access {REFUSALS}, permit",
    "header_checks": "regexp:{{/^Subject: spam/ REJECT spam}}",
    "smtpd_junk_command_limit": "3",  # the RSET in front of each message must not count against us
}


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    need_postfix()
    with Postfix(SETTINGS) as running:
        with smtplib.SMTP(running.host, running.port) as client:
            client.ehlo()
            assert client.has_extn("chunking")
        yield running


def job(postfix: Postfix, *recipients: str, content: bytes = b"Subject: 0\r\n" + DOTS) -> Job:
    route = Route("remote", postfix.host, postfix.port, lookup_mx=False, is_relayhost=True)
    return job_for(*(f"{name}@{DOMAIN}" for name in recipients), content=content, route=route)


def deliver(postfix: Postfix, jobs: Sequence[Job]) -> list[list[Outcome]]:
    """Deliver over one connection, in this order."""

    async def main() -> list[list[Outcome]]:
        options: dict[str, Any] = {"tls_security_level": "none", "destination_concurrency_limit": 1}
        async with sending(port=postfix.port, **options) as sender:
            return list(await asyncio.gather(*(sender.deliver(one) for one in jobs)))

    return asyncio.run(main())


def mail(postfix: Postfix, count: int) -> list[bytes]:
    """Wait until there are so many messages, and return and remove them."""
    end = time.monotonic() + DEADLINE
    while len(found := list(postfix.mailbox.glob("*"))) < count:
        assert time.monotonic() < end, postfix.log_text
        time.sleep(0.02)
    contents = [path.read_bytes().replace(b"\n", b"\r\n") for path in found]
    for path in found:
        path.unlink()
    return contents


def test_one_flight_after_the_other_in_one_session(postfix: Postfix) -> None:
    contents = [b"Subject: %d\r\n" % number + DOTS for number in range(40)]
    outcomes = deliver(postfix, [job(postfix, "bob", content=content) for content in contents])
    assert [states(one) for one in outcomes] == [[State.DELIVERED]] * 40
    arrived = mail(postfix, 40)
    assert all(content.endswith(DOTS) for content in arrived)
    subjects = sorted(int(re.findall(rb"(?m)^Subject: (\d+)", content)[0]) for content in arrived)
    assert subjects == list(range(40))
    assert re.search(r"disconnect from .* bdat=40 ", postfix.log_text), postfix.log_text


def test_what_is_refused_harms_nobody_else(postfix: Postfix) -> None:
    outcomes = deliver(
        postfix,
        [
            job(postfix, "no", "later"),
            job(postfix, "a", "no", "later", "b"),
            job(postfix, "bob", content=b"Subject: spam\r\n\r\nx\r\n"),
            job(postfix, "later", "no"),
            job(postfix, "bob"),
        ],
    )
    failed, deferred, delivered = State.FAILED, State.DEFERRED, State.DELIVERED
    assert [states(one) for one in outcomes] == [
        [failed, deferred],
        [delivered, failed, deferred, delivered],
        [failed],
        [deferred, failed],
        [delivered],
    ]
    assert [str(one.reply)[:9] for one in outcomes[0]] == ["550 5.1.1", "450 4.7.1"]
    assert "spam" in outcomes[2][0].reply.text
    assert len(mail(postfix, 3)) == 3


def test_a_postfix_that_ends_the_session_early_loses_nothing(postfix: Postfix) -> None:
    jobs = [job(postfix, *(f"{number}-{name}" for name in "abc"), "no") for number in range(10)]
    outcomes = deliver(postfix, jobs)  # 10 refused recipients: smtpd_error_limit is far, its sleeps are near
    assert [states(one) for one in outcomes] == [[State.DELIVERED] * 3 + [State.FAILED]] * 10
    assert len(mail(postfix, 30)) == 30
