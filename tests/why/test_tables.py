"""Each trouble has a remedy, each remedy names what there is, and each refusal has its judgement."""

import re
from pathlib import Path

import click
import pytest

from tests.config.facts import FACTS
from tests.why.histories import events
from valija.cli.main import cli
from valija.config.document import Document
from valija.config.tables import build
from valija.content.trouble import Trouble
from valija.history.lines import Event
from valija.why import refusals
from valija.why.refusals import judge
from valija.why.remedies import REMEDIES

RSPAMD = ("", "reject", "soft reject", "not scanned: no answer within 15 s")
REPLIES = (
    "554 5.7.1 x",
    "451 4.7.1 x",
    "550 5.1.1 x",
    "550 5.7.13 x",
    "450 4.7.28 x",
    "552 5.3.4 x",
    "554 5.4.6 x",
    "452 4.3.1 x",
)
MILTER = ("", "refused by inet:127.0.0.1:8891", "not asked: inet:127.0.0.1:8891")
CHECKS = (*refusals._CHECKS, "another")


def every_text() -> list[str]:
    lines = [
        Event(
            0.0,
            "info",
            event,
            {
                "reply": reply,
                "login": login,
                "client": "192.0.2.1",
                "check": check,
                "dmarc": dmarc,
                "rspamd": rspamd,
                "milter": milter,
            },
        )
        for event in refusals._JUDGES
        for reply in REPLIES
        for login in ("", "alice@example.org")
        for check in CHECKS
        for dmarc in ("", "fail")
        for rspamd in RSPAMD
        for milter in MILTER
    ]
    judged = [judgement for line in lines if (judgement := judge(line))]
    assert len(judged) == len(lines)
    return [*REMEDIES.values(), *(text for judgement in judged for text in judgement)]


def test_every_trouble_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Trouble)


def test_every_command_that_is_named_is_there() -> None:
    named = {found for text in every_text() for found in re.findall(r"`valija ([a-z-]+)(?: ([a-z-]+))?", text)}
    assert len(named) > 8
    for group, command in named:
        found = cli.commands[group]
        if isinstance(found, click.Group):
            assert command in found.commands, (group, command)


def test_every_setting_that_is_named_is_there() -> None:
    document = Document("", {})
    build(document, Path("/"), FACTS)
    known = {(setting.table, setting.key) for setting in document.settings()}
    tables = {table for table, _ in known}
    for text in every_text():
        for table, key in re.findall(r"(?<!\[)\[([a-z.]+)\](?!\])(?: ([a-z_]+))?", text):
            assert table in tables, text
            if "_" in key:
                assert (table, key) in known, text
        for table in re.findall(r"\[\[([a-z.]+)\]\]", text):
            assert table in tables, text


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            'recipient refused  recipient=ghost@example.org reply="550 5.1.1 <ghost@example.org>: User unknown"',
            "no account",
        ),
        (
            'sender refused  login=alice@example.org reverse_path=<bob@x> reply="550 5.7.1 no"',
            "tried to send as <bob@x>",
        ),
        ('sender refused  login="" reverse_path=<bob@x> reply="550 5.7.1 no"', "had not logged in"),
        ('content refused  login=alice@example.org reply="550 5.7.1 bob@x is not yours"', "tried to send as"),
        ('content refused  login="" reply="550 5.7.1 no" spf=fail dkim=none dmarc=fail author=x.example', "DMARC"),
        (
            'content refused  login="" reply="550 5.7.1 no" dmarc=fail rspamd=reject rspamd_score=15.00/15.00',
            "15.00/15",
        ),
        ('content refused  login="a@b" reply="550 5.7.1 no" rspamd=reject rspamd_symbols=GTUBE', "by the rules GTUBE"),
        (
            'content refused  login="a@b" reply="550 5.7.1 no" rspamd=reject milter="refused by inet:127.0.0.1:1"',
            "The filter at inet:127.0.0.1:1 refused it: 550 5.7.1 no",
        ),
        (
            'content refused  login="a@b" reply="451 4.7.1 no" milter="not asked: unix:/run/m.sock"',
            "at unix:/run/m.sock could not be asked",
        ),
        ('content refused  login="" reply="451 4.7.1 no" rspamd="soft reject"', "come again later"),
        (
            'content refused  login="" reply="451 4.7.1 no" rspamd="not scanned: no connection"',
            "asked about it: no con",
        ),
        ('content refused  login="" reply="550 5.7.1 no" rspamd="no action"', "It was refused here: 550 5.7.1 no"),
        ('content refused  login="" reply="554 5.4.6 Too many hops"', "goes round in circles"),
        ('content refused  login="" reply="451 4.7.1 hm"', "It was refused here: 451 4.7.1 hm"),
        ('refused by a check  check=dnsbl client=192.0.2.1 reply="550 5.7.1 listed"', "[192.0.2.1] is on a block list"),
        ("login frozen  login=alice@example.org", "The account alice@example.org is frozen"),
        ('login unavailable  reason="no answer in time"', "no answer in time"),
        ("login throttled  client=192.0.2.1", "too many wrong passwords from [192.0.2.1]"),
        ("client turned away  client=192.0.2.1", "too many connections"),
    ],
)
def test_the_likely_cause(line: str, cause: str) -> None:
    judgement = judge(events(f"2026-11-25T04:38:48.608Z info  {line}\n")[0])
    assert judgement is not None
    assert cause in judgement.cause


def test_what_is_no_refusal_is_not_judged() -> None:
    assert judge(events("2026-11-25T04:38:48.608Z info  accepted  queue_id=x\n")[0]) is None
