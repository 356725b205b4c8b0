"""A generator as a process: started, waited for in bounded time, and its CPU time taken down.

done = run(["smtp-source", ...], limit=60)
done.seconds ; done.cpu ; done.error             # "" where it ended well
report = run_own("bench.load.crowd", ["2525", "100"], limit=60).report(CrowdReport)
"""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from bench import PROJECT

T = TypeVar("T")


class Done(msgspec.Struct, frozen=True):
    """What a generator did: its wall time and CPU time in seconds, what it printed, and its fault, "" for none."""

    seconds: float
    cpu: float
    output: bytes
    error: str

    @property
    def share(self) -> float:
        """How much of one core it took."""
        return self.cpu / self.seconds if self.seconds else 0.0

    def report(self, kind: type[T]) -> T:
        """Read the JSON it printed. Raises LoadFault where it printed none."""
        try:
            return msgspec.json.decode(self.output, type=kind)
        except msgspec.DecodeError:
            raise LoadFault(self.error or "the generator printed no report") from None


class LoadFault(Exception):
    """The generator could not do its work."""


def run(command: Sequence[str], limit: float) -> Done:
    """Run a generator, `limit` seconds at most. It must be the only child that ends meanwhile."""
    began, cpu = time.monotonic(), _children_cpu()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    )
    try:
        output, error = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, error = process.communicate()
        error += b" not done after the longest time allowed"
    except BaseException:
        process.kill()
        process.wait()
        raise
    words = error.decode(errors="backslashreplace").strip()[-300:]
    fault = words or f"status {process.returncode}" if process.returncode else ""
    return Done(time.monotonic() - began, _children_cpu() - cpu, output, fault)


def run_own(module: str, arguments: Sequence[str], limit: float) -> Done:
    """Run one of this package's generators."""
    return run([sys.executable, "-m", module, *arguments], limit)


def _children_cpu() -> float:
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken.ru_utime + taken.ru_stime
