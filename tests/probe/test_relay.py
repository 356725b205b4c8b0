"""The forms of relaying, and what an answer to one of them means."""

import pytest

from valija.mail.reply import Reply
from valija.probe.judgement import Question
from valija.probe.relay import Answers, judge_form
from valija.probe.relay_forms import Form, relay_forms

FORMS = relay_forms(
    outside="victim@remote.example", own="local.example", literal="[192.0.2.1]", sender="a@evil.example"
)
OK = Reply(250, "2.1.0", "ok")
QUESTION = Question("smtp-relay-x", "x", 25)
TO_OUTSIDE = Form("relay-x", "x", "<a@evil.example>", "<victim@remote.example>")
TO_HERE = Form("relay-x", "x", "<a@evil.example>", "<victim%remote.example@local.example>", "here")
BY_SENDER = Form("relay-x", "x", "<>", "<victim@remote.example>", about_sender=True)


def test_c062_every_classic_form_is_there() -> None:
    recipients = {form.recipient for form in FORMS}
    assert recipients >= {
        "<victim%remote.example@local.example>",
        '<"victim%remote.example">',
        "<victim@remote.example@>",
        '<"victim@remote.example"@local.example>',
        "<remote.example!victim@local.example>",
        "<@local.example:victim@remote.example>",
        "<victim@remote.example@local.example>",
        "<victim@[127.0.0.1]>",
        "<victim@[IPv6:::1]>",
        "<victim@localhost>",
        "victim@remote.example",
        "<victim@remote.example.>",
    }
    assert len({form.id for form in FORMS}) == len(FORMS) == 30
    assert {form.sender for form in FORMS} >= {"<>", "<postmaster@local.example>", "<a@evil.example>"}


def test_no_form_is_two_commands() -> None:
    assert all((form.sender + form.recipient).isprintable() for form in FORMS)


def verdict(form: Form, rcpt: Reply | None, mail: Reply = OK, *, trusted: bool = False, catch_all: bool = False) -> str:
    said = Answers(mail, rcpt, ("C: RCPT",))
    return judge_form(QUESTION, form, said, trusted=trusted, catch_all=catch_all).verdict


@pytest.mark.parametrize(
    ("form", "rcpt", "expected"),
    [
        (TO_OUTSIDE, OK, "bad"),
        (TO_OUTSIDE, Reply(251, "", "will forward"), "bad"),
        (TO_HERE, OK, "bad"),
        (TO_OUTSIDE, Reply(554, "5.7.1", "Relay access denied"), "good"),
        (TO_OUTSIDE, Reply(454, "4.7.1", "Relay access denied"), "good"),
        (TO_OUTSIDE, Reply(550, "", "relaying not permitted"), "good"),
        (TO_HERE, Reply(550, "5.1.1", "unknown"), "good"),
        (TO_OUTSIDE, Reply(450, "4.7.1", "greylisted"), "unknown"),
        (TO_OUTSIDE, Reply(556, "5.1.10", "null MX"), "unknown"),
        (TO_HERE, Reply(550, "5.1.2", "bad domain"), "good"),
    ],
)
def test_what_a_reply_to_rcpt_means(form: Form, rcpt: Reply, expected: str) -> None:
    assert verdict(form, rcpt) == expected


def test_a_sender_that_is_refused() -> None:
    refused = Reply(553, "5.7.1", "not you")
    assert verdict(BY_SENDER, None, refused) == "good"
    assert verdict(TO_OUTSIDE, None, refused) == "unknown"
    assert verdict(BY_SENDER, None, Reply(451, "4.7.1", "later")) == "unknown"


def test_what_proves_nothing() -> None:
    assert verdict(TO_HERE, OK, catch_all=True) == "unknown"
    assert verdict(TO_OUTSIDE, OK, catch_all=True) == "bad"
    assert verdict(TO_OUTSIDE, OK, trusted=True) == "unknown"
    assert judge_form(QUESTION, TO_OUTSIDE, None, trusted=False, catch_all=False).verdict == "unknown"
