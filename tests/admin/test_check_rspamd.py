"""What check says of rspamd: it is asked about a message, as the server would; the real one is in tests/interop."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.rspamd.scripted import Deed, ScriptedRspamd, http, raw, reply
from tests.threaded import threaded
from valija.admin import check_rspamd as module
from valija.admin.check_rspamd import check_rspamd
from valija.admin.findings import Finding
from valija.config import MACHINE, parse


@pytest.fixture(autouse=True)
def _asked_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "asked_as", lambda user, ask: ask())


def scripted(deed: Deed) -> AbstractContextManager[ScriptedRspamd]:
    """A server that does one thing."""
    rspamd = ScriptedRspamd()
    rspamd.does(deed)
    return threaded(rspamd)


def found(url: str, *lines: str) -> list[Finding]:
    text = "\n".join(['hostname = "mail.example.org"', "[rspamd]", f'url = "{url}"', *lines])
    return list(check_rspamd(parse(text, "valija.toml", Path("/"), MACHINE)))


def test_it_says_nothing_where_rspamd_is_off() -> None:
    assert found("") == []


def test_it_answers() -> None:
    with scripted(reply(action="no action")) as rspamd:
        text = f"mail from strangers is examined by rspamd at {rspamd.url}"
        assert found(rspamd.url) == [Finding("ok", "rspamd", text)]
        (finding,) = found(rspamd.url, "users = true")
        assert finding.text.startswith("mail from strangers and from users is examined")
        assert rspamd.asked[0].values("Log") == ["no"]


def test_the_password_is_another() -> None:
    with scripted(raw(http(b"", "401 Unauthorized"))) as rspamd:
        (finding,) = found(rspamd.url)
    assert finding.grade == "failure"
    assert "it wants another password; write the one of its worker into password_file" in finding.text


def test_the_password_can_not_be_read(tmp_path: Path) -> None:
    (finding,) = found("http://127.0.0.1:1", f'password_file = "{tmp_path}/none"')
    assert f"{tmp_path}/none can't be read" in finding.text


@pytest.mark.parametrize(
    ("on_failure", "grade", "meanwhile"),
    [("tempfail", "failure", "mail is deferred"), ("accept", "warning", "mail comes in unexamined")],
)
def test_nobody_is_there(on_failure: str, grade: str, meanwhile: str) -> None:
    (finding,) = found(f"http://127.0.0.1:{free_port()}", f'on_failure = "{on_failure}"')
    assert finding.grade == grade
    assert "no connection" in finding.text
    assert meanwhile in finding.remedy
