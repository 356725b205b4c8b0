"""valija crash-test: show on this machine that kills lose nothing, with a server of its own."""

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from valija.cli.frame import Call, Refusal, command

if TYPE_CHECKING:
    from valija.config import Config
    from valija.crash_test.account import Outcome


def add_to(main: click.Group) -> None:
    """Add the command."""

    @command(main, "crash-test")
    @click.option("--kills", type=click.IntRange(1, 100_000), default=50, help="How often to kill; 50 if left out.")
    @click.option(
        "--seconds", type=click.FloatRange(1, 86_400), default=300.0, help="The longest it may take; 300 if left out."
    )
    @click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Put the temporary folder in here, as on the queue's own disk.",
    )
    def crash_test(call: Call, kills: int, seconds: float, folder: Path | None) -> None:
        """Kill a server of this version again and again under load, and account for what it had accepted.

        It runs on 127.0.0.1, in a temporary folder; a server that runs here and its queue are left alone.
        """
        import asyncio

        from valija.crash_test.drill import Wish, drill
        from valija.crash_test.victim import CannotStart

        config = call.load()
        wish = Wish(kills=kills, seconds=seconds, workers=min(config.workers, 4))
        try:
            with _folder_for(user := _user(config), folder) as place:
                outcome = asyncio.run(drill(wish, place, user=user, tell=call.note))
        except (CannotStart, OSError) as reason:
            raise Refusal(f"no crash test: {reason}") from None
        call.answer(_as_value(outcome), _in_words(outcome))
        if not outcome.account.is_sound:
            raise Refusal(
                "something that was accepted is lost, or came twice without a kill: this is a fault of valija's"
            )


def _user(config: "Config") -> str:
    """Return whom the server becomes where this is root: the configuration's user, or nobody where there is no such."""
    from valija.privileges import PrivilegeError, find_account, running_as_root, unreadable_code

    if not running_as_root():
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in (config.user, "nobody"):
        with contextlib.suppress(PrivilegeError):
            if not unreadable_code(find_account(name)):
                return name
    return "root"


@contextlib.contextmanager
def _folder_for(user: str, parent: Path | None) -> Iterator[Path]:
    """Have a temporary folder that a user can enter."""
    with tempfile.TemporaryDirectory(prefix="valija-crash-test-", dir=parent, ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def _as_value(outcome: "Outcome") -> dict[str, Any]:
    account = outcome.account
    return {
        "kills": outcome.all_kills,
        "at_random": outcome.kills,
        "at_steps": outcome.faults,
        "seconds": round(outcome.seconds, 1),
        "longest_start": round(outcome.longest_start, 2),
        "accepted": account.accepted,
        "delivered": account.delivered,
        "queued": account.queued,
        "lost": account.lost,
        "duplicates": account.duplicates,
        "unexplained": account.unexplained,
        "held_meanwhile": outcome.held,
    }


def _in_words(outcome: "Outcome") -> Iterator[str]:
    account = outcome.account
    steps = ", ".join(f"{point} {count}" for point, count in sorted(outcome.faults.items()))
    yield f"killed {outcome.all_kills} times in {outcome.seconds:.0f} s, {outcome.kills} times at a random instant"
    if steps:
        yield f"and at steps of a message's way: {steps}"
    yield f"the longest start until it served again: {outcome.longest_start:.1f} s"
    yield f"accepted: {account.accepted}, one recipient each"
    yield f"    delivered: {account.delivered}"
    yield f"    in the queue: {account.queued}"
    yield f"    lost: {len(account.lost)}{_named(account.lost)}"
    yield f"came twice: {account.duplicates}, where a kill fell between the next hop's answer and its record"
    if account.unexplained:
        yield f"came twice without a kill in between: {len(account.unexplained)}{_named(account.unexplained)}"
    if outcome.held:
        yield f"put on hold meanwhile, as they were there in three crashes, and released: {outcome.held}"
    if account.is_sound:
        yield "nothing that was accepted is lost"


def _named(recipients: tuple[str, ...]) -> str:
    return f" ({', '.join(recipients[:5])}{', ...' if len(recipients) > 5 else ''})" if recipients else ""
