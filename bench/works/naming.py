"""The name server of bench/names, as long as a work needs it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from bench import PROJECT
from bench.ports import free_ports


@contextlib.contextmanager
def naming(port: int = 0) -> Iterator[str]:
    """Answer names on a port of 127.0.0.1; yield it as `[dns] nameservers` has it."""
    port = port or free_ports(1)
    command = [sys.executable, "-m", "bench.names", "127.0.0.1", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=PROJECT)
    try:
        assert process.stdout
        process.stdout.readline()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
