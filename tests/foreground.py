"""A program for a test that runs in the foreground, in a folder of its own, and is gone with the test.

    class LiveEcho(Foreground):
        def __init__(self) -> None:
            super().__init__("echo")
            (self.folder / "echo.conf").write_text(...)

        def command(self) -> Sequence[str | Path]:
            return "/usr/sbin/echod", "-F", "-c", self.folder / "echo.conf"

        def answers(self) -> bool:
            return port_is_open(...)

    with LiveEcho() as echo:
        echo.stop() ; echo.start() ; echo.log

What it starts is in a process group of its own, which is ended whole: some masters leave processes behind. Every user
may enter the folder. What it writes is in `folder/log`, where its own log may be too; a test that fails shows it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_DEADLINE: Final = 20.0  # seconds
_PATIENCE: Final = 2.0  # seconds from SIGTERM to SIGKILL


class Foreground:
    """See the module's example."""

    environment: Mapping[str, str] | None = None

    def __init__(self, name: str) -> None:
        self._name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        """Return the command line; what it needs in the folder may be written here."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether it can be used."""
        raise NotImplementedError

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
        print(f"--- {self._name}\n{self.log}")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process, and the group, that was started."""
        assert self._process is not None, f"{self._name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        end = time.monotonic() + _DEADLINE
        while not self.answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"{self._name} does not start: {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, with everything it started."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to everything it started: SIGSTOP makes it silent, SIGCONT has it go on."""
        os.killpg(self.pid, number)
