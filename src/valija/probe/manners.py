"""How the server bears odd clients: those who ask for users, who talk before the banner, who send long lines or octets.

    probe_manners(target, seen)

Nothing here harms a server; each test is a few commands in a connection of its own.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen, opened
from valija.probe.target import Target
from valija.probe.wire import Gone, NotOpened, Wire

_LONG: Final = 4000  # octets; a command line may have 512 (RFC 5321 section 4.5.3.1.4)

_TELLS: Final = "answer 252 or 502 whoever is asked for: disable_vrfy_command = yes in Postfix"
_HEAR_FIRST: Final = "hold the banner back a little, and turn away who talks before: postscreen in Postfix"


def probe_manners(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Yield the judgements, those last that a server may hold against us."""
    yield _ask_for_users(target, seen, Question("smtp-vrfy", "VRFY tells nobody's name", seen.port), "VRFY")
    yield _ask_for_users(target, seen, Question("smtp-expn", "EXPN tells nobody's name", seen.port), "EXPN")
    yield _be_odd(
        target, seen, Question("smtp-long-line", "a line that is too long is borne", seen.port), b"NOOP " + b"x" * _LONG
    )
    yield _be_odd(
        target, seen, Question("smtp-eight-bit", "octets that are no text are borne", seen.port), b"NOOP \xff\xfe\x80"
    )
    yield _talk_first(
        target, seen, Question("smtp-early-talker", "who talks before the banner is turned away", seen.port)
    )


def _ask_for_users(target: Target, seen: Seen, test: Question, verb: str) -> Judgement:
    domain = target.domain or seen.name
    stray = f"valija-probe-{secrets.token_hex(4)}"
    names = [f"{local}@{domain}" if domain else local for local in ("postmaster", stray)]
    try:
        with opened(target, seen) as wire:
            replies = [wire.say(f"{verb} {name}") for name in names]
            return judge_names_told(test, replies, wire.evidence)
    except Gone as why:
        return test.ended(why)


def judge_names_told(test: Question, replies: Sequence[Reply], evidence: Sequence[str]) -> Judgement:
    """A server that answers differently for who is there and who is not lets addresses be collected."""
    known, stray = replies
    tells = known.is_positive and (known.code in (250, 251) or not stray.is_positive)
    return test.warning(evidence, _TELLS) if tells else test.good(evidence)


def _be_odd(target: Target, seen: Seen, test: Question, line: bytes) -> Judgement:
    try:
        with opened(target, seen) as wire:
            wire.send(line + b"\r\n", f"{line[:12].decode('ascii', 'backslashreplace')}... ({len(line)} octets)")
            wire.reply()
            reply = wire.say("NOOP")
            return test.good(wire.evidence) if reply.code == 250 else _is_lost(test, wire)
    except NotOpened as why:
        return test.ended(why)
    except Gone as why:
        return _ended(test, wire.evidence, why)


def _is_lost(test: Question, wire: Wire) -> Judgement:
    """It may have answered the pieces of the line one by one: is it in step again?"""
    replies = wire.rest()
    remedy = "the session is out of step after such a line: use a server that cuts lines at CR LF only"
    return test.good(wire.evidence) if replies and replies[-1].code == 221 else test.warning(wire.evidence, remedy)


def _ended(test: Question, evidence: Sequence[str], why: Gone) -> Judgement:
    """A refusal and the end is an answer; the end alone, or silence, looks like a fall."""
    if any(line.startswith("S: ") for line in evidence):
        return test.good((*evidence, f"-- {why}"))
    return test.warning((*evidence, f"-- {why}"), "see whether the server fell, and what its log says")


def _talk_first(target: Target, seen: Seen, test: Question) -> Judgement:
    try:
        with Wire(target, seen.port) as wire:
            wire.send(f"EHLO {target.ehlo}\r\n".encode(), f"EHLO {target.ehlo}, before the banner")
            banner = wire.reply()
            if not banner.is_positive:
                return test.good(wire.evidence)
            taken = wire.reply().is_positive
            evidence = wire.evidence[:3]  # what it offers does not matter here
            return test.warning(evidence, _HEAR_FIRST) if taken else test.good(evidence)
    except Gone as why:
        return test.ended(why)
