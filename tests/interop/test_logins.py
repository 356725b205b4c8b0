"""Logging in at real servers to hand mail over: valija's own submission, and Postfix with Dovecot; by tokens too."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.ca import CertificateAuthority
from tests.deliver.setting import job_for, sending
from tests.dovecot import MISSING, LiveDovecot
from tests.interop.postfix import DOMAIN, Postfix, need_postfix
from tests.issuer import CLIENT, Issuer
from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink
from tests.token_endpoint import CLIENT as TOKEN_CLIENT
from tests.token_endpoint import TokenEndpoint
from valija.deliver.credentials import LoginOptions, TokenOptions
from valija.mail.job import Route
from valija.mail.outcome import Channel, Outcome, State

pytestmark = pytest.mark.interop

ALICE: Final = "alice@example.org"
PASSWORD: Final = "s3cret, with = and \u00e9"
RELAY: Final = "relay.example"
ZONE: Final = {RELAY: [f"A {HOST}"]}
PASSWORD_MECHANISMS: Final = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logins")


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Path, Path]:
    """A certificate for all the relays, whose authority is in ca.pem."""
    authority = CertificateAuthority()
    authority.write_root(folder / "ca.pem")
    return authority.issue(RELAY, "mail.example.org", "mx.postfix.example", HOST).write(folder)


@pytest.fixture(scope="module")
def sink() -> Iterator[CatchingSink]:
    with CatchingSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def relay(pair: tuple[Path, Path], sink: CatchingSink, issuer: Issuer) -> Iterator[LiveServer]:
    """A server that relays for its users, by password or token, to the sink."""
    settings = {
        "tls": {"certificate": "files", "cert_file": str(pair[0]), "key_file": str(pair[1])},
        "smtp": {"relayhost": sink.relayhost},
        "sasl": {
            "oauth_introspection_url": issuer.introspection_url,
            "oauth_client_id": CLIENT[0],
            "oauth_client_secret_file": "introspection",
        },
    }
    server = LiveServer(settings)
    give_to_service(server, "introspection", CLIENT[1])
    with server:
        server.add_user(ALICE, PASSWORD)
        yield server


def secret(file: Path, content: str) -> str:
    file.touch(mode=0o640)
    file.write_text(content)
    return str(file)


def give_to_service(server: LiveServer, name: str, content: str) -> None:
    """Put a secret beside a server's configuration, where its user can read it and others can't."""
    secret(server.folder / name, content)
    if os.geteuid() == 0:
        shutil.chown(server.folder / name, str(server.settings["user"]))


def send(port: int, login: LoginOptions, folder: Path, *, tls_first: bool = False) -> Outcome:
    route = Route("remote", RELAY, port, False, is_relayhost=True, login=login.name, tls_wrappermode=tls_first)

    async def main() -> Outcome:
        options: dict[str, Any] = {
            "logins": [login],
            "tls_ca_file": str(folder / "ca.pem"),
            "tokens_dir": folder / "tokens",
        }
        async with sending(port=25, zone=ZONE, **options) as sender:
            [outcome] = await sender.deliver(
                job_for("bob@example.net", content=message("hello").as_bytes(), route=route)
            )
            assert PASSWORD not in str(sender.log.lines)
            return outcome

    return asyncio.run(main())


def by_password(folder: Path, mechanism: str = "", password: str = PASSWORD) -> LoginOptions:
    mechanisms = (mechanism,) if mechanism else ()
    return LoginOptions("work", ALICE, secret(folder / "password", password), mechanisms)


@pytest.mark.parametrize("tls_first", [False, True], ids=["submission", "submissions"])
@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
def test_at_valija(relay: LiveServer, folder: Path, mechanism: str, tls_first: bool) -> None:
    port = relay.submissions if tls_first else relay.submission
    outcome = send(port, by_password(folder, mechanism), folder, tls_first=tls_first)
    assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.VERIFIED)
    assert (outcome.tls_level, outcome.tls_source) == ("verify", "login")


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
def test_a_wrong_password_at_valija(relay: LiveServer, folder: Path, mechanism: str) -> None:
    outcome = send(relay.submission, by_password(folder, mechanism, "wrong"), folder)
    assert outcome.state is State.DEFERRED
    assert str(outcome.reply).startswith("454 4.7.8 relay.example refuses the login work: 535 5.7.8")


def test_what_is_no_tls_port_is_told_nothing(relay: LiveServer, folder: Path) -> None:
    outcome = send(relay.submission, by_password(folder), folder, tls_first=True)
    assert outcome.state is State.DEFERRED
    assert "4.7.5" in str(outcome.reply)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("tls_first", [False, True], ids=["submission", "submissions"])
def test_by_token_at_valija(
    relay: LiveServer, issuer: Issuer, folder: Path, tmp_path: Path, mechanism: str, tls_first: bool
) -> None:
    issuer.opaque("access-1", aud=None, email=ALICE)
    port = relay.submissions if tls_first else relay.submission
    route = Route("remote", RELAY, port, False, True, login="work", tls_wrappermode=tls_first)

    async def main() -> None:
        async with TokenEndpoint() as provider:
            oauth = TokenOptions(
                provider.url,
                TOKEN_CLIENT[0],
                secret(tmp_path / "client", TOKEN_CLIENT[1]),
                secret(tmp_path / "refresh", provider.granted),
            )
            login = LoginOptions("work", ALICE, "", (mechanism,), oauth)
            options: dict[str, Any] = {
                "logins": [login],
                "tls_ca_file": str(folder / "ca.pem"),
                "tokens_dir": tmp_path / "tokens",
            }
            async with sending(port=25, zone=ZONE, **options) as sender:
                job = job_for("bob@example.net", content=message("hello").as_bytes(), route=route)
                [outcome] = await sender.deliver(job)
                assert provider.clients == [TOKEN_CLIENT[0]]
                assert outcome.state is State.DELIVERED

    asyncio.run(main())


@pytest.fixture(scope="module")
def dovecot() -> Iterator[LiveDovecot]:
    if MISSING:
        pytest.skip(MISSING)
    with LiveDovecot({"alice": "secret"}) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def postfix(dovecot: LiveDovecot, pair: tuple[Path, Path]) -> Iterator[Postfix]:
    need_postfix()
    settings = {
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_chain_files": f"{pair[1]} {pair[0]}",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": dovecot.socket,
        "smtpd_sasl_security_options": "noanonymous",
        "mynetworks": "192.0.2.1",
        "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
    }
    with Postfix(settings) as postfix:
        yield postfix


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN", ""])
def test_at_postfix_with_dovecot(postfix: Postfix, folder: Path, mechanism: str) -> None:
    mechanisms = (mechanism,) if mechanism else ()
    login = LoginOptions("work", "alice", secret(folder / "dovecot", "secret\n"), mechanisms)
    outcome = send_to_postfix(postfix, login, folder)
    assert (outcome.state, outcome.channel) == (State.DELIVERED, Channel.VERIFIED)
    assert f"sasl_method={mechanism or 'SCRAM-SHA-256'}, sasl_username=alice" in postfix.log_text


def test_a_wrong_password_at_postfix(postfix: Postfix, folder: Path) -> None:
    outcome = send_to_postfix(postfix, LoginOptions("work", "alice", secret(folder / "wrong", "wrong")), folder)
    assert outcome.state is State.DEFERRED
    assert "454 4.7.8 relay.example refuses the login work: 535 5.7.8" in str(outcome.reply)


def send_to_postfix(postfix: Postfix, login: LoginOptions, folder: Path) -> Outcome:
    route = Route("remote", RELAY, postfix.port, False, is_relayhost=True, login=login.name)

    async def main() -> Outcome:
        options: dict[str, Any] = {"logins": [login], "tls_ca_file": str(folder / "ca.pem")}
        async with sending(port=25, zone=ZONE, **options) as sender:
            [outcome] = await sender.deliver(job_for(f"bob@{DOMAIN}", route=route))
            return outcome

    return asyncio.run(main())


def test_the_running_program_takes_the_way_that_is_configured(
    relay: LiveServer, sink: CatchingSink, folder: Path
) -> None:
    work = {"name": "work", "user": ALICE, "password_file": "work.password"}
    hop = {"next_hop": f"[{HOST}]:{relay.submissions}", "login": "work", "tls_wrappermode": True}
    smtp = {
        "relayhost": f"[{HOST}]:{relay.submission}",
        "relayhost_login": "work",
        "tls_ca_file": "ca.pem",
        "login": [work],
        "route": [
            {"domain": "example.net", **hop},
            {"domain": "never.example", "error": "Nobody writes there"},
        ],
    }
    server = LiveServer({"smtp": smtp})
    shutil.copy(folder / "ca.pem", server.folder)
    give_to_service(server, "work.password", PASSWORD)
    with server:
        server.add_user(ALICE, "secret")
        for subject, recipient in (("by rule", "bob@example.net"), ("by relayhost", "bob@example.com")):
            server.submit(ALICE, "secret", recipient, message(subject, recipient=recipient))
            server.wait_for_log(rf"attempt .*{recipient} outcome=delivered .*tls=verified")
        subjects = {caught.field("Subject") for caught in sink.wait_for(2)}
        assert {"by rule", "by relayhost"} <= subjects
        server.submit(ALICE, "secret", "bob@never.example", message("never", recipient="bob@never.example"))
        server.wait_for_log(r'attempt .*bob@never.example outcome=failed .*reply="550 5.7.1 Nobody writes there"')
        told = server.valija("route", "bob@example.net")
        assert f"goes to [{HOST}]:{relay.submissions}\n  why       [[smtp.route]] #1" in told.stdout
