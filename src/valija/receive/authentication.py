"""Where a message from outside comes from: SPF, DKIM, ARC and DMARC, told on top of it and, if asked to, acted upon.

    Offer("authentication", lambda client: Authentication(ground, client), stages(options))

What was found stands in an Authentication-Results field of ours (RFC 8601) and in the log's line. Mail that DMARC says
is forged is refused with 550 5.7.1, or lands among unwanted mail, as the owner of the domain in From wishes; not if
somebody who passed it on saw it proven, and is trusted to say so (ARC). What the DNS does not tell in time is
`temperror`, and refuses nobody.

Known weakness: a mailing list that changes messages and is not trusted fails the DMARC of strict domains, as
everywhere. It has to rewrite From, or be named in `trusted_arc_sealers`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

import msgspec

from valija.content.arc import ArcResult, validate
from valija.content.authentication_results import Result, results_field
from valija.content.compose import printable
from valija.content.dkim_verify import DkimResult, verify
from valija.dns.dmarc import DmarcResult, Identifier, judge
from valija.dns.resolver import Resolver
from valija.dns.reverse import ReverseName, find_reverse_name
from valija.mail.envelope import Envelope
from valija.mail.reply import Reply
from valija.policy.dmarc import Walk
from valija.receive.check_options import CheckOptions
from valija.receive.checks import BodyWatcher, Candidate, Check, Client, Stage, Verdict
from valija.receive.evidence import Evidence
from valija.receive.sender_policy import Identity, SenderPolicy
from valija.smtp.events import Mail

_LATE: Final = ReverseName(failed="the DNS did not answer in time")
_BEST_FIRST: Final = ("pass", "temperror", "policy", "neutral", "permerror", "fail")
_WORST_FIRST: Final = ("reject", "quarantine", "temperror", "permerror", "fail", "none", "pass")


class Ground(msgspec.Struct, frozen=True):
    """What all sessions share. `hostname` is the name that we speak in."""

    options: CheckOptions
    resolver: Resolver
    hostname: str
    clock: Callable[[], float]


class Found(msgspec.Struct, frozen=True):
    """All that is known of a message."""

    identities: tuple[Identity, ...]
    dkim: tuple[DkimResult, ...]
    arc: ArcResult
    dmarc: DmarcResult
    is_odd: bool
    reverse: ReverseName | None


def stages(options: CheckOptions) -> Stage:
    """Return at which steps these checks have something to say or to begin."""
    wanted = Stage.CONTENT
    wanted |= Stage.MAIL if options.spf != "off" or options.dmarc != "off" else Stage.NONE
    return wanted | (Stage.CONNECT if options.iprev == "reject" else Stage.NONE)


class Authentication(Check):
    """One session's."""

    def __init__(self, ground: Ground, client: Client) -> None:
        self._ground = ground
        self._options = ground.options
        self._loop = asyncio.get_running_loop()
        self._policy: SenderPolicy | None = None
        self._evidence: Evidence | None = None
        self._reverse: asyncio.Task[ReverseName] | None = None
        if self._options.iprev != "off" and client.address:
            self._reverse = asyncio.create_task(self._look_back(client.address.partition("%")[0]))

    async def on_connect(self, client: Client) -> Reply | None:
        """Refuse a client without a name, where that is asked for."""
        found = await self._reverse_name()
        if found is None or not found.is_missing:
            return None
        return Reply(550, "5.7.25", f"{client.address} has no host name that leads back to it (PTR and A or AAAA)")

    def on_mail(self, client: Client, mail: Mail) -> Coroutine[Any, Any, Reply | None] | None:
        """Begin with SPF; wait for it only where it may refuse."""
        options, ground = self._options, self._ground
        self._policy = SenderPolicy.begin(
            client,
            mail.reverse_path,
            ground.resolver,
            receiver=ground.hostname,
            now=ground.clock(),
            patience=options.timeout,
        )
        return self._refuse_by_policy(self._policy, client) if options.spf == "reject" else None

    def on_header(self, client: Client, header: bytes) -> Sequence[BodyWatcher]:
        """Read what signatures there are; their keys are looked up meanwhile."""
        self._evidence = evidence = Evidence.read(header, dkim=self._options.dkim, arc=self._options.arc)
        self._loop.call_soon_threadsafe(self._begin, evidence)
        return (evidence.bodies,) if evidence.bodies else ()

    async def on_content(self, client: Client, envelope: Envelope, content: Candidate) -> Verdict:
        """Tell what was found, and do what is asked for."""
        found = await self._find(content)
        field = results_field(self._ground.hostname, list(_results(found, client, self._options)))
        verdict = Verdict(fields=field, findings=tuple(_findings(found, self._options)))
        return self._acted_upon(found, verdict)

    def on_reset(self) -> None:
        """Let go of the transaction."""
        if self._policy is not None:
            self._policy.cancel()
        if self._evidence is not None:
            self._evidence.cancel()
        self._policy = self._evidence = None

    def close(self) -> None:
        """Let go of everything."""
        self.on_reset()
        if self._reverse is not None:
            self._reverse.cancel()

    # What is looked up

    def _begin(self, evidence: Evidence) -> None:
        if evidence is self._evidence:
            evidence.begin(self._ground.resolver, dmarc=self._options.dmarc != "off")

    async def _look_back(self, address: str) -> ReverseName:
        try:
            async with asyncio.timeout(self._options.timeout):
                return await find_reverse_name(self._ground.resolver, address)
        except TimeoutError:
            return _LATE

    async def _reverse_name(self) -> ReverseName | None:
        return await asyncio.shield(self._reverse) if self._reverse is not None else None

    async def _refuse_by_policy(self, policy: SenderPolicy, client: Client) -> Reply | None:
        identities = await policy.identities()
        if not identities or identities[0].result.verdict != "fail":
            return None
        failed = identities[0]
        words = printable(failed.result.explanation)
        said = f"; it explains: {words}" if words else ""
        return Reply(550, "5.7.23", f"{failed.domain} does not let {client.address} send its mail (SPF){said}")

    async def _find(self, content: Candidate) -> Found:
        evidence = self._evidence
        assert evidence is not None
        self._begin(evidence)
        patience = self._options.timeout
        identities = await self._policy.identities() if self._policy is not None else ()
        keys = await evidence.keys(patience)
        now = content.received_at
        header = content.received_header
        dkim = tuple(
            verify(each, header, evidence.bodies, keys.get(each.key_name, ()), now) for each in evidence.signatures
        )
        return Found(
            identities=identities,
            dkim=dkim,
            arc=validate(evidence.chain, header, evidence.bodies, keys, now),
            dmarc=await self._dmarc(evidence, identities, dkim),
            is_odd=evidence.authors.is_odd,
            reverse=await self._reverse_name(),
        )

    async def _dmarc(
        self, evidence: Evidence, identities: Sequence[Identity], dkim: Sequence[DkimResult]
    ) -> DmarcResult:
        """Return what DMARC says, of several authors the worst that it says of one."""
        if self._options.dmarc == "off":
            return DmarcResult("none")
        if evidence.authors.fault:
            return DmarcResult("permerror", reason=evidence.authors.fault)
        walks = await evidence.walks(self._options.timeout)
        proofs = [*_proofs_of_spf(identities), *_proofs_of_dkim(dkim)]
        results = []
        for domain, author in walks.items():
            if author is None:
                results.append(DmarcResult("temperror", domain, reason="the DNS did not answer"))
            else:
                results.append(await self._judged(domain, author, proofs))
        return min(results, key=_badness)

    async def _judged(self, domain: str, author: Walk, proofs: Sequence[Identifier]) -> DmarcResult:
        try:
            async with asyncio.timeout(self._options.timeout):
                return await judge(author, proofs, self._ground.resolver)
        except TimeoutError:
            return DmarcResult("temperror", domain, reason="the DNS did not answer in time")

    # What is done

    def _acted_upon(self, found: Found, verdict: Verdict) -> Verdict:
        dmarc = found.dmarc
        if self._options.dmarc != "honour" or self._is_vouched_for(found):
            return verdict
        if dmarc.verdict == "fail" and dmarc.policy == "reject":
            return msgspec.structs.replace(verdict, refusal=_refusal(found))
        if dmarc.verdict == "fail" and dmarc.policy == "quarantine":
            return msgspec.structs.replace(verdict, junk=f"{dmarc.author} wants unproven mail put aside (DMARC)")
        if dmarc.verdict == "permerror" and found.is_odd:
            return msgspec.structs.replace(verdict, junk=dmarc.reason)
        return verdict

    def _is_vouched_for(self, found: Found) -> bool:
        return found.arc.vouched_by(self._options.trusted_arc_sealers)


def _proofs_of_spf(identities: Sequence[Identity]) -> Iterator[Identifier]:
    """Yield what the first identity is worth: DMARC asks for that of MAIL, and of HELO only where MAIL names nobody."""
    for identity in identities[:1]:
        if identity.result.verdict == "pass":
            yield Identifier("spf", identity.domain, "pass")
        elif identity.result.verdict == "temperror":
            yield Identifier("spf", identity.domain, "temperror")


def _proofs_of_dkim(results: Sequence[DkimResult]) -> Iterator[Identifier]:
    for result in results:
        if result.verdict == "pass":
            yield Identifier("dkim", result.domain, "pass")
        elif result.verdict == "temperror":
            yield Identifier("dkim", result.domain, "temperror")


def _badness(result: DmarcResult) -> int:
    word = result.policy if result.verdict == "fail" and result.policy != "none" else result.verdict
    return _WORST_FIRST.index(word)


def _refusal(found: Found) -> Reply:
    spf = found.identities[0].result.verdict if found.identities else "none"
    told = f"SPF says {spf}, DKIM {_dkim_word(found.dkim)}"
    author = found.dmarc.author
    return Reply(
        550,
        "5.7.1",
        f"{author} wants mail refused that is not proven to be its own (DMARC, p=reject): {told}, neither for {author}",
    )


def _dkim_word(results: Sequence[DkimResult]) -> str:
    """Return the best of the verdicts: one good signature is enough."""
    found = {result.verdict for result in results}
    return next((word for word in _BEST_FIRST if word in found), "none")


def _results(found: Found, client: Client, options: CheckOptions) -> Iterator[Result]:
    if options.spf != "off":
        for identity in found.identities:
            result = identity.result
            reason = result.why if result.verdict in ("permerror", "temperror") else ""
            yield Result("spf", result.verdict, ((identity.name, identity.value),), reason)
    if options.dkim and not found.dkim:
        yield Result("dkim", "none")
    for each in found.dkim:
        yield _dkim_result(each)
    if options.arc and found.arc.verdict != "none":
        yield Result("arc", found.arc.verdict, reason=found.arc.reason, comment=_sealed_by(found.arc))
    if options.dmarc != "off":
        dmarc = found.dmarc
        policy = f"p={dmarc.policy}" if dmarc.verdict == "fail" else ""
        yield Result("dmarc", dmarc.verdict, (("header.from", dmarc.author),), dmarc.reason, policy)
    if found.reverse is not None:
        yield _reverse_result(found.reverse, client)


def _sealed_by(arc: ArcResult) -> str:
    return f"sealed by {', '.join(domain for domain, _ in arc.sealers)}" if arc.verdict == "pass" else ""


def _dkim_result(result: DkimResult) -> Result:
    properties = (
        ("header.d", result.domain),
        ("header.s", result.selector),
        ("header.a", result.algorithm),
        ("header.b", result.value_start),
    )
    return Result("dkim", result.verdict, properties, result.reason)


def _reverse_result(reverse: ReverseName, client: Client) -> Result:
    return Result("iprev", _reverse_word(reverse), (("policy.iprev", client.address),), comment=reverse.confirmed)


def _reverse_word(reverse: ReverseName) -> str:
    return "pass" if reverse.confirmed else "temperror" if reverse.failed else "fail"


def _findings(found: Found, options: CheckOptions) -> Iterator[tuple[str, str]]:
    """Yield the words of the log: one for each method, and whose mail it claims to be where that did not pass."""
    if found.identities and options.spf != "off":
        yield "spf", found.identities[0].result.verdict
    if options.dkim:
        yield "dkim", _dkim_word(found.dkim)
    if found.arc.verdict != "none":
        yield "arc", found.arc.verdict
    if options.dmarc != "off":
        yield "dmarc", found.dmarc.verdict
        if found.dmarc.verdict == "fail":
            yield "dmarc_policy", found.dmarc.policy
            yield "author", found.dmarc.author
    if found.reverse is not None:
        yield "iprev", _reverse_word(found.reverse)
