"""A real authority for a test: Debian's pebble, with its small DNS (pebble-challtestsrv), on ports of their own.

    with LivePebble() as pebble:
        settings = {"certificate": "acme", **pebble.settings}     # directory, trust, and the port challenges come to
        with LiveServer({"tls": settings}) as server:
            ...
        pebble.resolve("mail.example.org", "127.0.0.2")           # every name is 127.0.0.1 unless told otherwise
        pebble.root_pem()                                         # what its certificates are trusted by

It validates at once, and refuses `refused_nonces` percent of good nonces on purpose. `dns` names another server to ask
than its own, `http_port` where challenges are looked for instead of port 80. `host` is where it listens, if not on
loopback, and `names` are what its own certificate is for besides. After `stop()` and `start()` it has
forgotten every account, and has a new root.
"""

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.ca import CertificateAuthority
from tests.ports import free_port

PEBBLE = shutil.which("pebble")
CHALLENGE_SERVER = shutil.which("pebble-challtestsrv")
MISSING = "" if PEBBLE and CHALLENGE_SERVER else "pebble is not there: apt-get install pebble"
_DEADLINE = 20.0  # seconds


class LivePebble:
    """The authority between `__enter__` and `__exit__`."""

    def __init__(
        self,
        *,
        refused_nonces: int = 5,
        dns: str = "",
        http_port: int = 0,
        host: str = "127.0.0.1",
        names: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pebble-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.http_port, self.tls_port = http_port or free_port(), free_port()
        self._port, self._management, self._dns_port, self._dns_management = (free_port() for _ in range(4))
        self._dns = dns or f"127.0.0.1:{self._dns_port}"
        self._host = host
        self._refused_nonces = refused_nonces
        self._authority = authority = CertificateAuthority("Pebble's own")
        self.ca_file = authority.write_root(self.folder / "ca.pem")
        self.ca_file.chmod(0o644)
        self.pair = authority.issue("localhost", host, *names).write(self.folder, "pebble")
        self._configuration = self.folder / "pebble.json"
        self._configuration.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"{host}:{self._port}",
                        "managementListenAddress": f"{host}:{self._management}",
                        "certificate": str(self.pair[0]),
                        "privateKey": str(self.pair[1]),
                        "httpPort": self.http_port,
                        "tlsPort": self.tls_port,
                    }
                }
            )
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return a certificate and its key, by the authority that vouches for the directory."""
        return self._authority.issue(name).write(self.folder, name)

    @property
    def directory(self) -> str:
        return f"https://{self._host}:{self._port}/dir"

    @property
    def settings(self) -> dict[str, Any]:
        """What `[tls]` has to say to order here, whatever the kind of challenge."""
        return {
            "acme_directory": self.directory,
            "acme_ca_file": str(self.ca_file),
            "acme_http_listen": [f"127.0.0.1:{self.http_port}"],
            "acme_alpn_listen": [f"127.0.0.1:{self.tls_port}"],
            "acme_dns_wait": "0s",
        }

    @property
    def dns_management(self) -> str:
        """The URL by which records are set: POST set-txt, clear-txt, add-a, ..."""
        return f"http://127.0.0.1:{self._dns_management}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        print(f"--- pebble\n{self.log}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start both, and return when the directory is served."""
        assert PEBBLE
        assert CHALLENGE_SERVER
        names = [
            f"-dns01=127.0.0.1:{self._dns_port}",
            f"-management=127.0.0.1:{self._dns_management}",
            "-defaultIPv6=",
            *(f"-{each}=" for each in ("http01", "https01", "tlsalpn01")),
        ]
        self._run([CHALLENGE_SERVER, *names])
        self._run([PEBBLE, "-config", str(self._configuration), "-dnsserver", self._dns])
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            assert time.monotonic() < end, f"pebble does not start: {self.log}"
            assert all(each.poll() is None for each in self._processes), f"pebble ended: {self.log}"
            time.sleep(0.02)

    def _run(self, command: list[str]) -> None:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_AUTHZREUSE": "0",
            "PEBBLE_WFE_NONCEREJECT": str(self._refused_nonces),
        }
        with (self.folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            )

    def stop(self) -> None:
        """End both; nobody answers there any more."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def _answers(self) -> bool:
        try:
            self._get(self.directory)
            urllib.request.urlopen(self.dns_management, timeout=5).close()
        except urllib.error.HTTPError:
            return True  # the DNS knows no page at its root
        except OSError:
            return False
        return True

    def root_pem(self) -> bytes:
        """Return the root that its certificates lead to."""
        return self._get(f"https://{self._host}:{self._management}/roots/0")

    def resolve(self, name: str, *addresses: str) -> None:
        """Say which addresses a name has; without any it is 127.0.0.1 again."""
        self.set_dns("clear-a", {"host": f"{name}."})
        if addresses:
            self.set_dns("add-a", {"host": f"{name}.", "addresses": list(addresses)})

    def set_dns(self, action: str, values: dict[str, Any]) -> None:
        request = urllib.request.Request(f"{self.dns_management}/{action}", json.dumps(values).encode())
        urllib.request.urlopen(request, timeout=5).close()

    def _get(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            content: bytes = answer.read()
        return content
