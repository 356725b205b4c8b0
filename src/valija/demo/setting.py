"""What the demonstration runs on: a fresh folder, a configuration, one account, and the commands to try it with.

Everything lies in one folder that is made anew at each start; nothing of it is worth keeping.
"""

import asyncio
import json
import os
import pwd
import secrets
import shlex
import shutil
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from valija.privileges import find_account, running_as_root, unreadable_code

HOST: Final = "127.0.0.1"
NAME: Final = "localhost"  # what the certificate says, so that clients can check it
DOMAIN: Final = "example.org"
LOGIN: Final = f"demo@{DOMAIN}"
ELSEWHERE: Final = "you@example.net"
VALIJA: Final = Path(sys.executable).with_name("valija")


class CannotStart(Exception):
    """The demonstration can't start; the message says why and what to do."""


class Setting:
    """The folder and the facts of one demonstration; `ports` by role."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        self.folder = folder
        self.ports = ports
        self.configuration = folder / "valija.toml"
        self.certificate = folder / "certificate.pem"
        self.password = secrets.token_urlsafe(12)

    def check_ports(self) -> None:
        """Make sure that nobody listens where the server will. Raises CannotStart."""
        for role, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise CannotStart(
                        f"port {port} ({role}) on {HOST} cannot be used: {error.strerror}. Another ./run? "
                        f"`ss -ltnp sport = :{port}` shows who has it; end that and try again"
                    ) from None

    async def prepare(self, relay_port: int) -> None:
        """Make the folder anew, write the configuration, add the account. Raises CannotStart."""
        if self.folder.exists() and not self.configuration.exists():
            raise CannotStart(f"{self.folder} is there and was not made by ./run: move it away")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o755, parents=True)
        self.configuration.write_text(self._toml(relay_port))
        command = await asyncio.create_subprocess_exec(
            *(VALIJA, "user", "add", LOGIN, "--password-stdin", "-c", self.configuration),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await command.communicate(f"{self.password}\n".encode())
        if command.returncode:
            raise CannotStart(f"cannot add the account: {said.decode().strip()}")

    def _toml(self, relay_port: int) -> str:
        lines = [
            "# Written by ./run, anew at each start.",
            f"hostname = {json.dumps(NAME)}",
            f"domains = [{json.dumps(DOMAIN)}]",
            f"data_dir = {json.dumps(str(self.folder / 'data'))}",
            f"user = {json.dumps(_user())}",
        ]
        for role, port in self.ports.items():
            lines += ["", f"[{role}]", f'listen = ["{HOST}:{port}"]']
        lines += ["", "[smtp]", f'relayhost = "[{HOST}]:{relay_port}"  # the catching sink', ""]
        return "\n".join(lines)

    def fetch_certificate(self) -> None:
        """Keep the running server's certificate where a client can be told to trust it."""
        self.certificate.write_text(ssl.get_server_certificate((HOST, self.ports["submissions"]), timeout=10))

    def curl_line(self) -> str:
        """Return the command that sends a first message."""
        return shlex.join(
            [
                *("curl", "--url", f"smtp://{NAME}:{self.ports['submission']}", "--ssl-reqd"),
                *("--cacert", str(self.certificate), "--user", f"{LOGIN}:{self.password}"),
                *("--mail-from", LOGIN, "--mail-rcpt", ELSEWHERE),
                *("-H", f"From: {LOGIN}", "-H", f"To: {ELSEWHERE}", "-H", "Subject: A first message"),
                *("-F", "=Hello from valija."),
            ]
        )

    def python_line(self) -> str:
        """Return the same in Python."""
        text = f"From: {LOGIN}\r\nTo: {ELSEWHERE}\r\nSubject: From Python\r\n\r\nHello from smtplib.\r\n"
        program = "; ".join(
            [
                "import smtplib, ssl",
                f's = smtplib.SMTP("{NAME}", {self.ports["submission"]})',
                f"s.starttls(context=ssl.create_default_context(cafile={json.dumps(str(self.certificate))}))",
                f's.login("{LOGIN}", "{self.password}")',
                f's.sendmail("{LOGIN}", ["{ELSEWHERE}"], {json.dumps(text)})',
                "s.quit()",
            ]
        )
        return shlex.join(["python3", "-c", program])


def _user() -> str:
    """Return whom the server drops to: nobody, where nobody can read this checkout."""
    if not running_as_root():
        return pwd.getpwuid(os.geteuid()).pw_name
    return "root" if unreadable_code(find_account("nobody")) else "nobody"
