"""From a line to a command, and to what it asks for. A fault becomes `Refused`, with the reply that says what is wrong.

    >>> split(b"mail FROM:<alice@example.org> SIZE=4096")
    ('MAIL', 'FROM:<alice@example.org> SIZE=4096')
    >>> mail("FROM:<alice@example.org> SIZE=4096", extended=True).size
    4096
    >>> rcpt("TO:<bob@example.org>", extended=True, smtputf8=False).address
    'bob@example.org'

Codes: 555 for a parameter nobody knows, 501 for a known one with a bad value (RFC 5321 section 4.1.1.11), 553 5.6.7 for
an internationalised address that was not declared (RFC 6531 section 3.5). After HELO there are no parameters.
"""

import binascii
import re
from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

from valija.mail.envelope import Notify, Recipient, Ret
from valija.mail.reply import Reply
from valija.smtp import answers, grammar, requests
from valija.smtp.events import Auth, Mail, SentBody
from valija.smtp.grammar import PathFault, SyntaxFault

RCPT_PARAMETERS: Final = frozenset({"NOTIFY", "ORCPT"})

_NOTIFY: Final = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}
_BODIES: Final[dict[str, SentBody]] = {"7BIT": "7BIT", "8BITMIME": "8BITMIME", "BINARYMIME": "BINARYMIME"}
_RETS: Final[dict[str, Ret]] = {"FULL": "FULL", "HDRS": "HDRS"}

_INTERNATIONALISED: Final = frozenset({b"MAIL", b"RCPT", b"VRFY"})

# How programs begin that take this for a web server; nothing they send after it may run as commands.
_FOREIGN: Final = frozenset({"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI"})

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_VERB = re.compile(r"[^ \t]*")
_AUTH = re.compile(r"([A-Za-z0-9_-]{1,20})(?:[ \t]+([^ \t]+))?")
_BDAT = re.compile(r"([0-9]+)(?:[ \t]+(LAST))?", re.IGNORECASE | re.ASCII)


class Refused(Exception):
    """The command is refused with `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class MailOffer(msgspec.Struct, frozen=True, gc=False):
    """What MAIL may carry: these parameters, and BODY=BINARYMIME where `binary` is set."""

    parameters: frozenset[str]
    binary: bool = False


BASIC_OFFER: Final = MailOffer(frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"}))


class Chunk(NamedTuple):
    """BDAT's argument: how many octets follow, and whether they are the last ones."""

    size: int
    last: bool


def split(line: bytes) -> tuple[str, str]:
    """Return the command in upper case, and its argument without blanks around it. Raises Refused."""
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        text = _internationalised(line)
    if not text.isprintable():
        if _CONTROL.search(text):
            raise Refused(answers.CONTROL_CHARACTERS)
        if "\t" in text:
            verb = _VERB.match(text)[0]  # type: ignore[index]  # the pattern matches everything
            return verb.upper(), text[len(verb) :].strip(grammar.BLANK)
    verb, _, argument = text.partition(" ")
    return verb.upper(), argument.strip(grammar.BLANK)


def _internationalised(line: bytes) -> str:
    """Return a line that is not all ASCII, if its command may be so."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Refused(answers.NOT_UTF8) from None
    if line[:4].upper() not in _INTERNATIONALISED:  # octets: in Unicode other letters become these in upper case
        raise Refused(answers.NOT_ASCII)
    return text


def is_foreign(start: bytes) -> bool:
    """Whether a line that starts so is another protocol's (HTTP)."""
    return start.partition(b" ")[0].decode("latin-1").upper() in _FOREIGN


def mail(argument: str, *, extended: bool, offer: MailOffer = BASIC_OFFER) -> Mail:
    """Return the MAIL command that `argument` makes. Raises Refused."""
    if argument[:5].upper() != "FROM:":
        raise Refused(answers.MAIL_SYNTAX)
    try:
        address, rest = grammar.path(argument[5:])
    except PathFault:
        raise Refused(answers.BAD_REVERSE_PATH) from None
    try:
        command = _mail(address, _parameters(rest, offer.parameters, extended), binary=offer.binary)
    except (SyntaxFault, KeyError):
        raise Refused(answers.BAD_PARAMETER) from None
    _check_internationalised(argument, rest, smtputf8=command.smtputf8)
    return command


def _mail(address: str, values: dict[str, str], *, binary: bool) -> Mail:
    if not values:
        return Mail(address, 0, "7BIT", False, "", "")
    if values.get("SMTPUTF8"):
        raise SyntaxFault("SMTPUTF8 has no value")
    if "AUTH" in values:
        grammar.xtext(values["AUTH"], 500)  # RFC 4954 section 5: checked, then ignored; nobody is trusted by it
    return Mail(
        address,
        size=grammar.number(values["SIZE"]) if "SIZE" in values else 0,
        body=_body(values["BODY"], binary=binary) if "BODY" in values else "7BIT",
        smtputf8="SMTPUTF8" in values,
        ret=_RETS[values["RET"].upper()] if "RET" in values else "",
        envid=grammar.xtext(values["ENVID"], 100) if "ENVID" in values else "",
        requests=requests.read(values),
    )


def _body(value: str, *, binary: bool) -> SentBody:
    body = _BODIES[value.upper()]
    if body == "BINARYMIME" and not binary:
        raise SyntaxFault(value)
    return body


def rcpt(argument: str, *, extended: bool, smtputf8: bool) -> Recipient:
    """Return the recipient that RCPT's `argument` names. Raises Refused."""
    if argument[:3].upper() != "TO:":
        raise Refused(answers.RCPT_SYNTAX)
    try:
        address, rest = grammar.forward_path(argument[3:])
    except PathFault:
        raise Refused(answers.BAD_FORWARD_PATH) from None
    try:
        recipient = _recipient(address, _parameters(rest, RCPT_PARAMETERS, extended), smtputf8)
    except (SyntaxFault, KeyError):
        raise Refused(answers.BAD_PARAMETER) from None
    _check_internationalised(argument, rest, smtputf8=smtputf8)
    return recipient


def _recipient(address: str, values: dict[str, str], smtputf8: bool) -> Recipient:
    if not values:
        return Recipient(address)
    notify = _notify(values["NOTIFY"]) if "NOTIFY" in values else Notify.ABSENT
    orcpt = grammar.original_recipient(values["ORCPT"], smtputf8=smtputf8) if "ORCPT" in values else ""
    return Recipient(address, int(notify), orcpt)


def _notify(value: str) -> Notify:
    """Return NOTIFY's flags: NEVER, alone, or any of the others (RFC 3461 section 4.1)."""
    if value.upper() == "NEVER":
        return Notify.NEVER
    flags = Notify.ABSENT
    for word in value.upper().split(","):
        flags |= _NOTIFY[word]
    return flags


def _parameters(rest: str, known: frozenset[str], extended: bool) -> dict[str, str]:
    if not rest:
        return {}
    if rest[0] not in grammar.BLANK:
        raise Refused(answers.GARBAGE_AFTER_PATH)
    values = grammar.parameters(rest)
    if not extended or not known.issuperset(values):
        raise Refused(answers.UNKNOWN_PARAMETER)
    return values


def _check_internationalised(argument: str, rest: str, *, smtputf8: bool) -> None:
    # What stands before `rest` holds the address; the parameters' own grammars keep what is not ASCII out of them.
    if not smtputf8 and not argument.isascii() and not argument[: len(argument) - len(rest)].isascii():
        raise Refused(answers.NEEDS_SMTPUTF8)


def hello(argument: str) -> str:
    """Return the name in EHLO or HELO. Raises Refused."""
    try:
        return grammar.hello_name(argument)
    except SyntaxFault:
        raise Refused(answers.BAD_HELLO) from None


def verify(argument: str) -> None:
    """Check the argument of VRFY, `string [SMTPUTF8]` (RFC 6531 section 3.7.4.2). Raises Refused."""
    if not argument:
        raise Refused(answers.BAD_VRFY)
    _check_internationalised(argument, "", smtputf8=argument.upper().endswith(" SMTPUTF8"))


def chunk(argument: str) -> Chunk:
    """Return what BDAT announces (RFC 3030 section 2). Raises Refused: then the number of octets is unknown."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        raise Refused(answers.BAD_BDAT)
    return Chunk(int(match[1]), match[2] is not None)


def auth(argument: str, offered: Collection[str]) -> Auth:
    """Return the AUTH command that `argument` makes, its mechanism in upper case (RFC 4954 section 4). Raises Refused.

    Undecodable base64 is refused with BAD_BASE64, which counts as a failed login. The response to a mechanism that is
    not `offered` is not looked at: that there is none is the answer. Where nothing is, the back end may be back by now.
    """
    match = _AUTH.fullmatch(argument)
    if match is None:
        raise Refused(answers.BAD_AUTH)
    mechanism, response = match[1].upper(), match[2]
    if response is None or (offered and mechanism not in offered):
        return Auth(mechanism, None)
    return Auth(mechanism, b"" if response == "=" else sasl_response(response.encode()))


def sasl_response(line: bytes) -> bytes:
    """Return the octets that a line of base64 means. Raises Refused."""
    try:
        octets = binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise Refused(answers.BAD_BASE64) from None
    # Python's strict mode lets needless padding pass (`AAAA=`).
    if binascii.b2a_base64(octets, newline=False) != line:
        raise Refused(answers.BAD_BASE64)
    return octets
