"""Does the server end a message where it must not? Then one message can smuggle another past the server before it.

    probe_smuggling(target, seen)       # needs target.recipient, who may get a message for each form

Only CR LF . CR LF ends a content (RFC 5321 section 4.1.1.4). Each form is put into a message, with a command behind it,
and the true end behind that: a server that answers more than once has taken content for commands. Silence is not waited
for, so that a slow filter changes nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen, opened
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire

FORMS: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("lf-dot-lf", "LF . LF", b"\n.\n"),
    ("lf-dot-crlf", "LF . CR LF", b"\n.\r\n"),
    ("crlf-dot-lf", "CR LF . LF", b"\r\n.\n"),
    ("cr-dot-cr", "CR . CR", b"\r.\r"),
    ("cr-dot-lf", "CR . LF", b"\r.\n"),
    ("cr-dot-crlf", "CR . CR LF", b"\r.\r\n"),
    ("crlf-dot-cr", "CR LF . CR", b"\r\n.\r"),
    ("lf-dot-cr", "LF . CR", b"\n.\r"),
    ("crlf-dot-crcrlf", "CR LF . CR CR LF", b"\r\n.\r\r\n"),
    ("crcrlf-dot-crcrlf", "CR CR LF . CR CR LF", b"\r\r\n.\r\r\n"),
    ("nul-before-dot", "CR LF NUL . CR LF", b"\r\n\0.\r\n"),
    ("nul-behind-dot", "CR LF . NUL CR LF", b"\r\n.\0\r\n"),
)
_PATIENCE: Final = 60.0  # seconds for the verdict on a content: filters take their time

_REFUSE: Final = "refuse or repair bare CR and LF: smtpd_forbid_bare_newline = yes in Postfix"


def probe_smuggling(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Yield a judgement for each form."""
    for name, what, form in FORMS:
        test = Question(f"smtp-end-of-data-{name}", f"{what} does not end a message", seen.port)
        if not target.recipient:
            yield test.not_tested("it takes a message to find out: name who may get it with --recipient")
        else:
            yield _smuggle(target, seen, test, what, form)


def _smuggle(target: Target, seen: Seen, test: Question, what: str, form: bytes) -> Judgement:
    try:
        with opened(target, seen) as wire:
            if not _begin(target, wire):
                return test.not_tested(f"the recipient is refused: {wire.evidence[-1].removeprefix('S: ')}")
            wire.send(_message(target, what, form), f"a message with {what} NOOP CR LF within, and its true end")
            replies = [wire.reply(_PATIENCE), *wire.rest()]
            return judge_replies(test, replies, wire.evidence)
    except Gone as why:
        return test.ended(why)


def _begin(target: Target, wire: Wire) -> bool:
    commands = ("MAIL FROM:<>", f"RCPT TO:<{target.recipient}>", "DATA")
    return all(wire.say(command).is_positive for command in commands)


def judge_replies(test: Question, replies: Sequence[Reply], evidence: Sequence[str]) -> Judgement:
    """One verdict on one content, and the goodbye."""
    verdicts = [reply for reply in replies if reply.code not in (221, 421)]
    return test.bad(evidence, _REFUSE) if len(verdicts) > 1 else test.good(evidence)


def _message(target: Target, what: str, form: bytes) -> bytes:
    head = (
        f"From: valija probe <postmaster@{target.ehlo}>\r\nTo: <{target.recipient}>\r\n"
        f"Subject: valija probe: {what} within a message\r\n\r\n"
        "Somebody tests whether this server ends a message where it must not. It does not\r\n"
        "if you see what follows here:"
    )
    return head.encode() + form + b"NOOP\r\nand this line.\r\n.\r\n"
