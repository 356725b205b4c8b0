"""Messages made on the spot, and files made fit for SMTP."""

from email import message_from_bytes
from email.policy import default

import pytest

from valija.client.message import NoMessage, compose, with_smtp_line_ends


def made(reverse_path: str = "a@example.org", subject: str = "Test", body: str = "Hello.") -> bytes:
    return compose(
        reverse_path,
        ("b@example.net", "c@example.net"),
        subject=subject,
        body=body,
        unique="1a",
        now=0.0,
        hostname="mx",
    )


def test_a_message() -> None:
    mail = message_from_bytes(made(subject="Grüße", body="Ñandú\n.\n"), policy=default)
    assert (mail["From"], mail["To"], mail["Subject"]) == ("a@example.org", "b@example.net, c@example.net", "Grüße")
    assert mail["Message-ID"] == "<1a@example.org>"
    assert mail["Date"] == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert mail.get_content() == "Ñandú\r\n.\r\n"


def test_it_has_the_line_ends_of_smtp() -> None:
    whole = made(body="one\ntwo\n")
    assert whole.count(b"\n") == whole.count(b"\r\n") == whole.count(b"\r")
    assert whole.endswith(b"two\r\n")


def test_the_null_sender_has_an_author() -> None:
    assert b"From: postmaster@mx\r\n" in made("")


def test_an_internationalised_sender() -> None:
    assert "From: ñandú@example.org".encode() in made("ñandú@example.org")


@pytest.mark.parametrize("subject", ["a\nBcc: x@example.net", "a\r\n\r\nbody"])
def test_no_subject_makes_a_second_field(subject: str) -> None:
    with pytest.raises(NoMessage):
        made(subject=subject)


def test_files() -> None:
    assert with_smtp_line_ends(b"a: b\n\nc") == b"a: b\r\n\r\nc\r\n"
    assert with_smtp_line_ends(b"a: b\r\n\r\nc\r\n") == b"a: b\r\n\r\nc\r\n"
    with pytest.raises(NoMessage, match="line 2 holds a CR"):
        with_smtp_line_ends(b"a\nb\rc\n")
