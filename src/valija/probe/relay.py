"""Does the server carry mail for strangers? Every form of probe/relay_forms, as MAIL and RCPT only: nothing is sent.

    probe_relay(target, seen)       # a Judgement for each form

A few forms share a connection, few enough that no server's limit of errors is reached. Where a server trusts the
machine that the probe runs on, taking mail for elsewhere proves nothing: that is `unknown`, and `source` tells where to
come from.
"""

import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.relay_forms import Form, relay_forms
from valija.probe.seen import Seen, opened
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire

FORMS_A_CONNECTION: Final = 5  # servers slow down, or hang up, after ten errors or twenty

_ABOUT_THE_DOMAIN: Final = ("5.1.2", "5.1.10", "4.1.2", "4.4.3", "4.4.4", "5.4.4")
_RELAYING: Final = re.compile(r"\brelay", re.IGNORECASE)

_FROM_ELSEWHERE: Final = (
    "it may rightly trust this machine: probe from another, or with --source from an address that it does not trust"
)
_CLOSE_IT: Final = (
    "let only known networks (mynetworks) and users who logged in send to other domains: "
    "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination in Postfix"
)
_TAKES_ALL: Final = "it takes any local part, a random one too, so that taking this one says nothing"


class Answers(msgspec.Struct, frozen=True):
    """What the server said to one form. `rcpt` is None where MAIL was refused already."""

    mail: Reply
    rcpt: Reply | None
    evidence: tuple[str, ...]


def probe_relay(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Try all forms on the port where servers hand over mail."""
    domain = target.domain or seen.name
    own, sender = domain or target.literal, f"valija-probe@{target.ehlo}"
    forms = relay_forms(outside=target.outside, own=own, literal=target.literal, sender=sender)
    stray = Form("", "", "<>", f"<valija-probe-{secrets.token_hex(4)}@{own}>")
    answers = _ask(target, seen, (stray, *forms))
    catch_all = _is_taken(answers.get(stray.id))
    for form in forms:
        test = Question(f"smtp-{form.id}", f"no relaying: {form.what}", seen.port)
        yield judge_form(test, form, answers.get(form.id), trusted=target.is_at_home, catch_all=catch_all)


def judge_form(test: Question, form: Form, said: Answers | None, *, trusted: bool, catch_all: bool) -> Judgement:
    """Judge what a server said to a form; None where it said nothing. `catch_all`: it takes a local part made up."""
    if said is None:
        return test.unknown(("no answer to it",))
    reply = said.rcpt or said.mail
    if said.rcpt is not None and reply.is_positive:
        return _judge_taken(test, form, said, trusted=trusted, catch_all=catch_all)
    if _RELAYING.search(reply.text):  # Postfix defers by default: 454 4.7.1 ... Relay access denied
        return test.good(said.evidence)
    if reply.is_transient:
        return test.unknown(said.evidence, "it puts strangers off for a while; try again later")
    if reply.enhanced in _ABOUT_THE_DOMAIN and form.leads == "outside":
        why = "it refuses the domain, not the relaying; name a mailbox in one that takes mail with --outside"
        return test.unknown(said.evidence, why)
    if said.rcpt is None and not form.about_sender:
        return test.unknown(said.evidence, "it refuses every sender that was tried")
    return test.good(said.evidence)


def _judge_taken(test: Question, form: Form, said: Answers, *, trusted: bool, catch_all: bool) -> Judgement:
    if form.leads == "here" and catch_all:
        return test.unknown(said.evidence, _TAKES_ALL)
    if trusted:
        return test.unknown(said.evidence, _FROM_ELSEWHERE)
    return test.bad(said.evidence, _CLOSE_IT)


def _is_taken(said: Answers | None) -> bool:
    return said is not None and said.rcpt is not None and said.rcpt.is_positive


def _ask(target: Target, seen: Seen, forms: Sequence[Form]) -> dict[str, Answers]:
    """Return what was said to each form, by its id. One that ends the connection is not tried again."""
    answers: dict[str, Answers] = {}
    left = list(forms)
    while left:
        batch = left[:FORMS_A_CONNECTION]
        asked = 0
        try:
            with opened(target, seen) as wire:
                for form in batch:
                    asked += 1
                    answers[form.id] = _ask_for(form, wire)
                    wire.say("RSET")
        except Gone:
            if not asked:
                break
        left = left[asked:]
    return answers


def _ask_for(form: Form, wire: Wire) -> Answers:
    """MAIL and RCPT; once more with the null sender where only the sender was refused."""
    wire.mark()
    mail = wire.say(f"MAIL FROM:{form.sender}")
    if not mail.is_positive and not form.about_sender:
        mail = wire.say("MAIL FROM:<>")
    rcpt = wire.say(f"RCPT TO:{form.recipient}") if mail.is_positive else None
    return Answers(mail, rcpt, tuple(wire.evidence))
