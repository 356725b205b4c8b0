"""slow-destination: a hundred thousand messages for a host that never speaks. What others' mail notices of it.

A lonely message's latency to another destination, before and with them; and that destination's rate.
"""

import contextlib
import socket
from collections.abc import Iterator

import uvloop

from bench.load import child
from bench.load.child import LoadFault
from bench.load.lonely import Waits, lonely, watching
from bench.load.source import Source
from bench.load.talk import EHLO, Talk, Unexpected
from bench.names import SLOW_ADDRESS, SLOW_DOMAIN
from bench.ports import free_ports
from bench.results import Measured
from bench.servers.valija import Valija
from bench.setting import Scale, Setting
from bench.usage import memory_of
from bench.works.latency import latency_figures
from bench.works.naming import naming
from bench.works.work import Work

_SESSIONS = 20
_OCTETS = 1024
_SENDER = "a@src.test"


def _measure(setting: Setting, _: str) -> Iterator[Measured]:
    port = free_ports(1)
    with naming() as nameserver, _mute(port):
        settings = {"dns": {"nameservers": [nameserver]}, "smtp": {"port": port}}
        with Valija(setting, settings=settings) as server:
            yield _others("before", server, port, setting.scale)
            stalled = Source(
                server.smtpd, _SESSIONS, setting.scale.stalled, _OCTETS, keep=True, recipient=f"b@{SLOW_DOMAIN}"
            )
            done = child.run(stalled.command(), 4 * setting.scale.limit)
            if done.error:
                raise LoadFault(f"for the slow destination: {done.error}")
            figures = {"accepted": setting.scale.stalled / done.seconds, "generator": done.share}
            yield Measured("for the slow one", {**figures, "pss": float(memory_of(server.usage).pss)})
            yield _others("with the slow one", server, port, setting.scale)
            server.kill()  # it would rightly give the attempts under way their time


@contextlib.contextmanager
def _mute(port: int) -> Iterator[None]:
    """Be a host whose kernel accepts connections, and that never says a word."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((SLOW_ADDRESS, port))
        listening.listen(4096)
        yield


def _others(case: str, server: Valija, port: int, scale: Scale) -> Measured:
    try:
        waits = uvloop.run(_send(server.smtpd, port, scale))
    except (Unexpected, OSError, TimeoutError) as error:
        raise LoadFault(f"{case}: a message for another destination: {error or 'it did not arrive'}") from None
    return Measured(case, {**latency_figures(waits), "pss": float(memory_of(server.usage).pss)})


async def _send(smtpd: int, sink: int, scale: Scale) -> Waits:
    async with watching(sink) as arrivals:
        talk = await Talk.open(smtpd)
        await talk.ask(EHLO, b"250")
        await lonely(talk, _SENDER, min(20, scale.lonely), scale.octets, arrivals)
        waits = await lonely(talk, _SENDER, scale.lonely, scale.octets, arrivals)
        talk.close()
        return waits


WORK = Work(
    "slow-destination",
    "Beside a destination that stalls",
    _measure,
    ("accept_p50", "accept_p99", "arrive_p50", "arrive_p99", "accepted", "pss"),
)
