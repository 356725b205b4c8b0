"""The running server, a domain with an MTA-STS policy, and the report that it gets in the evening.

server                                   world
valija, its clients                      name server; https://mta-sts.*, https://reports.*; the MX hosts
"""

import email
import email.policy
import gzip
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import network
from tests.ca import CertificateAuthority
from tests.fakedns import FakeDns
from tests.https_host import Answer, HttpsHost
from tests.live import LiveServer, message
from tests.network import Network
from tests.reachable import let_all_in
from tests.sink import CatchingSink, Caught

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(network.MISSING), reason=network.MISSING)]

SERVER, WORLD, OTHER = "192.0.2.10", "192.0.2.20", "192.0.2.21"
ALICE, SECRET = "alice@example.org", "correct horse"
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


class Lab:
    """Both machines, with all that runs on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        authority = CertificateAuthority()
        network = stack.enter_context(Network({"server": [f"{SERVER}/24"], "world": [f"{WORLD}/24", f"{OTHER}/24"]}))
        self.network = network
        hosts = ["mta-sts.example.net", "mta-sts.example.com", "reports.example.net"]
        with network.inside("world"):
            pair = authority.issue("mx.example.net").write(folder, "mx")
            self.sink = stack.enter_context(CatchingSink(pair, OTHER))
            self.dns = stack.enter_context(FakeDns(self._zone(hosts), host=WORLD, port=53))
            self.web = stack.enter_context(HttpsHost(authority.issue(*hosts), folder, WORLD, 443))
        self.web.answers = {
            "/.well-known/mta-sts.txt": Answer(POLICY.encode()),
            "/tls": Answer(status=200),
        }
        self.server = LiveServer({"smtp": {"port": self.sink.port}, "dns": {"nameservers": [WORLD]}})
        trust = f"SSL_CERT_FILE={authority.write_root(folder / 'ca.pem')}"
        self.server.launcher = network.command("server", "env", trust)
        stack.enter_context(self.server)
        self.server.add_user(ALICE, SECRET)
        assert self.server.valija("dkim", "create", "example.org").returncode == 0

    @staticmethod
    def _zone(hosts: list[str]) -> dict[str, list[str]]:
        reports = 'TXT "v=TLSRPTv1; rua=mailto:tls@example.net,https://reports.example.net/tls"'
        return {
            **{host: [f"A {WORLD}"] for host in hosts},
            "mx.example.net": [f"A {OTHER}"],
            "example.net": ["MX 10 mx.example.net."],
            "_mta-sts.example.net": ['TXT "v=STSv1; id=1;"'],
            "_smtp._tls.example.net": [reports],
            "mx.example.com": [f"A {OTHER}"],  # whose certificate is another's, and whom the policy does not name
            "example.com": ["MX 10 mx.example.com."],
            "_mta-sts.example.com": ['TXT "v=STSv1; id=1;"'],
            "_smtp._tls.example.com": [reports],
        }

    def send(self, recipient: str, outcome: str) -> None:
        """Submit a message, and wait for what its attempt comes to."""
        since = self.server.log.mark()
        with self.network.inside("server"):
            self.server.submit(ALICE, SECRET, recipient, message("hello", ALICE, recipient))
        self.server.wait_for_log(rf"attempt .*recipient={recipient} .*outcome={outcome}", since=since)

    def valija(self, *words: str) -> subprocess.CompletedProcess[str]:
        with self.network.inside("server"):
            return self.server.valija(*words)

    def json(self, *words: str) -> dict[str, Any]:
        done = self.valija(*words, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def fetches(self) -> int:
        return self.web.asked("/.well-known/mta-sts.txt")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    let_all_in(tmp_path)  # the service's user reads the authority's certificate
    with ExitStack() as stack:
        yield Lab(tmp_path, stack)


def report_in(caught: Caught) -> dict[str, Any]:
    parsed = email.message_from_bytes(caught.content, policy=email.policy.default)
    _, document = parsed.iter_parts()
    report: dict[str, Any] = json.loads(gzip.decompress(document.get_content()))
    return report


def test_a_policy_is_kept_to_and_its_domain_is_told(lab: Lab) -> None:
    lab.send("bob@example.net", "delivered")
    lab.server.wait_for_log(r"MTA-STS policy fetched .*domain=example\.net")
    lab.send("bob@example.com", "deferred")
    (mail,) = lab.sink.wait_for(1)
    assert mail.tls

    # What is fetched is kept: a restart asks the policy host nothing.
    fetches = lab.fetches()
    with lab.network.inside("server"):
        lab.server.stop()
        lab.server.start()
    lab.send("bob@example.net", "delivered")
    assert lab.fetches() == fetches

    counted = {each["domain"]: each["report"] for each in lab.json("tls-report")["counted"]}
    policies = counted["example.net"]["policies"]
    assert [(each["policy"]["policy-type"], each["policy"]["mx-host"]) for each in policies] == [
        ("sts", ["*.example.net"])
    ]
    assert policies[0]["policy"]["policy-string"][1] == "mode: enforce"
    assert counted["example.com"]["policies"][0]["summary"]["total-failure-session-count"] >= 1
    shown = lab.valija("tls-report", "example.net").stdout
    assert "reports go to mailto:tls@example.net, https://reports.example.net/tls" in shown

    since = lab.server.log.mark()
    assert lab.valija("tls-report", "--send", "example.net").returncode == 0
    lab.web.wait_for(lambda: lab.web.asked("/tls") == 1)
    *_, mailed = lab.sink.wait_for(3)
    assert mailed.reverse_path == ""
    assert mailed.recipients == ("tls@example.net",)
    assert mailed.field("DKIM-Signature")
    by_mail, by_https = report_in(mailed), json.loads(gzip.decompress(lab.web.requests[-1].body))
    assert by_mail == by_https
    assert by_mail["organization-name"] == "example.org"
    assert by_mail["policies"][0]["summary"] == {
        "total-successful-session-count": 2,
        "total-failure-session-count": 0,
    }
    lab.server.wait_for_log(r"attempt .*recipient=tls@example\.net .*outcome=delivered", since=since)
    lab.server.wait_for_log(r"TLS report sent .*place=https", since=since)

    # It is told once, over a restart too, and its own session is not counted.
    with lab.network.inside("server"):
        lab.server.stop()
    answer = lab.json("tls-report")
    assert {each["domain"] for each in answer["counted"]} == {"example.com"}
    assert answer["under_way"] == []


def test_a_report_outlives_the_server_that_made_it(lab: Lab) -> None:
    lab.web.answers["/tls"] = Answer(status=503)
    lab.send("bob@example.net", "delivered")
    assert lab.valija("reload").returncode == 0
    lab.server.wait_for_log("reloaded")
    lab.send("bob@example.net", "delivered")
    assert lab.fetches() == 1
    since = lab.server.log.mark()
    lab.valija("tls-report", "--send")
    lab.server.wait_for_log(r"TLS report not sent, tried again later .*503", since=since)
    with lab.network.inside("server"):
        lab.server.kill()
        lab.server.start()
    (waiting,) = lab.json("tls-report", "example.net")["under_way"]
    assert (waiting["place"], waiting["tries"]) == ("https://reports.example.net/tls", 1)
    lab.web.answers["/tls"] = Answer(status=200)
    lab.valija("tls-report", "--send")
    lab.web.wait_for(lambda: lab.web.asked("/tls") == 2)
    first, second = (gzip.decompress(each.body) for each in lab.web.requests if each.path == "/tls")
    assert first == second
