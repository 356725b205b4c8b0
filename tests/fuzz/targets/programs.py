"""What programs of this machine hand in: arguments and texts of sendmail, commands at the control socket, settings."""

import asyncio
import email
import email.policy
import os
import re
from collections.abc import Hashable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import msgspec

from tests.config.facts import FACTS
from tests.fuzz.engine import Target
from valija.admin.control import Answer, ControlServer
from valija.config.faults import ConfigError
from valija.config.load import parse as parse_settings
from valija.content.header import check, names
from valija.log_forms import MAX_LINE, JsonLines, TextLines
from valija.logs import LogBuffer, build_log
from valija.mail.unreadable import UNREADABLE
from valija.sendmail.arguments import parse as parse_arguments
from valija.sendmail.exits import Failure
from valija.sendmail.text import Text, read
from valija.warden.messages import Garbage, _decode_request, encode

_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_FOLDER = Path("/var/lib/nowhere")


def run_arguments(given: bytes) -> Hashable:
    """Read arguments, parted by form feeds; none that is taken has a line break in it, or names a file."""
    words = [word.decode("utf-8", "surrogateescape") for word in given.split(b"\f")]
    try:
        wish = parse_arguments("sendmail", words)
    except Failure as failure:
        assert str(failure)
        return "refused"
    for text in (*wish.recipients, wish.sender or "", wish.full_name, wish.envid):
        assert not {"\r", "\n", "\0"} & set(text)
    assert all(recipient in words for recipient in wish.recipients)
    return wish.mode, wish.dot_ends, wish.from_header, bool(wish.sender), wish.notify, wish.ret


def run_text(given: bytes) -> Hashable:
    """Make a message of a text; made of what comes out it is the same again."""
    with suppress(Failure):
        dotted = read(BytesIO(given), dot_ends=True, limit=lambda: 4096)
        assert given.startswith(dotted)
    try:
        text = Text.of(given)
    except Failure:
        return "refused"
    assert not _LONE.search(text.content)
    assert Text.of(text.content) == text
    if check(text.header) is None:
        seen = email.message_from_bytes(text.content, policy=email.policy.compat32)
        assert [name.lower().encode() for name in seen.keys()] == names(text.header)  # noqa: SIM118 - may stand twice
    with suppress(Failure):
        for address in text.recipients():
            assert not {"\r", "\n"} & set(address)
    authored = text.with_author("a@b.example", given[:300].decode("utf-8", "replace"))
    assert authored.header.startswith(text.header)
    assert not _LONE.search(authored.content)
    assert len(names(authored.header)) <= len(names(text.header)) + 1
    return tuple(names(text.header)[:6])


async def _status(arguments: Mapping[str, object]) -> object:
    return sorted(arguments)


_CONTROL = ControlServer(
    Path("control.sock"), {"status": _status}, build_log("error", "text", LogBuffer(os.open(os.devnull, os.O_WRONLY)))
)


def run_control(given: bytes) -> Hashable:
    """Ask the control socket, and the root helper, for anything."""
    answer = asyncio.run(_CONTROL._answer(given))
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer
    assert answer.ok or answer.error
    try:
        request = _decode_request(given)
    except UNREADABLE:  # as receive_request has it
        return answer.ok, Garbage.__name__
    assert _decode_request(encode(request)) == request
    return answer.ok, type(request).__name__


def run_settings(given: bytes) -> Hashable:
    """Read a configuration: it is taken, or each fault has its line, with a remedy."""
    text = given.decode("utf-8", "replace")
    try:
        config = parse_settings(text, "valija.toml", _FOLDER, FACTS)
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.isprintable() for line in lines), lines
        return lines[0][:40]
    return config.hostname


def run_log(given: bytes) -> Hashable:
    """Log texts of strangers, parted by form feeds: each line is one, printable, and of bounded length."""
    texts = [text.decode("utf-8", "surrogateescape") for text in given.split(b"\f")]
    values: dict[str, object] = {"reply": texts[0], "helo": texts[-1], "addresses": texts, "octets": given}
    for form in (TextLines(), JsonLines()):
        line = form.line("info", "refused", dict(values))
        assert line.endswith(b"\n")
        assert len(line) <= MAX_LINE
        text = line[:-1].decode()
        assert text.isprintable(), text
    told = msgspec.json.decode(line)
    assert told["event"] == "refused"
    return len(line) // 64


_LOG_WORDS = (
    b"\f", b"\r\n", b"\n2026-01-01T00:00:00.000Z info accepted", b"\x1b[2J", b"\xe2\x80\xae", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\xff", b'"', b"\\", b"=", b" ", b"a" * 3000, b"\xf0\x9f\x93\xae" * 300, b"\0" * 500,
    b"\xed\xa0\x80",
)  # fmt: skip
_ARGUMENT_WORDS = (
    b"-t", b"-i", b"-oi", b"-f", b"-r", b"-F", b"--", b"-bs", b"-bp", b"-bd", b"-q", b"-C/etc/x", b"-X/tmp/x",
    b"-oQ/tmp", b"-OQueueDirectory=/tmp", b"-N", b"never", b"-R", b"hdrs", b"-V", b"-\f", b"\f", b"root",
    b"a@b.example", b"-B8BITMIME", b"-oem", b"\n", b"-v", b"-ti", b"-be", b"-D/x",
)  # fmt: skip
_TEXT_WORDS = (
    b"From: a@b.example\n", b"To: root\n", b"Bcc: a, , b\n", b"Subject: x\n", b"\n\n", b".\n", b"From a Mon\n",
    b">From \n", b"X : y\n", b"\r\n", b"\r\r\n", b"\r", b"\0", b"Resent-To: c\n", b" folded\n", b"\n.\n", b":", b"\t",
)  # fmt: skip
_CONTROL_WORDS = (
    b'{"command":"status"}', b'"arguments":', b"{}", b'"\\ud800"', b"[" * 50, b"\x83\xa4type\xa5login\xa6number\x01",
    b"\xa5names\x91\xa1a", b"\xa8password\xc4\x01x", b"\xa4type\xadconfiguration",
    b"\xa4type\xa5pairs\xa4seen\xc4\x00", b"\xff", b"null", b"1e999", b"\n",
)  # fmt: skip
_SETTING_WORDS = (
    b'hostname = "mail.example.org"\n', b'domains = ["example.org"]\n', b'mynetworks = ["127.0.0.0/8"]\n',
    b"[smtpd]\n", b"[submission]\n", b'listen = ["0.0.0.0:25"]\n', b'tls_security_level = "may"\n', b"[tls]\n",
    b"[queue]\n", b'"5m"', b"workers = 2\n", b"[limits]\n", b"[dns]\n", b'relayhost = "[x]:25"\n', b"[smtp]\n",
    b"[sasl]\n", b"nan", b"inf", b"-1", b"[[", b"]]", b'""', b"{}", b"= 1\n", b'"\\u0000"', b"1979-05-27",
    b"0x" + b"f" * 400, b"[web]\n", b"[log]\n", b"[routes]\n", b"[tls_policy]\n", b"true", b"[[check]]\n",
    b"[conduct]\n", b"'''", b'"0.0.0.0/0"',
)  # fmt: skip
_DESIGN = Path(__file__).parents[2] / "config" / "design.toml"

TARGETS = (
    Target("sendmail_arguments", run_arguments, _ARGUMENT_WORDS, largest=600),
    Target("sendmail_texts", run_text, _TEXT_WORDS, cost=2),
    Target("control", run_control, _CONTROL_WORDS, cost=6),
    Target("log_lines", run_log, _LOG_WORDS, largest=12_000, cost=8),
    Target("settings", run_settings, _SETTING_WORDS, cost=40, more_seeds=lambda: [_DESIGN.read_bytes()]),
)
