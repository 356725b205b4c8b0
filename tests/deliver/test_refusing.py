import asyncio
from typing import cast

from tests.deliver.setting import MemoryLog, job_for
from valija.deliver.refusing import RefusingAgent
from valija.logs import Log
from valija.mail.job import Route
from valija.mail.outcome import State


def test_every_recipient_fails_at_once_in_the_words_of_the_route() -> None:
    log = MemoryLog()
    job = job_for("bob@bad.example", "carol@bad.example", route=Route("error", "Nobody writes there"))
    outcomes = asyncio.run(RefusingAgent(cast("Log", log)).deliver(job))
    assert [outcome.number for outcome in outcomes] == [0, 1]
    assert {(outcome.state, str(outcome.reply)) for outcome in outcomes} == {
        (State.FAILED, "550 5.7.1 Nobody writes there")
    }
    assert [line["recipient"] for line in log.of("attempt")] == ["bob@bad.example", "carol@bad.example"]
