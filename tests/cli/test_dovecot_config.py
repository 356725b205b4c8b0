"""valija dovecot-config: the lines, and whether the installed Dovecot takes them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.here import MYSELF, Here
from valija.cli.dovecot_config import Dovecot, installed_dovecot, lines_for
from valija.config import load

DOVECONF = shutil.which("doveconf", path="/usr/bin:/usr/sbin")


def sasl(path: str) -> str:
    return f'[sasl]\ntype = "dovecot"\npath = "{path}"\n'


def lines(folder: Path, path: str, dovecot: Dovecot) -> list[str]:
    return list(lines_for(load(Here(folder, more=sasl(path)).configuration), dovecot))


def test_socket_belongs_to_the_services_user_alone(tmp_path: Path) -> None:
    assert lines(tmp_path, "/somewhere/else/auth", Dovecot((2, 3), mechanisms=("plain",))) == [
        "auth_mechanisms = plain login",
        "",
        "service auth {",
        "  unix_listener /somewhere/else/auth {",
        "    mode = 0600",
        f"    user = {MYSELF}",
        "  }",
        "}",
    ]


def test_socket_in_dovecots_folder_is_named_as_dovecot_names_it(tmp_path: Path) -> None:
    told = lines(tmp_path, "/run/dovecot/auth-client", Dovecot((2, 3), base_dir="/run/dovecot"))
    assert "  unix_listener auth-client {" in told


def test_folder_is_known_by_another_name_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    told = lines(tmp_path, f"{tmp_path}/run/auth", Dovecot((2, 3), base_dir=f"{tmp_path}/var"))
    assert "  unix_listener auth {" in told


def test_mechanisms_that_are_there_stay(tmp_path: Path) -> None:
    told = lines(tmp_path, "/run/dovecot/auth", Dovecot((2, 3), mechanisms=("scram-sha-256", "plain")))
    assert told[0] == "auth_mechanisms = scram-sha-256 plain login"
    told = lines(tmp_path, "/run/dovecot/auth", Dovecot((2, 3), mechanisms=("plain", "login")))
    assert told[0] == "service auth {"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((2, 3), ["  inet_listener {", "    address = ::1", "    port = 12345", "  }"]),
        ((2, 4), ["  inet_listener valija {", "    listen = ::1", "    port = 12345", "  }"]),
        (None, ["  inet_listener valija {", "    listen = ::1", "    port = 12345", "  }"]),
    ],
)
def test_inet_listener_is_written_as_the_version_wants_it(
    tmp_path: Path, version: tuple[int, int] | None, expected: list[str]
) -> None:
    told = lines(tmp_path, "inet:[::1]:12345", Dovecot(version, mechanisms=("plain", "login")))
    assert told == ["service auth {", *expected, "}"]


def test_command(here: Here) -> None:
    told = here.json("dovecot-config")
    assert told["file"].startswith("/etc/dovecot/conf.d/")
    result = here.run("dovecot-config")
    assert result.stdout.splitlines() == told["lines"]
    assert told["file"] in result.stderr
    assert 'type = "dovecot"' in result.stderr, "it is not what this configuration asks"


@pytest.mark.interop
@pytest.mark.skipif(not DOVECONF, reason="Dovecot is not installed: apt-get install dovecot-core")
@pytest.mark.parametrize(
    "place", ["{base}/auth-client", "{base}/other", "/somewhere/else/auth", "inet:127.0.0.1:12345"]
)
def test_installed_dovecot_takes_the_lines(tmp_path: Path, place: str) -> None:
    """Its own socket auth-client, which is valija's default, would be refused as a duplicate by its whole path."""
    assert DOVECONF
    base = tmp_path / "run"
    base.mkdir()
    version = installed_dovecot().version
    assert version
    told = lines(tmp_path, place.format(base=base), Dovecot(version, str(base)))
    settings = [f"base_dir = {base}", "protocols =", "ssl = no", *told]
    if version >= (2, 4):
        settings[:0] = ["dovecot_config_version = 2.4.0", "dovecot_storage_version = 2.4.0"]
    configuration = tmp_path / "dovecot.conf"
    configuration.write_text("\n".join([*settings, ""]))
    done = subprocess.run(
        [DOVECONF, "-c", str(configuration), "-n"], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
