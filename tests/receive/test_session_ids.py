"""Ids of sessions: in each line about one, and in what its client hears when policy refuses it."""

import asyncio
import re
from pathlib import Path
from typing import Any

from tests.receive.reception import reception
from tests.receive.test_sessions import plain
from valija.receive.session_id import LENGTH, is_session_id, new_session_id


def test_ids_are_told_apart_and_recognised() -> None:
    made = {new_session_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(len(each) == LENGTH and is_session_id(each) for each in made)
    assert not is_session_id("bmmm9v73d3tbp")
    assert not is_session_id("alice@exa")


def test_all_lines_of_a_session_have_its_id_and_others_have_others(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, mynetworks=["127.0.0.9/32"], greet_pause=0.0) as r:
            for _ in range(2):
                d = await r.connect()
                await d.reply()
                await d.say("EHLO mail.example.org")
                await d.say("MAIL FROM:<bob@remote.example>")
                said = await d.say("RCPT TO:<victim@remote.example>")
                assert said == "554 5.7.1 <victim@remote.example>: Relay access denied"
                await d.say("RCPT TO:<ghost@local.example>")
                await d.say("QUIT")
            async with asyncio.timeout(10):
                while r.listener.session_count:
                    await asyncio.sleep(0)
            ids = re.findall(r"(?:recipient refused|session) .*?session=(\w{9})", r.log)
        assert len(ids) == 6
        assert len(set(ids)) == 2

    run(story())


def test_a_wrong_login_hears_the_id_of_its_session(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with reception(tmp_path, "submission") as r:
            d = await r.connect()
            await d.reply()
            await d.say("EHLO x")
            await d.start_tls()
            await d.say("EHLO x")
            answer = await d.say(f"AUTH PLAIN {plain('alice', 'wrong')}")
            told = re.fullmatch(r"535 5\.7\.8 Authentication credentials invalid \(session (\w{9})\)", answer)
            assert told
            assert re.search(rf"login refused .*session={told[1]}", r.log)

    run(story())
