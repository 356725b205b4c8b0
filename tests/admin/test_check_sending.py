"""What `valija check` finds about logins at other servers and about next hops."""

import os
from pathlib import Path

import pytest

from tests.admin.lab import MINE, look_up
from tests.config.facts import FACTS
from valija.admin.check_sending import check_logins, check_next_hops
from valija.config import Config, parse
from valija.privileges import Account

SETTINGS = """
domains = ["example.org"]
[smtp]
relayhost = "[192.0.2.1]"
relayhost_login = "work"
[[smtp.login]]
name = "work"
user = "alice"
password_file = "work.password"
[[smtp.login]]
name = "spare"
user = "bob"
oauth_token_url = "https://id.example/token"
oauth_client_id = "valija"
oauth_refresh_token_file = "refresh"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("work.password", "refresh"):
        (tmp_path / name).touch(mode=0o640)
        (tmp_path / name).write_text("secret")
    return tmp_path


def config(folder: Path, text: str = SETTINGS) -> Config:
    return parse(text, "valija.toml", folder, FACTS)


def told(folder: Path, text: str = SETTINGS, account: Account | None = None) -> list[tuple[str, str]]:
    return [(finding.grade, str(finding)) for finding in check_logins(config(folder, text), account)]


def test_logins_that_can_be_used(folder: Path) -> None:
    used = f'{SETTINGS}[[smtp.route]]\nsender = "@example.org"\nlogin = "spare"\n'
    assert told(folder, used) == [
        ("ok", "login 'work' at other servers: alice by a password"),
        ("ok", "login 'spare' at other servers: bob by tokens from https://id.example/token"),
    ]


def test_a_login_that_nothing_uses(folder: Path) -> None:
    words = "login 'spare' at other servers: nothing uses it; name it in a route, or in relayhost_login"
    assert told(folder)[1] == ("warning", words)


def test_files_that_are_no_secrets(folder: Path) -> None:
    (folder / "work.password").chmod(0o644)
    (folder / "refresh").unlink()
    (first, _), (second, words), (third, _) = [(grade, text) for grade, text in told(folder)]
    assert (first, second, third) == ("failure", "failure", "warning")
    assert f"{folder}/refresh can't be read: No such file or directory; put it there" in words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read what others can't")
def test_files_that_root_can_read_and_the_services_user_cannot(folder: Path) -> None:
    nobody = Account("nobody", 65534, 65534, ())
    grade, words = told(folder, account=nobody)[0]
    assert grade == "failure"
    assert "user 'nobody' cannot read" in words
    assert "work.password, mode 0640" in words


def test_next_hops_that_cannot_be_found() -> None:
    text = f"""{MINE}[smtp]
relayhost = "[nobody.example]:587"
fallback_relay = ["[nobody.example]:587", "[none.example]", "[192.0.2.1]"]
[[smtp.route]]
domain = "a.example"
next_hop = "[gone.example]"
[[smtp.route]]
domain = "b.example"
next_hop = "there.example"
"""
    zone = {"there.example": ["MX 10 mx.there.example."]}
    found = look_up(zone, lambda dns: check_next_hops(config(Path("/"), text), dns), {})
    assert [str(finding) for finding in found] == [
        "the relayhost nobody.example has no address; until that changes, mail for other domains waits in the queue; "
        "see [smtp] relayhost",
        "the fall-back relay none.example has no address; until that changes, it is of no use; "
        "see [smtp] fallback_relay",
        "the next hop gone.example has no address; until that changes, mail for it waits in the queue; "
        "see [[smtp.route]]",
    ]
    assert {finding.grade for finding in found} == {"warning"}
