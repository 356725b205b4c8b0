"""The dialogues on the bare machine, and the dialogue format itself."""

from pathlib import Path

import msgspec
import pytest

from tests.dialogs.dialog import Dialog, dialogs, fits, octets, parse, play
from tests.smtp.fixed_site import MachineClient
from valija.smtp.server import ServerRules

ALL = dialogs(Path(__file__).parent)


def rules_for(dialog: Dialog) -> ServerRules:
    return msgspec.convert(
        {"hostname": "mail.local.example", "role": "smtpd", **dialog.settings}, ServerRules, strict=False
    )


@pytest.mark.parametrize("dialog", ALL, ids=lambda dialog: dialog.name)
def test_dialog(dialog: Dialog) -> None:
    play(dialog, MachineClient(rules_for(dialog)))


def test_there_are_dialogs_for_every_role() -> None:
    assert {dialog.role for dialog in ALL} == {"smtpd", "submission", "submissions"}


def test_a_wrong_reply_names_the_line() -> None:
    dialog = parse("sample", "role: smtpd\n\nS: 220 *\nC: NOOP\nS: 500 *\n")
    with pytest.raises(AssertionError, match=r"sample\.smtp:5: the server said '250 2\.0\.0 Ok'"):
        play(dialog, MachineClient(rules_for(dialog)))


def test_a_message_that_differs_fails() -> None:
    text = "role: smtpd\n\nS: 220 *\nC: HELO x\nS: 250 *\nC: MAIL FROM:<>\nC: RCPT TO:<bob@local.example>\nC: DATA\n"
    text += "S: 250 *\nS: 250 *\nS: 354 *\nC: a\nC: .\nS: 250 *\n= message\n| b\n"
    with pytest.raises(AssertionError, match="the message is"):
        play(parse("sample", text), MachineClient(ServerRules("mail.local.example", "smtpd")))


def test_a_line_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="sample:3"):
        parse("sample", "role: smtpd\n\nX: what\n")


def test_escapes() -> None:
    assert octets(r"a\r\n\x00\\é{x*3}") == "a\r\n\0\\é".encode() + b"xxx"
    assert octets("é") == "é".encode()


def test_patterns() -> None:
    assert fits("250 a | STARTTLS", "250 * | STARTTLS*")
    assert not fits("250 a", "250")
    assert fits("250 [a].(b", "250 [a].(b")
