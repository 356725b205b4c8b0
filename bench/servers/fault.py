"""A server that did not do what it should, and the words for that."""

import socket
import subprocess
import time
from pathlib import Path

_LAST_WORDS = 600  # characters


class ServerFault(Exception):
    """A server that does not start, or ends by itself. The message has its last words."""


def wait_for_port(port: int, patience: float, log: Path, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until somebody listens on a port of 127.0.0.1. Raises ServerFault."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process is not None and process.poll() not in (None, 0):
            raise ServerFault(f"ended with status {process.returncode}: {last_words(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise ServerFault(f"nobody listens on port {port} after {patience:.0f} s: {last_words(log)}")


def last_words(log: Path) -> str:
    """Return the end of a log, on one line."""
    text = log.read_text(errors="backslashreplace") if log.exists() else ""
    return " / ".join(text[-_LAST_WORDS:].splitlines()) or "it said nothing"
