"""When a new certificate counts as serving: every worker has it, and every port presents it."""

import asyncio
import hashlib
import ssl
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from tests.ca import CertificateAuthority
from tests.config.facts import FACTS
from tests.tls.test_acme_files import pair_of
from tests.tls.test_presented import context_of, port, replies, silent
from valija.config import parse
from valija.renewing import Renewing
from valija.tls.acme_files import AcmeFiles
from valija.tls.sni import Certificates

HOST = "mail.example.org"
CA = CertificateAuthority()
OLD, NEW = CA.issue(HOST), CA.issue(HOST)


def fingerprint(issued: Any) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(issued.chain_pem.decode())).hexdigest()


class Server:
    """A server whose workers and port present what they are told to."""

    def __init__(self, folder: Path, workers: dict[int, list[str]]) -> None:
        self.folder = folder
        self.workers = workers
        self.lines: list[EventDict] = []

    def take_up(self, presents: Any, talk: Any = silent, listener: str = "submissions") -> str:
        """Return why the new certificate does not serve."""
        return asyncio.run(self._take_up(presents, talk, listener))

    async def _take_up(self, presents: Any, talk: Any, listener: str) -> str:
        context = context_of(presents) if presents else None
        async with port(talk, context) as endpoint:
            listening: dict[str, list[str]] = {role: [] for role in ("smtpd", "submission", "submissions")} | {
                listener: [str(endpoint)]
            }
            text = f'hostname = "{HOST}"\ndata_dir = "{self.folder}"\n' + "\n".join(
                f"[{role}]\nlisten = {where}" for role, where in listening.items()
            )
            config = parse(text + '\n[tls]\ncertificate = "acme"\n', "test", self.folder, FACTS)
            certificates = Certificates(config.tls, HOST, self.folder, self.log, time.time)
            certificates.load()
            files = AcmeFiles.of(self.folder, config.tls.acme_directory, HOST)
            files.stage(pair_of(NEW))
            files.promote()
            in_force = SimpleNamespace(config=lambda: config, certificates=lambda: certificates)
            renewing = Renewing(in_force, (), (), self.log)
            renewing._supervisor = SimpleNamespace(certificates_of_workers=self._serving)  # type: ignore[assignment]  # all that is asked of it
            problem = await renewing._take_up(certificates.wanted[0], fingerprint(NEW))
            assert renewing.statuses()[0].sha256 == fingerprint(NEW), "the supervisor has it for workers to come"
            return problem

    async def _serving(self) -> dict[int, list[str]]:
        return self.workers

    @property
    def log(self) -> Any:
        def note(_: object, level: str, event: EventDict) -> EventDict:
            self.lines.append({**event, "level": level})
            raise structlog.DropEvent

        return structlog.wrap_logger(None, processors=[note])


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, {0: [fingerprint(NEW)], 1: [fingerprint(OLD), fingerprint(NEW)]})


def test_all_have_it(server: Server) -> None:
    assert server.take_up(NEW) == ""


def test_a_worker_that_has_not(server: Server) -> None:
    server.workers[1] = [fingerprint(OLD)]
    server.workers[2] = []
    assert server.take_up(NEW) == "not taken up by worker 1, 2"


def test_a_port_that_presents_another_one(server: Server) -> None:
    assert "presents another certificate" in server.take_up(OLD)


def test_a_port_whose_handshake_fails(server: Server) -> None:
    async def not_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"500 this is no TLS\r\n")
        writer.close()

    assert "[submissions]" in (problem := server.take_up(None, not_tls))
    assert "the handshake fails" in problem


def test_a_port_that_says_no_is_no_verdict(server: Server) -> None:
    """Too many sessions, say: that is no reason to give up a good certificate."""
    assert server.take_up(None, replies(b"421 4.7.0 too many\r\n"), "smtpd") == ""
    assert [line["event"] for line in server.lines if line["level"] == "warning"] == ["certificate not looked at"]
