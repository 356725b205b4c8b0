"""A server's life with the real Dovecot: started anew, killed within a login, changed by a reload, slow to say no."""

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cases.talk import Talk, plain
from tests.dovecot import MISSING, LiveDovecot
from tests.live import LiveServer, Settings, as_toml, overlay, service_user
from tests.ports import free_port
from tests.system_user import NO_USERS, SystemUser

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

USERS: Final = {"alice": "secret", "bob@example.org": "geheim"}


def asking(path: str) -> Settings:
    """Return the settings of a server that asks a Dovecot."""
    return {"sasl": {"type": "dovecot", "path": path}, "submissions": {"greet_pause": "0s"}}


def client(server: LiveServer) -> Talk:
    """Return a client inside TLS, greeted."""
    talk = Talk(server.submissions, tls=True)
    talk.hello()
    return talk


def log_in(server: LiveServer, login: str, password: str) -> str:
    """Return the reply to AUTH PLAIN, whatever EHLO listed."""
    with client(server) as talk:
        return talk.say(f"AUTH PLAIN {plain(login, password)}")


@pytest.fixture(scope="module")
def dovecot() -> Iterator[LiveDovecot]:
    with LiveDovecot(USERS) as dovecot:
        yield dovecot


def test_first_login_after_the_master_alone_was_restarted_succeeds() -> None:
    """Its former auth process lives on for us, where logins may hang."""
    with LiveDovecot(USERS) as dovecot, LiveServer(asking(dovecot.socket)) as server:
        assert log_in(server, "alice", "secret").startswith("235")
        for _ in range(3):
            dovecot.start_anew_beside_the_former()
            began = time.monotonic()
            assert log_in(server, "alice", "secret").startswith("235")
            assert time.monotonic() - began < 5
        server.wait_for_log("connection to Dovecot lost .*started anew")


def test_dovecot_ends_within_an_exchange() -> None:
    with (
        LiveDovecot(USERS) as dovecot,
        LiveServer(asking(dovecot.socket)) as server,
        client(server) as under_way,
    ):
        assert under_way.say("AUTH LOGIN").startswith("334 ")
        assert under_way.say(base64.b64encode(b"alice").decode()).startswith("334 ")
        dovecot.stop()
        assert under_way.say(base64.b64encode(b"secret").decode()).startswith("454 4.7.0 ")
        assert "AUTH PLAIN LOGIN" in under_way.ehlo(), "as before: no mail program is told to look elsewhere"
        dovecot.start()
        under_way.log_in("alice", "secret")


def test_ehlo_lists_mechanisms_from_the_first_moment_on(dovecot: LiveDovecot) -> None:
    for _ in range(3):
        with LiveServer(asking(dovecot.socket)) as server, Talk(server.submissions, tls=True) as talk:
            assert "AUTH PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256" in talk.hello()


def test_over_tcp() -> None:
    port = free_port()
    with LiveDovecot(USERS, inet_port=port) as dovecot, LiveServer(asking(f"inet:127.0.0.1:{port}")) as server:
        assert log_in(server, "alice", "secret").startswith("235")
        dovecot.stop()
        assert log_in(server, "alice", "secret").startswith("454 4.7.0 ")
        server.wait_for_log(rf"Dovecot is away.*inet:127\.0\.0\.1:{port}: .*inet_listener")
        dovecot.start()
        assert log_in(server, "alice", "secret").startswith("235")


def test_wrong_passwords_do_not_hold_back_right_ones(dovecot: LiveDovecot) -> None:
    """Dovecot by itself makes an address wait for up to 15 seconds, and everybody who comes from it."""
    with LiveServer(asking(dovecot.socket)) as server:
        for _ in range(5):
            assert log_in(server, "alice", "wrong").startswith("535")
        began = time.monotonic()
        assert log_in(server, "bob@example.org", "geheim").startswith("235")
        assert time.monotonic() - began < 1.9


def test_many_sessions_at_once(dovecot: LiveDovecot) -> None:
    replies: list[str] = []

    def run(server: LiveServer) -> None:
        for password in ("secret", "wrong", "secret"):
            replies.append(log_in(server, "alice", password)[:3])

    with LiveServer(asking(dovecot.socket)) as server:
        threads = [threading.Thread(target=run, args=(server,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(replies) == ["235"] * 40 + ["535"] * 20


def test_reload_takes_another_dovecot(dovecot: LiveDovecot) -> None:
    with (
        LiveDovecot({"carol": "other"}) as other,
        LiveServer(asking(dovecot.socket)) as server,
        client(server) as before,
    ):
        _reload(server, asking(other.socket))
        assert log_in(server, "carol", "other").startswith("235")
        assert log_in(server, "alice", "secret").startswith("535")
        before.log_in("alice", "secret")  # a session goes on asking whom it began with


def test_reload_from_accounts_to_dovecot_and_back(dovecot: LiveDovecot) -> None:
    with LiveServer({}) as server:
        server.add_user("dora@example.org", "own")
        assert log_in(server, "dora@example.org", "own").startswith("235")
        _reload(server, asking(dovecot.socket))
        assert log_in(server, "dora@example.org", "own").startswith("535")
        assert log_in(server, "alice", "secret").startswith("235")
        _reload(server, {"sasl": {"type": "accounts"}})
        assert log_in(server, "dora@example.org", "own").startswith("235")


def _reload(server: LiveServer, settings: Settings) -> None:
    since = server.log.mark()
    server.configuration.write_text(as_toml(overlay(server.settings, settings)))
    done = server.valija("reload")
    assert done.returncode == 0, done.stderr
    server.wait_for_log("logins are judged by another", since=since)


@pytest.mark.skipif(service_user() == "root", reason="the service's user can't read this checkout")
def test_folder_that_bars_the_way_is_named() -> None:
    with LiveDovecot(USERS) as dovecot:
        dovecot.folder.chmod(0o700)
        with LiveServer(asking(dovecot.socket)) as server:
            server.wait_for_log(
                rf"Dovecot is away.*user nobody may not enter {dovecot.folder}, which is root:root 0700"
            )
            assert log_in(server, "alice", "secret").startswith("454 4.7.0 ")
            dovecot.folder.chmod(0o755)
            assert log_in(server, "alice", "secret").startswith("235")


@pytest.mark.skipif(bool(NO_USERS), reason=NO_USERS)
def test_slow_no_of_pam_holds_up_nobody() -> None:
    with (
        SystemUser(slow=True) as user,
        LiveDovecot(pam=user.pam_service) as dovecot,
        LiveServer(asking(dovecot.socket)) as server,
        client(server) as wrong,
    ):
        began = time.monotonic()
        wrong.send(f"AUTH PLAIN {plain(user.name, 'wrong')}\r\n".encode())
        for _ in range(5):
            assert log_in(server, user.name, user.password).startswith("235")
        right_after = time.monotonic() - began
        assert (wrong.reply() or "").startswith("535 5.7.8 ")
        wrong_after = time.monotonic() - began
    assert right_after < wrong_after, "five right ones are through before the wrong one is told"
    assert wrong_after < 9


@pytest.mark.skipif(bool(NO_USERS), reason=NO_USERS)
def test_system_user_has_a_mailbox(tmp_path: Path) -> None:
    with (
        SystemUser() as user,
        LiveDovecot(pam=user.pam_service) as dovecot,
        LiveServer({**asking(dovecot.socket), "domains": ["example.org", "example.net"]}) as server,
        client(server) as talk,
    ):
        talk.log_in(user.name, user.password)
        for domain in ("example.org", "example.net"):
            address = f"{user.name}@{domain}"
            reply = talk.send_message(address, address, f"From: {address}\r\n\r\nHello.\r\n".encode())
            assert reply.startswith("250 2.0.0 "), reply
        assert talk.say("MAIL FROM:<daemon@example.org>").startswith("550 5.7.1 ")
        for domain in ("example.org", "example.net"):
            server.wait_for_log(rf"attempt .*recipient={user.name}@{domain} .*outcome=delivered")
            (file,) = (server.data_dir / "mail" / domain / user.name / "new").iterdir()
            assert file.read_bytes().endswith(b"Hello.\r\n") or file.read_bytes().endswith(b"Hello.\n")
