"""What single answers mean, and how the whole is told to people."""

import pytest

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.logins import judge_login_in_clear, judge_mail_without_login
from valija.probe.manners import judge_names_told
from valija.probe.names import Names, judge_address, judge_reverse
from valija.probe.report import port_lines, summary
from valija.probe.seen import Seen
from valija.probe.smuggling import judge_replies
from valija.probe.starttls import judge_injection
from valija.probe.target import Target
from valija.probe.wire import Gone, NotOpened, Silent
from valija.smtp.client_capabilities import Capabilities

QUESTION = Question("smtp-x", "x", 25)
OK = Reply(250, "", "ok")
BYE = Reply(221, "", "bye")


@pytest.mark.parametrize(
    ("reply", "offered", "expected"),
    [
        (Reply(235, "", "welcome"), False, "bad"),
        (Reply(334, "", ""), True, "bad"),
        (Reply(535, "5.7.8", "wrong"), True, "bad"),
        (Reply(535, "5.7.8", "wrong"), False, "warning"),
        (Reply(454, "4.7.0", "later"), False, "unknown"),
        (Reply(538, "5.7.11", "encrypt"), False, "good"),
        (Reply(530, "5.7.0", "STARTTLS"), False, "good"),
        (Reply(502, "", "no AUTH"), False, "good"),
    ],
)
def test_a_login_in_clear(reply: Reply, offered: bool, expected: str) -> None:
    assert judge_login_in_clear(QUESTION, reply, ["S"], offered=offered).verdict == expected


@pytest.mark.parametrize(
    ("codes", "trusted", "expected"),
    [
        ([530], False, "good"),
        ([554, 554], False, "good"),
        ([554, 250], False, "bad"),
        ([250, 250], True, "unknown"),
        ([450, 450], False, "unknown"),
        ([450, 550], False, "good"),
    ],
)
def test_mail_without_a_login(codes: list[int], trusted: bool, expected: str) -> None:
    replies = [Reply(code, "", "x") for code in codes]
    assert judge_mail_without_login(QUESTION, replies, ["S"], trusted=trusted).verdict == expected


def test_more_answers_than_questions() -> None:
    assert judge_injection(QUESTION, [OK, BYE], ()).verdict == "good"
    assert judge_injection(QUESTION, [OK, OK, BYE], ()).verdict == "bad"
    assert judge_replies(QUESTION, [OK, BYE], ()).verdict == "good"
    assert judge_replies(QUESTION, [Reply(521, "", "bare LF")], ()).verdict == "good"
    assert judge_replies(QUESTION, [Reply(554, "", "no"), Reply(421, "", "bye")], ()).verdict == "good"
    assert judge_replies(QUESTION, [OK, Reply(500, "", "what?"), BYE], ()).verdict == "bad"


@pytest.mark.parametrize(
    ("known", "stray", "expected"),
    [(250, 550, "warning"), (252, 550, "warning"), (250, 250, "warning"), (252, 252, "good"), (502, 502, "good")],
)
def test_names_told(known: int, stray: int, expected: str) -> None:
    assert judge_names_told(QUESTION, [Reply(known, "", ""), Reply(stray, "", "")], ()).verdict == expected


def test_the_end_of_a_session_is_a_refusal_only_where_there_was_one() -> None:
    assert QUESTION.ended(Gone("the server closed the connection")).verdict == "good"
    assert QUESTION.ended(NotOpened("connection refused")).verdict == "unknown"
    assert QUESTION.ended(Silent("no answer within 10 s")).verdict == "unknown"


def test_names_in_the_dns() -> None:
    target = Target(host="mx.example.net", address="192.0.2.1", name="", ehlo="me", ports={"smtp": 25})
    seen = Seen("smtp", 25, "220 mx", "mx.example.net", Capabilities(), None)
    assert judge_address(QUESTION, target, seen, Names(addresses=("192.0.2.1",))).verdict == "good"
    assert judge_address(QUESTION, target, seen, Names(addresses=("192.0.2.2",))).verdict == "warning"
    assert judge_address(QUESTION, target, seen, Names(addresses=None)).verdict == "unknown"
    assert judge_reverse(QUESTION, Names(reverse=("mx.example.net",))).verdict == "good"
    assert judge_reverse(QUESTION, Names(reverse=())).verdict == "warning"
    assert judge_reverse(QUESTION, Names()).verdict == "unknown"


def test_the_report() -> None:
    relay = [Question(f"smtp-relay-{n}", f"no relaying: way {n}", 25) for n in range(4)]
    judgements: list[Judgement] = [
        QUESTION.good(("S: fine",)),
        relay[0].good(),
        relay[1].good(),
        relay[2].bad(("C: RCPT", "S: 250 ok"), "close it"),
        relay[3].bad(("C: RCPT", "S: 250 ok"), "close it"),
        QUESTION.not_tested("no recipient"),
        QUESTION.not_tested("no recipient"),
    ]
    assert list(port_lines("smtp", 25, judgements)) == [
        "smtp 25",
        "  good       x",
        "  good       no relaying: 2 ways of it are refused",
        "  BAD        no relaying: way 2",
        "             C: RCPT",
        "             S: 250 ok",
        "             so too: way 3",
        "             -> close it",
        "  not tested 2 tests: no recipient",
    ]
    assert summary(judgements) == "3 good, 2 bad, 2 not tested"
