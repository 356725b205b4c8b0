"""What changes make of a message."""

import pytest

from valija.content.header import MAX_FIELDS
from valija.mail.envelope import Recipient
from valija.milter.answers import (
    AddField,
    AddRecipient,
    Change,
    ChangeField,
    ChangeFrom,
    DeleteRecipient,
    InsertField,
)
from valija.milter.edits import Lines, header_after, recipients_after, reverse_path_after
from valija.milter.packets import Nonsense

HEADER = b"A: 1\r\nB: 2\r\n\tfolded\r\na: 3\r\n"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (AddField(b"C", b"4"), HEADER + b"C: 4\r\n"),
        (InsertField(0, b"C", b"4"), b"C: 4\r\n" + HEADER),
        (InsertField(1, b"C", b"4"), b"C: 4\r\n" + HEADER),
        (InsertField(2, b"C", b"4"), b"A: 1\r\nC: 4\r\nB: 2\r\n\tfolded\r\na: 3\r\n"),
        (InsertField(9, b"C", b"4"), HEADER + b"C: 4\r\n"),
        (ChangeField(1, b"b", b"4"), b"A: 1\r\nb: 4\r\na: 3\r\n"),
        (ChangeField(2, b"A", b"4"), b"A: 1\r\nB: 2\r\n\tfolded\r\nA: 4\r\n"),
        (ChangeField(3, b"A", b"4"), HEADER + b"A: 4\r\n"),
        (ChangeField(1, b"B", b""), b"A: 1\r\na: 3\r\n"),
        (ChangeField(3, b"A", b""), HEADER),
    ],
)
def test_a_header_is_changed_where_the_change_says(change: Change, after: bytes) -> None:
    assert header_after(HEADER, [change], leading_blanks=False) == after


def test_a_value_is_written_with_the_blank_that_was_agreed_on() -> None:
    assert header_after(b"", [AddField(b"C", b"  4")], leading_blanks=True) == b"C:  4\r\n"
    assert header_after(b"", [AddField(b"C", b"4")], leading_blanks=True) == b"C:4\r\n"
    assert header_after(b"", [AddField(b"C", b"4")], leading_blanks=False) == b"C: 4\r\n"


def test_each_change_is_made_on_what_the_one_before_left() -> None:
    changes: list[Change] = [ChangeField(1, b"A", b""), ChangeField(1, b"A", b"x"), InsertField(0, b"A", b"0")]
    assert header_after(HEADER, changes, leading_blanks=False) == b"A: 0\r\nB: 2\r\n\tfolded\r\nA: x\r\n"


def test_no_header_becomes_too_large() -> None:
    with pytest.raises(Nonsense, match="fields"):
        header_after(b"", [AddField(b"C", b"4")] * (MAX_FIELDS + 1), leading_blanks=False)
    with pytest.raises(Nonsense, match="fields"):
        header_after(b"A: 1\r\n" * MAX_FIELDS, [InsertField(0, b"C", b"4")], leading_blanks=False)
    with pytest.raises(Nonsense, match="larger than"):
        header_after(b"", [AddField(b"C", b"x" * 200_000)] * 2, leading_blanks=False)


def test_recipients() -> None:
    given = (Recipient("Ann@one.example"), Recipient("bob@two.example", notify=1))
    changes: list[Change] = [
        AddRecipient("ann@ONE.example"),
        AddRecipient("<eve@three.example>", "NOTIFY=NEVER"),
        DeleteRecipient("<BOB@two.example>"),
        AddRecipient("<bob@two.example>"),
        DeleteRecipient("nobody@two.example"),
    ]
    assert recipients_after(given, changes) == (
        Recipient("Ann@one.example"),
        Recipient("eve@three.example", notify=1),
        Recipient("bob@two.example"),
    )


def test_no_recipient_is_lost_whom_the_client_named_in_another_case() -> None:
    given = (Recipient("Ann@one.example"), Recipient("ann@one.example", notify=1))
    more = Recipient("eve@three.example")
    assert recipients_after(given, [AddRecipient("eve@three.example")]) == (*given, more)
    assert recipients_after((*given, more), [DeleteRecipient("<ANN@one.example>")]) == (more,)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "<>",
        "<postmaster>",
        "root",
        "<a b@c.example>",
        "<a@b.example> SIZE=1",
        "a@b.example>\r\nX: <",
        "<\u00e9@b.example>",
    ],
)
def test_no_recipient(path: str) -> None:
    with pytest.raises(Nonsense):
        recipients_after((), [AddRecipient(path)])
    if path.isascii():
        with pytest.raises(Nonsense):
            recipients_after((), [DeleteRecipient(path)])


def test_addresses_of_other_scripts_where_the_message_is_so() -> None:
    wide = Recipient("\u00e9@b.example")
    assert recipients_after((wide,), [DeleteRecipient("<\u00e9@b.example>")]) == ()
    assert recipients_after((), [AddRecipient("<\u00e9@b.example>")], smtputf8=True) == (wide,)
    assert reverse_path_after("", [ChangeFrom("<\u00e9@b.example>")], smtputf8=True) == "\u00e9@b.example"
    with pytest.raises(Nonsense):
        reverse_path_after("", [ChangeFrom("<\u00e9@b.example>")])
    for broken in ("<\udce9@b.example>", "a@\udce9.example"):
        with pytest.raises(Nonsense):
            recipients_after((), [AddRecipient(broken)], smtputf8=True)


def test_the_reverse_path() -> None:
    assert reverse_path_after("a@b.example", []) == "a@b.example"
    assert reverse_path_after("a@b.example", [ChangeFrom("<>")]) == ""
    assert reverse_path_after("a@b.example", [ChangeFrom("x@Y.example", "SIZE=1")]) == "x@y.example"
    for path in ("<x y@z.example>", "<x@y.example> X", "<x@y.example>\nX"):
        with pytest.raises(Nonsense):
            reverse_path_after("", [ChangeFrom(path)])


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([b"one\r\ntwo\r\n"], b"one\r\ntwo\r\n"),
        ([b"one\ntwo"], b"one\r\ntwo\r\n"),
        ([b"one\r", b"\ntwo\r"], b"one\r\ntwo\r\n"),
        ([b"one\r", b"two"], b"one\r\ntwo\r\n"),
        ([b"\r", b"\r", b"\n", b"\n"], b"\r\n\r\n\r\n"),
        ([b""], b""),
        ([], b""),
    ],
)
def test_lines_have_the_ends_of_smtp(pieces: list[bytes], whole: bytes) -> None:
    lines = Lines()
    assert b"".join(map(lines.update, pieces)) + lines.finish() == whole


def test_a_nul_is_no_line() -> None:
    with pytest.raises(Nonsense):
        Lines().update(b"a\0b")
