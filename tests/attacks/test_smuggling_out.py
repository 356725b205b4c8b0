"""Whatever users, strangers and programs hand in, a next hop that ends messages wherever it likes gets one of each.

Own users are the smugglers here, or strangers who write to an alias that leads out, or who make the server send a
report with their text in it. By which way a content comes in is one question, by which it leaves another: as it is, or
made into seven bits for a next hop that takes no more.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.attacks.lenient_sink import LenientSink, takes_whole
from tests.attacks.terminators import END, FORMS, is_crooked
from tests.attacks.test_smuggling_in import MALLORY, SMUGGLED
from tests.cases.conftest import ALICE, Site, starting_sites
from tests.cases.talk import Talk, queue_id_of
from tests.tally import Tally
from valija.sendmail.text import Text
from valija.smtp.client_content import stuff

HEAD: Final = b"From: alice@local.example\r\nSubject: outer\r\nMIME-Version: 1.0\r\n\r\n"
BORDERS: Final = {  # contents whose dots stand at borders: of the content, of a chunk, of what is read at once
    "first line": END + SMUGGLED,
    "no line end behind the last dot": b"text\r\n.",
    "dots alone": b".\r\n" * 50 + SMUGGLED,
    "at each border": b"".join(b"x" * length + END + SMUGGLED + b"\r\n" for length in range(1000, 1003)),
    "large": (b"y" * 996 + END) * 400 + SMUGGLED,  # beyond what is kept in memory
    "behind a large line": b"z" * 65_536 + END + SMUGGLED,
}
CONTENTS: Final = {**{name: b"first" + form + SMUGGLED for name, form in FORMS.items()}, **BORDERS}
ROUND: Final = 12

Way = Callable[[Talk, str, str, bytes], None]


def stuffed(content: bytes) -> bytes:
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", content) + END[2 * content.endswith(b"\r\n") :]


def by_data(talk: Talk, sender: str, recipient: str, content: bytes) -> None:
    talk.begin(sender, recipient)
    talk.send(stuffed(content))


def by_data_of_eight_bits(talk: Talk, sender: str, recipient: str, content: bytes) -> None:
    talk.begin(sender, recipient, parameters=" BODY=8BITMIME")
    talk.send(stuffed(content))


def by_chunk(talk: Talk, sender: str, recipient: str, content: bytes) -> None:
    assert talk.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>").startswith("250")
    talk.send(b"BDAT %d LAST\r\n" % len(content) + content)


def by_chunks_of_binary(talk: Talk, sender: str, recipient: str, content: bytes) -> None:
    """BODY=BINARYMIME, where CR, LF and NUL may stand alone within parts that say they are binary."""
    binary = content.replace(b"MIME-Version: 1.0\r\n", b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n")
    assert talk.say(f"MAIL FROM:<{sender}> BODY=BINARYMIME", f"RCPT TO:<{recipient}>").startswith("250")
    middle = binary.index(b"first") + 6 if b"first" in binary else len(binary) // 2
    talk.send(b"BDAT %d\r\n" % middle + binary[:middle])
    assert (talk.reply() or "").startswith("250")
    talk.send(b"BDAT %d LAST\r\n" % (len(binary) - middle) + binary[middle:])


WAYS: Final[dict[str, Way]] = {
    "DATA": by_data,
    "8BITMIME": by_data_of_eight_bits,
    "BDAT": by_chunk,
    "BINARYMIME": by_chunks_of_binary,
}


@pytest.fixture(scope="module")
def lenient() -> Iterator[dict[bool, tuple[Site, LenientSink]]]:
    """Two sites, whose next hop takes eight bits and doesn't."""
    with ExitStack() as stack:
        start = stack.enter_context(starting_sites())
        found = {}
        for eight_bit in (True, False):
            sink = stack.enter_context(LenientSink(eight_bit=eight_bit))
            site = start({"smtp": {"relayhost": sink.relayhost}})
            site.furnish()
            site.sink = sink
            found[eight_bit] = site, sink
        yield found


@pytest.mark.parametrize("eight_bit", [True, False], ids=["to eight bits", "to seven"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_c005_one_message_leaves_for_each_that_came(
    lenient: dict[bool, tuple[Site, LenientSink]], tally: Tally, way: Way, eight_bit: bool
) -> None:
    site, sink = lenient[eight_bit]
    before = len(sink.caught)
    taken: dict[str, bytes] = {}
    queue = list(CONTENTS.values())
    while queue:
        with site.alice() as talk:
            for body in queue[:ROUND]:
                way(talk, ALICE, "x@remote.example", HEAD + body)
                verdict = talk.reply() or "closed"
                assert talk.say("RSET") == "250 2.0.0 Ok"
                if verdict.startswith("250"):
                    taken[verdict] = body
                else:
                    assert verdict.startswith("554 5.6.0"), verdict
                    assert is_crooked(HEAD + body)
                    assert way is not by_chunks_of_binary
        del queue[:ROUND]
    for verdict, body in taken.items():
        caught = site.caught(verdict)
        assert caught.reverse_path == ALICE
        assert not is_crooked(caught.content.removesuffix(b"\r"))
        if way in (by_data, by_chunk):
            assert text_of(caught.content) == body.removesuffix(b"\r\n")
    assert len(sink.caught) - before == len(taken) >= len(BORDERS)
    assert not [command for command in sink.commands if MALLORY in command]
    tally("smuggling", sequences=len(CONTENTS), taken_as_one_message=len(taken), smuggled=0)


def text_of(heard: bytes) -> bytes:
    """Return the body of what came behind 354, the final dot and its CR included."""
    body = heard.removesuffix(b"\r\n.\r").partition(b"\r\n\r\n")[2]
    return re.sub(rb"(\A|\r\n)\.", rb"\1", body)


def test_c005_nor_by_an_alias_or_a_report(lenient: dict[bool, tuple[Site, LenientSink]], tally: Tally) -> None:
    """A stranger's text leaves to where an alias leads, and comes back to whom the stranger named."""
    site, sink = lenient[True]
    for name, target in (("out", "x@remote.example"), ("back", "gone@remote.example")):
        assert site.server.valija("alias", "add", f"{name}@local.example", target).returncode == 0
    before = len(sink.caught)
    texts = [HEAD + body + b"\r\n" for body in CONTENTS.values() if not is_crooked(body)]
    reports = 0
    for text in texts:
        with site.stranger() as talk:
            by_data(talk, "v@far.example", "out@local.example", text)
            site.caught(talk.reply() or "")
            by_data(talk, "v@far.example", "back@local.example", text)
            queue_id = queue_id_of(talk.reply() or "")
        report_id = site.server.wait_for_log(rf"report queued .*queue_id=(\S+) kind=failure about={queue_id}\b")[1]
        site.server.wait_for_log(rf"removed .*queue_id={report_id}\b")
        reports += 1
    assert len(sink.caught) - before == len(texts) + reports
    assert [each.reverse_path for each in sink.caught[before:]].count("") == reports
    assert not [command for command in sink.commands if MALLORY in command]
    tally("smuggling", sequences=2 * len(texts), taken_as_one_message=2 * len(texts), smuggled=0)


def test_c005_nor_by_programs_of_this_machine(tally: Tally) -> None:
    """What sendmail reads is text, and is mended; on the wire it has one end."""
    for body in CONTENTS.values():
        content = Text.of(HEAD + body).content
        assert not is_crooked(content)
        if len(content) < 10_000:
            assert takes_whole(stuff(content)), body
    tally("smuggling", sequences=len(CONTENTS), smuggled=0)


def test_the_sink_is_as_weak_as_it_says() -> None:
    """Each form with a crooked line end makes two of one, where the content is sent as it is."""
    fooled = [form for form in FORMS.values() if not takes_whole(b"first" + form + SMUGGLED + END)]
    assert [form for form in FORMS.values() if is_crooked(form) and form not in fooled] == []
    assert takes_whole(b"first" + SMUGGLED + END)
