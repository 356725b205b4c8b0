"""The step from clear to TLS: is it offered, can commands be slipped in before it, and is what came before forgotten?

    probe_starttls(target, seen)

The two holes are those of RFC 3207 section 6 and CVE-2011-0411: who sits on the line before TLS begins adds commands
that the server takes for the user's, or says what the server believes later.
"""

import ssl
from collections.abc import Iterator, Sequence
from typing import Final

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen, any_server
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire, tls_words

_UPDATE: Final = "use a server that drops what comes behind STARTTLS before the handshake"
_FORGET: Final = "use a server that begins anew after the handshake (RFC 3207 section 4.2)"


def probe_starttls(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Yield the judgements of a port that begins in clear, or of one that begins with TLS."""
    if seen.role == "submissions":
        yield judge_tls_first(Question("submissions-tls-first", "TLS from the first octet", seen.port), seen)
        return
    yield judge_offer(Question(f"{seen.role}-starttls", "STARTTLS", seen.port), seen)
    injection = Question(f"{seen.role}-starttls-injection", "no command slips in behind STARTTLS", seen.port)
    state = Question(f"{seen.role}-starttls-state", "what was said before TLS is forgotten", seen.port)
    if not seen.has_tls:
        yield from (injection.not_tested(seen.fault), state.not_tested(seen.fault))
        return
    yield _inject(target, seen, injection)
    yield _carry_over(target, seen, state)


def judge_tls_first(test: Question, seen: Seen) -> Judgement:
    """RFC 8314 section 3.3."""
    if seen.has_tls:
        return test.good((f"{seen.tls[0]}, {seen.tls[1]}",))
    remedy = "let this port begin with TLS: smtpd_tls_wrappermode = yes in Postfix, and give it a certificate"
    return test.bad((seen.fault,), remedy)


def judge_offer(test: Question, seen: Seen) -> Judgement:
    """Users can't do without; between servers it is a pity."""
    if seen.has_tls:
        return test.good((f"{seen.tls[0]}, {seen.tls[1]}",))
    offered = seen.clear is not None and seen.clear.starttls
    remedy = "give the server a certificate, and offer STARTTLS: smtpd_tls_security_level = may in Postfix"
    return test.bad((seen.fault,), remedy) if offered or seen.role != "smtp" else test.warning((seen.fault,), remedy)


def _inject(target: Target, seen: Seen, test: Question) -> Judgement:
    try:
        with Wire(target, seen.port) as wire:
            wire.greet()
            wire.send(b"STARTTLS\r\nNOOP\r\n", "STARTTLS, and NOOP in the same write")
            if wire.reply().code != 220:
                return test.good(wire.evidence)
            if wire.has_more:
                return test.bad((*wire.evidence, "-- a reply in clear to what came behind STARTTLS"), _UPDATE)
            wire.start_tls(any_server())
            wire.send(f"EHLO {target.ehlo}\r\n".encode())
            replies = [wire.reply(), *wire.rest()]
            return judge_injection(test, replies, wire.evidence)
    except ssl.SSLError as refused:
        return test.good((f"the handshake fails: {tls_words(refused)}",))
    except Gone as why:
        return test.ended(why)


def judge_injection(test: Question, replies: Sequence[Reply], evidence: Sequence[str]) -> Judgement:
    """Inside TLS there was EHLO and QUIT; whoever answers three times has heard the NOOP."""
    return test.bad(evidence, _UPDATE) if len(replies) > 2 else test.good(evidence)


def _carry_over(target: Target, seen: Seen, test: Question) -> Judgement:
    try:
        with Wire(target, seen.port) as wire:
            wire.greet()
            if not wire.say("MAIL FROM:<>").is_positive or wire.say("STARTTLS").code != 220:
                return test.good(wire.evidence)  # nothing is taken in clear; or no TLS within a transaction
            wire.start_tls(any_server())
            reply = wire.say("RCPT TO:<postmaster>")
            if reply.is_transient:
                return test.unknown(wire.evidence)
            return test.bad(wire.evidence, _FORGET) if reply.is_positive else test.good(wire.evidence)
    except ssl.SSLError as refused:
        return test.good((f"the handshake fails: {tls_words(refused)}",))
    except Gone as why:
        return test.ended(why)
