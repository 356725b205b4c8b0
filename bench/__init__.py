"""Measures valija beside the servers it wants to replace, on one machine, in turns.

    bench/setup                          once: fetches the other servers (as root, Debian)
    bench/run relay-new relay-keep       some works, valija and every peer that is there
    bench/run --write                    all works, and the results go into docs/performance.md
    bench/quick HEAD                     a minute: this working tree against a revision

The words: a *work* is one named benchmark (bench/works), which may have several *cases*; a *server* is valija or a peer
(bench/servers); a *run* is one measurement of a case on a server, and has *figures* (bench/results). Everything takes
place on loopback. As root it takes place in namespaces of its own, so that nothing is met by accident and nothing is
left behind (bench/sandbox); other users measure valija alone.
"""

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
