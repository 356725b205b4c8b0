"""latency: one lonely message at a time over a kept session, until its 250 and until it is at the sink."""

import asyncio
import base64
from collections.abc import Iterator

import uvloop

from bench.load.child import LoadFault
from bench.load.lonely import PATIENCE, Waits, lonely, watching
from bench.load.percentiles import percentile
from bench.load.talk import EHLO, Talk, Unexpected, any_certificate
from bench.ports import free_ports
from bench.results import Measured
from bench.servers import VALIJA, Server, start
from bench.setting import Scale, Setting
from bench.works.work import Work

_WARM_UP = 20  # messages
_LOGIN = base64.b64encode(b"\0u1@src.test\0secret1")
_SENDER = "u1@src.test"


def _measure(setting: Setting, name: str) -> Iterator[Measured]:
    sink = free_ports(1)
    with start(name, setting, sink, accounts=1) as server:
        yield _lonely(server, sink, setting.scale, submission=False)
        if name in (VALIJA, "postfix-dovecot"):
            yield _lonely(server, sink, setting.scale, submission=True)


def _lonely(server: Server, sink: int, scale: Scale, *, submission: bool) -> Measured:
    try:
        waits = uvloop.run(_send(server, sink, scale, submission=submission))
    except (Unexpected, OSError, TimeoutError) as error:
        raise LoadFault(f"a lonely message: {error or 'no reply, or no arrival, in time'}") from None
    return Measured("submission" if submission else "smtpd", latency_figures(waits))


async def _send(server: Server, sink: int, scale: Scale, *, submission: bool) -> Waits:
    async with watching(sink) as arrivals:
        async with asyncio.timeout(PATIENCE):
            talk = await Talk.open(server.submission if submission else server.smtpd)
            await talk.ask(EHLO, b"250")
            if submission:
                await talk.start_tls(any_certificate())
                await talk.ask(b"AUTH PLAIN " + _LOGIN + b"\r\n", b"235")
        await lonely(talk, _SENDER, min(_WARM_UP, scale.lonely), scale.octets, arrivals)
        waits = await lonely(talk, _SENDER, scale.lonely, scale.octets, arrivals)
        talk.close()
        return waits


def latency_figures(waits: Waits) -> dict[str, float]:
    """Return the percentiles of what was waited."""
    of = {"accept": waits.accepted, "dot": waits.dots, "arrive": waits.arrived}
    return {f"{name}_p{share}": percentile(values, share / 100) for name, values in of.items() for share in (50, 99)}


WORK = Work(
    "latency",
    "A lonely message on a kept session",
    _measure,
    ("accept_p50", "accept_p99", "dot_p50", "dot_p99", "arrive_p50", "arrive_p99"),
    plotted="arrive_p50",
    peers=("postfix", "postfix-dovecot", "haraka", "chasquid"),
)
