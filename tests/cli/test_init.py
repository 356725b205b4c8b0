"""valija init on this machine, into a folder of the test's own; as root with a user that is made and removed again."""

import os
import pwd
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from valija.cli.main import cli
from valija.config import load
from valija.privileges import find_account

HOST = "mail.example.org"
NO_USERS = "" if os.geteuid() == 0 and shutil.which("useradd") else "only root can make users of the system"
as_root = pytest.mark.skipif(bool(NO_USERS), reason=NO_USERS)


def init(folder: Path, *arguments: str, user: str = "root") -> Result:
    fixed = ("-c", str(folder / "etc/valija.toml"), "--data-dir", str(folder / "data"), "--user", user, "--offline")
    return CliRunner().invoke(cli, ["init", *(arguments or (HOST,)), *fixed])


def answer(folder: Path, *arguments: str, user: str = "root") -> Any:
    result = init(folder, *(arguments or (HOST,)), "--json", user=user)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout)


@pytest.fixture
def user() -> Iterator[str]:
    name = f"valija-{secrets.token_hex(4)}"
    yield name
    end = time.monotonic() + 10
    while name in {each.pw_name for each in pwd.getpwall()}:
        assert time.monotonic() < end, f"user {name} cannot be removed"
        subprocess.run(["userdel", name], check=False, capture_output=True)  # another program may hold /etc/passwd


def test_it_writes_a_configuration_that_is_sound(tmp_path: Path) -> None:
    told = answer(tmp_path, HOST, "--domain", "Example.ORG", "--domain", "example.net", "--email", "p@example.org")
    config = load(tmp_path / "etc/valija.toml")
    assert config.hostname == HOST
    assert config.domains == ("example.org", "example.net")
    assert config.tls.acme_email == "p@example.org"
    assert config.data_dir == tmp_path / "data"
    assert told["configuration"] == str(tmp_path / "etc/valija.toml")
    assert {each["name"]: each["value"] for each in told["settings"]}["domains"] == "example.org, example.net"
    assert f"valija check -c {tmp_path}/etc/valija.toml" in told["next"]


def test_it_tells_people_all_there_is_to_do(tmp_path: Path) -> None:
    result = init(tmp_path)
    assert result.exit_code == 0, result.output
    for title in ("done:", "publish in the DNS:", "let in by the firewall", "next:"):
        assert title in result.stdout
    assert f"example.org. IN MX 10 {HOST}." in result.stdout


def test_a_second_call_harms_nothing(tmp_path: Path) -> None:
    answer(tmp_path)
    before = (tmp_path / "etc/valija.toml").read_text() + "# mine\n"
    (tmp_path / "etc/valija.toml").write_text(before)
    told = answer(tmp_path, "other.example.net")
    assert (tmp_path / "etc/valija.toml").read_text() == before
    assert [each for each in told["done"] if "stays as it is" in each]
    assert {each["name"]: each["value"] for each in told["settings"]}["hostname"] == HOST, "what the file says"
    assert os.listdir(tmp_path / "etc") == ["valija.toml"]


def test_with_force_the_old_one_is_kept(tmp_path: Path) -> None:
    answer(tmp_path)
    file = tmp_path / "etc/valija.toml"
    file.write_text("# mine\n")
    file.chmod(0o600)
    answer(tmp_path, HOST, "--force")
    assert load(file).hostname == HOST
    (kept,) = [each for each in file.parent.iterdir() if each != file]
    assert kept.read_text() == "# mine\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    answer(tmp_path, HOST, "--force")
    assert len(os.listdir(file.parent)) == 2, "what would be the same is not written again"


def test_a_configuration_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "real.toml").write_text("# mine\n")
    (tmp_path / "etc/valija.toml").symlink_to(tmp_path / "real.toml")
    answer(tmp_path, HOST, "--force")
    assert (tmp_path / "etc/valija.toml").is_symlink()
    assert load(tmp_path / "real.toml").hostname == HOST


def test_a_broken_configuration_that_is_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/valija.toml").write_text("bogus = 1\n")
    result = init(tmp_path)
    assert result.exit_code == 1
    assert "bogus" in result.stderr


def test_a_dry_run_changes_nothing_and_prints_the_configuration(tmp_path: Path) -> None:
    told = answer(tmp_path, HOST, "--dry-run")
    assert told["done"] == []
    assert 'hostname = "mail.example.org"' in told["text"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "no name", "-x.example", "a..b"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["init", "-c", str(tmp_path / "x"), "--offline", "--", name])
    assert result.exit_code == 1
    assert result.stderr.startswith("valija: ")
    assert not list(tmp_path.iterdir())


@as_root
def test_as_root_it_makes_the_user_and_the_folder(tmp_path: Path, user: str) -> None:
    told = answer(tmp_path, user=user)
    account = find_account(user)
    assert account.uid < 1000, "one of the system"
    data, file = (tmp_path / "data").stat(), (tmp_path / "etc/valija.toml").stat()
    assert (data.st_uid, stat.S_IMODE(data.st_mode)) == (account.uid, 0o700)
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (0, account.gid, 0o640)
    (made,) = [each for each in told["done"] if each.startswith(f"user {user} made: useradd --system ")]
    assert "nologin" in made or "/bin/false" in made
    assert [each for each in told["done"] if "data made" in each]
    again = answer(tmp_path, user=user)
    assert [each for each in again["done"] if "made" in each] == []


@as_root
def test_mail_that_is_there_is_left_to_its_owner(tmp_path: Path, user: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/queue").mkdir()
    (tmp_path / "data").chmod(0o750)
    answer(tmp_path, user=user)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o750
    assert (tmp_path / "data").stat().st_uid == 0, "it is not empty: its owner is somebody's choice"
