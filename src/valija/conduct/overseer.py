"""The overseer: who may send, how much, and when it looks stolen. One in each worker.

    overseer = Overseer(shared, worker=0, accounts_file=path, ledger=ledger, log=log)
    overseer.use(ConductOptions(), postmaster="postmaster@example.org")
    overseer.on_freeze = tell                     # called in the worker that froze an account, once for each
    overseer.on_frozen = hold                     # called in every worker that learns of it
    refusal = overseer.refusal(login)             # 550 for an account that is frozen
    spending = overseer.begin(login, client)      # see conduct/spending
    overseer.ended(job, outcomes)                 # after an attempt
    await overseer.run()                          # beside the mail

What an account spends is counted here and told to the ledger every few seconds; near a limit, at once. Standings
(frozen, limits of one's own) are kept in memory and read anew when a signal or the file says that they have changed.

Where neither file can be used, mail goes on by what is known.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from valija.auth.database import AccountsUnusable
from valija.auth.standings import Freeze, Standings
from valija.conduct.account import Account
from valija.conduct.ledger import Arrival, Hours, Ledger
from valija.conduct.options import ConductOptions
from valija.conduct.shared import SharedConduct
from valija.conduct.spending import Spending
from valija.content.compose import printable
from valija.logs import Log
from valija.mail.job import Job
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply
from valija.policy import limits as policy
from valija.policy.limits import AccountLimits, LimitName, Spent
from valija.policy.login_pace import network_of
from valija.policy.misuse import BOUNCE_HOURS, judge_bouncing, judge_sending

FLUSH_INTERVAL: Final = 2.0  # seconds
HOME_FOR: Final = 1800.0  # seconds a client is taken for at home without asking again
STOPS_FOR: Final = 600.0  # seconds after a freeze in which attempts under way are stopped; by then all is on hold
_SAVE_EVERY: Final = 30  # flushes
_PAGES_AT_ONCE: Final = 256
_FORGET_EVERY: Final = 1800  # flushes
_MOST_ACCOUNTS: Final = 10_000
_LONGEST_REASON: Final = 200  # characters of a reply
BREAKER: Final = "circuit_breaker"

OnFreeze = Callable[[str, Freeze], Awaitable[None]]


async def _tell_nobody(_: str, __: Freeze) -> None:
    return


class Overseer:
    """One worker's overseer."""

    def __init__(
        self,
        shared: SharedConduct,
        worker: int,
        *,
        accounts_file: Path,
        ledger: Ledger,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.known = shared.known
        self._workers = shared.workers
        self.clock = clock
        self.on_freeze: OnFreeze = _tell_nobody
        self.on_frozen: Callable[[str, Freeze], None] = lambda login, freeze: None
        self._is_first = worker == 0
        self._told = shared.told
        self._signals = shared.signals(worker)
        self._accounts_file = accounts_file
        self._standings = Standings(accounts_file)
        self._ledger = ledger
        self._log = log
        self._options = ConductOptions()
        self._postmaster = "postmaster"
        self._is_in_the_dark = False
        self._frozen: dict[str, Freeze] = {}
        self._own: dict[str, AccountLimits] = {}
        self._unwatched: frozenset[str] = frozenset()
        self._accounts: dict[str, Account] = {}
        self._bounced: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, options: ConductOptions, postmaster: str) -> None:
        """Live by these options; `postmaster` is whom users are to ask."""
        self._options = options
        self._postmaster = postmaster
        self.read_standings()

    # What sessions and deliveries ask

    def refusal(self, login: str) -> Reply | None:
        """Return why a login may not send, None where it may."""
        freeze = self._freeze_of(login)
        return None if freeze is None else Reply(550, "5.7.13", self._words(freeze))

    def login_refusal(self, login: str) -> Reply | None:
        """Return the reply to somebody who has proved to be a login that is frozen (RFC 5248: X.7.13)."""
        refusal = self.refusal(login)
        return None if refusal is None else Reply(525, "5.7.13", refusal.text)

    def begin(self, login: str, client: str) -> Spending:
        """Begin to count a message."""
        account = self._account(login)
        if account.begin(self.clock()):
            self._keep(self._ask(login, account))
        return Spending(self, account, login, client)

    def ended(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Count what became of the recipients of a user's message."""
        login = job.origin.login
        tally = self._account(login).tally
        for outcome in outcomes:
            if outcome.state is State.FAILED:
                tally.ended += 1
                tally.refused += 1
                self._bounced.add(login)
            elif outcome.state is State.DELIVERED:
                tally.ended += 1

    def stops(self, job: Job) -> bool:
        """Whether a message must not go out now, because its login was frozen a moment ago."""
        freeze = self._freeze_of(job.origin.login)
        return freeze is not None and self.clock() < freeze.at + STOPS_FOR

    def is_frozen(self, login: str) -> bool:
        """Whether a login may not be used."""
        return self._freeze_of(login) is not None

    # What a message asks (conduct/spending)

    def limits_of(self, login: str) -> AccountLimits:
        """Return the limits of an account: its own, or everybody's."""
        return self._own.get(login, self._options.limits)

    async def reserve(self, login: str, account: Account, more: Spent) -> Reply | None:
        """Have the ledger count a message, if it is within the limits; return the refusal if not."""
        tally, now = account.handed_over(), self.clock()
        answer = await self._ledger.reserve(login, tally, more, self.limits_of(login), now)
        if answer is None:
            account.take_back(tally)
            account.count(more.recipients, more.first_time)
            return None
        over, hours = answer
        self._teach(login, account, hours, now)
        return self.refuse(login, account, over, more) if over else None

    async def judge(self, login: str, account: Account, client: str, at: float, strangers: int) -> None:
        """Have a message from what may be no home of the account judged; freeze the account if it looks stolen."""
        now, found = self.clock(), None
        if self._is_watched(login):
            found = await self._ledger.foreign(login, Arrival(at, network_of(client), strangers), now)
        if found is None:
            account.set_home(client, now + HOME_FOR)
        elif reason := judge_sending(found.facts):
            await self._freeze(login, Freeze(now, found.began, f"it looks stolen: {reason}"), client=client)

    def refuse(self, login: str, account: Account, over: LimitName, more: Spent) -> Reply:
        """Return the reply to what is over a limit, and say so in the log once an hour."""
        now, limits = self.clock(), self.limits_of(login)
        until = policy.free_again(account.hours(now), more, limits, over)
        hour = str(int(now) // policy.HOUR)
        if not self._told.holds(login, hour):
            self._told.remember(login, hour)
            facts = {"limit": over, "value": limits.of(over), "until": _utc(until)}
            self._log.warning("account limit reached", login=login, **facts)
        return policy.refusal(over, limits, until, self._postmaster)

    def _is_watched(self, login: str) -> bool:
        """Whether an account is frozen when it looks stolen."""
        return self._options.circuit_breaker and login not in self._unwatched

    # Standings

    def read_standings(self) -> None:
        """Take up what the file of accounts says of logins; where it can't be read, what was known holds."""
        try:
            self._standings.has_changed()
            frozen, own = self._standings.frozen(), self._standings.limits()
        except AccountsUnusable as unusable:
            if not self._is_in_the_dark:
                self._log.error("standings of accounts can't be read", reason=str(unusable))
            self._is_in_the_dark = True
            return
        self._is_in_the_dark = False
        self._learn(frozen)
        self._unwatched = frozenset(login for login, values in own.items() if values.get(BREAKER) == 0)
        self._own = {
            login: msgspec.structs.replace(self._options.limits, **limits)
            for login, values in own.items()
            if (limits := {name: value for name, value in values.items() if name in policy.NAMES})
        }

    def _freeze_of(self, login: str) -> Freeze | None:
        if self._signals.is_news():
            self.read_standings()
        return self._frozen.get(login)

    def _learn(self, frozen: dict[str, Freeze]) -> None:
        """Take up who is frozen; of some it is news."""
        before, self._frozen = self._frozen, frozen
        for login in frozen.keys() - before.keys():
            self.on_frozen(login, frozen[login])

    def _words(self, freeze: Freeze) -> str:
        reason = printable(freeze.reason, _LONGEST_REASON)[:_LONGEST_REASON]  # escapes are longer
        return f"This account is frozen since {_utc(freeze.at)}, {reason}; ask {printable(self._postmaster, 100)}"

    async def _freeze(self, login: str, freeze: Freeze, **facts: str) -> None:
        """Freeze a login everywhere; the one who was first has it told."""
        self._learn({**self._frozen, login: freeze})  # at once, whatever becomes of the rest
        try:
            is_new = await asyncio.to_thread(_write_freeze, self._accounts_file, login, freeze)
        except AccountsUnusable as unusable:
            self._log.error("freeze could not be written", login=login, reason=str(unusable))
            return
        self._signals.give()
        if is_new:
            self._log.warning("account frozen", login=login, reason=freeze.reason, began=_utc(freeze.began), **facts)
            self._keep(self._tell(login, freeze))

    async def _tell(self, login: str, freeze: Freeze) -> None:
        try:
            await self.on_freeze(login, freeze)
        except Exception:
            self._log.exception("freeze not told", login=login)

    # Beside the mail

    async def run(self) -> None:
        """Tell the ledger what was counted, hear of changed standings, and save what is to outlive the server."""
        turn = 0
        while True:
            await asyncio.sleep(FLUSH_INTERVAL)
            turn += 1
            try:
                self._look_at_standings()
                await self.flush()
                await self.judge_bounces()
                if self._is_first and turn % _SAVE_EVERY == 0:
                    await self._save()
                if self._is_first and turn % _FORGET_EVERY == 0:
                    await self._ledger.forget_old(self.clock())
            except Exception:
                self._log.exception("conduct of accounts not recorded")

    async def flush(self) -> None:
        """Tell the ledger what was counted."""
        changed = {login: account for login, account in self._accounts.items() if not account.is_clean}
        if not changed:
            return
        tallies = {login: account.handed_over() for login, account in changed.items()}
        now = self.clock()
        answers = await self._ledger.add(tallies, now)
        for login, account in changed.items():
            if answers is None:
                account.take_back(tallies[login])
            else:
                self._teach(login, account, answers[login], now)

    async def close(self) -> None:
        """Tell the ledger what is left, save, and leave the files."""
        await self.flush()
        if self._is_first:
            await self._save(everything=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        self._ledger.close()
        self._standings.close()

    def _look_at_standings(self) -> None:
        try:
            changed = self._standings.has_changed()
        except AccountsUnusable:
            changed = True  # which says so
        if changed:
            self.read_standings()

    async def judge_bounces(self) -> None:
        """Judge the accounts whose mail was refused since this was last done."""
        bounced, self._bounced = self._bounced, set()
        for login in bounced:
            now = self.clock()
            facts = await self._ledger.bouncing(login, now) if self._is_watched(login) else None
            if facts is not None and (reason := judge_bouncing(facts)) and login not in self._frozen:
                began = now - BOUNCE_HOURS * policy.HOUR
                await self._freeze(login, Freeze(now, began, f"it looks stolen: {reason}"))

    async def _save(self, *, everything: bool = False) -> None:
        """Save what has changed of the known recipients: some of it now, or all."""
        while pages := list(self.known.unsaved(_PAGES_AT_ONCE)):
            if not await self._ledger.save_known(pages):
                self.known.mark_unsaved(number for number, _ in pages)
                return
            if not everything:
                return

    # Accounts in memory

    def _account(self, login: str) -> Account:
        account = self._accounts.get(login)
        if account is None:
            if len(self._accounts) >= _MOST_ACCOUNTS:
                self._forget_some()
            account = self._accounts[login] = Account()
        return account

    def _forget_some(self) -> None:
        """Let go of half the accounts, those asked about longest ago; none that has something to tell."""
        clean = [login for login, account in self._accounts.items() if account.is_clean and not account.is_asking]
        for login in sorted(clean, key=lambda each: self._accounts[each].asked)[: _MOST_ACCOUNTS // 2]:
            del self._accounts[login]

    async def _ask(self, login: str, account: Account) -> None:
        account.is_asking = True
        tally, now = account.handed_over(), self.clock()
        try:
            answers = await self._ledger.add({login: tally}, now)
        finally:
            account.is_asking = False
        if answers is None:
            account.take_back(tally)
        else:
            self._teach(login, account, answers[login], now)

    def _teach(self, login: str, account: Account, hours: Hours, now: float) -> None:
        account.learn(hours, now, self.limits_of(login), self._workers)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _write_freeze(path: Path, login: str, freeze: Freeze) -> bool:
    standings = Standings(path)
    try:
        return standings.freeze(login, freeze)
    finally:
        standings.close()


def _utc(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
