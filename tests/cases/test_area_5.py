"""Relay control and identity, end to end: what a stranger can't make the server send, and whose name a user bears."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cases.conftest import ALICE, BOB, Site
from tests.cases.talk import Talk
from tests.live import VALIJA, Settings

TRICKS = (
    "<victim%remote.example@local.example>",
    '<"victim%remote.example">',
    "<victim@remote.example@>",
    '<"victim@remote.example"@local.example>',
    "<remote.example!victim@local.example>",
    "<@local.example:victim@remote.example>",
    "<victim@remote.example@local.example>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@localhost>",
)
MORE_TRICKS = (
    "<victim@remote.example>",
    "<victim@remote.example.>",
    "<victim@local.example.remote.example>",
    "<victim@remote.local.example>",
    "<victim@127.0.0.1>",
    "<victim@2130706433>",
    "<alice@local.example,victim@remote.example>",
    "<alice@local.example>,<victim@remote.example>",
    "<alice@local.example> <victim@remote.example>",
    "<postmaster@remote.example>",
    "<postmaster%remote.example>",
    "<victim@mail.local.example>",
    "<alice+x@remote.example>",
    "<>",
)
SENDERS = ("a@evil.example", ALICE, "")


# C062, C065: strangers


@pytest.mark.parametrize("sender", SENDERS, ids=("outsider", "insider", "null"))
@pytest.mark.parametrize("trick", TRICKS + MORE_TRICKS)
def test_c062_relay_tricks(site: Site, sender: str, trick: str) -> None:
    before = len(site.sink.caught)
    with site.stranger() as talk:
        assert talk.say(f"MAIL FROM:<{sender}>").startswith("250")
        assert re.match(r"501|55[0-5]", talk.say(f"RCPT TO:{trick}"))
        assert talk.say("DATA").startswith("554 5.5.1"), "and so there is nobody to send to"
        assert talk.say("RSET").startswith("250")
        kept = site.delivered(talk.send_message(sender, ALICE, b"Subject: kept\r\n\r\nx\r\n"))
    assert b"Subject: kept" in kept
    assert len(site.sink.caught) == before


def test_c062_the_words_of_a_refusal(site: Site) -> None:
    since = site.server.log.mark()
    with site.stranger() as talk:
        talk.say("MAIL FROM:<a@evil.example>")
        answer = talk.say("RCPT TO:<victim@remote.example>")
        assert answer == "554 5.7.1 <victim@remote.example>: Relay access denied"
    site.server.wait_for_log("recipient refused .*recipient=victim@remote.example .*5.7.1", since=since)


def test_who_may_relay_is_told_in_the_log(site: Site) -> None:
    since = site.server.log.mark()
    with site.trusted() as talk:
        site.caught(talk.send_message("a@remote.example", "x@remote.example", b"Subject: x\r\n\r\nx\r\n"))
    with site.alice() as talk:
        site.caught(talk.send_message(ALICE, "x@remote.example", b"Subject: x\r\n\r\nx\r\n"))
    with site.stranger() as talk:
        site.delivered(talk.send_message("a@remote.example", ALICE, b"Subject: x\r\n\r\nx\r\n"))
    for rule in ('"mynetworks 127.0.0.2/32"', f'"login {ALICE}"', '"hosted local.example"'):
        site.server.wait_for_log(f"accepted .*rule={rule}", since=since)


PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.1.0/24", "[fd12:3456:789a::]/48"]


@pytest.mark.parametrize("network", PRIVATE)
def test_c065_a_private_range_is_trusted_with_a_warning(tmp_path: Path, network: str) -> None:
    (tmp_path / "valija.toml").write_text(f'hostname = "mail.local.example"\nmynetworks = ["{network}"]\n')
    done = _check(tmp_path)
    assert f'"{network}": everyone in this private range may relay' in done.stdout + done.stderr


def test_c065_no_private_range_is_trusted_by_default(tmp_path: Path) -> None:
    (tmp_path / "valija.toml").write_text('hostname = "mail.local.example"\n')
    assert "private range" not in _check(tmp_path).stdout


def test_c065_the_start_warns_too(sites: Callable[[Settings], Site]) -> None:
    site = sites({"mynetworks": ["10.0.0.0/8"]})
    site.server.wait_for_log(r"warn .*10\.0\.0\.0/8")


def _check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(VALIJA), "check", "-c", str(folder / "valija.toml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


_CLIENTS = ("172.17.0.1", "172.22.1.1", "fd00::1")
_NETWORK = """
ip link set lo up
mount -t sysfs sysfs /sys
ip link add docker0 type veth peer name inside
ip addr add 172.17.0.1/16 dev docker0 && ip addr add 172.22.1.1/24 dev docker0
ip addr add fd00::1/64 dev docker0 nodad && ip link set docker0 up && ip link set inside up
exec "$0" -c "$1"
"""
_IN_NETWORK = f"""
import json
from tests.cases.talk import Talk
from tests.live import LiveServer
clients, networks = {{}}, {{}}
listen = ["172.17.0.1:2525", "172.22.1.1:2525", "[fd00::1]:2525"]
with LiveServer({{"domains": ["local.example"], "smtpd": {{"listen": listen}}}}) as server:
    for client in {_CLIENTS}:
        with Talk(2525, host=client, source=client) as talk:
            talk.hello()
            talk.say("MAIL FROM:<a@evil.example>")
            clients[client] = talk.say("RCPT TO:<victim@remote.example>")
    for network in ("172.17.0.0/16", "172.17.0.1", "[fd00::]/64", "172.16.0.0/12"):
        server.configuration.write_text(f'hostname = "mail.local.example"\\nmynetworks = ["{{network}}"]\\n')
        checked = server.valija("check")
        networks[network] = f"{{checked.returncode}} {{checked.stdout}}{{checked.stderr}}"
print("ANSWERS" + json.dumps([clients, networks]))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and Debian's iproute2")
def test_c065_who_comes_through_a_container_bridge_is_a_stranger() -> None:
    command = ["unshare", "--net", "--mount", "sh", "-ec", _NETWORK, sys.executable, _IN_NETWORK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    clients, networks = json.loads(done.stdout.rpartition("ANSWERS")[2])
    assert [answer[:9] for answer in clients.values()] == ["554 5.7.1"] * len(_CLIENTS)
    assert len(networks) == 4
    for network, answer in networks.items():
        assert answer.startswith("1 "), network
        assert f'"{network}": it ' in answer
        assert "container bridge" in answer


# C070, C071, C072: users and names

FORGED = {
    "a": b"From: bob@local.example\r\n",
    "b": b"From: alice@local.example\r\nFrom: bob@local.example\r\n",
    "b, two of her own": b"From: alice@local.example\r\nFrom: alice@local.example\r\n",
    "b, far apart": b"From: alice@local.example\r\n" + b"X-A: y\r\n" * 200 + b"fRoM: bob@local.example\r\n",
    "c": b"From: alice@local.example, bob@local.example\r\n",
    "d": b"From : bob@local.example\r\n",
    "d, with her own": b"From: alice@local.example\r\nFrom : bob@local.example\r\n",
    "d, tab": b"From\t: bob@local.example\r\n",
    "name": b'From: "alice@local.example" <bob@local.example>\r\n',
    "route": b"From: <@bob.example:bob@local.example>\r\n",
    "comment": b"From: bob@local.example (alice@local.example)\r\n",
    "group": b"From: us: alice@local.example, bob@local.example;\r\n",
    "fold": b"From:\r\n bob@local.example\r\n",
    "no address": b"From: Alice\r\n",
    "empty": b"From:\r\n",
    "stranger": b"From: ceo@remote.example\r\n",
    "subdomain": b"From: alice@mail.local.example\r\n",
    "unquoted @": b"From: bob@local.example <alice@local.example>\r\n",
    "NUL": b"From: alice@local.example\0bob@local.example\r\n",
    "look-alike": "From: alicе@local.example\r\n".encode(),
}
ALLOWED = {
    "e": b"From: =?utf-8?q?bob=40local=2Eexample?= <alice@local.example>\r\n",
    "subaddress": b"From: Alice+news@LOCAL.example\r\n",
    "twice": b"From: alice@local.example, alice+x@local.example\r\n",
    "f": b"Sender: bob@local.example\r\n",
    "none": b"",
    "text that looks like one, folded": b"Fr\r\n om: bob@local.example\r\n",
}


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
def test_c070_a_forged_from_is_refused(site: Site, header: bytes) -> None:
    before = len(site.sink.caught)
    with site.alice() as talk:
        answer = talk.send_message(ALICE, "x@remote.example", header + b"Subject: c070\r\n\r\nhello\r\n")
        assert re.match(r"55[04] 5\.(7\.1|6\.0) ", answer), answer
        fine = talk.send_message(ALICE, "x@remote.example", b"From: alice@local.example\r\n\r\nfine\r\n")
    site.caught(fine)
    assert len(site.sink.caught) == before + 1


@pytest.mark.parametrize("header", ALLOWED.values(), ids=ALLOWED)
def test_c070_what_is_theirs_is_signed(site: Site, header: bytes) -> None:
    with site.alice() as talk:
        answer = talk.send_message(ALICE, "x@remote.example", header + b"Subject: c070\r\n\r\nhello\r\n")
    caught = site.caught(answer)
    assert site.is_signed(caught.content)
    assert len(re.findall(rb"(?mi)^from:", caught.content)) == 1
    assert "alice" in caught.field("From").lower()
    assert "d=local.example;" in caught.field("DKIM-Signature")


@pytest.mark.parametrize("sender", [BOB, "anybody@remote.example", "alice@localhost", "postmaster@local.example"])
def test_c070_the_envelope_too(site: Site, sender: str) -> None:
    with site.alice() as talk:
        assert talk.say(f"MAIL FROM:<{sender}>").startswith("550 5.7.1")
        assert talk.say("RCPT TO:<x@remote.example>").startswith("503")


def test_c070_two_from_fields_are_never_signed_as_ours(site: Site) -> None:
    content = b"From: alice@local.example\r\nFrom: bob@local.example\r\nSubject: x\r\n\r\nhello\r\n"
    with site.trusted() as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    assert not site.is_signed(caught.content)


CLAIMED = {
    "sender": (b"Sender: bob@local.example\r\n", b""),
    "not an address": (b"Sender: somebody\r\n", b""),
    "her own": (b"Sender: Alice+x@local.example\r\n", b"Sender: Alice+x@local.example\n"),
    "resent by her": (b"Resent-From: alice@local.example\r\n", b"Resent-From: alice@local.example\n"),
}


@pytest.mark.parametrize(("header", "left"), CLAIMED.values(), ids=CLAIMED)
def test_c070_nobody_else_is_said_to_have_sent_it(site: Site, header: bytes, left: bytes) -> None:
    content = header + b"From: alice@local.example\r\nSubject: c070\r\n\r\nhello\r\n"
    with site.alice() as talk:
        caught = site.caught(talk.send_message(ALICE, "x@remote.example", content))
    found = re.findall(rb"(?mi)^(?:sender|resent-from):.*\n", caught.content.replace(b"\r\n", b"\n"))
    assert b"".join(found) == left
    assert site.is_signed(caught.content)


def test_c070_nobody_else_is_said_to_have_resent_it(site: Site) -> None:
    content = b"Resent-From: bob@local.example\r\nFrom: alice@local.example\r\n\r\nhello\r\n"
    with site.alice() as talk:
        answer = talk.send_message(ALICE, "x@remote.example", content)
    assert answer.startswith("550 5.7.1 bob@local.example is not yours to use as Resent-From")


def test_c070_an_alias_of_several_is_each_one_s(site: Site) -> None:
    assert site.server.valija("alias", "add", "team@local.example", ALICE, BOB).returncode == 0
    content = b"From: team@local.example\r\nSubject: c070\r\n\r\nhello\r\n"
    with site.alice() as talk:
        caught = site.caught(talk.send_message("team@local.example", "x@remote.example", content))
    assert site.is_signed(caught.content)


def test_c071_outsiders_may_be_kept_from_our_name(sites: Callable[[Settings], Site]) -> None:
    site = sites({"smtpd": {"reject_own_senders": True}})
    site.furnish()
    with site.stranger() as talk:
        assert talk.say(f"MAIL FROM:<{BOB}>").startswith("550 5.7.1 bob@local.example sends through this server")
        for sender in ("a@remote.example", ""):
            assert talk.say(f"MAIL FROM:<{sender}>").startswith("250")
            talk.say("RSET")
    with site.trusted() as talk:
        assert talk.say(f"MAIL FROM:<{BOB}>").startswith("250")
    with site.alice() as talk:
        assert talk.say(f"MAIL FROM:<{ALICE}>").startswith("250")


@pytest.mark.parametrize("tls", [False, True])
def test_c071_an_outsider_in_our_name_is_taken_but_never_signed(site: Site, tls: bool) -> None:
    content = b"From: bob@local.example\r\nSubject: pay this\r\n\r\nhello\r\n"
    with site.stranger() as talk:
        if tls:
            talk.say("STARTTLS")
            talk.start_tls()
            talk.ehlo()
        message = site.delivered(talk.send_message(BOB, ALICE, content))
    assert not site.is_signed(message)
    received = re.findall(rb"(?m)^Received: (?:.*\n\t)+.*\n", message)
    assert len(received) == 1
    keyword = re.search(rb"with (\S+)", received[0])
    assert keyword
    assert keyword[1] == (b"ESMTPS" if tls else b"ESMTP")


def test_c071_nor_where_an_alias_leads_out(site: Site) -> None:
    assert site.server.valija("alias", "add", "sales@local.example", "x@remote.example").returncode == 0
    content = b"From: bob@local.example\r\nSubject: pay this\r\n\r\nhello\r\n"
    with site.stranger() as talk:
        caught = site.caught(talk.send_message(BOB, "sales@local.example", content))
    assert caught.recipients == ("x@remote.example",)
    assert not site.is_signed(caught.content)


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["stranger", "mynetworks"])
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_c072_no_mail_without_a_login(site: Site, port: str, source: str) -> None:
    with Talk(getattr(site.server, port), source=source, tls=port == "submissions") as talk:
        talk.hello()
        if port == "submission":
            assert talk.say("MAIL FROM:<alice@local.example>").startswith("530 5.7.0")
            talk.say("STARTTLS")
            talk.start_tls()
            assert talk.say("MAIL FROM:<alice@local.example>").startswith("503 5.5.1")
            talk.ehlo()
        assert talk.say("MAIL FROM:<alice@local.example>").startswith("530 5.7.0")
        assert talk.say("MAIL FROM:<>").startswith("530 5.7.0")
        assert talk.say("RCPT TO:<bob@local.example>").startswith("503 5.5.1")
        assert talk.say("DATA").startswith("503 5.5.1")
        assert re.match("25[02]|502", talk.say("VRFY alice"))
        assert talk.say("NOOP").startswith("250")
        assert talk.say("QUIT").startswith("221")
        assert talk.is_closed()


def test_c072_smtpd_never_takes_a_login(site: Site) -> None:
    with Talk(site.server.smtpd) as talk:
        assert "AUTH" not in talk.hello()
        talk.say("STARTTLS")
        talk.start_tls()
        assert "AUTH" not in talk.ehlo()
        assert talk.say("AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAb3BlbiBzZXNhbWU=").startswith("502")
        assert talk.say("MAIL FROM:<alice@local.example>").startswith("250")
        assert talk.say("RCPT TO:<x@remote.example>").startswith("554 5.7.1")
