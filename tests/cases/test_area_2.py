"""CHUNKING, end to end: what leaves is what came in chunks, and what was broken off leaves nothing behind."""

from pathlib import Path

import pytest

from tests.cases.conftest import ALICE, Site
from tests.cases.talk import Talk

HEAD = b"From: alice@local.example\r\nSubject: z\r\n\r\n"


def spooled(site: Site) -> list[Path]:
    """Return the files of large bodies that lie beside the queue."""
    return [file for folder in site.server.data_dir.rglob("*.spool") for file in folder.iterdir()]


def begin(talk: Talk, sender: str = ALICE, recipient: str = "x@remote.example") -> None:
    assert talk.say(f"MAIL FROM:<{sender}>").startswith("250")
    assert talk.say(f"RCPT TO:<{recipient}>").startswith("250")


def test_c031_an_empty_last_chunk_ends_the_message_and_nothing_more(site: Site) -> None:
    with site.alice() as talk:
        begin(talk)
        talk.send(b"BDAT %d\r\n%bBDAT 4\r\nhi\r\nBDAT 0 LAST\r\nNOOP\r\n" % (len(HEAD), HEAD))
        answers = [talk.reply() or "" for _ in range(4)]
        assert [answer[:9] for answer in answers] == ["250 2.0.0"] * 4
        caught = site.caught(answers[2])
        begin(talk)
    assert caught.field("Subject") == "z"
    assert caught.content.endswith(b"\r\n\r\nhi\r\n")
    assert site.is_signed(caught.content)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_c031_chunks_are_cut_anywhere(site: Site, size: int) -> None:
    content = b"Subject: cut\r\n\r\n.\r\n\r\n.\r\n..\r\nRSET\r\nBDAT 3\r\n"
    with site.trusted() as talk:
        begin(talk)
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        chunks = b"".join(b"BDAT %d\r\n" % len(piece) + piece for piece in pieces)
        talk.send(chunks + b"BDAT 0 LAST\r\n")
        answers = [talk.reply() or "" for _ in range(len(pieces) + 1)]
        assert all(answer.startswith("250") for answer in answers)
        assert site.caught(answers[-1]).content.endswith(b"\r\n" + content)


def test_c033_reset_forgets_chunks_of_any_size(site: Site) -> None:
    with site.alice() as talk:
        begin(talk)
        large = HEAD + b"secret of the first\r\n" * 50_000
        talk.send(b"BDAT %d\r\n" % len(large) + large)
        assert (talk.reply() or "").startswith("250")
        assert spooled(site)
        assert talk.say("RSET").startswith("250")
        assert not spooled(site)
        assert talk.say("NOOP " + "x" * 5000).startswith("500")
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", HEAD + b"second\r\n"))
    assert caught.content.endswith(b"\r\n\r\nsecond\r\n")
    assert b"secret" not in caught.content


@pytest.mark.parametrize("bad", [b"BDAT 4\r\nabc\n", b"BDAT x LAST\r\n", b"BDAT -4\r\n", b"BDAT 4 LAST x\r\n"])
def test_c034_after_a_bad_chunk_only_reset_helps(site: Site, bad: bytes) -> None:
    before = len(site.sink.caught)
    with site.alice() as talk:
        begin(talk)
        talk.send(b"BDAT %d\r\n" % len(HEAD) + HEAD)
        assert (talk.reply() or "").startswith("250")
        talk.send(bad)
        assert (talk.reply() or "")[:3] in ("501", "554")
        assert talk.say("DATA").startswith("503")
        talk.send(b"BDAT 14 LAST\r\nRSET\r\nRSET\r\n\r\n")
        assert talk.reply() == "503 5.5.1 The transaction has failed: send RSET"
        assert talk.say("MAIL FROM:<>").startswith("503")
        assert talk.say("RSET").startswith("250")
        site.caught(talk.send_message(ALICE, "x@remote.example", HEAD + b"fine\r\n"))
    assert len(site.sink.caught) == before + 1


def test_c034_data_within_a_series_is_refused_and_the_series_goes_on(site: Site) -> None:
    with site.alice() as talk:
        begin(talk)
        talk.send(b"BDAT %d\r\n%bDATA\r\nBDAT 4 LAST\r\nhi\r\n" % (len(HEAD), HEAD))
        answers = [talk.reply() or "" for _ in range(3)]
        assert [answer[:3] for answer in answers] == ["250", "503", "250"]
        assert site.caught(answers[2]).content.endswith(b"\r\n\r\nhi\r\n")


@pytest.mark.parametrize("size", ["200000000", "9" * 30, "9" * 1900])
def test_a_chunk_beyond_all_bounds_ends_the_session(site: Site, size: str) -> None:
    with site.alice() as talk:
        begin(talk)
        assert talk.say(f"BDAT {size}").startswith("552 5.3.4")
        assert talk.is_closed()


def test_who_hangs_up_within_a_chunk_leaves_nothing(site: Site) -> None:
    before = len(site.sink.caught)
    since = site.server.log.mark()
    with site.alice() as talk:
        begin(talk)
        talk.send(b"BDAT 1000000\r\n" + HEAD + b"x" * 998 * 500)
        talk.settle()
        assert spooled(site)
    site.server.wait_for_log(f"session .*login={ALICE} messages=0 .*ended=lost", since=since)
    assert not spooled(site)
    assert len(site.sink.caught) == before
