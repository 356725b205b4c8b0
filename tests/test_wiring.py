"""The ways out: letting go of them."""

import asyncio
from pathlib import Path
from typing import cast

from tests.config.facts import FACTS
from tests.deliver.setting import MemoryLog, job_for
from tests.scripted_sink import SILENT, ScriptedSink
from valija.config import parse
from valija.logs import Log
from valija.mail.job import Route
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
