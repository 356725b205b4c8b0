"""Which handshakes ask for a client's certificate."""

import os
import ssl
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from valija.logs import LogBuffer, build_log
from valija.tls.clients import ClientAuthorities
from valija.tls.contexts import server_context

USERS = CertificateAuthority("Users")
CONTEXT = server_context(*CertificateAuthority().issue("mail.example.org"))


def authorities(folder: Path, file: str) -> tuple[ClientAuthorities, str]:
    """Return those of a file, and what the log says of it."""
    buffer = LogBuffer(os.open(folder / "log", os.O_WRONLY | os.O_CREAT))
    made = ClientAuthorities(file, build_log("info", "text", buffer))
    buffer.flush()
    return made, (folder / "log").read_text()


def test_asks_where_there_is_somebody_to_believe(tmp_path: Path) -> None:
    file = tmp_path / "users.pem"
    file.write_bytes("# Nutzer: Jos\u00e9, J\u00fcrgen\n".encode() + USERS.pem)
    clients, log = authorities(tmp_path, str(file))
    assert clients.asking(CONTEXT).verify_mode == ssl.CERT_OPTIONAL
    assert log == ""


def test_asks_nobody_by_default(tmp_path: Path) -> None:
    clients, log = authorities(tmp_path, "")
    assert clients.asking(CONTEXT) is CONTEXT
    assert log == ""


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_cannot_be_used_is_said_and_costs_no_handshake(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "users.pem"
    if content is not None:
        file.write_bytes(content)
    clients, log = authorities(tmp_path, str(file))
    assert clients.asking(CONTEXT) is CONTEXT
    assert log.count("client certificates are not asked for") == 1
    assert str(file) in log
