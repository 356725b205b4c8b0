"""valija systemd: what it prints, writes, and leaves alone."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.here import Here
from tests.reachable import let_all_in
from tests.systemd.samples import settings
from valija.cli.main import cli

NOBODY = "nobody"


def units(here: Here, *arguments: str) -> dict[str, str]:
    found: dict[str, str] = here.json("systemd", "show", *arguments)["units"]
    return found


def test_show_prints_what_install_writes(here: Here, tmp_path: Path) -> None:
    told = here.json("systemd", "install", "--sockets", "--destdir", str(tmp_path / "root"))
    folder = tmp_path / "root/etc/systemd/system"
    assert told["written"] == [str(folder / "valija.service"), str(folder / "valija.socket")]
    shown = units(here, "--sockets")
    assert (folder / "valija.socket").read_text() == shown["valija.socket"]
    assert "ExecStart=" in (folder / "valija.service").read_text()
    assert "systemctl enable --now valija.socket valija.service" in told["next"]
    assert "# /etc/systemd/system/valija.socket" in here.run("systemd", "show", "--sockets").stdout


def test_the_program_and_the_configuration_are_named_in_full(here: Here) -> None:
    (start,) = settings(units(here)["valija.service"])["ExecStart"]
    program, _, rest = start.partition(" ")
    assert Path(program).is_absolute()
    assert Path(program).name == "valija"
    assert rest == f"serve -c {here.configuration}"


def test_a_second_installation_changes_nothing(here: Here, tmp_path: Path) -> None:
    for expected in (1, 0):
        assert len(here.json("systemd", "install", "--destdir", str(tmp_path / "root"))["written"]) == expected


def test_a_unit_of_somebody_elses_is_left_alone(here: Here, tmp_path: Path) -> None:
    folder = tmp_path / "root/etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / "valija.service").write_text("[Service]\nExecStart=/bin/mine\n")
    said = here.refused("systemd", "install", "--destdir", str(tmp_path / "root"))
    assert "was not written by valija" in said
    assert "systemctl edit valija" in said
    assert "mine" in (folder / "valija.service").read_text()


def test_sockets_of_an_earlier_installation_are_told_of(here: Here, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    here.json("systemd", "install", "--sockets", "--destdir", root)
    told = here.run("systemd", "install", "--destdir", root)
    assert told.exit_code == 0
    assert "systemctl disable --now valija.socket" in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose files are to be out of reach")
def test_what_only_root_may_read_makes_it_start_as_root(tmp_path: Path) -> None:
    let_all_in(tmp_path)
    here = Here(tmp_path, user=NOBODY)
    here.configuration.chmod(0o644)
    assert settings(units(here)["valija.service"])["User"] == [NOBODY]
    here.configuration.chmod(0o600)
    text = units(here)["valija.service"]
    assert "User" not in settings(text)
    assert f"because of: {here.configuration}" in text


def test_who_runs_as_root_on_purpose_is_obeyed(tmp_path: Path) -> None:
    assert "User" not in settings(units(Here(tmp_path, user="root"))["valija.service"])


def test_a_user_that_is_not_there_yet_can_be_shown(tmp_path: Path) -> None:
    here = Here(tmp_path, user="no-such-user")
    assert settings(units(here)["valija.service"])["User"] == ["no-such-user"]


def test_without_a_configuration_there_is_nothing_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.config.find", lambda: None)
    result = CliRunner().invoke(cli, ["systemd", "show"])
    assert result.exit_code == 1
    assert "valija init HOSTNAME" in result.stderr


def test_who_is_not_root_is_told_so(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valija.privileges.running_as_root", lambda: False)
    assert "only root may write" in here.refused("systemd", "install")
