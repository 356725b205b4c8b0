"""The process that speaks ACME: reads one task on standard input, does it, writes the answer, and is gone.

    python -P -m valija.tls.acme_child          # started by valija/tls/acme_process

It is told to stop by the end of its standard input, or by SIGTERM: it takes away what it published, and ends.
"""

import os
import signal
import sys
import threading
from types import FrameType

import msgspec

from valija.tls.acme_order import run
from valija.tls.acme_task import AcmeTask


def main() -> None:
    """Do one task."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=AcmeTask)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_watch, daemon=True).start()
    answer = run(task)
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
    os._exit(0)  # the watching thread sits in a read


def _stop(_: int, __: FrameType | None) -> None:
    raise SystemExit(1)


def _watch() -> None:
    """Stop when the server is gone, or does not want the answer any more."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
