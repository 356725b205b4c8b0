"""docs/es/caso-5.md, run from its first line to its last: the real Dovecot, Postfix, pebble, swaks, curl and openssl.

What is not as on a reader's machine: there is no systemd (tests/service_manager.py stands in for it), and the files of
certbot are laid out by the test. All else is as the page says, on the real ports.
"""

import json
import time
import tomllib
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.interop.case_5 import MISSING, Case5
from tests.interop.postfix import need_postfix
from tests.walkthrough import Command, Settings, Step, read

pytestmark = [pytest.mark.interop, pytest.mark.drops_privileges, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

PAGE: Final = Path(__file__).parents[2] / "docs" / "es" / "caso-5.md"
CONFIGURATION: Final = "/etc/valija/valija.toml"
LIVE: Final = "/etc/letsencrypt/live/mail.example.org"
ANAS_MAIL: Final = "/var/lib/valija/mail/example.org/ana"
DEADLINE: Final = 15.0  # seconds that something may take to be seen

# Commands that look at what happens meanwhile: they are given again until they show it.
LOOKING: Final = ("cat ", "grep ", "journalctl ", "valija check", "valija queue list")


class Walk:
    """Takes the steps of the page, one after the other; `complaints` are what was not as the page says."""

    def __init__(self, case: Case5) -> None:
        self._case = case
        self._machines = {"#": case.correo, "$": case.fuera, "oficina$": case.oficina, "mx#": case.mundo}
        self._is_at_first_settings = True
        self.complaints: list[str] = []
        self.statuses: dict[str, int] = {}

    def take(self, step: Step) -> None:
        if isinstance(step, Command):
            self._give(step)
        elif self._is_at_first_settings:
            self._is_at_first_settings = False
            self._compare(step)
        else:
            self._configure(step)

    def _give(self, command: Command) -> None:
        end = time.monotonic() + (DEADLINE if command.text.startswith(LOOKING) else 0.0)
        while True:
            done = self._machines[command.prompt].shell(command.text)
            if command.fits(done.stdout) or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.statuses[command.text] = done.returncode
        print(f"{command.prompt} {command.text}\n{done.stdout}")
        if not command.fits(done.stdout):
            self.complaints.append(command.complaint(done.stdout))

    def _compare(self, settings: Settings) -> None:
        """`valija init` wrote what the page says that it wrote, with comments."""
        written = self._case.correo.file(CONFIGURATION).read_text()
        if said(settings.text) != said(written):
            self.complaints.append(f"line {settings.line}: valija init wrote another configuration\n{written}")

    def _configure(self, settings: Settings) -> None:
        if LIVE in settings.text:
            self._case.leave_what_certbot_leaves()
        self._case.correo.file(CONFIGURATION).write_text(settings.text)


@pytest.fixture(scope="module")
def case() -> Iterator[Case5]:
    need_postfix()
    with Case5() as case:
        yield case


@pytest.fixture(scope="module")
def walk(case: Case5) -> Walk:
    """The walk when it is over: the tests below look at what is left of it."""
    walk = Walk(case)
    for step in read(PAGE):
        walk.take(step)
    return walk


def said(configuration: str) -> dict[str, Any]:
    """Return what a configuration says: a table without a setting says nothing."""
    return {key: value for key, value in tomllib.loads(configuration).items() if value != {}}


def mail(folder: Path) -> Sequence[Message]:
    return [message_from_bytes(file.read_bytes()) for file in sorted(folder.glob("*"))]


def titled(messages: Sequence[Message], subject: str) -> Message:
    (found,) = [each for each in messages if each["Subject"] == subject]
    return found


def test_each_command_does_what_the_page_shows(walk: Walk) -> None:
    assert not walk.complaints, "\n\n".join(walk.complaints)


def test_the_commands_that_prove_say_yes(walk: Walk) -> None:
    for text in ("valija check", "valija relay-proof", "valija probe mail.example.org --yes", "valija reload"):
        assert walk.statuses[text] == 0, text


@pytest.mark.parametrize("subject", ["Hola por el 587", "Hola por el 465", "Hola desde curl"])
def test_what_a_user_sent_came_to_postfix_over_starttls(case: Case5, walk: Walk, subject: str) -> None:
    arrived = titled(mail(case.postfix.mailbox), subject)
    assert arrived["From"] == "ana@example.org"
    by_postfix, by_valija = arrived.get_all("Received", [])
    assert "from mail.example.org" in by_postfix
    assert "using TLSv1.3" in by_postfix
    assert "by mail.example.org with ESMTPSA" in " ".join(by_valija.split())


def test_strangers_got_nothing_through_and_the_office_did(case: Case5, walk: Walk) -> None:
    senders = [each["From"] for each in mail(case.postfix.mailbox)]
    assert sorted(senders) == ["ana@example.org"] * 4 + ["impresora@example.org"]


def test_others_sent_to_the_hosted_domain_encrypted_and_in_clear(case: Case5, walk: Walk) -> None:
    """Two by a stranger, one by Postfix."""
    arrived = mail(case.correo.file(ANAS_MAIL) / "new")
    how = [" ".join(each.get_all("Received", [])[0].split()) for each in arrived]
    assert sorted("with ESMTPS" in each for each in how) == [False, True, True]
    assert all("with ESMTP" in each for each in how)


def test_what_certbot_renews_is_taken_up_though_root_alone_can_read_it(case: Case5, walk: Walk) -> None:
    text = "valija certificate list --json"
    before = case.correo.shell(text).stdout
    case.leave_what_certbot_leaves(version=2)
    end = time.monotonic() + 2 * DEADLINE
    while (now := case.correo.shell(text).stdout) == before:
        assert time.monotonic() < end, f"{now}\n{case.log_of_valija}"
        time.sleep(0.2)
    (renewed,) = json.loads(now)
    chain = x509.load_pem_x509_certificates(case.correo.file(f"{LIVE}/fullchain.pem").read_bytes())
    assert renewed["sha256"] == chain[0].fingerprint(hashes.SHA256()).hex()


def test_the_log_knows_no_fault_but_dovecots_and_no_secret(case: Case5, walk: Walk) -> None:
    log = case.log_of_valija
    assert "certificate issued" in log
    assert "Lluvia" not in log
    assert "Traceback" not in log
    events = {line.partition(" error ")[2].split("  ")[0] for line in log.splitlines() if " error " in line}
    assert events == {"Dovecot is away, logins get 454 until it is back", "login unavailable"}
