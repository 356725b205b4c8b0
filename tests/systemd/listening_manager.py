"""A service manager that listens to what its services say, as systemd does."""

import socket
import time
from pathlib import Path


class Manager:
    """The other end: a socket as systemd has one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        if not address.startswith("@"):
            Path(address).chmod(0o777)

    def hear(self, deadline: float = 20.0) -> dict[str, str]:
        """Return the next word but those of the watchdog."""
        end = time.monotonic() + deadline
        while True:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            said = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))
            if "WATCHDOG" not in said:
                return said

    def hear_watchdog(self, deadline: float = 20.0) -> None:
        """Wait until the watchdog is told that all is well."""
        self.socket.settimeout(deadline)
        while b"WATCHDOG=1" not in self.socket.recv(4096).split(b"\n"):
            pass

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until the watchdog has heard nothing for so long."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                self.hear_watchdog(deadline=seconds)
            except TimeoutError:
                return
        raise AssertionError("the watchdog is told that all is well")
