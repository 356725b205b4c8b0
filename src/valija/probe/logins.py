"""Who may log in where, and who may send without: AUTH in clear, AUTH between servers, mail before a login.

    probe_logins(target, seen)      # by the role of the port

At most one login is tried on a port, in clear, with a name and a password made up: a server that judges it has taken a
password over an open line. Mail is tried as MAIL and RCPT only.
"""

import base64
import secrets
from collections.abc import Collection, Iterator
from typing import Final

from valija.mail.reply import Reply
from valija.probe.judgement import Judgement, Question
from valija.probe.seen import Seen, opened
from valija.probe.target import Target
from valija.probe.wire import Gone, Wire

_SHOW_THE_SECRET: Final = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})

_ONLY_INSIDE: Final = "offer AUTH inside TLS only: smtpd_tls_auth_only = yes in Postfix"
_NOT_ON_25: Final = "leave AUTH to 587 and 465: smtpd_sasl_auth_enable = no for port 25 in Postfix's master.cf"
_ONLY_USERS: Final = (
    "take mail from users only: smtpd_relay_restrictions = permit_sasl_authenticated, reject in Postfix"
)
_TRUSTED: Final = (
    "it takes mail without a login from this machine, which it may trust; come from elsewhere, or --source"
)


def probe_logins(target: Target, seen: Seen) -> Iterator[Judgement]:
    """Yield the judgements of one port."""
    if seen.role == "smtp":
        yield judge_auth_between_servers(
            Question("smtp-auth-offered", "no AUTH where servers hand over mail", seen.port), seen
        )
    if seen.role == "submission":
        yield judge_auth_in_clear(Question("submission-auth-in-clear", "no AUTH before TLS", seen.port), seen)
    if seen.clear is not None:
        yield _try_login(target, seen)
    if seen.role != "smtp":
        yield from _users_port(target, seen)


def judge_auth_between_servers(test: Question, seen: Seen) -> Judgement:
    """No user logs in on port 25: who tries to there guesses passwords."""
    if seen.clear is not None and seen.clear.auth:
        return test.bad((f"offered in clear: AUTH {' '.join(seen.clear.auth)}",), _NOT_ON_25)
    if seen.inside is not None and seen.inside.auth:
        return test.warning((f"offered inside TLS: AUTH {' '.join(seen.inside.auth)}",), _NOT_ON_25)
    return test.good(("AUTH is not offered",))


def judge_auth_in_clear(test: Question, seen: Seen) -> Judgement:
    """What shows a password must not be offered before TLS (RFC 4954 section 4)."""
    offered: Collection[str] = seen.clear.auth if seen.clear is not None else ()
    evidence = (f"offered in clear: AUTH {' '.join(offered)}",)
    if _SHOW_THE_SECRET.intersection(offered):
        return test.bad(evidence, _ONLY_INSIDE)
    return test.warning(evidence, _ONLY_INSIDE) if offered else test.good(("AUTH is not offered",))


def _try_login(target: Target, seen: Seen) -> Judgement:
    test = Question(f"{seen.role}-login-in-clear", "no login before TLS", seen.port)
    made_up = base64.b64encode(f"\0valija-probe-{secrets.token_hex(4)}\0{secrets.token_hex(8)}".encode()).decode()
    try:
        with opened(target, seen, in_clear=True) as wire:
            reply = wire.say(f"AUTH PLAIN {made_up}", shown="AUTH PLAIN ***")
            return judge_login_in_clear(test, reply, wire.evidence, offered=bool(seen.clear and seen.clear.auth))
    except Gone as why:
        return test.ended(why)


def judge_login_in_clear(test: Question, reply: Reply, evidence: Collection[str], *, offered: bool) -> Judgement:
    """A password in clear has to be refused unseen: 530 or 538, or 502 and the like where there is no AUTH."""
    if reply.is_positive:
        return test.bad(tuple(evidence), _ONLY_INSIDE)
    if reply.code == 535:
        return test.bad(tuple(evidence), _ONLY_INSIDE) if offered else test.warning(tuple(evidence), _ONLY_INSIDE)
    if reply.is_transient:
        return test.unknown(tuple(evidence), "it could not judge the login, but might have")
    return test.good(tuple(evidence))


def _users_port(target: Target, seen: Seen) -> Iterator[Judgement]:
    auth = Question(f"{seen.role}-auth-offered", "AUTH inside TLS", seen.port)
    if seen.inside is None:
        yield auth.not_tested(seen.fault)
    elif seen.inside.auth:
        yield auth.good((f"AUTH {' '.join(seen.inside.auth)}",))
    else:
        yield auth.warning(("AUTH is not offered",), "users have no way to log in here: see to the SASL settings")
    if seen.clear is not None:
        yield _try_mail(
            target, seen, Question(f"{seen.role}-mail-in-clear", "no mail before TLS", seen.port), in_clear=True
        )
    test = Question(f"{seen.role}-mail-without-login", "no mail without a login", seen.port)
    yield _try_mail(target, seen, test, in_clear=False) if seen.has_tls else test.not_tested(seen.fault)


def _try_mail(target: Target, seen: Seen, test: Question, *, in_clear: bool) -> Judgement:
    local = f"postmaster@{target.domain or seen.name or target.literal}"
    try:
        with opened(target, seen, in_clear=in_clear) as wire:
            replies = _mail_to((target.outside, local), wire)
            return judge_mail_without_login(test, replies, wire.evidence, trusted=target.is_at_home)
    except Gone as why:
        return test.unknown((str(why),))


def _mail_to(recipients: tuple[str, ...], wire: Wire) -> list[Reply]:
    """Return the replies to the recipients, or to MAIL where none may be named."""
    mail = wire.say("MAIL FROM:<>")
    if not mail.is_positive:
        return [mail]
    return [wire.say(f"RCPT TO:<{recipient}>") for recipient in recipients]


def judge_mail_without_login(
    test: Question, replies: Collection[Reply], evidence: Collection[str], *, trusted: bool
) -> Judgement:
    """Mail on a users' port is for users (RFC 6409 section 4.3)."""
    if any(reply.is_positive for reply in replies):
        return test.unknown(tuple(evidence), _TRUSTED) if trusted else test.bad(tuple(evidence), _ONLY_USERS)
    if all(reply.is_transient and reply.enhanced != "4.7.1" for reply in replies):
        return test.unknown(tuple(evidence), "it puts strangers off for a while; try again later")
    return test.good(tuple(evidence))
