"""The server's word to the service manager, as sd_notify(3) has it: a datagram to the socket in $NOTIFY_SOCKET.

    manager = ServiceManager.from_environment(os.environ, os.getpid())
    manager.ready("2 workers")             # READY=1, STATUS=...
    manager.reloading(monotonic_ns)        # RELOADING=1, MONOTONIC_USEC=...; ready() ends it
    manager.alive(now)                     # WATCHDOG=1, where it is due
    manager.stopping()                     # STOPPING=1

Without $NOTIFY_SOCKET nothing is sent. Nothing here raises or waits: a manager that does not listen is no reason for
mail to stop. The variables are taken out of the environment: no program that the server starts speaks in its name.

Known weakness: a socket of the vsock family, which a virtual machine's manager may name, is not spoken to.
"""

import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")
_ABSTRACT: Final = "@"
_LONGEST_STATUS: Final = 512


class ServiceManager:
    """Where to speak to, `""` for nobody, and how often the watchdog wants to hear (seconds; 0 is never)."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith(_ABSTRACT) else address
        self._watchdog = watchdog if address else 0.0
        self._spoke = float("-inf")

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int) -> "ServiceManager":
        """Return the manager that a process was started by, and forget how it is reached."""
        address = environ.pop(_SOCKET, "")
        every, whose = (environ.pop(name, "") for name in _WATCHDOG)
        is_ours = whose in ("", str(pid))
        is_known = address.startswith(("/", _ABSTRACT))
        return cls(address if is_known else "", int(every) / 1e6 if is_ours and every.isdigit() else 0.0)

    @property
    def watchdog(self) -> float:
        """Seconds after which silence counts as a hang; 0 where nobody watches."""
        return self._watchdog

    def ready(self, status: str) -> None:
        """Say that the server serves, after its start or a reload."""
        self._say("READY=1", _status(status))

    def reloading(self, monotonic_ns: int) -> None:
        """Say that the configuration is read again. `monotonic_ns` is CLOCK_MONOTONIC's time, in nanoseconds."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns // 1000}", _status("reloading"))

    def stopping(self) -> None:
        """Say that the server ends."""
        self._say("STOPPING=1", _status("stopping"))

    def status(self, text: str) -> None:
        """Tell people how it is."""
        self._say(_status(text))

    def alive(self, now: float) -> None:
        """Say that nothing hangs, as often as it is wanted. `now` is monotonic seconds."""
        if self._watchdog and now - self._spoke >= self._watchdog / 4:
            self._spoke = now
            self._say("WATCHDOG=1")

    def _say(self, *assignments: str) -> None:
        if not self._address:
            return
        # A socket for each word: the manager may have been started anew, and have another one under the same name.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(assignments).encode(errors="replace"), self._address)


def _status(text: str) -> str:
    """Return the assignment for a text, which can add no other: it stays in its line."""
    return f"STATUS={' '.join(text.split())[:_LONGEST_STATUS]}"
