"""One certificate from an authority: is it there, when is it due, and what becomes of an attempt.

    renewal = Renewal(wanted, options, data_dir, surroundings)
    await renewal.act()                # does what is due now: orders, or asks the authority when to
    renewal.next_act                   # seconds since the epoch
    problem = await renewal.order()    # now, whatever is due; "" where the new one serves

An attempt: the process for ACME returns a new pair; it is staged beside the one that serves and checked; it takes that
one's place; the server takes it up and looks at its own ports; where that fails the old one comes back. Whatever goes
wrong on the way, the old one goes on serving, and the next attempt waits longer. All of it is remembered on disk, so
that a server that crashes and starts again leaves the authority in peace.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from valija.logs import Log
from valija.tls.acme_files import AcmeFiles, authority_folder, check_issued, read_issued
from valija.tls.acme_schedule import DAY, ask_again, loudness, pause_after, renewal_time
from valija.tls.acme_state import RenewalState, read_state, write_state
from valija.tls.acme_task import AcmeAnswer, AcmeFailure, AcmeTask
from valija.tls.options import CertificateOptions, TlsOptions
from valija.tls.pair import CertificatePair, CertificateSummary, certificate_summary

_ASK_UNASKED: Final = 6 * 3600.0  # seconds until the next question, where the authority does not say (RFC 9773)

# Has the server take up what lies on disk; returns why the pair with this fingerprint does not serve, "" if it does.
TakeUp = Callable[[CertificateOptions, str], Awaitable[str]]
Perform = Callable[[AcmeTask, Sequence[socket.socket]], Awaitable[AcmeAnswer]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all renewals share. `clock` gives seconds since the epoch, `chance` a number from 0 to 1."""

    perform: Perform
    take_up: TakeUp
    sockets: Sequence[socket.socket]
    clock: Callable[[], float]
    chance: Callable[[], float]
    log: Log


class Renewal:
    """Keeps one certificate fresh."""

    def __init__(
        self, wanted: CertificateOptions, options: TlsOptions, data_dir: Path, surroundings: Surroundings
    ) -> None:
        self.wanted = wanted
        self._options = options
        self._folder = authority_folder(data_dir, options.acme_directory)
        self._files = AcmeFiles.of(data_dir, options.acme_directory, wanted.names[0])
        self._around = surroundings
        self._look()

    # What is there, and what is due

    @property
    def is_due(self) -> bool:
        """Whether it should be ordered by now, were it not for failures that have to be waited out."""
        return self._renew_at() <= self._around.clock()

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt came to nothing."""
        return self._state.failures > 0

    @property
    def next_act(self) -> float:
        """When there is something to do next."""
        return min(self._order_at(), self._ask_at())

    def _look(self) -> None:
        """See what lies on disk: the pair that serves, if any that can, and whether it is for the names wanted now."""
        self._state = read_state(self._files.state)
        self._current: CertificatePair | None = None
        self._fits = False
        try:
            pair = read_issued(self._files.current)
            moment = certificate_summary(pair).not_before  # its dates are the schedule's to judge
        except (OSError, ValueError):
            return
        faults = check_issued(pair, self.wanted.names, moment)
        if not any(fault.is_fatal for fault in faults):
            self._current, self._fits = pair, not faults

    def _renew_at(self) -> float:
        if self._current is None or not self._fits:
            return 0.0
        self._know(self._current)
        return self._state.renew_at

    def _order_at(self) -> float:
        waits = self._state.failures and self._state.names == self.wanted.names
        return max(self._renew_at(), self._state.not_before if waits else 0.0)

    def _ask_at(self) -> float:
        if self._current is None or certificate_summary(self._current).not_after <= self._around.clock():
            return float("inf")  # nobody is asked about a certificate that is over (RFC 9773 section 4.3)
        return self._state.ask_at

    def _know(self, pair: CertificatePair) -> None:
        """Make a plan for a certificate that has none yet."""
        summary = certificate_summary(pair)
        if self._state.serial != summary.sha256:
            at = renewal_time(summary.not_before, summary.not_after, None, self._around.chance())
            self._remember(
                msgspec.structs.replace(self._state, serial=summary.sha256, renew_at=at, window=None, ask_at=0.0)
            )

    def _remember(self, state: RenewalState) -> None:
        self._state = state
        try:
            write_state(self._files.state, state)
        except OSError as error:
            self._around.log.error("state of a renewal not kept", file=str(self._files.state), reason=error.strerror)

    # Doing it

    async def act(self) -> None:
        """Do what is due. Never raises for what an authority does."""
        self._look()
        now = self._around.clock()
        if self._ask_at() <= now:
            await self._ask()
        if self._order_at() <= now:
            await self.order()

    async def _ask(self) -> None:
        """Ask the authority for the window in which it wants the certificate renewed."""
        assert self._current
        answer = await self._around.perform(self._task("ask"), ())
        if answer.failure:
            self._around.log.info("renewal time not asked", names=self.wanted.names, reason=answer.failure.reason)
        now, summary = self._around.clock(), certificate_summary(self._current)
        window = self._state.window if answer.failure else answer.window
        changed = window != self._state.window
        at = renewal_time(summary.not_before, summary.not_after, window, self._around.chance())
        self._remember(
            msgspec.structs.replace(
                self._state,
                window=window,
                ask_at=ask_again(now, answer.retry_after or _ASK_UNASKED),
                renew_at=at if changed else self._state.renew_at,
            )
        )
        if changed:
            self._around.log.info("renewal planned", names=self.wanted.names, at=_moment(self._state.renew_at))

    async def order(self) -> str:
        """Order a new certificate and have it serve; return why that came to nothing, `""` if it did not."""
        self._look()
        self._around.log.info("ordering a certificate", names=self.wanted.names, authority=self._options.acme_directory)
        answer = await self._around.perform(self._task("order"), self._around.sockets)
        for note in answer.notes:
            self._around.log.warning("left over from an order", reason=note)
        failure = answer.failure or await self._install(answer)
        if failure:
            self._has_failed(failure)
            return failure.reason
        return ""

    def _task(self, what: Literal["order", "ask"]) -> AcmeTask:
        current = self._current.chain_pem.decode("ascii") if self._current else ""
        task = AcmeTask(what, self._options, self.wanted.names, str(self._folder), current_pem=current)
        if what == "order" and self._options.acme_reuse_key and self._current:
            return msgspec.structs.replace(task, key_pem=self._current.key_pem.decode("ascii"))
        return task

    async def _install(self, answer: AcmeAnswer) -> AcmeFailure | None:
        pair = CertificatePair(answer.chain_pem.encode(), answer.key_pem.encode(), "certificate", "key")
        try:
            self._files.stage(pair)
            if faults := check_issued(pair, self.wanted.names, self._around.clock()):
                self._files.reject_staged()
                reason = "; ".join(f"{fault.reason}" for fault in faults)
                return AcmeFailure("unfit", f"what the authority issued is not fit: {reason}")
            self._files.promote()
            problem = await self._around.take_up(self.wanted, certificate_summary(pair).sha256)
            if problem:
                await self._take_back()
                return AcmeFailure("unfit", f"the new certificate was taken back: {problem}")
        except OSError as error:
            where = error.filename or self._files.folder
            return AcmeFailure("ours", f"{where}: {error.strerror}; see that the service's user can write there")
        self._serves(pair)
        return None

    async def _take_back(self) -> None:
        self._files.roll_back()
        self._around.log.error("certificate taken back, the one before it serves", names=self.wanted.names)
        await self._around.take_up(self.wanted, "")

    def _serves(self, pair: CertificatePair) -> None:
        self._current, self._fits = pair, True
        self._remember(RenewalState(last_attempt=self._around.clock()))
        self._know(pair)
        summary = certificate_summary(pair)
        self._around.log.info(
            "certificate issued",
            names=summary.names,
            issuer=summary.issuer,
            not_after=_moment(summary.not_after),
            renewal=_moment(self._state.renew_at),
            sha256=summary.sha256,
        )

    def _has_failed(self, failure: AcmeFailure) -> None:
        now, pair = self._around.clock(), self._current
        summary = certificate_summary(pair) if pair else None
        lifetime = summary.not_after - summary.not_before if summary else 90 * DAY
        failures = self._state.failures + 1
        pause = pause_after(failures, failure.kind, failure.retry_after, self._around.chance(), lifetime)
        self._remember(self._state.failed(failure.reason, failure.kind, now, now + pause, self.wanted.names))
        self._complain(failure, summary, now + pause)

    def _complain(self, failure: AcmeFailure, serving: CertificateSummary | None, next_attempt: float) -> None:
        """Say that there is no new certificate, louder the less time is left."""
        log, now = self._around.log, self._around.clock()
        voices = {"warning": log.warning, "error": log.error, "critical": log.critical}
        level = loudness(serving.not_before, serving.not_after, now) if serving else "error"
        voices[level](
            "certificate not renewed" if serving else "certificate not issued",
            names=self.wanted.names,
            reason=failure.reason,
            failures=self._state.failures,
            next_attempt=_moment(next_attempt),
            days_left=round((serving.not_after - now) / DAY, 1) if serving else "none, a self-signed one serves",
        )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
