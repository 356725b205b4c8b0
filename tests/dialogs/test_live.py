"""The dialogues over sockets, against a running server: with TLS, accounts, a queue, Maildirs and a next hop.

Settings of a dialogue become keys of the configuration. Dialogues about limits that no configuration changes are left
to the bare machine; a test says which these are, and shall fail when there is a key for one of them.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cases.talk import Talk
from tests.dialogs.dialog import Dialog, dialogs, play
from tests.live import VALIJA, LiveServer, Settings, overlay
from tests.sink import CatchingSink
from tests.smtp.fixed_site import HOSTED, PASSWORDS
from valija.smtp.rules import ServerRules

ALL = dialogs(Path(__file__).parent)
SITE: Settings = {
    "hostname": "mail.local.example",
    "domains": [HOSTED],
    "mynetworks": [],
    "smtpd": {"greet_pause": "0s"},
}
KEYS: dict[str, Callable[[str, str], Settings]] = {
    "tls": lambda role, value: {role: {"tls_security_level": {"required": "encrypt"}[value]}},
    "size_limit": lambda _, value: {"message_size_limit": int(value)},
    "future_release_limit": lambda _, value: {"submission": {"future_release_limit": f"{value}s"}},
    "error_limit": lambda role, value: {role: {"error_limit": int(value)}},
    "recipient_limit": lambda role, value: {role: {"recipient_limit": int(value)}},
}
FIXED = {"auth_failure_limit", "refused_recipient_limit", "junk_command_limit"}

LIVE = [dialog for dialog in ALL if not FIXED & dialog.settings.keys()]
LEFT_OUT = [(dialog.name, limit) for dialog in ALL for limit in sorted(FIXED & dialog.settings.keys())]


def settings_of(dialog: Dialog) -> Settings:
    settings = SITE
    for name, value in dialog.settings.items():
        if name != "role":
            settings = overlay(settings, KEYS[name](dialog.role, value))
    return settings


class LivePeer(Talk):
    """A client's end of a connection, and a reader of what became of its messages."""

    def __init__(self, server: LiveServer, role: str) -> None:
        self._server = server
        self._queue_id = ""
        super().__init__(getattr(server, role), tls=role == "submissions")

    def reply(self) -> str | None:
        """See Peer."""
        reply = super().reply()
        if reply and (queued := re.search(r"queued as (\w+)$", reply)):
            self._queue_id = queued[1]
        return reply

    def message(self) -> bytes:
        """See Peer. It is read in the Maildir it was delivered to."""
        self._server.wait_for_log(rf"attempt .*queue_id={self._queue_id} .*outcome=delivered")
        trace = f"id {self._queue_id}".encode()
        found = [text for file in self._server.data_dir.rglob("new/*") if trace in (text := file.read_bytes())]
        assert len(found) == 1, f"{len(found)} files hold the message {self._queue_id}"
        return found[0].replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def server_with() -> Iterator[Callable[[Settings], LiveServer]]:
    """Start one server for each configuration that dialogues need."""
    running: dict[str, LiveServer] = {}
    with ExitStack() as stack:
        sink = stack.enter_context(CatchingSink())

        def get(settings: Settings) -> LiveServer:
            key = str(settings)
            if key not in running:
                server = stack.enter_context(LiveServer({**settings, "smtp": {"relayhost": sink.relayhost}}))
                for address, password in PASSWORDS.items():
                    server.add_user(address, password.decode())
                running[key] = server
            return running[key]

        yield get


@pytest.mark.parametrize("dialog", LIVE, ids=lambda dialog: dialog.name)
def test_dialog(dialog: Dialog, server_with: Callable[[Settings], LiveServer]) -> None:
    with LivePeer(server_with(settings_of(dialog)), dialog.role) as peer:
        play(dialog, peer)


@pytest.mark.parametrize(("name", "limit"), LEFT_OUT)
def test_left_out_for_no_key_sets_the_limit(name: str, limit: str, tmp_path: Path) -> None:
    assert limit in ServerRules.__struct_fields__, name
    configuration = tmp_path / "valija.toml"
    configuration.write_text(f"[smtpd]\n{limit} = 3\n")
    done = subprocess.run([VALIJA, "check", "-c", configuration], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"[smtpd] {limit}" in done.stdout + done.stderr


def test_most_dialogs_are_played_live() -> None:
    assert {name for name, _ in LEFT_OUT} == {"auth_failures", "c040_auth_cancelled", "recipient_limits"}
    assert len(LIVE) == len(ALL) - 3
