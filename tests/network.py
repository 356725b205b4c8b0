"""Machines of a network, made of network namespaces: each has addresses of its own, and every port is free there.

    with Network({"server": ["192.0.2.10/24"], "world": ["192.0.2.20/24", "192.0.2.21/24"]}) as network:
        with network.inside("world"):
            dns = FakeDns(...)                     # its sockets, threads and processes belong to world
        network.run("server", "curl", "http://192.0.2.20/")

All machines hang on one cable. It needs root. A thread or process started `inside` stays there.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

MISSING = "" if os.geteuid() == 0 and shutil.which("ip") else "networks of one's own are made by root: iproute2"
_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/thread-self/ns/net")


class Network:
    """Machines by name, each with its addresses in CIDR notation."""

    def __init__(self, machines: Mapping[str, Sequence[str]]) -> None:
        mark = secrets.token_hex(3)
        self._machines = machines
        self._cable = f"valija-{mark}"
        self._names = {machine: f"valija-{mark}-{machine}" for machine in machines}

    def __enter__(self) -> Self:
        try:
            self._lay_cable()
            for number, machine in enumerate(self._machines):
                self._connect(machine, number)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @contextlib.contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """Be on a machine: what this thread opens or starts belongs there."""
        home = os.open(_OWN, os.O_RDONLY)
        there = os.open(f"/run/netns/{self._names[machine]}", os.O_RDONLY)
        try:
            _set_namespace(there)
            yield
        finally:
            _set_namespace(home)
            os.close(home)
            os.close(there)

    def command(self, machine: str, *words: str) -> list[str]:
        """Return a command line that runs another one on a machine."""
        return ["ip", "netns", "exec", self._names[machine], *words]

    def run(self, machine: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on a machine."""
        command = self.command(machine, *words)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    def _lay_cable(self) -> None:
        _ip("netns", "add", self._cable)
        _ip("-n", self._cable, "link", "add", "cable", "type", "bridge")
        _ip("-n", self._cable, "link", "set", "cable", "up")

    def _connect(self, machine: str, number: int) -> None:
        name, plug = self._names[machine], f"plug{number}"
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", plug, "netns", self._cable)
        _ip("-n", self._cable, "link", "set", plug, "master", "cable", "up")
        for address in self._machines[machine]:
            _ip("-n", name, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", "eth0", "up")

    def _remove(self) -> None:
        for name in (*self._names.values(), self._cable):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def _set_namespace(descriptor: int) -> None:
    """Python has no os.setns before 3.12. It changes the calling thread alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
