"""Which replies ask for a slower pace, and which only look like it."""

import pytest

from valija.mail.reply import Reply
from valija.policy.throttling import GREYLISTING, says_too_fast, too_fast_for
from valija.smtp.client_transaction import Transaction

OK = Reply(250, "2.0.0", "ok")


@pytest.mark.parametrize(
    ("code", "enhanced"),
    [(421, ""), (421, "4.7.0"), (421, "4.3.2"), (450, "4.7.0"), (451, "4.7.28"), (451, "4.7.500"), (452, "4.7.650")],
)
def test_these_ask_for_less(code: int, enhanced: str) -> None:
    assert says_too_fast(Reply(code, enhanced, "x"), age=0.0)


@pytest.mark.parametrize(
    ("code", "enhanced"),
    [
        (450, ""),
        (451, ""),
        (450, "4.2.0"),
        (450, "4.2.1"),
        (451, "4.3.0"),
        (452, "4.5.3"),
        (454, "4.7.8"),
        (451, "4.7.5"),
        (451, "4.7.23"),
        (550, "5.7.1"),
        (550, "5.7.0"),
        (250, "2.0.0"),
    ],
)
def test_these_do_not(code: int, enhanced: str) -> None:
    assert not says_too_fast(Reply(code, enhanced, "rate limit exceeded, slow down, try again later"), age=1e6)


def test_greylisting_is_no_wish_for_less_until_it_has_lasted_too_long() -> None:
    grey = Reply(451, "4.7.1", "Greylisting in action, please come back later")
    assert not says_too_fast(grey, age=0.0)
    assert not says_too_fast(grey, age=GREYLISTING)
    assert says_too_fast(grey, age=GREYLISTING + 1)


@pytest.mark.parametrize("place", ["mail_reply", "rcpt_replies", "data_reply", "final_reply"])
def test_it_may_come_anywhere_in_a_transaction(place: str) -> None:
    transaction = Transaction([b"", b"", b""], None)
    transaction.mail_reply = transaction.data_reply = transaction.final_reply = OK
    transaction.rcpt_replies = [OK, OK]
    assert too_fast_for(transaction, age=0.0) is None
    slow = Reply(450, "4.7.0", "slow down")
    setattr(transaction, place, [OK, slow] if place == "rcpt_replies" else slow)
    assert too_fast_for(transaction, age=0.0) is slow
