"""Access tokens from a real token endpoint: kept, fetched once for all who wait, rotated, and refused."""

import asyncio
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.token_endpoint import CLIENT, TokenEndpoint
from valija.deliver.credentials import LoginOptions, TokenOptions
from valija.deliver.tokens import PAUSE, NoToken, Tokens
from valija.secret_file import SecretUnusable

SECRETS = ("refresh-0", CLIENT[1], "access-1")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def options(folder: Path, url: str, *, public: bool = False, scope: str = "") -> LoginOptions:
    for name, secret in (("refresh", "refresh-0"), ("client", CLIENT[1])):
        (folder / name).touch(mode=0o640)
        (folder / name).write_text(secret)
    client_secret = "" if public else str(folder / "client")
    oauth = TokenOptions(url, CLIENT[0], client_secret, str(folder / "refresh"), scope)
    return LoginOptions("the/one: work", "alice@example.org", oauth=oauth)


def tokens(folder: Path, provider: TokenEndpoint, clock: Callable[[], float] | None = None) -> Tokens:
    return Tokens(options(folder, provider.url), folder / "tokens", clock or Clock())


@pytest.mark.parametrize("public", [False, True])
def test_asked_for_as_the_standard_has_it(public: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            wanted = options(tmp_path, provider.url, public=public, scope="https://mail.example/ offline")
            assert await Tokens(wanted, tmp_path / "tokens").access_token() == "access-1"
            form = {
                "grant_type": "refresh_token",
                "refresh_token": "refresh-0",
                "scope": "https://mail.example/ offline",
            }
            assert provider.asked == [{**form, "client_id": CLIENT[0]} if public else form]
            assert provider.clients == [CLIENT[0]]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("expires_in", "life"), [(3600, 3540), ("3600", 3540), (100, 90), (None, 270), (0, 270), (-5, 270)]
)
def test_kept_until_shortly_before_it_expires(expires_in: object, life: float, tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint(expires_in) as provider:
            clock = Clock()
            source = tokens(tmp_path, provider, clock)
            assert await source.access_token() == "access-1"
            clock.now += life - 1
            assert await source.access_token() == "access-1"
            clock.now += 2
            assert await source.access_token() == "access-2"

    asyncio.run(main())


def test_whoever_waits_gets_the_one_that_is_being_fetched(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            source = tokens(tmp_path, provider)
            assert set(await asyncio.gather(*(source.access_token() for _ in range(20)))) == {"access-1"}
            assert len(provider.asked) == 1

    asyncio.run(main())


def test_one_that_waits_no_more_takes_it_from_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            provider.gate = asyncio.Event()
            source = tokens(tmp_path, provider)
            impatient, patient = (asyncio.create_task(source.access_token()) for _ in range(2))
            await asyncio.wait_for(provider.came.wait(), 10)
            impatient.cancel()
            provider.gate.set()
            assert await patient == "access-1"
            assert len(provider.asked) == 1

    asyncio.run(main())


def test_a_restart_asks_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            assert await tokens(tmp_path, provider).access_token() == "access-1"
            assert await tokens(tmp_path, provider).access_token() == "access-1"
            assert len(provider.asked) == 1

    asyncio.run(main())


def test_a_rotated_refresh_token_is_kept_durably_for_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            provider.rotates = True
            clock = Clock()
            assert await tokens(tmp_path, provider, clock).access_token() == "access-1"
            for round in (2, 3):
                clock.now += 3600
                assert await tokens(tmp_path, provider, clock).access_token() == f"access-{round}"
            assert [form["refresh_token"] for form in provider.asked] == ["refresh-0", "refresh-1", "refresh-2"]
            assert (tmp_path / "refresh").read_text() == "refresh-0"
            [kept] = (tmp_path / "tokens").glob("*.json")
            assert kept.stat().st_mode & 0o777 == 0o600
            assert kept.parent.stat().st_mode & 0o777 == 0o700
            assert json.loads(kept.read_text())["refresh_token"] == "refresh-3"

    asyncio.run(main())


def test_a_new_grant_in_the_configured_file_counts_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            source = tokens(tmp_path, provider)
            provider.refuses = "invalid_grant"
            with pytest.raises(NoToken):
                await source.access_token()
            provider.refuses, provider.granted = "", "granted anew"
            (tmp_path / "refresh").write_text("granted anew\n")
            assert await source.access_token() == "access-2"

    asyncio.run(main())


def test_one_that_the_server_refused_is_used_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            source, neighbour = tokens(tmp_path, provider), tokens(tmp_path, provider)
            assert await source.access_token() == await neighbour.access_token() == "access-1"
            source.forget("access-1")
            assert await source.access_token() == "access-2"
            neighbour.forget("access-1")
            assert await neighbour.access_token() == "access-2"
            assert len(provider.asked) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"refuses": "invalid_grant"}, "it answers 400 Bad Request: invalid_grant as told; grant the access anew"),
        ({"refuses": "temporarily_unavailable"}, "temporarily_unavailable as told"),
        ({"raw": b"{}"}, "its answer has no access token in it"),
        ({"raw": b"<html>"}, "its answer has no access token in it"),
        ({"raw": b"\xff"}, "its answer has no access token in it"),
        ({"raw": b'{"access_token": ""}'}, "its access token is none that can be sent"),
        ({"raw": b'{"access_token": "a\\u0001auth=b"}'}, "its access token is none that can be sent"),
        ({"raw": b"gone", "status": 503}, "it answers 503"),
    ],
)
def test_no_token_and_why_and_no_hammering(attributes: dict[str, object], words: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            for name, value in attributes.items():
                setattr(provider, name, value)
            clock = Clock()
            source = tokens(tmp_path, provider, clock)
            for _ in range(3):
                with pytest.raises(NoToken) as why:
                    await source.access_token()
                assert words in str(why.value)
                assert provider.url in str(why.value)
                assert not any(secret in str(why.value) for secret in SECRETS)
            assert len(provider.asked) == 1
            clock.now += PAUSE
            provider.refuses, provider.raw, provider.status = "", None, 200
            assert await source.access_token() == "access-2"

    asyncio.run(main())


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    source = Tokens(options(tmp_path, f"http://127.0.0.1:{free_port()}/token"), tmp_path / "tokens")
    with pytest.raises(NoToken, match="there is no token: http"):
        asyncio.run(source.access_token())


def test_files_that_are_no_secrets(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            source = tokens(tmp_path, provider)
            for name in ("client", "refresh"):
                (tmp_path / name).chmod(0o644)
                with pytest.raises(SecretUnusable, match=f"{name} is a secret that others can use"):
                    await source.access_token()
            assert not provider.asked

    asyncio.run(main())


def test_a_damaged_file_of_tokens_begins_anew(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            assert await tokens(tmp_path, provider).access_token() == "access-1"
            [kept] = (tmp_path / "tokens").glob("*.json")
            for damage in (b"", b"{}", b"\xff\xfe", b'{"origin": 3}'):
                kept.write_bytes(damage)
                assert (await tokens(tmp_path, provider).access_token()).startswith("access-")

    asyncio.run(main())


def _fetch(wanted: LoginOptions, folder: Path, said: "multiprocessing.Queue[str]") -> None:
    source = Tokens(wanted, folder)
    said.put(asyncio.run(source.access_token()))


def test_the_workers_fetch_one_for_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with TokenEndpoint() as provider:
            provider.rotates = True
            wanted = options(tmp_path, provider.url)
            spawn = multiprocessing.get_context("spawn")
            said = spawn.Queue()
            workers = [spawn.Process(target=_fetch, args=(wanted, tmp_path / "tokens", said)) for _ in range(3)]
            for worker in workers:
                worker.start()
            heard = [await asyncio.to_thread(said.get, timeout=30) for _ in workers]
            for worker in workers:
                await asyncio.to_thread(worker.join, 30)
            assert heard == ["access-1"] * 3
            assert len(provider.asked) == 1

    asyncio.run(main())
