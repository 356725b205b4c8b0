"""The 250 waits for the disk: a sync of the queue ends between the go-ahead for the content and the 250's write."""

import re
import shutil
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import HOST, LiveServer, message
from tests.sink import CatchingSink

CALLS = "fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64"


@contextmanager
def _traced(server: LiveServer, output: Path) -> Iterator[None]:
    """Trace every process and thread of the server; on leaving, the trace is complete."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    pids = [argument for pid in server.pids() for argument in ("-p", str(pid))]
    command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(output), *pids]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr
    attached = 0
    while attached < len(server.pids()):
        line = tracer.stderr.readline()
        if not line or "Operation not permitted" in line:
            tracer.kill()
            tracer.wait()
            pytest.skip(f"strace may not attach here: {line.strip()}")
        attached += "attached" in line
    yield
    tracer.terminate()
    tracer.communicate(timeout=20)


def _whole_calls(trace: str) -> list[str]:
    """Return the calls in the order of their ends; calls that others interrupted are put together again."""
    begun: dict[str, str] = {}
    calls = []
    for line in trace.splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
        elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            calls.append(begun.pop(pid, "") + resumed[1])
        else:
            calls.append(rest)
    return calls


def _begins(trace: str) -> list[str]:
    """Return the lines of the trace without process ids: a call stands where it began."""
    return [line.partition(" ")[2].strip() for line in trace.splitlines()]


def _synced_before_250(data_dir: Path, trace: str) -> list[str]:
    """Return the files whose sync had ended well when the 250 began to be written, since the 354."""
    lines = _begins(trace)
    go_ahead = next(number for number, line in enumerate(lines) if '"354 ' in line)
    accepted = next(n for n, line in enumerate(lines) if n > go_ahead and re.search(r'"250 2\.\d\.\d ', line))
    before = "\n".join(trace.splitlines()[go_ahead:accepted])
    folder = re.escape(str(data_dir))
    syncs = (re.match(rf"f(?:data)?sync\(\d+<({folder}[^>]*)>\)\s+= 0", call) for call in _whole_calls(before))
    return [sync[1] for sync in syncs if sync]


@pytest.mark.parametrize("size", [1, 6000], ids=["in the row", "in a file"])
def test_the_sync_ends_before_the_250_begins(tmp_path: Path, size: int) -> None:
    mail = message("sync", "load@example.net", "bob@remote.example")
    mail.set_content(("x" * 70 + "\n") * size)
    output = tmp_path / "trace"
    with (
        CatchingSink() as sink,
        LiveServer({"mynetworks": ["127.0.0.1/32"], "smtp": {"relayhost": sink.relayhost}}) as server,
    ):
        with _traced(server, output), smtplib.SMTP(HOST, server.smtpd, timeout=60) as client:
            client.sendmail("load@example.net", ["bob@remote.example"], mail.as_bytes())
        synced = _synced_before_250(server.data_dir, output.read_text())
        folders = {path for path in synced if Path(path).is_dir()}
    print("\n".join(synced), file=sys.stderr)
    assert any("wal" in Path(path).name for path in synced), "no sync of the queue's log before the 250"
    if size > 1:
        assert folders, "no sync of the folder that names the content's file"
        assert len(synced) >= 3, "content, folder and queue are three syncs"


@pytest.mark.parametrize(
    ("trace", "synced"),
    [
        (
            '7 write(9<socket:[1]>, "354 End", 7) = 7\n'
            "8 fdatasync(5</srv/data/q-wal> <unfinished ...>\n"
            "8 <... fdatasync resumed>) = 0\n"
            '7 write(9<socket:[1]>, "250 2.0.0 Ok", 12) = 12\n',
            ["/srv/data/q-wal"],
        ),
        (
            '7 write(9<socket:[1]>, "354 End", 7) = 7\n'
            "8 fdatasync(5</srv/data/q-wal> <unfinished ...>\n"
            '7 write(9<socket:[1]>, "250 2.0.0 Ok", 12 <unfinished ...>\n'
            "8 <... fdatasync resumed>) = 0\n"
            "7 <... write resumed>) = 12\n",
            [],
        ),
        (
            "8 fdatasync(5</srv/data/q-wal>) = 0\n"
            '7 write(9<socket:[1]>, "354 End", 7) = 7\n'
            "8 fdatasync(5</srv/other>) = 0\n"
            "8 fdatasync(5</srv/data/q-wal>) = -1 EIO (Input/output error)\n"
            '7 write(9<socket:[1]>, "250 2.0.0 Ok", 12) = 12\n',
            [],
        ),
    ],
    ids=["in time", "too late", "before, elsewhere or in vain"],
)
def test_a_trace_is_read_aright(trace: str, synced: list[str]) -> None:
    assert _synced_before_250(Path("/srv/data"), trace) == synced
