"""DKIM of what leaves: as users write it, as the next hop gets it, and as forgers would like it."""

import base64
import json
import re
from collections.abc import Callable
from typing import Final

import pytest

from tests.cases.conftest import ALICE, SECRETS, Site
from tests.cases.talk import submitter
from tests.content.dkim_world import results
from tests.live import Settings

FROM: Final = "From: Älice Ünder <alice@local.example>\r\n".encode()
ODD: Final = (
    FROM + b"Subject: a long one,\r\n\tfolded with a tab   \r\n \twith  runs of\t\tblanks \t\r\n"
    b"To:x@remote.example,\r\n  y@remote.example \r\nCc:\r\nComments: \r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Empty:\r\n"
    b"Date: Wed, 25 Nov 2026 03:00:00 +0000\r\nMessage-ID: <c122@local.example>\r\n"
)
BODY: Final = "Grüße\t \r\n\r\n  two  words\r\n.\r\n..dots\r\n\r\n\r\n".encode()
OVERSIGNED: Final = ["From", "Subject", "To", "Cc", "Date", "Reply-To", "Message-ID", "MIME-Version", "Content-Type"]


@pytest.fixture(scope="module")
def both(sites: Callable[[Settings], Site]) -> Site:
    """A site whose users' mail is signed with both kinds of key."""
    site = sites({})
    site.furnish()
    created = site.server.valija("dkim", "create", "local.example", "--kind", "ed25519", "--selector", "ed", "--json")
    assert created.returncode == 0, created.stderr
    site.ed25519_record = json.loads(created.stdout)["value"]
    return site


def send(site: Site, header: bytes, body: bytes = BODY) -> bytes:
    """Have alice send a message; return what the next hop got."""
    stuffed = re.sub(rb"(?m)^\.", b"..", body)
    with site.alice() as talk:
        return site.caught(talk.send_message(ALICE, "x@remote.example", header + b"\r\n" + stuffed)).content


def verdicts(site: Site, message: bytes) -> dict[str, str]:
    """Return what our own verifier says of each signature, by algorithm."""
    found: dict[str, str] = {}
    for algorithm, record in (("rsa-sha256", site.dkim_record.decode()), ("ed25519-sha256", site.ed25519_record)):
        (result,) = (
            each for each in results(message, [record], now=float(signed_at(message))) if each.algorithm == algorithm
        )
        found[algorithm] = result.verdict
    return found


def signed_at(message: bytes) -> bytes:
    found = re.search(rb" t=(\d+);", message)
    assert found
    return found[1]


PASS: Final = {"rsa-sha256": "pass", "ed25519-sha256": "pass"}
FAIL: Final = {"rsa-sha256": "fail", "ed25519-sha256": "fail"}


def test_c122_folds_tabs_blanks_8_bit_empty_values_and_dots(both: Site) -> None:
    message = send(both, ODD)
    assert message.endswith(b"\r\n\r\n" + BODY)
    assert both.is_signed(message)
    assert verdicts(both, message) == PASS


@pytest.mark.parametrize("name", OVERSIGNED)
def test_c122_a_field_put_on_top_breaks_the_signature(both: Site, name: str) -> None:
    message = send(both, ODD)
    assert verdicts(both, f"{name}: forged@evil.example\r\n".encode() + message) == FAIL


def test_c122_what_is_signed_and_that_nothing_can_be_appended(both: Site) -> None:
    message = send(both, ODD)
    for field in re.findall(rb"DKIM-Signature:(?:.*\r\n[ \t])*.*\r\n", message):
        tags = dict(
            part.strip().split(b"=", 1) for part in re.sub(rb"\r\n[ \t]+", b"", field).partition(b":")[2].split(b";")
        )
        names = [name.strip().decode().lower() for name in tags[b"h"].split(b":")]
        occurring = {name: len(re.findall(rf"(?im)^{name}:".encode(), ODD)) for name in OVERSIGNED}
        assert {name: names.count(name.lower()) for name in OVERSIGNED} == {n: c + 1 for n, c in occurring.items()}
        assert b"l" not in tags
        assert b"x" not in tags
        assert (tags[b"c"], tags[b"d"]) == (b"relaxed/relaxed", b"local.example")
        assert len(base64.b64decode(tags[b"bh"])) == 32
    assert verdicts(both, message + b"more\r\n") == FAIL


@pytest.mark.parametrize("length", [998, 999, 1000, 5000])
def test_c026_long_lines_are_signed_by_both_keys_as_they_leave(both: Site, length: int) -> None:
    message = send(both, ODD, b"x" * length + b"\r\n." + b"y" * length + b"\r\n")
    assert message.endswith(b"x" * length + b"\r\n." + b"y" * length + b"\r\n")
    assert verdicts(both, message) == PASS


def test_a_large_body_that_went_by_way_of_a_file(both: Site) -> None:
    body = b"".join(b"line %d  \t\r\n" % number for number in range(40_000)) + b"\r\n\r\n"
    assert verdicts(both, send(both, ODD, body)) == PASS


# Domains that users send from, and that receive elsewhere


@pytest.fixture(scope="module")
def sending(both: Site) -> Site:
    """A site with a user of a domain that is not hosted here, which has a key."""
    both.server.add_user("carol@sending.example", "correct horse")
    created = both.server.valija("dkim", "create", "sending.example", "--kind", "ed25519", "--selector", "s")
    assert created.returncode == 0, created.stderr
    return both


def test_mail_of_a_user_is_signed_though_the_domain_receives_elsewhere(sending: Site) -> None:
    header = b"From: carol@sending.example\r\nSubject: x\r\n"
    with submitter(sending.server.submissions, "carol@sending.example", "correct horse", tls=True) as talk:
        sent = talk.send_message("carol@sending.example", "x@remote.example", header + b"\r\nhello\r\n")
    message = sending.caught(sent).content
    listed = json.loads(sending.server.valija("dkim", "list", "sending.example", "--json").stdout)
    (result,) = results(message, [listed[0]["value"]], now=float(signed_at(message)))
    assert (result.verdict, result.domain, result.selector) == ("pass", "sending.example", "s")


def test_nobody_elses_mail_is_signed_for_it(sending: Site) -> None:
    header = b"From: carol@sending.example\r\nSubject: x\r\n"
    with sending.alice() as talk:
        assert talk.send_message(ALICE, "x@remote.example", header + b"\r\nhello\r\n").startswith("550 5.7.1")
    with sending.trusted() as talk:  # its network is trusted to relay, not to be carol
        message = sending.caught(talk.send_message(ALICE, "x@remote.example", header + b"\r\nhello\r\n")).content
    assert b"DKIM-Signature" not in message
    with sending.stranger() as talk:
        message = sending.delivered(talk.send_message("carol@sending.example", ALICE, header + b"\r\nhello\r\n"))
    assert b"DKIM-Signature" not in message


# Rotation, seen by the running workers


def test_a_running_server_signs_with_the_key_that_was_activated(fresh_site: Site) -> None:
    server = fresh_site.server
    first = json.loads(server.valija("dkim", "list", "--json").stdout)[0]["selector"]
    (new,) = json.loads(server.valija("dkim", "rotate", "--json").stdout)
    assert selector_of(send(fresh_site, FROM)) == first
    refused = server.valija("dkim", "activate", "local.example")
    assert refused.returncode == 1
    assert "does not sign yet" in refused.stderr
    assert selector_of(send(fresh_site, FROM)) == first

    assert server.valija("dkim", "activate", "local.example", "--anyway").returncode == 0
    for _ in range(100):  # a worker looks once a second; each message is a look
        if selector_of(send(fresh_site, FROM)) == new["selector"]:
            break
    else:
        pytest.fail("the new key does not sign")
    fresh_site.dkim_record = new["value"].encode()
    assert fresh_site.is_signed(send(fresh_site, FROM))
    assert SECRETS[ALICE] not in server.log.text


def selector_of(message: bytes) -> str:
    found = re.search(rb"\ts=([^;]+);", message)
    assert found
    return found[1].decode()
