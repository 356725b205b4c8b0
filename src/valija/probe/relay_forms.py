"""The classic ways to make a server carry mail to where it should not, as open-relay testers know them.

    for form in relay_forms(outside="victim@example.com", own="mail.example.org", literal="[192.0.2.1]", sender="a@b"):
        ...     # MAIL FROM, RCPT TO, RSET: never DATA

`leads` tells whither the recipient goes by its last domain: `outside`; or `here`, where it must not be taken for a
mailbox of this server, unless that takes any local part there is.
"""

from typing import Literal

import msgspec


class Form(msgspec.Struct, frozen=True):
    """One attempt: `sender` and `recipient` stand behind `FROM:` and `TO:`. `about_sender`: a refused MAIL says all."""

    id: str
    what: str
    sender: str
    recipient: str
    leads: Literal["outside", "here"] = "outside"
    about_sender: bool = False


def relay_forms(*, outside: str, own: str, literal: str, sender: str) -> tuple[Form, ...]:
    """Return all forms for a mailbox outside, a domain of the server's, its address as a literal, and a stranger."""
    return (*_by_sender(outside, own, literal, sender), *_by_recipient(outside, own, literal, f"<{sender}>"))


def _by_sender(outside: str, own: str, literal: str, sender: str) -> tuple[Form, ...]:
    recipient = f"<{outside}>"
    senders = (
        ("plain", "a stranger's mail to elsewhere", f"<{sender}>"),
        ("null-sender", "the null sender", "<>"),
        ("own-sender", "a sender in the server's own domain", f"<postmaster@{own}>"),
        ("literal-sender", "a sender at the server's own address", f"<postmaster@{literal}>"),
        ("localhost-sender", "a sender at localhost", "<postmaster@localhost>"),
        ("bare-sender", "a sender without a domain", "<postmaster>"),
    )
    return tuple(Form(f"relay-{name}", what, form, recipient, about_sender=True) for name, what, form in senders)


def _by_recipient(outside: str, own: str, literal: str, sender: str) -> tuple[Form, ...]:
    local, _, domain = outside.rpartition("@")
    to_outside = (
        ("trailing-dot", "a dot behind the domain", f"<{outside}.>"),
        ("no-brackets", "no angle brackets", outside),
        ("source-route", "a source route through the server", f"<@{own}:{outside}>"),
        ("literal-route", "a source route through its address", f"<@{literal}:{outside}>"),
        ("long-route", "a source route of two hops", f"<@{own},@{domain}:{outside}>"),
        ("double-at-outside", "two domains, the last one outside", f"<{local}@{own}@{domain}>"),
        ("trailing-at", "an @ behind it", f"<{outside}@>"),
        ("percent-bare", "percent hack without a domain", f"<{local}%{domain}>"),
        ("percent-quoted", "percent hack in quotes", f'<"{local}%{domain}">'),
        ("quoted", "the address in quotes", f'<"{outside}">'),
        ("bang-bare", "bang path without a domain", f"<{domain}!{local}>"),
        ("bang-long", "bang path of two hops", f"<{own}!{domain}!{local}>"),
    )
    to_here = (
        ("percent-own", "percent hack in the server's domain", f"<{local}%{domain}@{own}>"),
        ("percent-literal", "percent hack at its address", f"<{local}%{domain}@{literal}>"),
        ("quoted-own", "the address in quotes in its domain", f'<"{outside}"@{own}>'),
        ("quoted-literal", "the address in quotes at its address", f'<"{outside}"@{literal}>'),
        ("double-at-own", "two domains, the last one its own", f"<{outside}@{own}>"),
        ("double-at-literal", "two domains, the last one its address", f"<{outside}@{literal}>"),
        ("bang-own", "bang path in its domain", f"<{domain}!{local}@{own}>"),
        ("bang-literal", "bang path at its address", f"<{domain}!{local}@{literal}>"),
        ("route-here", "a source route that ends in its domain", f"<@{domain}:{local}%{domain}@{own}>"),
        ("loopback", "a mailbox at its loopback address", f"<{local}@[127.0.0.1]>"),
        ("loopback-6", "a mailbox at its IPv6 loopback", f"<{local}@[IPv6:::1]>"),
        ("localhost", "a mailbox at localhost", f"<{local}@localhost>"),
    )
    return (
        *(Form(f"relay-{name}", what, sender, form) for name, what, form in to_outside),
        *(Form(f"relay-{name}", what, sender, form, "here") for name, what, form in to_here),
    )
