"""The real opendkim as a milter, for a test: on a socket that everybody may write to.

with LiveOpendkim("Mode s", "Domain example.org", ...) as opendkim:
    opendkim.place            # "unix:/tmp/.../opendkim.sock"
    opendkim.stop()
"""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.foreground import Foreground

PROGRAM = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def need_opendkim() -> None:
    if PROGRAM is None:
        pytest.skip("opendkim is missing: apt-get install opendkim")


class LiveOpendkim(Foreground):
    """See the module's example; `files` are written beside its configuration, as `{folder}/...` in the settings."""

    def __init__(self, *settings: str, files: dict[str, str | bytes] | None = None) -> None:
        super().__init__("opendkim")
        self.place = f"unix:{self.folder}/opendkim.sock"
        for name, octets in (files or {}).items():
            (self.folder / name).write_bytes(octets if isinstance(octets, bytes) else octets.encode())
            (self.folder / name).chmod(0o600)
        own = ("Syslog no", "UMask 000", "RequireSafeKeys no", f"Socket local:{self.folder}/opendkim.sock")
        lines = [line.format(folder=self.folder) for line in (*own, *settings)]
        (self.folder / "opendkim.conf").write_text("\n".join([*lines, ""]))

    def command(self) -> Sequence[str | Path]:
        assert PROGRAM
        return PROGRAM, "-f", "-x", self.folder / "opendkim.conf"

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(self.place.removeprefix("unix:"))
            except OSError:
                return False
            return True
