"""No octets make two messages of one on their way in: every form, on each listener, by DATA and by BDAT.

What stands behind a form looks like a further message, whole. The server may refuse the content or take it as it is,
but it answers once, and nothing of it is ever a command.
"""

import re
from collections.abc import Callable
from typing import Final

import pytest

from tests.attacks.terminators import END, FORMS, PUBLISHED, is_crooked
from tests.cases.conftest import ALICE, BOB, Site
from tests.cases.talk import Talk
from tests.tally import Tally
from valija.probe.smuggling import FORMS as OF_THE_PROBE

MALLORY: Final = "smuggled@evil.example"
SMUGGLED: Final = (
    f"MAIL FROM:<{MALLORY}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\nFrom: {MALLORY}\r\nSubject: smuggled\r\n\r\nboo".encode()
)
REFUSED: Final = (
    r"554 5\.6\.0 .*bare CR, bare LF or NUL|503 5\.5\.1 The transaction has failed"  # the latter behind a chunk
)
ROUND: Final = 12  # attempts a session: what is refused counts against it

Client = Callable[[Site], Talk]
CLIENTS: Final[dict[str, tuple[Client, str, str]]] = {  # who sends, as whom, to whom
    "smtpd": (lambda site: site.stranger(), "a@remote.example", ALICE),
    "mynetworks": (lambda site: site.trusted(), "a@remote.example", "x@remote.example"),
    "submission": (lambda site: site.alice(tls=False), ALICE, "x@remote.example"),
    "submissions": (lambda site: site.alice(), ALICE, "x@remote.example"),
}
Attack = Callable[[Talk, str, str, bytes], None]


def message_with(form: bytes) -> bytes:
    return b"From: alice@local.example\r\nSubject: outer\r\n\r\nfirst" + form + SMUGGLED


def in_one_write(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """DATA, and behind the 354 all there is in one write."""
    talk.begin(sender, recipient)
    talk.send(message_with(form) + END + b"RSET\r\n")


def pipelined(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """The envelope in one write, the content in another."""
    talk.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
    assert [(talk.reply() or "")[:3] for _ in range(3)] == ["250", "250", "354"]
    talk.send(message_with(form) + END + b"RSET\r\n")


def octet_by_octet(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """The form in packets of one octet, so that each is a border of what the server reads."""
    talk.begin(sender, recipient)
    before, _, behind = message_with(form).partition(form)
    talk.send(before)
    for octet in form:
        talk.send(bytes((octet,)))
    talk.send(behind + END + b"RSET\r\n")


def with_patience(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """The further commands only once the server has seen the form, and has held its tongue."""
    talk.begin(sender, recipient)
    before, _, behind = message_with(form).partition(form)
    talk.send(before + form)
    assert talk.is_silent(), f"{form!r} was answered with {talk.reply()!r}"
    talk.send(behind)
    assert talk.is_silent(), f"what stands behind {form!r} was answered with {talk.reply()!r}"
    talk.send(END + b"RSET\r\n")


def by_chunk(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """BDAT, envelope and chunk in one write. There a dot ends nothing, the true end included."""
    content = message_with(form) + END
    envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nBDAT {len(content)} LAST\r\n"
    talk.send(envelope.encode() + content + b"RSET\r\n")
    assert [(talk.reply() or "")[:3] for _ in range(2)] == ["250", "250"]


def by_chunks(talk: Talk, sender: str, recipient: str, form: bytes) -> None:
    """BDAT, cut within the form, each chunk when the one before was answered."""
    whole = message_with(form) + END
    cut = whole.index(form) + len(form) // 2
    assert talk.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>").startswith("250")
    talk.send(b"BDAT %d\r\n" % cut + whole[:cut])
    assert re.match("250|554", talk.reply() or "")
    talk.send(b"BDAT %d LAST\r\n" % (len(whole) - cut) + whole[cut:] + b"RSET\r\n")


ATTACKS: Final[dict[str, Attack]] = {
    "in one write": in_one_write,
    "pipelined": pipelined,
    "octet by octet": octet_by_octet,
    "with patience": with_patience,
    "chunk": by_chunk,
    "chunks": by_chunks,
}


def test_what_the_scanners_try_is_tried_here() -> None:
    assert set(PUBLISHED) < set(FORMS.values())
    assert {form for _, _, form in OF_THE_PROBE} == set(PUBLISHED)
    assert len(FORMS) > 70
    assert not any(END in form for form in FORMS.values())


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("client", CLIENTS)
def test_c002_c003_one_answer_to_one_content(site: Site, tally: Tally, client: str, attack: Attack) -> None:
    if attack is with_patience and client.startswith("submission"):
        forms = dict.fromkeys(PUBLISHED)  # TLS is the same machine, and costs time
    else:
        forms = dict.fromkeys(FORMS.values())
    connect, sender, recipient = CLIENTS[client]
    queue = list(forms)
    taken = 0
    while queue:
        with connect(site) as talk:
            for form in queue[:ROUND]:
                attack(talk, sender, recipient, form)
                taken += judge(talk, form)
        del queue[:ROUND]
    assert MALLORY not in site.server.log.text
    tally("smuggling", sequences=len(forms), taken_as_one_message=taken, smuggled=0)


def judge(talk: Talk, form: bytes) -> bool:
    """Hear the one verdict, and the reply to the RSET behind it; return whether the content was taken."""
    verdict = talk.reply() or "closed"
    if is_crooked(form):
        assert re.match(REFUSED, verdict), f"{form!r}: {verdict}"
    else:
        assert verdict.startswith("250 2.0.0 Ok: queued as "), f"{form!r}: {verdict}"
    assert talk.reply() == "250 2.0.0 Ok", f"{form!r} got more than one answer"
    return verdict.startswith("250")


def test_c010_all_of_it_before_the_354(site: Site, tally: Tally) -> None:
    """A client that did not wait has smuggled nothing, whatever it sent."""
    for form in (END, *PUBLISHED):
        with site.stranger() as talk:
            envelope = f"MAIL FROM:<a@remote.example>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n".encode()
            talk.send(envelope + message_with(form) + END)
            assert [(talk.reply() or "")[:9] for _ in range(3)] == ["250 2.1.0", "250 2.1.5", "554 5.5.0"]
            assert talk.is_closed()
    tally("smuggling", sequences=1 + len(PUBLISHED), smuggled=0)


def test_what_is_taken_is_one_message_as_it_was(site: Site, tally: Tally) -> None:
    """A form without a crooked line end is text like any other: it lies in the Maildir as it was written."""
    forms = [form for form in FORMS.values() if not is_crooked(form)]
    before = len([*site.server.data_dir.rglob("new/*")])
    for form in forms:
        with site.stranger() as talk:
            message = site.delivered(talk.send_message("a@remote.example", ALICE, message_with(form) + b"\r\n"))
        text = message_with(form).partition(b"\r\n\r\n")[2].replace(b"\r\n.", b"\r\n")
        assert message.endswith(b"\n\n" + text.replace(b"\r\n", b"\n") + b"\n"), form
    assert len([*site.server.data_dir.rglob("new/*")]) - before == len(forms), "one file each, and none for bob"
    tally("smuggling", sequences=len(forms), taken_as_one_message=len(forms), smuggled=0)
