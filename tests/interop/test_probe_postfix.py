"""valija probe judges a real Postfix, set up well and badly, with Dovecot for its logins; and valija itself."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.ca import CertificateAuthority
from tests.dovecot import MISSING, LiveDovecot
from tests.interop.postfix import DOMAIN, HOSTNAME, Postfix, need_postfix
from tests.live import HOST, VALIJA, LiveServer
from tests.ports import free_port
from tests.reachable import let_all_in

pytestmark = pytest.mark.interop

STRANGER: Final = "127.0.0.9"
MAILBOX: Final = f"bob@{DOMAIN}"

WELL: Final = {
    "mynetworks": "127.0.0.1/32",
    "smtpd_tls_security_level": "may",
    "smtpd_tls_protocols": ">=TLSv1.2",
    "smtpd_forbid_bare_newline": "yes",
    "disable_vrfy_command": "yes",
    "virtual_mailbox_maps": f"inline:{{{MAILBOX}=inbox/}}",
}
WELL_FOR_USERS: Final = (
    "smtpd_tls_security_level=encrypt",
    "smtpd_tls_mandatory_protocols=>=TLSv1.2",
    "smtpd_tls_exclude_ciphers=aNULL",
    "smtpd_sasl_auth_enable=yes",
    "smtpd_tls_auth_only=yes",
    "smtpd_client_restrictions=permit_sasl_authenticated,reject",
)
BADLY: Final = {
    "mynetworks": "0.0.0.0/0",
    "smtpd_tls_security_level": "may",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_tls_auth_only": "no",
    "smtpd_forbid_bare_newline": "no",
}
BADLY_FOR_USERS: Final = ("smtpd_tls_security_level=may", "smtpd_sasl_auth_enable=yes", "smtpd_tls_auth_only=no")


class PostfixWithUsers(Postfix):
    """A Postfix with `submission` and `submissions` besides; `users` are their own settings."""

    def __init__(self, settings: Mapping[str, str], users: Sequence[str]) -> None:
        self.submission, self.submissions = free_port(), free_port()
        self._users = users
        super().__init__(settings)

    def _configure(self, settings: Mapping[str, str]) -> None:
        super()._configure(settings)
        options = "".join(f" -o {{{setting}}}" for setting in self._users)
        with (self.folder / "etc" / "master.cf").open("a") as master:
            master.write(f"{HOST}:{self.submission} inet n - n - - smtpd{options}\n")
            master.write(f"{HOST}:{self.submissions} inet n - n - - smtpd{options} -o smtpd_tls_wrappermode=yes\n")


class Pki:
    """An authority, and a key pair for a host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = CertificateAuthority()
        self.ca_file = str(self._authority.write_root(folder / "ca.pem"))

    def pair(self, name: str) -> tuple[Path, Path]:
        return self._authority.issue(name).write(self.folder, name)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def sasl() -> Iterator[dict[str, str]]:
    """Dovecot's auth service, as Postfix's settings."""
    need_postfix()
    if MISSING:
        pytest.skip(MISSING)
    with LiveDovecot({"alice": "secret"}, mechanisms="plain login") as dovecot:
        yield {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": dovecot.socket}


def probe(ports: tuple[int, int, int], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status, and the tests by their ids."""
    smtp, submission, submissions = map(str, ports)
    where = ("--port-smtp", smtp, "--port-submission", submission, "--port-submissions", submissions)
    done = subprocess.run(
        [VALIJA, "probe", HOST, *where, "--source", STRANGER, "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0), done.stderr
    return done.returncode, {each["id"]: each for each in answer["tests"]}


def of(verdict: str, found: dict[str, Any]) -> set[str]:
    return {name for name, each in found.items() if each["verdict"] == verdict}


def postfix_probed(postfix: PostfixWithUsers, pki: Pki) -> tuple[int, dict[str, Any]]:
    ports = (postfix.port, postfix.submission, postfix.submissions)
    return probe(ports, "--domain", DOMAIN, "--recipient", MAILBOX, "--ca-file", pki.ca_file)


def tls(pki: Pki) -> dict[str, str]:
    chain, key = pki.pair(HOSTNAME)
    return {"smtpd_tls_chain_files": f"{key} {chain}"}


def test_c062_a_postfix_that_is_set_up_well(sasl: dict[str, str], pki: Pki) -> None:
    with PostfixWithUsers({**sasl, **tls(pki), **WELL}, WELL_FOR_USERS) as postfix:
        status, found = postfix_probed(postfix, pki)
    assert (status, of("bad", found)) == (0, set())
    assert of("warning", found) == {"smtp-early-talker", "smtp-cipher-anonymous"}  # what it does by default
    assert {name for name in found if "-relay-" in name} <= of("good", found)
    assert {name for name in found if "-end-of-data-" in name} <= of("good", found)
    assert found["submission-auth-offered"]["evidence"] == ["AUTH PLAIN LOGIN"]


def test_c062_a_postfix_that_is_set_up_badly(sasl: dict[str, str], pki: Pki) -> None:
    with PostfixWithUsers({**sasl, **tls(pki), **BADLY}, BADLY_FOR_USERS) as postfix:
        status, found = postfix_probed(postfix, pki)
    assert status == 1
    assert of("bad", found) >= {
        "smtp-auth-offered",
        "smtp-login-in-clear",
        "smtp-relay-plain",
        "smtp-relay-null-sender",
        "smtp-relay-own-sender",
        "smtp-relay-source-route",
        "smtp-relay-percent-bare",
        "smtp-relay-bang-bare",
        "smtp-end-of-data-lf-dot-lf",
        "smtp-end-of-data-lf-dot-crlf",
        "smtp-end-of-data-crlf-dot-lf",
        "submission-auth-in-clear",
        "submission-login-in-clear",
        "submission-mail-in-clear",
        "submission-mail-without-login",
        "submissions-mail-without-login",
    }
    assert "S: 535 5.7.8 Error: authentication failed" in found["smtp-login-in-clear"]["evidence"][1]
    assert not {name for name in of("bad", found) if "starttls" in name or "certificate" in name}


def test_valija_is_good_in_everything(live: Callable[..., LiveServer], pki: Pki) -> None:
    chain, key = pki.pair("mail.example.org")
    if os.getuid() == 0:
        for path in (chain, key):
            shutil.chown(path, "nobody")
        let_all_in(pki.folder)
    files = {"certificate": "files", "cert_file": str(chain), "key_file": str(key)}
    pause = {"greet_pause": "0.1s"}  # in which early talkers are found out
    server = live({"mynetworks": ["127.0.0.1/32"], "tls": files, "smtpd": pause})
    server.add_user("alice@example.org", "secret")
    ports = (server.smtpd, server.submission, server.submissions)
    arguments = ("--domain", "example.org", "--recipient", "alice@example.org", "--ca-file", pki.ca_file)
    status, found = probe(ports, *arguments)
    assert status == 0
    assert of("good", found) == set(found) - {
        "smtp-name-address",  # 127.0.0.1 is not public
        "smtp-reverse-name",
        "smtp-cipher-old",  # where OpenSSL has none of them
        "submission-cipher-old",
        "submissions-cipher-old",
    }
    assert server.queue() == []
    assert " accepted " not in server.log.text  # not one message got in, and nothing was relayed
    assert "throttled" not in server.log.text
    assert probe(ports, *arguments)[0] == 0  # and it has not been turned away since
