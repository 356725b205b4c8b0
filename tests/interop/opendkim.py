"""The real opendkim as a milter, for a test: on a socket that everybody may write to.

with LiveOpendkim("Mode s", "Domain example.org", ...) as opendkim:
    opendkim.place            # "unix:/tmp/.../opendkim.sock"
    opendkim.stop()
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

PROGRAM = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
_DEADLINE: Final = 20.0  # seconds


def need_opendkim() -> None:
    if PROGRAM is None:
        pytest.skip("opendkim is missing: apt-get install opendkim")


class LiveOpendkim:
    """See the module's example; `files` are written beside its configuration, as `{folder}/...` in the settings."""

    def __init__(self, *settings: str, files: dict[str, str | bytes] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opendkim-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.place = f"unix:{self.folder}/opendkim.sock"
        for name, octets in (files or {}).items():
            (self.folder / name).write_bytes(octets if isinstance(octets, bytes) else octets.encode())
            (self.folder / name).chmod(0o600)
        own = ("Syslog no", "UMask 000", "RequireSafeKeys no", f"Socket local:{self.folder}/opendkim.sock")
        lines = [line.format(folder=self.folder) for line in (*own, *settings)]
        (self.folder / "opendkim.conf").write_text("\n".join([*lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        print(self.log)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start, and return when it takes connections."""
        assert PROGRAM
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-f", "-x", str(self.folder / "opendkim.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"opendkim does not start: {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_DEADLINE)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(self.place.removeprefix("unix:"))
            except OSError:
                return False
            return True
