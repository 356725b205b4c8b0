"""The MTA-STS policy of a domain: found, kept beyond restarts, and fetched again in time (RFC 8461).

    policies = StsPolicies(resolver, StsFile(path, log), note=note_tls, log=log, is_ours=config.domains.__contains__)
    policy = await policies.policy("example.net")     # None where there is none
    await policies.refresh()                          # every LOOK_INTERVAL, in one worker: policies in use stay fresh

- A look-up asks `_mta-sts.DOMAIN` for the id, and fetches the policy from its host where the id is a new one. Those who
  ask meanwhile wait for the same answer, and nobody longer than PATIENCE: whoever has waited so long goes by what was
  kept, or by no policy, and the look-up goes on.
- What the DNS or the policy host don't say takes nothing away: a policy that was fetched is good for its max_age. A
  domain of which none is kept is treated as having none where its policy can't be fetched (section 3.3).
- What was found out is not asked again for CHECK_AGAIN, that there is no policy for NONE_FOR, and nothing about a host
  that failed for FAILED_FOR. A failure is logged, and noted for the domain's next report (RFC 8460).
- Policies in use are fetched again about once a day, without any mail for the domain too.

Known weakness: an attacker who can suppress the first look-up hides a policy. That is the standard's own limit: DANE
has no such first use.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from valija.dns.cache import TtlCache
from valija.dns.mta_sts_file import Kept, StsFile
from valija.dns.resolver import Resolver, Status
from valija.logs import Log
from valija.policy.mta_sts import MAX_SIZE, StsFault, StsPolicy, parse_policy, policy_id, policy_lines
from valija.policy.tls_report import ResultType, TlsResult

if TYPE_CHECKING:
    from valija.dns.https import Https, Page

PATIENCE: Final = 15.0  # seconds that mail waits for a look-up
FETCH_PATIENCE: Final = 60.0  # seconds for a policy host to answer (section 3.3)
CHECK_AGAIN: Final = 300.0
NONE_FOR: Final = 900.0
FAILED_FOR: Final = 600.0
LOOK_INTERVAL: Final = 600.0  # seconds between two looks for what is to be fetched again
_REFRESH_FAILED_FOR: Final = 3600.0
_KNOWN_AT_MOST: Final = 10_000  # domains in memory
_FETCHED_AT_ONCE: Final = 4  # in the background


class _Known(msgspec.Struct, frozen=True):
    """What is known of a domain for now."""

    policy: StsPolicy | None


class NotFetched(Exception):
    """A policy host gave no policy; the text says why. `lines` are what it gave instead."""

    def __init__(self, result: ResultType, reason: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.result = result
        self.lines = lines


class StsPolicies:
    """Policies by domain. `note` hears of failures, `is_ours` tells domains that are never asked about.

    `clock` gives epoch seconds. `https` is the client to fetch with; None makes one that asks `resolver`.
    """

    def __init__(
        self,
        resolver: Resolver,
        file: StsFile,
        *,
        note: Callable[[TlsResult], None],
        log: Log,
        is_ours: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
        https: "Https | None" = None,
        patience: float = PATIENCE,
    ) -> None:
        self._resolver = resolver
        self._file = file
        self._note = note
        self._log = log
        self._is_ours = is_ours
        self._clock = clock
        self._https = https
        self._patience = patience
        self._known = TtlCache[str, _Known](_KNOWN_AT_MOST, clock)
        self._looking: dict[str, asyncio.Task[StsPolicy | None]] = {}
        self._refreshing: set[asyncio.Task[None]] = set()
        self._at_hand: dict[str, Kept | None] = {}  # of those that are looked for: what was kept

    async def policy(self, domain: str) -> StsPolicy | None:
        """Return the policy of a domain in A-labels; one of mode `none` is none. Never raises."""
        known = self._known.get(domain)
        if known is not None:
            return known.policy
        if self._is_ours(domain) or not _can_have_one(domain):
            return None
        looking = self._looking.get(domain)
        if looking is None:
            looking = self._looking[domain] = asyncio.create_task(self._look(domain))
            looking.add_done_callback(lambda _: self._forget(domain))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(looking)
        except TimeoutError:
            self._log.warning("MTA-STS look-up takes long, mail goes on", domain=domain, seconds=self._patience)
            return self._in_force(self._at_hand.get(domain))

    async def refresh(self) -> None:
        """Fetch again what is due now; to be called every LOOK_INTERVAL in one of the workers."""
        room = asyncio.Semaphore(_FETCHED_AT_ONCE)

        async def one(domain: str) -> None:
            async with room:
                try:
                    await self._refresh(domain)
                except Exception:
                    self._log.exception("MTA-STS fault", domain=domain)

        tasks = {asyncio.create_task(one(domain)) for domain in await self._file.due(self._clock())}
        self._refreshing |= tasks
        if tasks:
            await asyncio.wait(tasks)  # which goes on where `close` ends them
        self._refreshing -= tasks

    async def close(self) -> None:
        """End what is under way, and let go of the file."""
        under_way = [*self._looking.values(), *self._refreshing]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._file.close()

    # Looking up

    def _forget(self, domain: str) -> None:
        self._looking.pop(domain, None)
        self._at_hand.pop(domain, None)

    async def _look(self, domain: str) -> StsPolicy | None:
        try:
            kept, seconds = await self._find_out(domain)
        except Exception:  # a fault of ours must not take a policy away
            self._log.exception("MTA-STS fault", domain=domain)
            kept, seconds = self._at_hand.get(domain), FAILED_FOR
        return self._remember(domain, kept, seconds)

    async def _find_out(self, domain: str) -> tuple[Kept | None, float]:
        """Return the policy that is good for a domain, and for how many seconds nothing more is asked about it."""
        kept = await self._file.find(domain, self._clock())
        self._at_hand[domain] = kept
        answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        if answer.status is Status.FAILED:
            self._complain(domain, kept, NotFetched("sts-policy-fetch-error", f"its record: {answer.detail}"))
            return kept, FAILED_FOR
        found = policy_id(answer.records)
        if found is None:
            self._complain(domain, kept, NotFetched("sts-policy-fetch-error", "its record is gone"))
            return kept, NONE_FOR
        if kept is not None and kept.policy_id == found:
            return kept, CHECK_AGAIN
        try:
            return await self._fetch(domain, found), CHECK_AGAIN
        except NotFetched as failure:
            self._complain(domain, kept, failure, is_published=True)
            return kept, FAILED_FOR

    async def _refresh(self, domain: str) -> None:
        """Fetch a policy again, whether or not the DNS still speaks of it: to suppress that is an attacker's start."""
        kept = await self._file.find(domain, self._clock(), is_use=False)
        if kept is None:
            return
        answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        try:
            fetched = await self._fetch(domain, policy_id(answer.records) or kept.policy_id)
        except NotFetched as failure:
            self._complain(domain, kept, failure, is_published=True)
            await self._file.put_off(domain, self._clock() + _REFRESH_FAILED_FOR)
        else:
            self._remember(domain, fetched, CHECK_AGAIN)

    def _remember(self, domain: str, kept: Kept | None, seconds: float) -> StsPolicy | None:
        policy = self._in_force(kept)
        left = kept.ends - self._clock() if kept is not None and policy is not None else seconds
        self._known.put(domain, _Known(policy), min(seconds, left))
        return policy

    def _in_force(self, kept: Kept | None) -> StsPolicy | None:
        if kept is None or kept.policy.mode == "none" or kept.ends <= self._clock():
            return None
        return kept.policy

    # Fetching

    async def _fetch(self, domain: str, identity: str) -> Kept:
        """Fetch a policy and keep it. Raises NotFetched."""
        policy = read_policy(await self._get(domain))
        kept = Kept(policy, identity, self._clock())
        await self._file.keep(domain, kept)
        facts = {"mode": policy.mode, "mx": policy.mx[:20], "max_age": policy.max_age, "id": identity}
        self._log.info("MTA-STS policy fetched", domain=domain, **facts)
        return kept

    async def _get(self, domain: str) -> "Page":
        if self._https is None:
            self._https = await asyncio.to_thread(_client, self._resolver)
        from valija.dns.https import HttpsFailed  # by now it is there

        url = policy_url(domain)
        try:
            return await self._https.get(url, limit=MAX_SIZE, patience=FETCH_PATIENCE)
        except HttpsFailed as failed:
            result: ResultType = "sts-webpki-invalid" if failed.is_certificate else "sts-policy-fetch-error"
            raise NotFetched(result, f"{url}: {failed}") from None

    def _complain(self, domain: str, kept: Kept | None, failure: NotFetched, *, is_published: bool = False) -> None:
        """Tell of a failure where there is, or was, a policy; of one that says `none` nobody wants to hear."""
        policy = self._in_force(kept)
        if policy is None and not is_published:
            return
        if kept is not None and kept.policy.mode == "none":
            return
        tell = self._log.info if policy is None else self._log.warning
        tell("MTA-STS policy not fetched", domain=domain, result=failure.result, reason=str(failure), kept=bool(policy))
        lines, patterns = (policy.lines, policy.mx) if policy else (failure.lines, ())
        self._note(TlsResult(domain, "sts", lines, mx_patterns=patterns, result=failure.result, detail=str(failure)))


def _client(resolver: Resolver) -> "Https":
    """Return a client. Its import takes long, and is needed only where a domain has a policy: do it in a thread."""
    from valija.dns.https import Https

    return Https(resolver)


def _can_have_one(domain: str) -> bool:
    """Whether a next hop is a domain; an address is none, in whichever way it is written."""
    return "." in domain and not domain.startswith("[") and not domain.rpartition(".")[2].isdigit()


def policy_url(domain: str) -> str:
    """Return where the policy of a domain is fetched."""
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def read_policy(page: "Page") -> StsPolicy:
    """Return the policy in a policy host's answer (RFC 8461 section 3.3). Raises NotFetched."""
    if page.status != 200:
        raise NotFetched("sts-policy-fetch-error", f"its policy host answers {page.status}")
    if page.media_type != "text/plain":
        raise NotFetched("sts-policy-fetch-error", f"its policy is not text/plain but {page.media_type or 'nothing'}")
    try:
        return parse_policy(page.body)
    except StsFault as fault:
        lines = policy_lines(page.body[:2000].decode("utf-8", "replace"))
        raise NotFetched("sts-policy-invalid", f"its policy can't be used: {fault}", lines[:50]) from None
