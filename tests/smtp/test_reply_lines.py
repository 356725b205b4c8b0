"""Replies on the wire: as they are, or broken where they must be."""

import pytest

from tests.fuzz.reader import replies_in
from valija.mail.reply import Reply
from valija.smtp.reply_lines import LONGEST_LINE, broken


@pytest.mark.parametrize(
    "reply",
    [
        Reply(250, "2.1.5", "Ok"),
        Reply(250, "", "mail.example.org\nPIPELINING\nSIZE 1000"),
        Reply(550, "5.1.1", "<grå@ü.example>: User unknown"),
        Reply(354, "", ""),
        Reply(334, "", "cj1hYmM" * 500),
    ],
)
def test_good_replies_stay_as_they_are(reply: Reply) -> None:
    assert broken(reply) == reply.encode()


def test_a_long_text_goes_on_in_further_lines() -> None:
    reply = Reply(554, "5.7.1", "Relay access denied " * 100)
    lines = broken(reply).split(b"\r\n")[:-1]
    assert max(map(len, lines)) <= LONGEST_LINE - 2
    assert len(lines) == 4
    assert "".join(line.decode()[len("554-5.7.1 ") :] for line in lines) == reply.text


def test_characters_of_several_octets_are_not_cut() -> None:
    reply = Reply(550, "5.1.1", "é你📮" * 200)
    ((_, text),) = replies_in(broken(reply))
    assert "".join(line.removeprefix("5.1.1 ") for line in text.split("\n")) == reply.text


def test_a_return_in_a_text_ends_no_line() -> None:
    octets = broken(Reply(554, "5.6.3", "a part that is x\r\n250 2.0.0 Ok\x1b[31m"))
    assert replies_in(octets) == [(554, "5.6.3 a part that is x\\x{D}\n5.6.3 250 2.0.0 Ok\\x{1B}[31m")]


def test_what_does_not_end_is_cut() -> None:
    assert len(broken(Reply(554, "5.7.1", "x" * 1_000_000))) < 50 * LONGEST_LINE
