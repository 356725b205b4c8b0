"""The ways out: letting go of them."""

import asyncio
from pathlib import Path
from typing import cast

from tests.config.facts import FACTS
from tests.deliver.setting import MemoryLog, free_port, job_for
from tests.scripted_sink import SILENT, ScriptedSink
from valija.config import parse
from valija.deliver.health import Health
from valija.logs import Log
from valija.mail.endpoint import Endpoint
from valija.mail.job import Route
from valija.mail.outcome import State
from valija.queue.spool import Spool
from valija.wiring import Delivery


def test_close_does_not_wait_for_ever_for_a_peer_that_is_silent(tmp_path: Path) -> None:
    config = parse(f'data_dir = "{tmp_path}"', "valija.toml", tmp_path, FACTS)

    async def main() -> None:
        async with ScriptedSink({"RCPT": [SILENT]}) as sink:
            delivery = Delivery(config, Spool(tmp_path), cast("Log", MemoryLog()))
            route = Route("remote", "127.0.0.1", sink.port, lookup_mx=False)
            attempt = asyncio.create_task(delivery.deliver(job_for(route=route)))
            await sink.until(lambda: bool(sink.sessions) and "RCPT" in sink.sessions[0].verbs())
            async with asyncio.timeout(10):
                await delivery.close(patience=0.1)
            assert not attempt.done()
            attempt.cancel()

    asyncio.run(main())


def test_a_route_has_mail_leave_from_its_pool_under_its_name(tmp_path: Path) -> None:
    text = f"""
        data_dir = "{tmp_path}"
        [[smtp.pool]]
        name = "bulk"
        addresses = ["127.0.0.7"]
        helo_name = "bulk.example.org"
        [[smtp.route]]
        domain = "remote.example"
        next_hop = "[127.0.0.1]:PORT"
        pool = "bulk"
    """

    async def main() -> None:
        async with ScriptedSink() as sink:
            config = parse(text.replace("PORT", str(sink.port)), "valija.toml", tmp_path, FACTS)
            delivery = Delivery(config, Spool(tmp_path), cast("Log", MemoryLog()))
            job = job_for()
            route = delivery.route(job.envelope, job.recipients[0].address)
            [outcome] = await delivery.deliver(job_for(route=route))
            await delivery.close(patience=5.0)
            assert outcome.state is State.DELIVERED
            assert (sink.sessions[0].client, sink.sessions[0].commands[0]) == ("127.0.0.7", "EHLO bulk.example.org")

    asyncio.run(main())


def test_a_host_that_failed_is_noted_in_the_memory_that_outlives_reloads(tmp_path: Path) -> None:
    config = parse(f'data_dir = "{tmp_path}"', "valija.toml", tmp_path, FACTS)
    health = Health()

    async def main() -> None:
        port = free_port()
        delivery = Delivery(config, Spool(tmp_path), cast("Log", MemoryLog()), health=health)
        route = Route("remote", "127.0.0.1", port, lookup_mx=False)
        await delivery.deliver(job_for(route=route))
        await delivery.close()
        assert not health.usable(Endpoint("127.0.0.1", port), asyncio.get_running_loop().time())

    asyncio.run(main())
