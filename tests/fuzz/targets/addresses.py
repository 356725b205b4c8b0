"""Addresses: as commands have them, as headers have them, as reports write them, and as forwarding rewrites them."""

from collections.abc import Hashable
from contextlib import suppress

from tests.fuzz.engine import Target
from valija.content.addresses import AddressListError, addresses_of
from valija.content.compose import printable
from valija.content.local_addresses import LocalNames, complete, mailboxes
from valija.content.typed_address import (
    ascii_orcpt,
    decode_xtext,
    orcpt_of,
    original_recipient,
    typed_address,
)
from valija.mail.address import AddressError, mailbox_key, normalise_domain, quote, split, unquote
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.policy import srs
from valija.smtp import commands, grammar
from valija.smtp.client_capabilities import Capabilities
from valija.smtp.client_transaction import plan
from valija.smtp.commands import Refused
from valija.smtp.events import Mail
from valija.smtp.grammar import SyntaxFault

_EVERYTHING = Capabilities(dsn=True, smtputf8=True, eight_bit_mime=True)
_NOW = 1_800_000_000.0


def run_command(line: bytes) -> Hashable:
    """Read a command; write it as a client does, and read that."""
    try:
        verb, argument = commands.split(line)
    except Refused as fault:
        return fault.reply.code
    try:
        if verb == "MAIL":
            _same_again(commands.mail(argument, extended=True))
        elif verb == "RCPT":
            for smtputf8 in (True, False):
                with suppress(Refused):
                    _same_recipient(commands.rcpt(argument, extended=True, smtputf8=smtputf8))
            commands.rcpt(argument, extended=True, smtputf8=False)
        elif verb == "BDAT":
            commands.chunk(argument)
        elif verb == "AUTH":
            commands.auth(argument, ("PLAIN",))
        elif verb == "EHLO":
            assert grammar.hello_name(commands.hello(argument)) == argument
    except Refused as fault:
        return verb, fault.reply.code, fault.reply.enhanced
    return verb


def _same_again(command: Mail) -> None:
    _check_address(command.reverse_path)
    envelope = Envelope(command.reverse_path, (), smtputf8=command.smtputf8, ret=command.ret, envid=command.envid)
    content = Content.of("Subject: ü\r\n\r\n".encode() if command.smtputf8 else b"")
    written = plan(envelope, (Recipient("a@b.example"),), content, _EVERYTHING).commands[0]
    again = commands.mail(commands.split(written[:-2])[1], extended=True)
    assert (again.reverse_path, again.ret, again.envid) == (command.reverse_path, command.ret, command.envid)
    assert again.smtputf8 == command.smtputf8


def _same_recipient(recipient: Recipient) -> None:
    _check_address(recipient.address)
    envelope = Envelope("a@b.example", (recipient,))
    written = plan(envelope, (recipient,), Content.of(b""), _EVERYTHING).commands[1]
    again = commands.rcpt(commands.split(written[:-2])[1], extended=True, smtputf8=True)
    assert again == Recipient(recipient.address, recipient.notify, ascii_orcpt(recipient.orcpt))


def _check_address(address: str) -> None:
    if address in ("", "postmaster"):
        return
    assert grammar.path(f"<{address}>") == (address, "")
    local, domain = split(address)
    assert f"{local}@{domain}" == address
    assert unquote(quote(unquote(local))) == unquote(local)
    key = mailbox_key(address)
    assert mailbox_key(f"{quote(split(key)[0])}@{domain}") == key
    if not domain.startswith("["):
        assert normalise_domain(domain) == domain
        _check_rewriting(address)
    for internationalised in (True, False):
        _check_line(typed_address(address, internationalised=internationalised), ascii_only=not internationalised)
    value = orcpt_of(address)
    if value:
        assert grammar.original_recipient(value, smtputf8=False) == value
        meant = original_recipient(value, internationalised=True).partition(";")[2]
        assert meant in (printable(address, 1000), typed_address(address, internationalised=True).partition("; ")[2])


def _check_rewriting(address: str) -> None:
    given = srs.rewritten(address, "forward.example", b"key", _NOW)
    if given is None:
        return
    assert grammar.path(f"<{given}>") == (given, "")
    back = srs.original(given, [b"key"], _NOW)
    ours = unquote(split(address)[0])
    if srs.is_return_path(ours):
        assert back is None or grammar.path(f"<{back}>")[0] == back
    else:
        assert back is not None
        assert (unquote(split(back)[0]), split(back)[1]) == (ours, split(address)[1])


def _check_line(text: str, *, ascii_only: bool) -> None:
    assert text.isprintable() or not ascii_only, text
    assert text.isascii() or not ascii_only, text
    assert not {"\r", "\n", "\0"} & set(text)


def run_domain(given: bytes) -> Hashable:
    """Normalise a domain; once more changes nothing."""
    text = given.decode("utf-8", "surrogateescape")
    try:
        domain = normalise_domain(text)
    except AddressError as fault:
        return str(fault)[:30]
    assert normalise_domain(domain) == domain
    assert domain.isascii()
    assert domain == domain.lower()
    assert not set(domain) & set(" \t\r\n<>@\"'\\()[],;:\0")
    return len(domain.split("."))


def run_list(value: bytes) -> Hashable:
    """Read an address list; the addresses alone are the same list, and programs' names are completed once."""
    text = value.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    names = LocalNames("example.org", frozenset({"localhost"}))
    completed = complete(text, names)
    assert complete(completed, names) == completed
    with suppress(AddressListError):
        for address in mailboxes(text):
            assert not {"\r", "\n"} & set(address)
    try:
        found = addresses_of(text)
    except AddressListError as fault:
        assert str(fault).isprintable()
        return str(fault)[:20]
    assert addresses_of(", ".join(found).encode() or b"a:;") == found
    assert [address.rpartition("@")[0] for address in addresses_of(completed)] == [
        address.rpartition("@")[0] for address in found
    ]
    return len(found)


def run_orcpt(given: bytes) -> Hashable:
    """Tell of an original recipient, whatever a client wrote."""
    text = given.decode("utf-8", "surrogateescape")
    for internationalised in (True, False):
        _check_line(original_recipient(text, internationalised=internationalised), ascii_only=not internationalised)
    decode_xtext(text)
    if not text.isprintable():
        return "controls"
    with suppress(SyntaxFault):
        sound = grammar.original_recipient(text, smtputf8=True)
        told = ascii_orcpt(sound)
        assert told.isascii()
        assert ascii_orcpt(told) == told
        if len(told) <= 500:
            assert grammar.original_recipient(told, smtputf8=False) == told
        return "sound"
    return "refused"


_ADDRESS_WORDS = (
    b"@", b'"', b"\\", b".", b"..", b"<", b">", b"[", b"]", b"[IPv6:::1]", b"[127.0.0.1]", b"a@b.example", b'"a b"@x',
    "ü@ü.example".encode(), b"xn--", "。".encode(), b"@a,@b:c@d", b"%", b"!", b"+", b"SRS0=", b"SRS1=", b" SMTPUTF8",
    b" ENVID=+2B", b" ORCPT=rfc822;", b" ORCPT=utf-8;\\x{E5}", b" NOTIFY=NEVER,", b" BODY=8BITMIME", b" RET=FULL",
    b" SIZE=", b" AUTH=+3C", b"MAIL FROM:", b"RCPT TO:", b"(", b")", b",", b";", b":", b" ", b"(a (b) \\) c)",
    b"=?utf-8?q?a?=",
)  # fmt: skip

TARGETS = (
    Target("commands", run_command, _ADDRESS_WORDS, largest=2048),
    Target("domains", run_domain, _ADDRESS_WORDS, largest=600),
    Target("address_lists", run_list, _ADDRESS_WORDS),
    Target("original_recipients", run_orcpt, _ADDRESS_WORDS, largest=1200),
)
