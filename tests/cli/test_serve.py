"""valija serve says no in time, in words, and before it binds a port (C114, C118)."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.ports import free_port
from valija.tls.self_signed import make_self_signed


def refusal(here: Here) -> str:
    """Return what serve says when it does not start; it must say so within five seconds."""
    started = time.monotonic()
    result = here.program("serve")
    assert time.monotonic() - started < 5
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def listener(port: int) -> str:
    return (
        f'[smtpd]\nlisten = ["127.0.0.1:{port}"]\n[submission]\nlisten = []\n[submissions]\nlisten = []\n'
        '[tls]\ncertificate = "files"\ncert_file = "cert.pem"\nkey_file = "key.pem"\n'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[smtpd]\nlisten = [""]', '[smtpd] listen = "": it names no IP address'),
        ("[smtpd]\nlitsen = []", "[smtpd] litsen = []: there is no such setting; did you mean listen?"),
        ('data_dir = "', "line 1, column"),
        ('mynetworks = ["0.0.0.0/0"]', 'mynetworks = "0.0.0.0/0": it is the whole internet'),
        ('[tls]\ncertificate = "files"', "[tls] cert_file"),
    ],
)
def test_c118_a_bad_configuration_is_refused(here: Here, text: str, words: str) -> None:
    here.configuration.write_text(text)
    assert words in refusal(here)


def test_c118_every_fault_has_its_line_and_no_port_is_bound(here: Here) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):  # a server that bound it would complain about this one
        here.configuration.write_text(f'workers = 0\nuser = ""\n[smtpd]\nlisten = ["127.0.0.1:{port}"]\nx = 1\n')
        lines = refusal(here).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"valija: {here.configuration}: ") for line in lines)


def test_c118_a_port_in_use_is_refused(tmp_path: Path) -> None:
    port = free_port()
    more = f'[smtpd]\nlisten = ["127.0.0.1:{port}"]\n[submission]\nlisten = []\n[submissions]\nlisten = []\n'
    with socket.create_server(("127.0.0.1", port)):
        said = refusal(Here(tmp_path, more=more))
    assert f'[smtpd] listen = "127.0.0.1:{port}"' in said
    assert "another program" in said


def test_c118_a_data_dir_that_is_a_file_is_refused(here: Here) -> None:
    here.data_dir.touch()
    assert f'valija: data_dir = "{here.data_dir}": the folder cannot be made (File exists); ' in refusal(here)


def write_pair(folder: Path) -> None:
    first, second = (make_self_signed("mail.example.org", time.time()) for _ in range(2))
    (folder / "cert.pem").write_bytes(first.chain_pem)
    (folder / "key.pem").write_bytes(second.key_pem)
    (folder / "key.pem").chmod(0o600)


def truncate(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        write_pair(folder)
        (folder / name).write_bytes(b"")

    return act


def open_key(folder: Path) -> None:
    write_pair(folder)
    (folder / "key.pem").chmod(0o644)


@pytest.mark.parametrize(
    ("act", "names"),
    [
        (lambda folder: None, ("cert.pem", "key.pem")),
        (write_pair, ("cert.pem", "key.pem")),
        (truncate("cert.pem"), ("cert.pem",)),
        (truncate("key.pem"), ("key.pem",)),
        (open_key, ("key.pem",)),
    ],
    ids=["missing", "of another certificate", "empty certificate", "empty key", "readable for all"],
)
def test_c114_a_pair_that_cannot_be_used_is_refused(
    tmp_path: Path, act: Callable[[Path], None], names: tuple[str, ...]
) -> None:
    act(tmp_path)
    said = refusal(Here(tmp_path, more=listener(free_port())))
    for name in names:
        assert str(tmp_path / name) in said
