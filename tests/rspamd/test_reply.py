"""What rspamd says, understood; what it never would say, survived."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.rspamd.reply import MOST_CHANGES, Addition, NoOpinion, Opinion, read_opinion


def opinion(**said: Any) -> Opinion:
    return read_opinion(json.dumps({"action": "no action", **said}).encode())


def test_an_answer_of_the_real_one() -> None:
    said = read_opinion(
        b'{"is_skipped":true,"score":15.0,"required_score":15.0,"action":"reject","symbols":{"GTUBE":{"name":"GTUBE",'
        b'"score":0.0,"metric_score":0.0}},"messages":{"smtp_message":"Gtube pattern"},"message-id":"undef",'
        b'"time_real":0.000366}'
    )
    assert said == Opinion("reject", 15.0, 15.0, ("GTUBE",), "Gtube pattern")


def test_fields_in_every_form() -> None:
    said = opinion(
        milter={
            "add_headers": {
                "X-Plain": "a",
                "X-Placed": {"value": "b", "order": 1},
                "X-Indexed": {"value": "c", "index": 0},
                "X-Many": ["d", {"value": "e", "order": 2}, {"order": 3}, None, 7],
                "X-Odd": {"value": 3},
                "X-Odder": {"value": "f", "order": "first"},
            },
            "remove_headers": {"X-All": 0, "X-Some": [1, -1, True, "2"], "X-Odd": "all"},
        }
    )
    assert said.additions == (
        Addition("X-Plain", "a"),
        Addition("X-Placed", "b", 1),
        Addition("X-Indexed", "c", 0),
        Addition("X-Many", "d"),
        Addition("X-Many", "e", 2),
        Addition("X-Odder", "f"),
    )
    assert said.removals == (("X-All", 0), ("X-Some", 1), ("X-Some", -1))


def test_signatures_stand_on_top() -> None:
    one = opinion(**{"dkim-signature": "v=1; a=rsa-sha256;\r\n\tb=..."})
    assert one.additions == (Addition("DKIM-Signature", "v=1; a=rsa-sha256;\r\n\tb=...", 0),)
    assert len(opinion(**{"dkim-signature": ["v=1", "v=1"]}).additions) == 2


def test_unwanted_mail_is_marked_and_marks_of_others_go() -> None:
    said = opinion(action="add header")
    assert said.additions == (Addition("X-Spam", "Yes", 0),)
    assert said.removals == (("X-Spam", 0),)
    assert opinion(action="add header", milter={"spam_header": "Very"}).additions == (Addition("X-Spam", "Very", 0),)
    named = opinion(action="add header", milter={"spam_header": {"X-Junk": "1", "X-Odd": 2}})
    assert (named.additions, named.removals) == ((Addition("X-Junk", "1", 0),), (("X-Junk", 0),))


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ({"action": "reject", "milter": {"reject": "quarantine"}}, "quarantine"),
        ({"action": "reject", "milter": {"reject": "discard"}}, "discard"),
        ({"action": "reject", "milter": {"reject": "rm -rf"}}, "reject"),
        ({"action": "reject", "milter": {"no_action": True}}, "no action"),
        ({"action": "reject", "milter": {"no_action": "true"}}, "reject"),
        ({"action": "add header", "milter": {"reject": "discard"}}, "add header"),
        ({"action": "of one's own\r\n"}, "of one's own\\x{D}\\x{A}"),
    ],
)
def test_what_is_to_be_done(said: dict[str, Any], action: str) -> None:
    assert opinion(**said).action == action


def test_the_subject_counts_where_it_is_to_be_rewritten() -> None:
    assert opinion(action="rewrite subject", subject="*** hi").subject == "*** hi"
    assert opinion(action="rewrite subject").subject is None
    assert opinion(subject="hi").subject is None


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("bounce@example.org", "bounce@example.org"),
        ("<bounce@example.org>", "bounce@example.org"),
        ("<>", ""),
        ("", None),
        ("nobody", None),
        ("a@b.example> SIZE=1", None),
        ("a@b.example>\r\nRCPT TO:<c@d.example", None),
        (7, None),
    ],
)
def test_another_reverse_path(written: object, path: str | None) -> None:
    assert opinion(milter={"change_from": written}).reverse_path == path


def test_the_rules_that_weigh_most_are_told() -> None:
    symbols: dict[str, Any] = {f"LOW_{number}": {"score": 0.1} for number in range(500)}
    symbols |= {"GOOD": {"score": -3.5}, "BAD\n": {"score": 9}, "N" * 500: {"score": 7.5}, "ODD": None, "TEXT": "x"}
    told = opinion(symbols=symbols).symbols
    assert told[:3] == ("BAD\\x{A}(9.00)", f"{'N' * 48}...(7.50)", "GOOD(-3.50)")
    assert len(told) == 10


def test_words_for_the_client_are_one_short_line() -> None:
    said = opinion(action="reject", messages={"smtp_message": "no\r\n250 ok\x1b" + "x" * 5000})
    assert said.message.startswith("no\\x{D}\\x{A}250 ok\\x{1B}x")
    assert len(said.message) < 600
    assert opinion(action="reject", messages={"smtp_message": "caf\u00e9"}).message == "caf\\x{E9}"  # a reply is ASCII


NONSENSE = [
    b"",
    b"pong",
    b"null",
    b"[]",
    b"{}",
    b'{"action": null}',
    b'{"action": 7}',
    b'{"action": "reject"',
    b"[" * 100_000,
    b'{"action": "reject", "x": ' + b"[" * 100_000,
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
def test_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(NoOpinion, match="not understood"):
        read_opinion(answer)


def test_octets_of_the_message_that_are_no_text_do_no_harm() -> None:
    said = read_opinion(b'{"action":"reject","message-id":"\xff\xe9","symbols":{"X":{"options":["\x80"]}}}')
    assert (said.action, said.symbols) == ("reject", ("X",))


def test_changes_are_bounded() -> None:
    milter = {
        "add_headers": {f"X-{number}": "x" for number in range(5000)},
        "remove_headers": {f"X-{number}": 0 for number in range(5000)},
    }
    said = opinion(milter=milter)
    assert (len(said.additions), len(said.removals)) == (MOST_CHANGES, MOST_CHANGES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("score", "required_score", "subject", "symbols", "messages", "milter", "dkim-signature")
INNER = ("add_headers", "remove_headers", "change_from", "reject", "no_action", "spam_header", "smtp_message")


@given(
    st.sampled_from(["reject", "add header", "rewrite subject", "no action", "?"]),
    st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(INNER), JSON)),
)
def test_no_shape_of_it_is_a_fault_of_ours(action: str, said: dict[str, Any]) -> None:
    found = opinion(**{**said, "action": action})
    assert found.action
    assert found.message.isprintable()
