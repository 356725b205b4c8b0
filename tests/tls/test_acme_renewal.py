"""A certificate's renewals over months, on a clock that is moved: orders, failures, windows, restarts (RFC 9773)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import structlog
from structlog.typing import EventDict

from tests.ca import CertificateAuthority, Issued
from valija.logs import Log
from valija.tls.acme_files import AcmeFiles, read_issued
from valija.tls.acme_keeper import Keeper, Renewed
from valija.tls.acme_renewal import Renewal, Surroundings
from valija.tls.acme_schedule import DAY, FailureKind
from valija.tls.acme_state import read_state
from valija.tls.acme_task import AcmeAnswer, AcmeFailure, AcmeTask
from valija.tls.options import CertificateOptions, TlsOptions
from valija.tls.pair import certificate_summary

HOST = "mail.example.org"
CA = CertificateAuthority().intermediate()
OPTIONS = TlsOptions(certificate="acme")


class World:
    """An authority that answers as it is told, and a server that takes up what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = time.time()
        self.answers: list[AcmeAnswer] = []
        self.tasks: list[AcmeTask] = []
        self.problems: list[str] = []
        self.taken_up: list[str] = []
        self.lines: list[EventDict] = []
        self.options = OPTIONS

    @property
    def files(self) -> AcmeFiles:
        return AcmeFiles.of(self.folder, self.options.acme_directory, HOST)

    @property
    def log(self) -> Log:
        def note(_: object, level: str, event: EventDict) -> EventDict:
            self.lines.append({**event, "level": level})
            raise structlog.DropEvent

        return cast("Log", structlog.wrap_logger(None, processors=[note]))

    async def perform(self, task: AcmeTask, _: Sequence[Any]) -> AcmeAnswer:
        self.tasks.append(task)
        if task.what == "ask" and (not self.answers or not self.answers[0].window):
            return AcmeAnswer()
        return self.answers.pop(0)

    async def take_up(self, _: CertificateOptions, sha256: str) -> str:
        self.taken_up.append(sha256)
        return self.problems.pop(0) if sha256 and self.problems else ""

    def renewal(self, *names: str) -> Renewal:
        """Return the renewal as it is after a start of the server."""
        wanted = CertificateOptions("acme", names or (HOST,))
        around = Surroundings(self.perform, self.take_up, (), lambda: self.now, lambda: 0.5, self.log)
        return Renewal(wanted, self.options, self.folder, around)

    def issues(self, *names: str, days: float = 90) -> Issued:
        """Have the authority issue a certificate, valid from the world's now."""
        behind = (self.now - time.time()) / DAY
        issued = CA.issue(*(names or (HOST,)), days=(behind, behind + days))
        self.answers.append(AcmeAnswer(issued.chain_pem.decode(), issued.key_pem.decode()))
        return issued

    def fails(self, kind: FailureKind, retry_after: float = 0.0) -> None:
        self.answers.append(AcmeAnswer(failure=AcmeFailure(kind, "the reason", retry_after)))

    def act(self, renewal: Renewal) -> int:
        """Let the renewal do what is due; return how many orders that were."""
        before = self.orders
        asyncio.run(renewal.act())
        return self.orders - before

    @property
    def orders(self) -> int:
        return sum(task.what == "order" for task in self.tasks)

    def serving(self) -> bytes:
        return read_issued(self.files.current).key_pem.strip()

    def levels(self) -> list[str]:
        return [line["level"] for line in self.lines if "certificate not" in line["event"]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def running(world: World) -> Renewal:
    """A renewal with a fresh certificate of 90 days."""
    renewal = world.renewal()
    world.issues()
    assert world.act(renewal) == 1
    return renewal


@pytest.mark.parametrize("reuse", [False, True])
def test_the_key_stays_where_that_is_wanted(world: World, reuse: bool) -> None:
    world.options = msgspec.structs.replace(OPTIONS, acme_reuse_key=reuse)
    renewal = world.renewal()
    world.issues()
    world.act(renewal)
    serving = world.serving().decode()
    world.now += 80 * DAY
    world.issues()
    world.act(renewal)
    first, second = [task for task in world.tasks if task.what == "order"]
    assert first.key_pem == ""
    assert second.key_pem.strip() == (serving if reuse else "")


def test_the_first_is_ordered_at_once(world: World) -> None:
    renewal = world.renewal()
    assert renewal.next_act <= world.now
    issued = world.issues()
    assert world.act(renewal) == 1
    assert world.serving() == issued.key_pem.strip()
    assert world.taken_up == [certificate_summary(read_issued(world.files.current)).sha256]
    assert world.lines[-1]["event"] == "certificate issued"


def test_a_restart_orders_nothing(world: World, running: Renewal) -> None:
    for _ in range(20):
        assert world.act(world.renewal()) == 0
    assert world.orders == 1


def test_renewed_with_a_third_left(world: World, running: Renewal) -> None:
    world.now += 58 * DAY
    assert world.act(running) == 0
    world.now += 4 * DAY
    second = world.issues()
    assert world.act(running) == 1
    assert world.serving() == second.key_pem.strip()
    assert world.act(running) == 0


def test_short_lived(world: World) -> None:
    renewal = world.renewal()
    world.issues(days=6)
    world.act(renewal)
    for _ in range(10):
        world.now += 2.5 * DAY
        assert world.act(renewal) == 0
        world.now += 0.9 * DAY
        world.issues(days=6)
        assert world.act(renewal) == 1
    assert world.levels() == []


def test_the_moment_is_kept_over_restarts(world: World, running: Renewal) -> None:
    planned = running.next_act
    assert world.renewal().next_act == planned


def test_the_authoritys_window(world: World, running: Renewal) -> None:
    world.now += DAY
    window = (world.now + DAY, world.now + 2 * DAY)  # it wants to revoke, say
    world.answers.append(AcmeAnswer(window=window, retry_after=3600))
    assert world.act(running) == 0
    assert read_state(world.files.state).window == window
    assert world.tasks[-1].what == "ask"
    world.now += 1.6 * DAY
    world.answers.append(AcmeAnswer(window=window, retry_after=3600))
    world.issues()
    assert world.act(running) == 1
    assert b"CERTIFICATE" in world.tasks[-1].current_pem.encode(), "the authority is told what is replaced"


def test_a_window_of_now_is_obeyed_at_once(world: World, running: Renewal) -> None:
    world.now += DAY
    world.answers.append(AcmeAnswer(window=(world.now - 9, world.now - 1), retry_after=3600))
    world.issues()
    assert world.act(running) == 1


def test_the_window_is_not_asked_for_all_the_time(world: World, running: Renewal) -> None:
    asked = len(world.tasks)
    for _ in range(48):
        world.now += 1800
        world.act(running)
    assert 3 <= len(world.tasks) - asked <= 5, "every six hours, where the authority says nothing"


def test_an_expired_certificate_is_not_asked_about(world: World, running: Renewal) -> None:
    world.now += 91 * DAY
    world.issues()
    assert world.act(running) == 1
    assert world.tasks[-1].what == "order"


# Failures


def test_c115_a_failing_renewal_leaves_the_old_one_and_grows_louder(world: World, running: Renewal) -> None:
    before, end = world.serving(), world.now + 90 * DAY
    told: dict[str, float] = {}
    world.now += 62 * DAY
    while world.now < end + DAY:
        world.fails("challenge")
        world.act(running)
        for level in world.levels():
            told.setdefault(level, round((end - world.now) / DAY))
        world.now = running.next_act + 1
    assert world.serving() == before
    assert told == pytest.approx({"warning": 28, "error": 15, "critical": 0}, abs=1)
    assert world.orders < 100
    last = world.lines[-1]
    assert last["reason"] == "the reason"
    assert last["days_left"] < 0


def test_a_crash_loop_does_not_use_up_the_authoritys_patience(world: World) -> None:
    world.fails("challenge")
    assert world.act(world.renewal()) == 1
    for _ in range(100):
        world.now += 2
        assert world.act(world.renewal()) == 0
    world.now += 300
    world.issues()
    assert world.act(world.renewal()) == 1


def test_retry_after_is_kept_to(world: World) -> None:
    renewal = world.renewal()
    world.fails("rate-limited", retry_after=2 * DAY)
    world.act(renewal)
    world.now += 1.9 * DAY
    assert world.act(renewal) == 0
    world.now += 0.2 * DAY
    world.issues()
    assert world.act(renewal) == 1


def test_other_names_do_not_wait_for_the_failures_of_the_old_ones(world: World) -> None:
    world.fails("challenge")
    world.act(world.renewal())
    world.issues(HOST, "smtp.example.org")
    assert world.act(world.renewal(HOST, "smtp.example.org")) == 1


def test_a_name_that_is_added_is_ordered_while_the_old_one_serves(world: World, running: Renewal) -> None:
    before = world.serving()
    more = world.renewal(HOST, "smtp.example.org")
    world.fails("challenge")
    assert world.act(more) == 1
    assert world.serving() == before
    assert world.levels() == ["warning"], "the old one is good for months"
    world.now += 600
    world.issues(HOST, "smtp.example.org")
    assert world.act(more) == 1
    assert world.serving() != before


def test_another_authority_has_another_certificate(world: World, running: Renewal) -> None:
    world.options = TlsOptions(certificate="acme", acme_directory="https://staging.example/dir")
    world.issues()
    assert world.act(world.renewal()) == 1


@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (("other.example",), (-1, 90), "not for mail.example.org"),
        ((HOST,), (-90, -1), "expired"),
        ((HOST,), (1, 90), "not valid before"),
    ],
)
def test_c115_an_issued_certificate_that_is_not_fit(
    world: World, running: Renewal, names: tuple[str, ...], days: tuple[float, float], words: str
) -> None:
    before = world.serving()
    bad = CA.issue(*names, days=days)
    world.answers.append(AcmeAnswer(bad.chain_pem.decode(), bad.key_pem.decode()))
    assert words in asyncio.run(running.order())
    assert world.serving() == before
    assert read_issued(world.files.rejected).key_pem.strip() == bad.key_pem.strip()
    assert len(world.taken_up) == 1


def test_c114_an_issued_certificate_for_another_key(world: World, running: Renewal) -> None:
    before, bad = world.serving(), CA.issue(HOST)
    world.answers.append(AcmeAnswer(bad.chain_pem.decode(), CA.issue(HOST).key_pem.decode()))
    assert "does not belong" in asyncio.run(running.order())
    assert world.serving() == before


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_an_answer_that_holds_no_certificate(world: World, running: Renewal, content: str) -> None:
    before = world.serving()
    world.answers.append(AcmeAnswer(content, CA.issue(HOST).key_pem.decode()))
    assert asyncio.run(running.order())
    assert world.serving() == before


def test_one_that_does_not_serve_is_taken_back(world: World, running: Renewal) -> None:
    before = world.serving()
    world.problems = ["[submissions] 127.0.0.1:465 presents another certificate"]
    world.issues()
    assert "presents another certificate" in asyncio.run(running.order())
    assert world.serving() == before
    assert world.taken_up[-1] == "", "the server is told to look at its files once more"
    assert any("taken back" in line["event"] for line in world.lines)


def test_the_first_that_does_not_serve_leaves_none(world: World) -> None:
    renewal = world.renewal()
    world.problems = ["no"]
    world.issues()
    world.act(renewal)
    assert not world.files.current.exists()
    assert renewal.next_act > world.now


def test_a_damaged_file_is_ordered_anew(world: World, running: Renewal) -> None:
    world.files.current.write_bytes(b"nonsense")
    world.issues()
    assert world.act(world.renewal()) == 1


def test_a_folder_that_cannot_be_written(world: World) -> None:
    (world.folder / "tls").write_bytes(b"a file in the way")
    world.issues()
    renewal = world.renewal()
    asyncio.run(renewal.order())
    assert world.levels() == ["error"]
    assert str(world.folder / "tls") in world.lines[-1]["reason"]


# All of them together


def keep(world: World, during: Callable[[Keeper], Awaitable[list[Renewed]]], *, run: bool = False) -> list[Renewed]:
    async def main() -> list[Renewed]:
        keeper = Keeper(world.log, world.take_up, clock=lambda: world.now, chance=lambda: 0.5, perform=world.perform)
        keeper.use(world.options, HOST, world.folder, ())
        running = asyncio.create_task(keeper.run()) if run else None
        try:
            return await during(keeper)
        finally:
            if running:
                running.cancel()

    return asyncio.run(main())


def test_renew_orders_what_is_missing(world: World) -> None:
    world.issues()
    assert keep(world, lambda keeper: keeper.renew(force=False)) == [Renewed((HOST,), "renewed")]
    assert keep(world, lambda keeper: keeper.renew(force=False)) == [Renewed((HOST,), "not due")]
    world.issues()
    assert keep(world, lambda keeper: keeper.renew(force=True)) == [Renewed((HOST,), "renewed")]


def test_renew_does_not_wait_out_a_pause(world: World) -> None:
    world.fails("challenge")
    assert keep(world, lambda keeper: keeper.renew(force=False)) == [Renewed((HOST,), "failed", "the reason")]
    world.issues()
    assert keep(world, lambda keeper: keeper.renew(force=False))[0].outcome == "renewed"


def test_the_keeper_does_what_is_due_by_itself(world: World) -> None:
    world.issues()

    async def until_issued(_: Keeper) -> list[Renewed]:
        async with asyncio.timeout(10):
            while not world.taken_up:
                await asyncio.sleep(0)
        return []

    keep(world, until_issued, run=True)
    assert world.orders == 1


def test_a_fault_of_our_own_ends_nothing(world: World) -> None:
    async def broken(_: AcmeTask, __: Sequence[Any]) -> AcmeAnswer:
        raise RuntimeError("a fault")

    async def main() -> None:
        keeper = Keeper(world.log, world.take_up, clock=lambda: world.now, chance=lambda: 0.5, perform=broken)
        keeper.use(OPTIONS, HOST, world.folder, ())
        running = asyncio.create_task(keeper.run())
        async with asyncio.timeout(10):
            while not world.lines or world.lines[-1]["event"] == "ordering a certificate":
                await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    asyncio.run(main())
    assert "fault of the server's own" in world.lines[-1]["event"]


def test_state_is_for_the_owner_alone(world: World, running: Renewal) -> None:
    assert os.stat(world.files.state).st_mode & 0o077 == 0
