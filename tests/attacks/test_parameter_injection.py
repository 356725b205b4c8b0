"""An address is one address on its way out too: no quoted local part, and no xtext, adds a parameter or a command.

The next hop reads MAIL and RCPT with a grammar of its own (RFC 5321 section 4.1.2), and finds the path that came in and
parameters that are ours.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.attacks.lenient_sink import LenientSink
from tests.cases.conftest import ALICE, Site, starting_sites
from tests.cases.refusing_sink import RefusingSink
from tests.cases.talk import Talk
from tests.tally import Tally

COMMAND: Final = re.compile(
    r'(MAIL FROM|RCPT TO):<((?:"(?:[^"\\\r\n]|\\[ -~])*"|[^"<>\s@]+)@[^<>\s@]+)?>((?: [A-Z0-9-]+(?:=[!-<>-~]+)?)*)',
    re.ASCII,
)
OURS: Final = {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT"}
LOCAL_PARTS: Final = (
    '"a> SIZE=1"',
    '"a> SIZE=99999999999"',
    '"a> NOTIFY=NEVER ORCPT=rfc822;x"',
    '"a> BODY=BINARYMIME"',
    '"a> AUTH=<>"',
    '"> SMTPUTF8"',
    '"a>"',
    '"<a"',
    '"a> RCPT TO:<evil@evil.example"',
    '"@remote.example> SIZE=1 <x"',
    '"a@b> <c"',
    '"a  b"',
    '" "',
    '""',
    r'"a\" b"',
    r'"a\">\" b"',
    r'"\\"',
    r'"\\\\\">"',
    r'"\>\ \<"',
    r'"a\@b"',
    '"a%0D%0ARCPT TO:<evil@evil.example>"',
    r'"a\r\nRCPT TO:<evil@evil.example>"',
    '"a+0D+0AQUIT"',
    '"{a}"',
    "a=b",
    "a+SIZE=1",
    "'a'",
    "`id`",
    '"$(id)"',
)
INTERNATIONAL: Final = (  # with SMTPUTF8: signs that some software takes for a bracket, a blank or a line's end
    "a\uff1e",
    "\uff1ca\uff1e",
    '"a\uff1e SIZE=1"',
    "a\u00a0b",
    "a\u202eb",
    "\ufeffa",
)
REFUSED: Final = (  # they end the path early, or the line
    '"a"> SIZE=1"',
    '"a\\"> SIZE=1',
    "a> SIZE=1",
    '"a\\',
    '"a\r\nRCPT TO:<evil@evil.example>"',
    '"a\nRCPT TO:<evil@evil.example>"',
    '"a\rRCPT TO:<evil@evil.example>"',
    '"a\0"',
    '"a\\\r\nb"',
    '"a\tb"',
    '"a\\\tb"',
    '"a\x7fb"',
    "a\u0085b",
    "a\u2028b",
    '"a\u2029RCPT TO:<evil@evil.example>"',
    '"a\u0085RCPT TO:<evil@evil.example>"',
)


@pytest.fixture(scope="module")
def posts() -> Iterator[tuple[Site, LenientSink, Site, RefusingSink]]:
    """Two sites: the next hop of one writes down what it hears, that of the other knows DSN."""
    with ExitStack() as stack:
        start = stack.enter_context(starting_sites())
        plain, knowing = stack.enter_context(LenientSink()), stack.enter_context(RefusingSink(dsn=True))
        sites = [start({"smtp": {"relayhost": sink.relayhost}}) for sink in (plain, knowing)]
        for site, sink in zip(sites, (plain, knowing), strict=True):
            site.furnish()
            site.sink = sink
        yield sites[0], plain, sites[1], knowing


def read(command: str) -> tuple[str, set[str]]:
    """Return path and keywords of a command as the next hop's grammar reads them."""
    match = COMMAND.fullmatch(command)
    assert match, f"no grammar reads {command!r}"
    return match[2] or "", {word.partition("=")[0] for word in match[3].split()}


def envelope(commands: list[str]) -> list[tuple[str, set[str]]]:
    return [read(command) for command in commands if command.startswith(("MAIL", "RCPT"))]


def test_c020_an_address_leaves_as_one_address(
    posts: tuple[Site, LenientSink, Site, RefusingSink], tally: Tally
) -> None:
    site, sink, *_ = posts
    tried = 0
    for local_parts, parameters in ((LOCAL_PARTS, ""), (INTERNATIONAL, " SMTPUTF8")):
        for local in local_parts:
            del sink.commands[:]
            address = f"{local}@remote.example"
            with site.trusted() as talk:
                content = b"Subject: x\r\n\r\nx\r\n"
                site.caught(talk.send_message(address, "first@remote.example", content, address, parameters=parameters))
            heard = envelope(sink.commands)
            assert [path for path, _ in heard] == [address, "first@remote.example", address]
            assert all(keywords <= OURS for _, keywords in heard)
            assert len([command for command in sink.commands if command.startswith("DATA")]) == 1
            tried += 2
    tally("smuggling", hostile_addresses=tried, smuggled=0)


def test_c020_where_it_is_rewritten_too(posts: tuple[Site, LenientSink, Site, RefusingSink], tally: Tally) -> None:
    """The reverse-path of what is forwarded holds the sender's address, in a local part of ours."""
    site, sink, *_ = posts
    assert site.server.valija("alias", "add", "out@local.example", "x@remote.example").returncode == 0
    for local in LOCAL_PARTS:
        del sink.commands[:]
        with site.stranger() as talk:
            site.caught(talk.send_message(f"{local}@evil.example", "out@local.example", b"Subject: x\r\n\r\nx\r\n"))
        (reverse_path, keywords), (recipient, _) = envelope(sink.commands)
        assert reverse_path.endswith("@local.example" if local != '""' else "@evil.example")
        assert reverse_path.startswith(("SRS0=", '"SRS0=', '""'))
        assert recipient == "x@remote.example"
        assert keywords <= OURS
    tally("smuggling", hostile_addresses=len(LOCAL_PARTS), smuggled=0)


@pytest.mark.parametrize("command", ["MAIL FROM", "RCPT TO"])
def test_c016_what_ends_early_is_refused(
    posts: tuple[Site, LenientSink, Site, RefusingSink], tally: Tally, command: str
) -> None:
    site = posts[0]
    for local in REFUSED:
        with Talk(site.server.smtpd, source="127.0.0.2") as talk:
            talk.hello()
            if command == "RCPT TO":
                assert talk.say("MAIL FROM:<a@remote.example>").startswith("250")
            talk.send(f"{command}:<{local}@remote.example>\r\nNOOP\r\n".encode())
            answers = [talk.reply() or ""]
            while answers[-1] != "250 2.0.0 Ok":
                assert re.match(r"50[01] 5\.|555 5\.5\.4|503 5\.5\.1", answers[-1]), (local, answers)
                answers.append(talk.reply() or "")
            assert len(answers) <= 3, "one more where there was a whole CRLF"
            assert talk.say("DATA").startswith(("503 5.5.1", "554 5.5.1")), "no recipient was taken"
    tally("smuggling", hostile_addresses=len(REFUSED), smuggled=0)


XTEXT: Final = (  # it travels as it came
    "a+3E+20SIZE+3D1",
    "a+20RET+3DFULL",
    "+22a+3E+22",
    "a>b",
    "a<b>",
    "a;b",
    '"a"',
    "a+7E",
)
NO_XTEXT: Final = (
    "a+0D+0ARCPT",
    "a+0A",
    "a+00",
    "a+0D",
    "a+1B[31m",
    "a+7F",
    "a+7f",
    "a b",
    "a\tb",
    "a=b",
    "a+",
    "a+4",
    "a+GG",
    "+",
    "a\x0bb",
)


def test_c028_c095_xtext_stays_xtext(posts: tuple[Site, LenientSink, Site, RefusingSink], tally: Tally) -> None:
    *_, site, sink = posts
    for text in XTEXT:
        del sink.commands[:]
        with site.alice() as talk:
            answers = talk.say(
                f"MAIL FROM:<{ALICE}> ENVID={text}", f"RCPT TO:<x@remote.example> ORCPT=rfc822;{text}", "DATA"
            )
            assert answers.startswith("354"), text
            talk.send(b"From: alice@local.example\r\n\r\nx\r\n.\r\n")
            site.caught(talk.reply() or "")
        mail, rcpt = [command for command in sink.commands if command.startswith(("MAIL", "RCPT"))]
        assert f" ENVID={text}" in mail
        assert f" ORCPT=rfc822;{text}" in rcpt
        for command in (mail, rcpt):
            assert read(command)[1] <= OURS
            assert len(read(command)[1] & {"ENVID", "ORCPT"}) == 1
    for text in NO_XTEXT:
        with site.alice() as talk:
            assert re.match(r"501 5\.5\.4|500 5\.5\.2|555", talk.say(f"MAIL FROM:<{ALICE}> ENVID={text}")), text
            talk.say("RSET", f"MAIL FROM:<{ALICE}>")
            assert re.match(r"501 5\.5\.4|500|555", talk.say(f"RCPT TO:<x@remote.example> ORCPT=rfc822;{text}")), text
            talk.say("RSET")
    tally("smuggling", hostile_parameters=2 * len(XTEXT + NO_XTEXT), smuggled=0)
