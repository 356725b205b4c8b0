"""What is agreed on at the beginning."""

import struct

import pytest

from valija.milter.macros import USUAL, chosen
from valija.milter.packets import Nonsense
from valija.milter.terms import Action, Stage, Step, Terms, agreed, offer


def test_the_offer_is_that_of_version_6() -> None:
    assert offer() == struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x1FF7FF)


def test_what_a_filter_declines() -> None:
    terms = agreed(struct.pack("!III", 6, 0x11, 0x1 | 0x4000 | 0x100000))
    assert not terms.wants(Step.CONNECT)
    assert terms.wants(Step.HELO)
    assert not terms.is_answered(Step.MAIL)
    assert terms.is_answered(Step.RCPT)
    assert terms.has_leading_blanks
    assert terms.allows(Action.ADD_HEADER)
    assert not terms.allows(Action.CHANGE_BODY)


def test_steps_that_were_not_offered_mean_nothing() -> None:
    assert agreed(struct.pack("!III", 2, 0, 0x800 | 0x30000000)) == Terms(2, 0, 0x200)


@pytest.mark.parametrize(("version", "hears"), [(2, False), (3, False), (4, True), (6, True)])
def test_of_data_a_filter_hears_that_can_know_it(version: int, hears: bool) -> None:
    assert agreed(struct.pack("!III", version, 0, 0)).wants(Step.DATA) is hears


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 11, struct.pack("!III", 1, 0, 0), struct.pack("!III", 7, 0, 0), struct.pack("!III", 6, 0x200, 0)],
)
def test_strange_terms(data: bytes) -> None:
    with pytest.raises(Nonsense):
        agreed(data)


def test_macros_that_are_asked_for() -> None:
    lists = struct.pack("!I", 2) + b"auth_type {mail_addr},i\0" + struct.pack("!I", 77) + b"j\0"
    terms = agreed(struct.pack("!III", 6, 0x100, 0) + lists)
    known = {"{auth_type}": "PLAIN", "{mail_addr}": "", "i": "q1", "j": "mail.example.org"}
    assert chosen(Stage.MAIL, terms, known) == [("{auth_type}", "PLAIN"), ("i", "q1")]
    assert chosen(Stage.CONNECT, terms, known) == [("j", "mail.example.org")]
    for rest in (b"\0", b"\0\0\0\x01", b"\0\0\0\x01j"):
        with pytest.raises(Nonsense):
            agreed(struct.pack("!III", 6, 0, 0) + rest)


def test_each_stage_has_its_usual_macros() -> None:
    assert USUAL.keys() == set(Stage)
