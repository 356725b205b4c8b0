"""The engine finds what is there to be found, and the targets' rules can be broken: by faults that are planted here."""

import random
import time
from collections.abc import Hashable
from pathlib import Path

import pytest

from tests.fuzz.engine import Target, TooSlow, hunt, inputs, place_of, smaller, tried
from tests.fuzz.mutation import Mutator
from tests.fuzz.peer import Peer, Taken
from tests.fuzz.reader import hear, replies_in
from tests.fuzz.targets import TARGETS
from tests.fuzz.test_targets import seeds_of
from valija.mail.address import split
from valija.smtp import buffer, client_content, intake, server


def picky(given: bytes) -> Hashable:
    """Fail only where three things come together, the last of them in a branch that only the second leads to."""
    if given.startswith(b"MAIL"):
        name, _ = split(given.decode("latin-1"))  # a line of the sources, which is watched
        if "%" in name:
            assert not given.endswith(b"!"), "found"
    return len(given) > 3


def test_inputs_are_the_same_for_the_same_seed() -> None:
    target = Target("picky", picky, (b"MAIL",))
    first, again, other = (list(inputs(target, [b"abc"], count=50, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 30


def test_no_input_is_larger_than_its_target_wants() -> None:
    mutator = Mutator(random.Random(1), (b"word" * 100,), largest=64)
    assert all(len(mutator.mutated([b"x" * 60, b""])) <= 64 for _ in range(300))


def test_a_fault_is_found_made_small_and_kept(tmp_path: Path) -> None:
    target = Target("picky", picky, (b"MAIL", b"%", b"!"))
    _, failed = hunt(target, [b"HELO abc def", b"MAIL abc"], seconds=60, seed=1, keep=tmp_path, most=1)
    assert failed
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() in (b"MAIL%@!", b"MAIL@%!", b"MAIL%!")


def test_what_fails_otherwise_is_not_what_it_is_made_smaller_to() -> None:
    def run(given: bytes) -> Hashable:
        if b"b" not in given:
            raise KeyError(given)
        raise ValueError(given)

    with pytest.raises(ValueError, match="aabaa") as caught:
        run(b"aabaa")
    assert smaller(Target("two", run), b"aabaa", place_of(caught.value)) == b"b"


def test_an_input_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SLOWEST", 0.01)

    def busy(_: bytes) -> Hashable:
        ends = time.process_time() + 0.02
        while time.process_time() < ends:
            pass
        return None

    with pytest.raises(TooSlow):
        tried(Target("slow", busy), b"")


def broken_by_its_corpus(name: str) -> bool:
    """Whether some input of a target's corpus fails now."""
    for octets in seeds_of(TARGETS[name]).values():
        try:
            tried(TARGETS[name], octets)
        except AssertionError:
            return True
    return False


def test_an_end_of_data_that_is_none_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_END_OF_DATA", b"\r\n.\r")
    assert broken_by_its_corpus("smtp_server")


def test_a_dot_that_stays_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake.DottedContent, "admit", lambda _, piece: piece.replace(b"\r\n", b"\r\n."))
    assert broken_by_its_corpus("smtp_server")


def test_a_command_without_a_reply_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(server._COMMANDS, "NOOP", lambda _machine, _argument: None)
    assert broken_by_its_corpus("smtp_server")


def test_a_dot_that_is_not_doubled_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_content.Stuffing, "feed", lambda _, chunk: chunk)
    assert broken_by_its_corpus("smtp_client")


def test_a_blind_copy_that_stays_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.targets.content.without", lambda header, *_names: header)
    assert broken_by_its_corpus("headers")


def test_the_reader_reads() -> None:
    octets = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n..a\r\n.\r\nBDAT 3 LAST\r\n.\r\nQUIT\r\nNOOP\r\n"
    said = replies_in(b"220 x\r\n250-a\r\n250 b\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n250 ok\r\n221 bye\r\n")
    heard = hear(octets, said)
    assert heard.contents == [b".a\r\n", b".\r\n"]
    assert (heard.unanswered, heard.beyond, heard.ended) == (0, 0, True)
    assert hear(b"NOOP\r\n", said[:1]).unanswered == 1
    assert hear(b"NOOP\r\n", said[:4]).beyond == 2


@pytest.mark.parametrize(
    "output", [b"250 ok", b"250-a\r\n", b"250 a\rb\r\n", b"250-a\r\n251 b\r\n", b"250 " + b"x" * 507 + b"\r\n"]
)
def test_the_reader_takes_no_bad_reply(output: bytes) -> None:
    with pytest.raises(AssertionError):
        replies_in(output)


def test_the_peer_knows_what_it_took() -> None:
    peer = Peer(
        [b"220 x\r\n", *[b"250 ok\r\n"] * 2, b"550 no\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"], is_lmtp=False
    )
    flights = (b"", b"EHLO x\r\n", b"MAIL\r\nRCPT 1\r\nRCPT 2\r\nDATA\r\n", b"..a\r\n.\r\n")
    assert b"".join(map(peer.hear, flights)).count(b"\r\n") == 7
    assert peer.taken == [Taken((1,), b".a\r\n")]
    assert peer.is_sane
    assert peer.hear(b"QUIT\r\n") == b""
