"""valija user freeze and unfreeze: a login that can't be used, and what becomes of the mail it had in the queue."""

import contextlib
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Literal

import click

from valija.cli.frame import Call, Refusal, command
from valija.cli.queue import opened
from valija.cli.standing import known_login, opened_standings, tell_server
from valija.cli.users import opened_accounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valija.conduct.ledger import Ledger
    from valija.config import Config
    from valija.mail.job import QueueId
    from valija.queue.directory import QueueDirectory
    from valija.queue.store import Listed

Verb = Literal["hold", "release", "delete"]

_PAGE: Final = 500  # messages
_DAY: Final = 86_400.0
_BY_HAND: Final = "frozen by the administrator"
# Which messages are meant: on hold or not. The server may be faster to hold, or something came too late to be held.
_MEANT: Final[dict[Verb, Collection[bool]]] = {"hold": (False, True), "release": (True,), "delete": (False, True)}
_DONE: Final[dict[Verb, str]] = {"hold": "on hold", "release": "released", "delete": "deleted"}


def add_to_user(user: click.Group) -> None:
    """Add the commands to their group."""

    @command(user, "freeze")
    @click.argument("address")
    @click.option("--reason", default=_BY_HAND, show_default=True, help="What its owner is told at each try.")
    def freeze(call: Call, address: str, reason: str) -> None:
        """Freeze ADDRESS: it can't log in, its sessions can't send, and what it has in the queue is held."""
        from valija.auth.standings import Freeze

        config = call.enter()
        with opened_accounts(config) as accounts:
            login = known_login(config, accounts, address)
        now = time.time()
        with opened_standings(config) as standings:
            if not standings.freeze(login, Freeze(now, now - _DAY, reason)):
                raise Refusal(f"{login} is frozen already; valija user list shows why")
        tell_server(config)
        done: dict[Verb, list[str]] = {"hold": _change(call, config, login, now - _DAY, "hold", of_all=True)}
        _answer(call, {"address": login, "frozen": True}, f"{login} is frozen", done)

    @command(user, "unfreeze")
    @click.argument("address")
    @click.option("--release", is_flag=True, help="It was its owner: let what was held go.")
    @click.option("--purge", is_flag=True, help="It was not: delete what the thief has in the queue, let the rest go.")
    def unfreeze(call: Call, address: str, release: bool, purge: bool) -> None:
        """Let ADDRESS be used again. What was held stays on hold, or is let go, or deleted."""
        if release and purge:
            raise click.UsageError("say --release or --purge, not both")
        config = call.enter()
        _unfreeze(call, config, _frozen_login(config, address), release=release, purge=purge)


def _frozen_login(config: "Config", text: str) -> str:
    from valija.auth.accounts import login_name

    with opened_accounts(config) as accounts:
        return login_name(text, accounts.delimiter)  # an account that is gone may be frozen still


def _unfreeze(call: Call, config: "Config", login: str, *, release: bool, purge: bool) -> None:
    with opened_standings(config) as standings:
        freeze = standings.frozen().get(login)
        if freeze is None:
            raise Refusal(f"{login} is not frozen")
        done: dict[Verb, list[str]] = {}
        with _opened_ledger(config) as ledger:
            if purge:  # before it can send again
                elsewhere = ledger.foreign_networks(login, freeze.began)
                done["delete"] = _change(call, config, login, freeze.began, "delete", networks=elsewhere)
            ledger.pardon(login, is_at_home=release)
        standings.unfreeze(login)
    tell_server(config)
    if release or purge:  # what is left after a purge came before the misuse
        done["release"] = _change(call, config, login, freeze.began, "release", of_all=True)
    _answer(call, {"address": login, "frozen": False}, f"{login} may send again", done)
    if config.sasl.type == "accounts" and not release:
        call.note(f"if somebody has its password, set another: valija user passwd {login}")


@contextlib.contextmanager
def _opened_ledger(config: "Config") -> "Iterator[Ledger]":
    from valija.conduct.ledger import Ledger
    from valija.logs import LogBuffer, build_log

    with contextlib.closing(Ledger(config.account_use_file, build_log("error", "text", LogBuffer(2)))) as ledger:
        yield ledger


def _change(
    call: Call,
    config: "Config",
    login: str,
    began: float,
    verb: Verb,
    *,
    of_all: bool = False,
    networks: Collection[str] = (),
) -> list[str]:
    """Do something to a login's messages since `began`, `of_all`: since some time before; return their ids.

    Where `networks` are named, only messages from there are meant: the owner may have sent from home meanwhile.
    """
    from valija.admin.by_hand import Teller, keep_by
    from valija.admin.control import SOCKET_NAME
    from valija.content.freeze_notice import HELD_BEFORE

    since = began - HELD_BEFORE if of_all else began
    by = "valija user freeze" if verb == "hold" else "valija user unfreeze"
    unheard = keep_by(config.history_dir, config.history)
    changed: list[str] = []
    with (
        opened(call, config) as directory,
        contextlib.closing(Teller(config.data_dir / SOCKET_NAME, verb, by, unheard=unheard)) as teller,
    ):
        for queue_id in _messages(directory, login, since, _MEANT[verb]):
            if (not networks or _network(directory, queue_id) in networks) and _act(directory, verb)(queue_id):
                teller.changed(queue_id)
                changed.append(queue_id)
    return changed


def _network(directory: "QueueDirectory", queue_id: "QueueId") -> str:
    from valija.policy.login_pace import network_of

    found = directory.show(queue_id)
    return network_of(found[1].origin.client_address) if found else ""


def _act(directory: "QueueDirectory", verb: Verb) -> "Callable[[QueueId], bool]":
    return {"hold": directory.hold, "release": directory.release, "delete": directory.delete}[verb]


def _messages(directory: "QueueDirectory", login: str, since: float, held: Collection[bool]) -> "list[QueueId]":
    """Return a login's messages. They are gathered first: what is changed must not be met twice."""
    return [
        listed.queue_id
        for listed in _all(directory, since)
        if listed.login == login and listed.hold in held and listed.arrived >= since
    ]


def _all(directory: "QueueDirectory", since: float) -> "Iterator[Listed]":
    from valija.queue.identity import before

    after = before(since)
    while page := directory.list(_PAGE, after):
        yield from page
        after = page[-1].queue_id


def _answer(call: Call, value: dict[str, object], words: str, done: dict[Verb, list[str]]) -> None:
    lines = [f"{len(ids)} message{'' if len(ids) == 1 else 's'} {_DONE[verb]}" for verb, ids in done.items()]
    call.answer({**value, **{_DONE[verb].replace(" ", "_"): ids for verb, ids in done.items()}}, [words, *lines])
