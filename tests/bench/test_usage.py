"""CPU time and memory are counted, of children that have ended too."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import usage
from bench.load.percentiles import percentile
from bench.names import answer
from bench.usage import Usage, end_processes, memory_of, open_usage

BURN = "import time\nwhile time.process_time() < 0.3: pass"
# A child burns and ends; its parent burns nothing, and stays until its input ends.
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, '-c', {BURN!r}])
print('done', flush=True)
sys.stdin.read()"""


@contextmanager
def _running(account: Usage) -> Iterator[subprocess.Popen[bytes]]:
    command = account.command([sys.executable, "-c", PARENT])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        account.started(process.pid)
        assert process.stdout
        process.stdout.readline()
        yield process
        assert process.stdin
        process.stdin.close()


def _check(account: Usage) -> None:
    with _running(account) as process:
        assert account.pids() == [process.pid]
        assert 0.2 < account.cpu().seconds < 3.0
        assert memory_of(account).pss > 1 << 20
    assert end_processes(account, patience=5.0) == []


def test_by_the_best_means() -> None:
    with open_usage() as account:
        _check(account)


def test_by_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_hierarchies", lambda: [])
    with open_usage() as account:
        assert account.kind == "/proc"
        _check(account)


def test_what_does_not_end_is_ended() -> None:
    with open_usage() as account:
        process = subprocess.Popen(account.command(["sleep", "60"]))
        account.started(process.pid)
        while account.cpu().seconds < 0 or not account.pids():
            assert process.poll() is None
        assert end_processes(account, patience=0.0) == [process.pid]
        assert process.wait(5) == -9


def test_percentiles() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(1, 101))), 0.99) == 99.0


def test_names() -> None:
    import dns.message
    import dns.rcode

    def ask(name: str, rtype: str) -> tuple[str, list[str]]:
        answered = answer(dns.message.make_query(name, rtype))
        return dns.rcode.to_text(answered.rcode()), [str(item) for rrset in answered.answer for item in rrset]

    assert ask("dst.test", "MX") == ("NOERROR", ["10 mx.sink.test."])
    assert ask("dst.test", "A") == ("NOERROR", [])
    assert ask("d17.refused.test", "MX") == ("NOERROR", ["10 mx.refused.test."])
    assert ask("elsewhere.example", "MX") == ("NXDOMAIN", [])
